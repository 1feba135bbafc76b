//! Tables of the server, read without what is not printed: most of a table's bytes are the metadata of its objects.
//! Invariant: what is left prints as the whole table would; an answer that is no table is kept whole.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What of each row's object is needed to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowParts {
    pub namespaces: bool,
    pub labels: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    column_definitions: Vec<Value>,
    #[serde(default)]
    rows: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    cells: Vec<Value>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    namespace: Option<String>,
    labels: Option<Map<String, Value>>,
}

/// Reads an answer; of a table's objects only what is to be kept.
///
/// # Errors
/// An answer that is not JSON.
pub fn read(bytes: &[u8], keep: RowParts) -> serde_json::Result<Value> {
    let Some(table) = serde_json::from_slice::<Table>(bytes)
        .ok()
        .filter(|t| t.kind == "Table")
    else {
        return serde_json::from_slice(bytes);
    };
    let rows: Vec<Value> = table
        .rows
        .unwrap_or_default()
        .into_iter()
        .map(|row| slim(row, keep))
        .collect();
    Ok(
        json!({"kind": table.kind, "apiVersion": table.api_version, "metadata": table.metadata, "columnDefinitions": table.column_definitions, "rows": rows}),
    )
}

fn slim(row: Row, keep: RowParts) -> Value {
    let mut out = Map::new();
    out.insert("cells".into(), Value::Array(row.cells));
    let metadata = row.object.map(|o| o.metadata).unwrap_or_default();
    let mut kept = Map::new();
    if let Some(namespace) = metadata.namespace.filter(|_| keep.namespaces) {
        kept.insert("namespace".into(), Value::String(namespace));
    }
    if let Some(labels) = metadata.labels.filter(|_| keep.labels) {
        kept.insert("labels".into(), Value::Object(labels));
    }
    if !kept.is_empty() {
        out.insert("object".into(), json!({"metadata": kept}));
    }
    Value::Object(out)
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
