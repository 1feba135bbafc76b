//! Lists and maps of which the resource kinds say how long they may be, and that each entry is there once.
//!
//! Invariant: of what is too long nothing else is said.
//! Follows `validateSlice`, `validateSet` and `validateMap` of `pkg/apis/resource/validation/validation.go`.

use std::borrow::Cow;

use crate::kinds::prelude::*;

/// The check of one entry.
pub type Check<'c> = &'c dyn Fn(&Value, &Path, &mut Errors);
/// What an entry is known by.
pub type Key = fn(&Value) -> Value;

/// A list of at most `most` entries; answers whether it is that.
pub fn list(items: &[Value], most: usize, check: Check, path: &Path, errors: &mut Errors) -> bool {
    if items.len() > most {
        errors.too_many(path, items.len() as i64, most as i64);
        return false;
    }
    for (index, item) in items.iter().enumerate() {
        check(item, &path.index(index), errors);
    }
    true
}

/// The same, and no two entries have one key.
pub fn set(items: &[Value], most: usize, check: Check, key: Key, path: &Path, errors: &mut Errors) {
    if list(items, most, check, path, errors) {
        unique(items.iter().map(key), path, errors);
    }
}

/// Tells of each key that was there before.
pub fn unique(keys: impl Iterator<Item = Value>, path: &Path, errors: &mut Errors) {
    let mut seen: Vec<Value> = Vec::new();
    for (index, key) in keys.enumerate() {
        if seen.contains(&key) {
            errors.duplicate(&path.index(index), key);
        } else {
            seen.push(key);
        }
    }
}

/// The entries of a map; long keys are shown shortened to `longest` bytes.
pub fn map<'v>(
    entries: impl Iterator<Item = (&'v str, &'v Value)>,
    longest: usize,
    check_key: fn(&str, &Path, &mut Errors),
    check: Check,
    path: &Path,
    errors: &mut Errors,
) {
    for (key, item) in entries {
        check_key(key, path, errors);
        check(item, &path.key(&shortened(key, longest)), errors);
    }
}

fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    const DOTS: &str = "...";
    if text.len() <= longest {
        return text.into();
    }
    let rest = longest - DOTS.len();
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bytes = text.as_bytes();
    format!(
        "{}{DOTS}{}",
        part(&bytes[..rest.div_ceil(2)]),
        part(&bytes[bytes.len() - rest / 2..])
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_lose_their_middle() {
        assert_eq!(shortened("short", 16), "short");
        assert_eq!(shortened("0123456789abcdefXYZ", 16), "0123456...defXYZ");
    }

    #[test]
    fn what_is_too_long_is_not_looked_at() {
        for (items, said) in [
            (json!(["a", "b"]), "[]"),
            (json!(["a", "a"]), "p[1]: Duplicate value: \"a\""),
            (
                json!(["a", "a", "a"]),
                "p: Too many: 3: must have at most 2 items",
            ),
        ] {
            let mut errors = Errors::default();
            set(
                items.as_array().unwrap(),
                2,
                &|_, _, _| {},
                Value::clone,
                &Path::new("p"),
                &mut errors,
            );
            assert_eq!(errors.message(), said);
        }
    }
}
