//! What stands against an apply: fields that others own.
//!
//! Invariant: conflicts are sorted by manager, a manager's by depth and then by path.
//! Follows upstream's `apimachinery/pkg/util/managedfields/internal/conflict.go`.

use std::fmt;

use super::managers::{Header, Operation};
use super::set::Set;
use crate::machinery::quote::go_quote;
use crate::machinery::status::{Cause, Details, Status};

/// Conflicts with one manager.
#[derive(Debug, Clone, PartialEq, Eq)]
struct With {
    /// As messages name it: `"kubectl" using apps/v1`.
    manager: String,
    /// `.spec.replicas`.
    paths: Vec<String>,
}

/// All conflicts of an apply; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conflicts {
    with: Vec<With>,
}

/// A manager as messages name it.
fn printed(manager: &Header<'_>) -> String {
    let mut out = go_quote(&manager.name);
    if !manager.subresource.is_empty() {
        out.push_str(&format!(
            " with subresource {}",
            go_quote(&manager.subresource)
        ));
    }
    if manager.operation == Operation::Update {
        out.push_str(&format!(" using {}", manager.api_version));
    }
    out
}

impl Conflicts {
    /// Of managers with the paths that are at odds.
    pub(super) fn new(found: &[(Header<'_>, Set<'_>)]) -> Conflicts {
        let mut found: Vec<_> = found
            .iter()
            .map(|(manager, set)| (manager.identifier(), manager, set))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let path =
            |steps: Vec<super::PathElement<'_>>| steps.iter().map(ToString::to_string).collect();
        let with = found.into_iter().map(|(_, manager, set)| With {
            manager: printed(manager),
            paths: set.paths().into_iter().map(path).collect(),
        });
        Conflicts {
            with: with.collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.with.iter().map(|w| w.paths.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server's answer: 409, a cause for each path.
    pub fn status(&self) -> Status {
        let causes = self.with.iter().flat_map(|with| {
            with.paths.iter().map(|path| Cause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {}", with.manager),
                field: path.clone(),
            })
        });
        Status {
            details: Some(Details {
                causes: causes.collect(),
                ..Details::default()
            }),
            ..Status::new(409, "Conflict", self.to_string())
        }
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [With { manager, paths }] = &self.with[..]
            && let [path] = &paths[..]
        {
            return write!(
                f,
                "Apply failed with 1 conflict: conflict with {manager}: {path}"
            );
        }
        let lines: Vec<String> = (self.with.iter())
            .flat_map(|w| {
                std::iter::once(format!("conflicts with {}:", w.manager))
                    .chain(w.paths.iter().map(|p| format!("- {p}")))
            })
            .collect();
        write!(
            f,
            "Apply failed with {} conflicts: {}",
            self.len(),
            lines.join("\n")
        )
    }
}
