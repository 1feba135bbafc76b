//! What is said of a device: one value of one type an attribute.
//!
//! Follows `validateDeviceAttribute` of `pkg/apis/resource/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::invalid_shown;

const LONGEST: usize = 64;
pub const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// Values in a list count one by one.
pub fn count(attribute: &Value) -> usize {
    LISTS
        .iter()
        .map(|name| attribute.list(name).len())
        .sum::<usize>()
        .max(1)
}

pub fn is_list(attribute: &Value) -> bool {
    LISTS.iter().any(|name| attribute.some(name).is_some())
}

pub fn validate(attribute: &Value, path: &Path, errors: &mut Errors) {
    let mut given = ["bool", "int"]
        .iter()
        .filter(|name| attribute.some(name).is_some())
        .count();
    let checks: [(&str, &str, fn(&str, &Path, &mut Errors)); 2] = [
        ("string", "strings", text),
        ("version", "versions", version),
    ];
    for (one, _, check) in checks {
        if let Some(value) = attribute.text_ptr(one) {
            given += 1;
            check(value, &path.child(one), errors);
        }
    }
    for name in LISTS {
        if attribute.some(name).is_none() {
            continue;
        }
        given += 1;
        let at = path.child(name);
        if attribute.list(name).is_empty() {
            invalid_shown("[]", "must not be empty if specified", &at, errors);
        }
        for (_, _, check) in checks.iter().filter(|(_, list, _)| *list == name) {
            attribute
                .texts(name)
                .enumerate()
                .for_each(|(index, value)| check(value, &at.index(index), errors));
        }
    }
    const ONE: &str = "exactly one value must be specified";
    match given {
        0 => errors.invalid(path, "", ONE),
        1 => {}
        _ => invalid_shown(
            &internal::json(attribute, "resource.DeviceAttribute"),
            ONE,
            path,
            errors,
        ),
    }
}

fn text(value: &str, path: &Path, errors: &mut Errors) {
    if value.len() > LONGEST {
        errors.too_long(path, LONGEST as i64);
    }
}

fn version(value: &str, path: &Path, errors: &mut Errors) {
    if !is_version(value) {
        errors.invalid(
            path,
            value,
            "must be a string compatible with semver.org spec 2.0.0",
        );
    }
    text(value, path, errors);
}

/// `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]`.
fn is_version(text: &str) -> bool {
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(text, build)| (text, Some(build)));
    let (numbers, release) = text
        .split_once('-')
        .map_or((text, None), |(numbers, release)| (numbers, Some(release)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && release.is_none_or(|release| {
            release
                .split('.')
                .all(|part| number(part) || (word(part) && !digits(part)))
        })
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_an_attribute() {
        for (attribute, said) in [
            (json!({"bool": true}), "[]".to_string()),
            (json!({"int": 0}), "[]".into()),
            (json!({"version": "1.2.3"}), "[]".into()),
            (json!({"strings": ["a"]}), "[]".into()),
            (json!({}), "a: Invalid value: \"\": exactly one value must be specified".into()),
            (
                json!({"int": 1, "string": "x"}),
                r#"a: Invalid value: {"IntValue":1,"BoolValue":null,"StringValue":"x","VersionValue":null,"IntValues":null,"BoolValues":null,"StringValues":null,"VersionValues":null}: exactly one value must be specified"#.into(),
            ),
            (json!({"string": "x".repeat(65)}), "a.string: Too long: may not be more than 64 bytes".into()),
            (json!({"version": "1.2"}), "a.version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0".into()),
            (json!({"ints": []}), "a.ints: Invalid value: []: must not be empty if specified".into()),
            (
                json!({"versions": ["1.0.0", "x"]}),
                "a.versions[1]: Invalid value: \"x\": must be a string compatible with semver.org spec 2.0.0".into(),
            ),
        ] {
            let mut errors = Errors::default();
            validate(&attribute, &Path::new("a"), &mut errors);
            assert_eq!(errors.message(), said, "{attribute}");
        }
        assert_eq!(
            (count(&json!({"int": 1})), count(&json!({"ints": [1, 2]}))),
            (1, 2)
        );
    }

    #[test]
    fn versions() {
        for (text, good) in [
            ("1.2.3", true),
            ("0.0.0-alpha.1+build.01", true),
            ("1.0.0--", true),
            ("1.0.0+a-b", true),
            ("01.0.0", false),
            ("1.0.0-01", false),
            ("1.0.0-01a", true),
            ("1.0.0-", false),
            ("1.0.0+", false),
            ("1.0", false),
            ("v1.0.0", false),
            ("", false),
        ] {
            assert_eq!(is_version(text), good, "{text}");
        }
    }
}
