//! A kind that no program knows: that of the guide (`kinds/README.md` of the API's crate), whose blocks are the tables here.
//!
//! Invariant: what the guide tells to write is all that there is; nothing is added to it.

use serde_json::{Value, json};
use skiff_api::kinds::{Registry, TablesText, name};

const GUIDE: &str = include_str!("../../../api/src/kinds/README.md");

/// These kinds and that of the guide.
pub fn beside(kinds: &Registry) -> Registry {
    let text = TablesText {
        kinds: block("group "),
        columns: block("example.com/v1 Widget"),
        types: block("type "),
    };
    kinds.with_tables(text).unwrap()
}

/// The one block of the guide that begins with these words, without what it is indented by.
fn block(begins: &str) -> &'static str {
    let mut found = Vec::new();
    let mut lines = GUIDE.lines().peekable();
    while let Some(line) = lines.next() {
        let (text, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if indent < 4 || !text.starts_with(begins) {
            continue;
        }
        let mut block = vec![text];
        while let Some(more) = lines.next_if(|line| line.len() > indent) {
            block.push(&more[indent..]);
        }
        found.push(block.join("\n"));
    }
    assert_eq!(
        found.len(),
        1,
        "blocks of the guide that begin with {begins:?}"
    );
    name(&found[0])
}

pub fn made(name: &str, color: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {"replicas": 2, "color": color, "parts": [{"name": "a", "size": 1}, {"name": "b"}]}, "status": {"replicas": 9}})
}
