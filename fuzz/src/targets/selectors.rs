//! Selectors of labels and of fields, in queries and in objects.

use serde_json::{Map, Value};
use skiff_api::machinery::selector::{FieldSelector, Selector};

use crate::{Target, seeds, texts};

pub const SELECTORS: Target = Target::new("selectors", run, begin).words(&[
    "a",
    "in",
    "notin",
    "exists",
    "!",
    "=",
    "==",
    "!=",
    "(",
    ")",
    ",",
    "<",
    ">",
    "a in (b,c)",
    "x.y/z",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "In",
    "NotIn",
    "Exists",
    "DoesNotExist",
    "Gt",
    "metadata.name",
    "\\,",
    "\\=",
    "\\",
]);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "a=b,c!=d,e in (f,g), h notin (i),j,!k,l>5,m<7\0{\"a\":\"b\"}",
        "x.y/z==w\0{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"c\",\"operator\":\"In\",\"values\":[\"d\",\"\"]},{\"key\":\"e\",\"operator\":\"Exists\"}]}",
        "metadata.name=a,spec.nodeName!=b\\,c\\=d,status.phase==\\\\\0{}",
        "\0null",
    ])
}

fn run(data: &[u8]) {
    let Some([text, object]) = texts(data) else {
        return;
    };
    let object: Value = serde_json::from_str(object).unwrap_or_default();
    let empty = Map::new();
    let labels = object.as_object().unwrap_or(&empty);
    if let Ok(selector) = text.parse::<Selector>() {
        selector.matches(labels);
        let written = selector.to_string();
        let again: Selector = written.parse().unwrap();
        assert_eq!(again.to_string(), written);
        selector
            .requirements()
            .iter()
            .for_each(|requirement| drop(requirement.to_string()));
        let _ = selector
            .to_label_selector()
            .map_err(|error| error.to_string());
    }
    if let Ok(selector) = text.parse::<FieldSelector>() {
        selector.matches(|field| labels.get(field)?.as_str());
        let written = selector.to_string();
        assert_eq!(written.parse::<FieldSelector>().unwrap(), selector);
    }
    if let Ok(selector) = Selector::from_label_selector(Some(&object)) {
        selector.matches(labels);
        let _ = selector.to_string();
    }
}
