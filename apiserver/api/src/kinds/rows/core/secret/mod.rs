//! Secret: its row.

mod columns;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    kinds::{Kind, Strategy, Verbs},
    machinery::meta::child_mut,
};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.Secret",
    selectable: &[crate::kinds::Selectable { path: "type", value: |s| s["type"].as_str().unwrap_or("").into() }],
    columns: columns::COLUMNS,
    strategy: Strategy { defaults, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};

/// `stringData` is for writing only: it goes into `data`, over what is there.
///
/// Follows `pkg/apis/core/v1/conversion.go` (Convert_v1_Secret_To_core_Secret).
fn defaults(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    crate::kinds::fill::text(map, "type", "Opaque");
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let data = child_mut(object, "data");
    for (key, text) in texts {
        data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or("")).into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_data() {
        let mut secret = json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}});
        defaults(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "bmV3", "b": "Yg=="}}));
    }
}
