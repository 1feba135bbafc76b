//! Takes out what a schema does not name, and nulls that may not be.
//!
//! Invariant: what is taken out is told with its path, sorted; metadata and its kind of embedded objects and of the whole are left alone.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/{pruning/algorithm.go,defaulting/prunenulls.go}`.

use serde_json::{Map, Value};

use crate::machinery::room::Room;

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

/// What is taken out.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub unknown: bool,
    pub nulls: bool,
}

/// Takes out of `value` what the node does not name, and nulls of fields that may not be null and have no default. Answers the paths of what was not
/// named. `whole`: it is an object with metadata of its own, whatever the node says.
pub(super) fn take_out(value: &mut Value, node: &Node, whole: bool, out: Out) -> Vec<String> {
    let mut pruner = Pruner {
        found: Vec::new(),
        room: Room::default(),
        nulls: out.nulls,
    };
    if out.unknown {
        pruner.prune(value, Some(node), whole, &Trail::Whole);
    } else {
        pruner.spare(value, node);
    }
    pruner.found.sort_unstable();
    pruner.found
}

struct Pruner {
    found: Vec<String>,
    room: Room,
    nulls: bool,
}

impl Pruner {
    fn found(&mut self, trail: &Trail, name: &str) {
        if self.room.is_left() {
            let path = Trail::Key(trail, name).text();
            self.room.take(path.len());
            self.found.push(path);
        }
    }

    /// `None`: nothing may have fields here.
    fn prune(&mut self, value: &mut Value, node: Option<&Node>, whole: bool, trail: &Trail) {
        match (value, node) {
            (value, Some(node)) if node.body.preserve_unknown => {
                self.keep(value, node, whole, trail);
            }
            (Value::Object(map), Some(node)) => self.fields(map, node, whole, false, trail),
            (Value::Object(map), None) => {
                for name in map.keys() {
                    self.found(trail, name);
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

    /// Where unknown fields are kept, those that are named are looked at nonetheless.
    fn keep(&mut self, value: &mut Value, node: &Node, whole: bool, trail: &Trail) {
        match value {
            Value::Object(map)
                if node.body.properties.is_some() || node.body.additional != Additional::Unset =>
            {
                self.fields(map, node, whole, true, trail);
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

    fn fields(
        &mut self,
        map: &mut Map<String, Value>,
        node: &Node,
        whole: bool,
        keeps: bool,
        trail: &Trail,
    ) {
        let mut unknown: Vec<String> = Vec::new();
        let mut nulls: Vec<String> = Vec::new();
        let embedded = whole || node.body.embedded;
        for (name, child) in map.iter_mut() {
            let property = node.property(name);
            let of = match property {
                Some(of) => Some(Some(of)),
                None => node.body.additional.values(),
            };
            match of {
                _ if embedded && is_meta(name) => {
                    if let Some(Some(of)) = of {
                        self.spare(child, of);
                    }
                }
                Some(of) => self.prune(child, of, false, &Trail::Key(trail, name)),
                None if keeps => {}
                None => {
                    unknown.push(name.clone());
                    continue;
                }
            }
            if self.nulls && child.is_null() && of.flatten().is_some_and(may_not_be_null) {
                nulls.push(name.clone());
            }
        }
        for name in nulls {
            map.remove(&name);
        }
        for name in unknown {
            map.remove(&name);
            if !is_meta(&name) || !trail.is_whole() {
                self.found(trail, &name);
            }
        }
    }

    /// Where nothing but nulls is taken out.
    fn spare(&mut self, value: &mut Value, node: &Node) {
        match value {
            Value::Object(map) if self.nulls => {
                let mut nulls: Vec<String> = Vec::new();
                for (name, child) in map.iter_mut() {
                    let Some(of) = node.child(name) else { continue };
                    if child.is_null() && may_not_be_null(of) {
                        nulls.push(name.clone());
                    } else {
                        self.spare(child, of);
                    }
                }
                for name in nulls {
                    map.remove(&name);
                }
            }
            Value::Array(items) => {
                let Some(of) = node.items() else { return };
                items.iter_mut().for_each(|item| self.spare(item, of));
            }
            _ => {}
        }
    }
}

fn may_not_be_null(node: &Node) -> bool {
    !node.body.nullable && node.body.default.is_none()
}
