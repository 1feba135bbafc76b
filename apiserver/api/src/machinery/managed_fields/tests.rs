use serde_json::json;

use super::*;
use crate::machinery::schema::Schema;

#[test]
fn smoke() {
    let node = Schema::builtin().get("core.v1.ConfigMap").unwrap();
    let mut new = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}});
    let update = Update { manager: "m", subresource: "", api_version: "v1", now: "2026-01-01T00:00:00Z", schema: node, reset: &ResetFields::default(), versions: None };
    track_update(&json!({}), &mut new, &update).unwrap();
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}}}])
    );
}
