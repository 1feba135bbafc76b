//! Keys of a ConfigMap or a Secret as files: what both kinds, alone or projected, have in common.
//!
//! Follows `MakePayload` in `pkg/volume/{configmap/configmap,secret/secret}.go`.

use k8s_openapi::api::core::v1::KeyToPath;

use super::{Error, File, Files};
use crate::objects;

/// The keys that an object has, with their values.
pub type Payload = Vec<(String, Vec<u8>)>;

/// Which keys of which object become files.
pub struct Selection<'a> {
    /// The object's.
    pub name: &'a str,
    /// Chosen keys under chosen paths; all under their own names when there are none.
    pub items: Option<&'a [KeyToPath]>,
    pub mode: i32,
    /// What is missing may be.
    pub optional: bool,
}

/// The selection that a volume's source or a projected one describes: they have the same fields.
macro_rules! selection {
    ($source:expr, $name:expr, $mode:expr) => {
        $crate::volume::keys::Selection {
            name: $name,
            items: $source.items.as_deref(),
            mode: $mode,
            optional: $source.optional == Some(true),
        }
    };
}
pub(super) use selection;

impl Selection<'_> {
    /// The files. `missing`: what is said of a key that the object does not have.
    pub fn files(
        &self,
        read: Result<Payload, objects::Error>,
        missing: &str,
    ) -> Result<Files, Error> {
        let payload = match read {
            Err(objects::Error::NotFound(_)) if self.optional => return Ok(Files::new()),
            read => read?,
        };
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            let whole = |(key, data)| (key, File::new(data, self.mode));
            return Ok(payload.into_iter().map(whole).collect());
        };
        let mut files = Files::new();
        for item in items {
            match payload.iter().find(|(key, _)| *key == item.key) {
                Some((_, data)) => {
                    let file = File::new(data.clone(), item.mode.unwrap_or(self.mode));
                    files.insert(item.path.clone(), file);
                }
                None if self.optional => {}
                None => return Err(Error::Refused(format!("{missing}: {}", item.key))),
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_chosen_and_missing_ones_reported() {
        let payload = || {
            vec![
                ("a".to_owned(), b"1".to_vec()),
                ("b".to_owned(), b"2".to_vec()),
            ]
        };
        let select = |key: Option<&str>, optional| {
            let item = |key: &str| KeyToPath {
                key: key.into(),
                path: "x/y".into(),
                mode: Some(0o400),
            };
            let items: Option<Vec<_>> = key.map(|key| vec![item(key)]);
            let selection = Selection {
                name: "n",
                items: items.as_deref(),
                mode: 0o644,
                optional,
            };
            selection.files(Ok(payload()), "m")
        };
        assert_eq!(select(None, false).unwrap().len(), 2);
        let chosen = select(Some("b"), false).unwrap();
        assert_eq!(
            chosen["x/y"],
            File {
                data: b"2".to_vec(),
                mode: 0o400,
                owner: None,
            }
        );
        assert_eq!(select(Some("z"), false).unwrap_err().to_string(), "m: z");
        assert!(select(Some("z"), true).unwrap().is_empty());
    }
}
