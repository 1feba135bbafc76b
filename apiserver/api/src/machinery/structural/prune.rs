//! Takes out what a schema does not name, and nulls that may not be.
//!
//! Invariant: what is taken out is told with its path, sorted; metadata and its kind of embedded objects and of the whole are left alone.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/{pruning/algorithm.go,defaulting/prunenulls.go}`.

use serde_json::{Map, Value};

use super::node::{Additional, Node};

/// Where a value stands; costs nothing until a path is told.
#[derive(Clone, Copy)]
pub(super) enum Trail<'a> {
    Whole,
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Trail::Whole)
    }

    /// `spec.ports[0].name`.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Trail::Whole => {}
            Trail::Key(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Trail::Index(parent, at) => {
                parent.write(out);
                out.push_str(&format!("[{at}]"));
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// What objects have whatever their schema says.
pub(super) fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// Takes out of `value` what the node does not name; `whole`: it is an object with metadata of its own, whatever the node says.
pub(super) fn unknown(value: &mut Value, node: &Node, whole: bool) -> Vec<String> {
    let mut pruner = Pruner { found: Vec::new() };
    pruner.prune(value, Some(node), whole, &Trail::Whole);
    pruner.found.sort_unstable();
    pruner.found
}

struct Pruner {
    found: Vec<String>,
}

impl Pruner {
    /// `None`: nothing may have fields here.
    fn prune(&mut self, value: &mut Value, node: Option<&Node>, whole: bool, trail: &Trail) {
        match (value, node) {
            (value, Some(node)) if node.body.preserve_unknown => {
                self.keep(value, node, whole, trail);
            }
            (Value::Object(map), Some(node)) => self.fields(map, node, whole, trail),
            (Value::Object(map), None) => {
                for name in map.keys() {
                    self.found.push(Trail::Key(trail, name).text());
                }
                map.clear();
            }
            (Value::Array(items), node) => {
                let of = node.and_then(Node::items);
                for (at, item) in items.iter_mut().enumerate() {
                    self.prune(item, of, false, &Trail::Index(trail, at));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, map: &mut Map<String, Value>, node: &Node, whole: bool, trail: &Trail) {
        let mut unknown: Vec<String> = Vec::new();
        let embedded = whole || node.body.embedded;
        for (name, child) in map.iter_mut() {
            if embedded && is_meta(name) {
                continue;
            }
            let at = Trail::Key(trail, name);
            if let Some(property) = node.property(name) {
                self.prune(child, Some(property), false, &at);
            } else if let Some(of) = node.body.additional.values() {
                self.prune(child, of, false, &at);
            } else {
                unknown.push(name.clone());
            }
        }
        for name in unknown {
            map.remove(&name);
            if !is_meta(&name) || !trail.is_whole() {
                self.found.push(Trail::Key(trail, &name).text());
            }
        }
    }

    /// Where unknown fields are kept, those that are named are looked at nonetheless.
    fn keep(&mut self, value: &mut Value, node: &Node, whole: bool, trail: &Trail) {
        match value {
            Value::Object(map) => {
                let named = node.body.properties.is_some();
                if !named && node.body.additional == Additional::Unset {
                    return;
                }
                let embedded = whole || node.body.embedded;
                for (name, child) in map.iter_mut() {
                    if embedded && is_meta(name) {
                        continue;
                    }
                    let at = Trail::Key(trail, name);
                    if let Some(property) = node.property(name) {
                        self.prune(child, Some(property), false, &at);
                    } else if let Some(of) = node.body.additional.values() {
                        self.prune(child, of, false, &at);
                    }
                }
            }
            Value::Array(items) => {
                let Some(of) = node.items() else { return };
                for (at, item) in items.iter_mut().enumerate() {
                    self.keep(item, of, false, &Trail::Index(trail, at));
                }
            }
            _ => {}
        }
    }
}

/// Takes out nulls of fields that may not be null and have no default.
pub(super) fn nulls(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            let may_not = |node: &Node| !node.body.nullable && node.body.default.is_none();
            let mut dropped: Vec<String> = Vec::new();
            for (name, child) in map.iter_mut() {
                let Some(of) = node.child(name) else { continue };
                if child.is_null() && may_not(of) {
                    dropped.push(name.clone());
                } else {
                    nulls(child, of);
                }
            }
            for name in dropped {
                map.remove(&name);
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items() else { return };
            items.iter_mut().for_each(|item| nulls(item, of));
        }
        _ => {}
    }
}
