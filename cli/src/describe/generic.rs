//! Any kind: its fields, one after the other, under labels made of their names.
//! Invariant: every field is shown but those that the head shows already.
//! Behaviour follows the generic describer of `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use super::form::{self, ANNOTATIONS, LABELS, NAME, NAMESPACE};
use crate::print::go;
use serde_json::{Map, Value};

const SKIPPED: &[&str] = &[
    ".metadata.managedFields",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.labels",
    ".metadata.annotations",
];

pub fn describe(out: &mut Out, object: &Value) {
    let head = [NAME, NAMESPACE, LABELS, ANNOTATIONS];
    form::put(out, object, &head);
    if let Some(map) = object.as_object() {
        content(out, 0, map, "");
    }
}

fn content(out: &mut Out, level: usize, map: &Map<String, Value>, prefix: &str) {
    for (field, value) in map {
        let path = format!("{prefix}.{field}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Object(inner) => {
                out.put(level, format!("{}:\n", label(field)));
                content(out, level + 1, inner, &path);
            }
            Value::Array(items) => {
                out.put(level, format!("{}:\n", label(field)));
                for item in items {
                    match item {
                        Value::Object(inner) => content(out, level + 1, inner, &path),
                        v => out.put(level + 1, format!("{}\n", go::plain(v))),
                    }
                }
            }
            v => out.put(level, format!("{}:\t{}\n", label(field), go::plain(v))),
        }
    }
}

/// `nonResourceURLs` becomes `Non Resource UR Ls`, as it does upstream; `apiVersion` becomes `API Version`.
fn label(field: &str) -> String {
    if field.chars().any(|c| !c.is_alphabetic() && c != '-') {
        return field.into();
    }
    let mut parts = camel(field);
    let mut merged: Vec<String> = Vec::new();
    while !parts.is_empty() {
        let part = parts.remove(0);
        let capitals = part.chars().count() >= 2 && part.chars().all(char::is_uppercase);
        if capitals
            && parts
                .first()
                .is_some_and(|n| n.starts_with(char::is_uppercase))
        {
            merged.push(part + &parts.remove(0));
        } else {
            merged.push(part);
        }
    }
    let title = |p: String| {
        if ["API", "URL", "UID", "GUID"].contains(&p.to_uppercase().as_str()) {
            return p.to_uppercase();
        }
        if p.to_lowercase() != p {
            return p;
        }
        let mut chars = p.chars();
        chars.next().map_or_else(String::new, |c| {
            c.to_uppercase().collect::<String>() + chars.as_str()
        })
    };
    merged.into_iter().map(title).collect::<Vec<_>>().join(" ")
}

/// Splits at changes of case: an upper-case letter belongs to what follows it.
fn camel(text: &str) -> Vec<String> {
    let class = |c: char| {
        if c.is_lowercase() {
            1
        } else if c.is_uppercase() {
            2
        } else {
            3
        }
    };
    let mut runs: Vec<String> = Vec::new();
    let mut last = 0;
    for c in text.chars() {
        if class(c) == last {
            if let Some(r) = runs.last_mut() {
                r.push(c);
            }
        } else {
            runs.push(c.to_string());
        }
        last = class(c);
    }
    for i in 0..runs.len().saturating_sub(1) {
        let upper = runs[i].starts_with(char::is_uppercase);
        if upper
            && runs[i + 1].starts_with(char::is_lowercase)
            && let Some(c) = runs[i].pop()
        {
            runs[i + 1].insert(0, c);
        }
    }
    runs.retain(|r| !r.is_empty());
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_made_of_names() {
        for (field, want) in [
            ("apiVersion", "API Version"),
            ("creationTimestamp", "Creation Timestamp"),
            ("uid", "UID"),
            ("kind", "Kind"),
            ("x.y", "x.y"),
            ("resourceVersion", "Resource Version"),
            ("podCIDR", "Pod CIDR"),
        ] {
            assert_eq!(label(field), want);
        }
    }
}
