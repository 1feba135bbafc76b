//! What the server itself looks at in an object, in one piece of memory: each version of each object has it.

use std::{collections::HashMap, fmt, sync::LazyLock};

use parking_lot::RwLock;

use crate::codec::{put, take};

/// Made from an object by whoever writes it, so that selectors and deletion never parse the bytes. To look something up is a walk over
/// a few texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// None at all where they are not known. The uid; names and values of labels; numbers of paths and values of fields; how long what comes before the
    /// fields is.
    texts: Box<[u8]>,
}

impl Attributes {
    /// `fields`: the selectable fields by path (`spec.nodeName`), `metadata.name` and `metadata.namespace` not among them; those that are
    /// empty need not be given.
    pub fn new<'a>(
        deleting: bool,
        uid: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        fields: impl IntoIterator<Item = (&'a str, impl AsRef<str>)>,
    ) -> Self {
        let mut texts = Vec::with_capacity(512);
        put(&mut texts, uid.as_bytes());
        for (name, value) in labels {
            put(&mut texts, name.as_bytes());
            put(&mut texts, value.as_bytes());
        }
        let end = texts.len() as u32;
        for (path, value) in fields {
            texts.extend_from_slice(&Paths::number(path).to_le_bytes());
            put(&mut texts, value.as_ref().as_bytes());
        }
        texts.extend_from_slice(&end.to_le_bytes());
        Self {
            deleting,
            texts: texts.into(),
        }
    }

    /// Of an object that cannot be read: no selector may pass it over, since nobody knows what it says, and nothing begins in it.
    pub fn unreadable() -> Self {
        Self {
            deleting: true,
            texts: Box::default(),
        }
    }

    pub fn is_unreadable(&self) -> bool {
        self.deleting && self.texts.is_empty()
    }

    /// Empty when it is not known.
    pub fn uid(&self) -> &str {
        text(take(&mut self.parts().0).unwrap_or_default())
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.parts().0;
        take(&mut labels);
        find(labels, name)
    }

    /// All labels with their values.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut labels = self.parts().0;
        take(&mut labels);
        std::iter::from_fn(move || Some((text(take(&mut labels)?), text(take(&mut labels)?))))
    }

    /// A selectable field; `None` where it is empty.
    pub fn field(&self, path: &str) -> Option<&str> {
        let (number, mut fields) = (Paths::known(path)?, self.parts().1);
        loop {
            let (have, value) = take_field(&mut fields)?;
            if have == number {
                return Some(text(value));
            }
        }
    }

    /// The numbers of the paths, and the values, of all fields that are not empty.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (u16, &str)> {
        let mut fields = self.parts().1;
        std::iter::from_fn(move || take_field(&mut fields))
            .map(|(number, value)| (number, text(value)))
    }

    pub fn has_fields(&self) -> bool {
        !self.parts().1.is_empty()
    }

    /// Uid and labels, then fields.
    fn parts(&self) -> (&[u8], &[u8]) {
        let Some((texts, end)) = self.texts.split_last_chunk::<4>() else {
            return (&[], &[]);
        };
        texts
            .split_at_checked(u32::from_le_bytes(*end) as usize)
            .unwrap_or_default()
    }

    /// What [`Attributes::of_raw`] takes.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.texts
    }

    pub(crate) fn of_raw(deleting: bool, texts: &[u8]) -> Self {
        Self {
            deleting,
            texts: texts.into(),
        }
    }
}

fn find<'a>(mut pairs: &'a [u8], name: &str) -> Option<&'a str> {
    loop {
        let (have, value) = (take(&mut pairs)?, take(&mut pairs)?);
        if have == name.as_bytes() {
            return Some(text(value));
        }
    }
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let (number, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some((u16::from_le_bytes(*number), take(rest)?))
}

/// The paths of selectable fields that this process has met, by number: there are few, and each object has several.
#[derive(Default)]
pub(crate) struct Paths(HashMap<Box<str>, u16>);

static PATHS: LazyLock<RwLock<Paths>> = LazyLock::new(RwLock::default);

impl Paths {
    fn known(path: &str) -> Option<u16> {
        PATHS.read().0.get(path).copied()
    }

    /// Past 65,535 paths, all others are one, and none of them is found.
    pub fn number(path: &str) -> u16 {
        if let Some(number) = Self::known(path) {
            return number;
        }
        let mut paths = PATHS.write();
        let next = u16::try_from(paths.0.len()).unwrap_or(u16::MAX);
        if next == u16::MAX {
            next
        } else {
            *paths.0.entry(path.into()).or_insert(next)
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut head, mut fields) = self.parts();
        let mut texts = f.debug_list();
        texts
            .entry(&self.deleting)
            .entries(std::iter::from_fn(|| take(&mut head)).map(text));
        let paths = PATHS.read();
        let path = |number| {
            paths
                .0
                .iter()
                .find(|(_, have)| **have == number)
                .map_or("", |(path, _)| path)
        };
        texts
            .entries(
                std::iter::from_fn(|| take_field(&mut fields))
                    .map(|(number, value)| (path(number), text(value))),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_found() {
        let all = Attributes::new(
            true,
            "u",
            [("app", "a"), ("", "nothing"), ("ä\0", "ö\0")],
            [("app", "field"), ("spec.x", "")],
        );
        assert_eq!(
            ["app", "", "ä\0", "ap", "u"].map(|name| all.label(name)),
            [Some("a"), Some("nothing"), Some("ö\0"), None, None]
        );
        assert_eq!(
            ["app", "spec.x", "ä\0"].map(|path| all.field(path)),
            [Some("field"), Some(""), None]
        );
        assert_eq!(
            (all.uid(), all.deleting, all.has_fields()),
            ("u", true, true)
        );
        assert_eq!(
            format!("{all:?}"),
            r#"[true, "u", "app", "a", "", "nothing", "ä\0", "ö\0", ("app", "field"), ("spec.x", "")]"#
        );
        let unreadable = Attributes::unreadable();
        assert!(unreadable.is_unreadable() && !all.is_unreadable());
        for attributes in [all, unreadable, Attributes::default()] {
            assert_eq!(
                Attributes::of_raw(attributes.deleting, attributes.raw()),
                attributes
            );
        }
        let none: [(&str, &str); 0] = [];
        for empty in [
            Attributes::default(),
            Attributes::new(false, "", none, none),
        ] {
            assert_eq!(
                (
                    empty.uid(),
                    empty.label("app"),
                    empty.field("app"),
                    empty.has_fields()
                ),
                ("", None, None, false)
            );
        }
    }
}
