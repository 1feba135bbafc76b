//! Tables of the server, read without what is not printed: most of a table's bytes are the metadata of its objects.
//! Invariant: what is left prints as the whole table would; an answer that is no table is kept whole.

use serde_json::{Map, Value, json};
use skiff_protobuf::{ProtobufError, Scan};

/// What of each row's object is needed to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowParts {
    pub namespaces: bool,
    pub labels: bool,
}

impl RowParts {
    fn is_none(self) -> bool {
        self == RowParts::default()
    }

    /// Whether this field of the metadata is kept.
    fn has(self, field: &[u8]) -> bool {
        match field {
            b"namespace" => self.namespaces,
            b"labels" => self.labels,
            _ => false,
        }
    }
}

/// Why an answer is no table that can be read piece by piece; it is read as a whole then.
struct Other;

impl From<ProtobufError> for Other {
    fn from(_: ProtobufError) -> Other {
        Other
    }
}

impl From<serde_json::Error> for Other {
    fn from(_: serde_json::Error) -> Other {
        Other
    }
}

/// Reads an answer; of a table's objects only what is to be kept.
///
/// # Errors
/// An answer that is not JSON.
pub fn read(bytes: &[u8], keep: RowParts) -> serde_json::Result<Value> {
    match table(bytes, keep) {
        Ok(table) if table["kind"] == "Table" => Ok(table),
        _ => serde_json::from_slice(bytes),
    }
}

fn table(bytes: &[u8], keep: RowParts) -> Result<Value, Other> {
    let mut text = Scan::new(bytes);
    let mut table = Map::new();
    text.object(|name, text| {
        let value = match name {
            b"rows" if text.peek()? == b'[' => {
                let mut rows = Vec::new();
                text.list(|text| {
                    rows.push(row(text, keep)?);
                    Ok::<_, Other>(())
                })?;
                rows.into()
            }
            _ => whole(text)?,
        };
        put(&mut table, name, value);
        Ok::<_, Other>(())
    })?;
    text.end()?;
    Ok(table.into())
}

fn row(text: &mut Scan, keep: RowParts) -> Result<Value, Other> {
    let (mut row, mut metadata) = (Map::new(), Map::new());
    text.object(|name, text| {
        match name {
            b"cells" => put(&mut row, name, whole(text)?),
            b"object" if !keep.is_none() && text.peek()? == b'{' => text.object(|name, text| {
                if name != b"metadata" || text.peek()? != b'{' {
                    return Ok(());
                }
                text.object(|name, text| {
                    if keep.has(name) {
                        put(&mut metadata, name, whole(text)?);
                    }
                    Ok::<_, Other>(())
                })
            })?,
            _ => {}
        }
        Ok::<_, Other>(())
    })?;
    if !metadata.is_empty() {
        row.insert("object".into(), json!({"metadata": metadata}));
    }
    Ok(row.into())
}

fn whole(text: &mut Scan) -> Result<Value, Other> {
    Ok(serde_json::from_slice(text.any()?)?)
}

fn put(fields: &mut Map<String, Value>, name: &[u8], value: Value) {
    fields.insert(String::from_utf8_lossy(name).into_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_printed_is_kept() {
        let table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"continue": "c"}, "columnDefinitions": [{"name": "Name"}],
            "rows": [{"cells": ["a", 1], "object": {"metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "managedFields": [{}]}}}, {"cells": ["b"]}]});
        let read = |keep| read(table.to_string().as_bytes(), keep).unwrap();
        assert_eq!(
            read(RowParts::default())["rows"],
            json!([{"cells": ["a", 1]}, {"cells": ["b"]}])
        );
        assert_eq!(
            read(RowParts {
                namespaces: true,
                labels: false
            })["rows"][0]["object"],
            json!({"metadata": {"namespace": "n"}})
        );
        let all = read(RowParts {
            namespaces: true,
            labels: true,
        });
        assert_eq!(
            all["rows"][0]["object"],
            json!({"metadata": {"namespace": "n", "labels": {"x": "y"}}})
        );
        assert_eq!(
            (&all["metadata"], &all["columnDefinitions"]),
            (&table["metadata"], &table["columnDefinitions"])
        );
    }

    #[test]
    fn other_answers_are_kept_whole() {
        let list = json!({"kind": "PodList", "items": [{"metadata": {"name": "a"}}], "rows": 5});
        assert_eq!(
            read(list.to_string().as_bytes(), RowParts::default()).unwrap(),
            list
        );
        assert!(read(b"no", RowParts::default()).is_err());
    }
}
