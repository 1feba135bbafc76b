//! Writes defaults into a value.
//!
//! Invariant: what is there stays, but for nulls that may not be and have a default; defaults are written before what is below is looked at.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/defaulting/algorithm.go`.

use serde_json::Value;

use super::node::{Additional, Node};

pub(super) fn defaults(value: &mut Value, node: &Node) {
    if !node.body.defaults {
        return;
    }
    match value {
        Value::Object(map) => {
            let absent = node.body.properties.iter().filter(|all| all.defaults);
            for (name, property) in absent.flat_map(|all| all.iter()) {
                let Some(default) = &property.body.default else {
                    continue;
                };
                match map.get_mut(name) {
                    None => {
                        map.insert(name.into(), (**default).clone());
                    }
                    Some(there) if there.is_null() && !property.body.nullable => {
                        there.clone_from(default);
                    }
                    Some(_) => {}
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(property) = node.property(name) {
                    defaults(child, property);
                } else if let Additional::Node(of) = &node.body.additional {
                    element(child, of);
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items() else { return };
            items.iter_mut().for_each(|item| element(item, of));
        }
        _ => {}
    }
}

/// A value that stands there whatever its schema says, so null is all that can be told from absent.
fn element(value: &mut Value, node: &Node) {
    if value.is_null() && !node.body.nullable {
        *value = node.body.default.as_deref().cloned().unwrap_or(Value::Null);
    }
    defaults(value, node);
}
