//! Files of one volume that would hide each other. Follows `pkg/api/pod/warnings.go` (warningsForOverlappingVirtualPaths).
//!
//! Invariant: a path overlaps another that it equals, holds or stands in.

use crate::kinds::prelude::*;
use crate::machinery::quote::go_quote;

/// A path and where it comes from.
struct Placed<'v> {
    path: &'v str,
    source: String,
}

impl std::fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&go_quote(self.path))?;
        if self.source.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.source)
        }
    }
}

pub fn overlaps(volumes: &[Value], out: &mut Warnings) {
    for volume in volumes {
        let name = go_quote(volume.text("name"));
        for (kind, word, named) in [
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("downwardAPI", "DownwardAPI", ""),
        ] {
            let Some(source) = volume.some(kind) else {
                continue;
            };
            let what = if named.is_empty() {
                word.to_string()
            } else {
                format!("{word} {}", go_quote(source.text(named)))
            };
            let mut seen = Vec::new();
            for path in source.list("items").iter().map(|item| item.text("path")) {
                collide(
                    &mut seen,
                    path,
                    String::new(),
                    &format!("volume {name} ({what})"),
                    out,
                );
            }
        }
        let Some(projected) = volume.some("projected") else {
            continue;
        };
        let mut seen = Vec::new();
        for source in projected.list("sources") {
            if source.as_object().is_some_and(serde_json::Map::is_empty) {
                out.push(format!("volume {name} (Projected) has no sources provided"));
            }
            for (path, from) in files(source) {
                collide(
                    &mut seen,
                    path,
                    from,
                    &format!("volume {name} (Projected)"),
                    out,
                );
            }
        }
    }
}

/// The files of a projected source: the first kind of source that names some.
fn files(source: &Value) -> Vec<(&str, String)> {
    for (kind, word) in [
        ("configMap", "ConfigMap"),
        ("secret", "Secret"),
        ("downwardAPI", "DownwardAPI"),
    ] {
        let of = source.at(kind);
        let from = if kind == "downwardAPI" {
            word.to_string()
        } else {
            format!("{word} {}", go_quote(of.text("name")))
        };
        if of.some("items").is_some() {
            return of
                .list("items")
                .iter()
                .map(|item| (item.text("path"), from.clone()))
                .collect();
        }
    }
    source
        .some("serviceAccountToken")
        .map(|token| (token.text("path"), "ServiceAccountToken".to_string()))
        .into_iter()
        .collect()
}

fn collide<'v>(
    seen: &mut Vec<Placed<'v>>,
    path: &'v str,
    source: String,
    what: &str,
    out: &mut Warnings,
) {
    let new = Placed {
        path: path.trim_end_matches('/'),
        source,
    };
    let within = |inner: &str, outer: &str| {
        inner == outer
            || inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if !new.path.is_empty() {
        for had in seen.iter().filter(|had| {
            !had.path.is_empty() && (within(had.path, new.path) || within(new.path, had.path))
        }) {
            out.push(format!("{what}: overlapping paths: {new} with {had}"));
        }
    }
    seen.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (volume, wanted) in [
            (
                json!({"name": "v", "configMap": {"name": "c", "items": [{"path": "a"}, {"path": "b"}]}}),
                vec![],
            ),
            (
                json!({"name": "v", "secret": {"secretName": "s", "items": [{"path": "a"}, {"path": "a/b"}]}}),
                vec!["volume \"v\" (Secret \"s\"): overlapping paths: \"a/b\" with \"a\""],
            ),
            (
                json!({"name": "v", "projected": {"sources": [{}, {"secret": {"name": "s", "items": [{"path": "t"}]}}, {"serviceAccountToken": {"path": "t/"}}]}}),
                vec![
                    "volume \"v\" (Projected) has no sources provided",
                    "volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t\" (Secret \"s\")",
                ],
            ),
        ] {
            let mut out = Warnings::new();
            overlaps(&[volume], &mut out);
            assert_eq!(out, wanted);
        }
    }
}
