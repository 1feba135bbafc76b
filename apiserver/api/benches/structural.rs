//! What it costs to hold a custom object of about a kilobyte to its schema, once a write: `cargo bench -p skiff-api --bench structural`.
//! Budget: 5 µs.

#[path = "common/measure.rs"]
mod measuring;

use measuring::measure;
use serde_json::{Value, json};
use skiff_api::machinery::{
    field::Path,
    structural::{Malformed, Structural},
};

fn main() {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["oars"], "properties": {
            "oars": {"type": "integer", "minimum": 2, "maximum": 20, "default": 4},
            "name": {"type": "string", "maxLength": 20, "pattern": "^[a-z]+$"},
            "port": {"x-kubernetes-int-or-string": true},
            "crew": {"type": "array", "maxItems": 30, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties": {
                    "id": {"type": "string"}, "role": {"type": "string", "default": "rower", "enum": ["cox", "rower"]}}}}}}}});
    let schema = Structural::read(&schema).expect("a structural schema");
    let crew: Vec<Value> = (0..20)
        .map(|at| json!({"id": format!("member-{at}"), "role": if at == 0 {"cox"} else {"rower"}}))
        .collect();
    let mut object = json!({"apiVersion": "a/v1", "kind": "Boat", "metadata": {"name": "x"}, "spec": {"oars": 4, "name": "mary", "port": 80, "crew": crew}});
    let size = object.to_string().len();
    measure(&format!("a write of {size} bytes"), || {
        let unknown = schema.coerce(&mut object, Malformed::Refused);
        assert!(unknown.is_ok_and(|unknown| unknown.is_empty()));
        schema.default(&mut object);
        assert!(schema.validate(&object, &Path::WHOLE).is_empty());
    });
}
