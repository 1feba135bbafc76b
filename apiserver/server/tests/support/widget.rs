//! A kind that no program knows, as a definition would bring it: with columns, rules, a status and a scale.

use serde_json::{Value, json};
use skiff_api::{
    kinds::{
        Flags, Generation, Kind, PathColumn, Printer, Scale, SchemaOf, SelectableField, Strategy,
        Subresource,
    },
    machinery::{
        field::{Errors, Path},
        schema::Schema,
    },
};

const SCHEMA: &str = "
type example.v1.Widget
  kind string ?
  apiVersion string ?
  metadata meta.v1.ObjectMeta ?
  spec example.v1.WidgetSpec ?
  status *example.v1.WidgetStatus ?
type example.v1.WidgetSpec
  replicas int32 ?
  color string ?
  parts []example.v1.Part ? map=name
type example.v1.Part
  name string ! required
  size int32 ?
type example.v1.WidgetStatus
  replicas int32 ?
";

fn colors(widget: &Value) -> Errors {
    let mut errors = Errors::default();
    let color = widget["spec"]["color"].as_str().unwrap_or("");
    if !["red", "green"].contains(&color) {
        errors.not_supported(&Path::new("spec").child("color"), color, &["green", "red"]);
    }
    errors
}

pub fn kind() -> Kind {
    Kind {
        short_names: vec!["wg"],
        categories: vec!["all"],
        namespaced: true,
        subresources: vec![Subresource::Status, Subresource::Scale],
        scale: Some(Scale::USUAL),
        schema: SchemaOf::Own(Schema::beside_metadata(SCHEMA).unwrap().into(), 0),
        selectable: vec![SelectableField::at(".spec.color").unwrap()],
        printer: Printer::Paths(vec![
            PathColumn::new("Color", "string", ".spec.color").unwrap(),
            PathColumn::new("Parts", "string", ".spec.parts[*].name").unwrap(),
            PathColumn::new("Replicas", "integer", ".spec.replicas").unwrap(),
        ]),
        flags: Flags {
            generation: Generation::Counted,
            ..Flags::default()
        },
        strategy: Strategy {
            validate: colors,
            validate_update: |new, _| colors(new),
            ..Strategy::DEFAULT
        },
        ..Kind::named("example.com", "v1", "widgets", "Widget")
    }
}

pub fn made(name: &str, color: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {"replicas": 2, "color": color, "parts": [{"name": "a", "size": 1}, {"name": "b"}]}, "status": {"replicas": 9}})
}
