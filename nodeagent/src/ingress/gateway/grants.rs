//! Who may name what in another namespace.
//!
//! Invariant: pure. Nobody may, unless a ReferenceGrant there says so. Follows `apis/v1beta1/referencegrant_types.go` of the Gateway API.

use super::{
    objects::{GROUP, Object},
    watch::Objects,
};
use crate::network::view::ObjectName;

/// A kind with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind<'a> {
    pub group: &'a str,
    pub kind: &'a str,
}

impl Kind<'_> {
    /// One of the Gateway API's.
    pub fn of<O: Object>() -> Self {
        Kind {
            group: GROUP,
            kind: O::KIND,
        }
    }
}

/// Whether objects of a kind in a namespace may name this one.
pub fn permit(
    objects: &Objects,
    (from, namespace): (Kind<'_>, &str),
    (to, name): (Kind<'_>, &ObjectName),
) -> bool {
    let there = objects
        .grants
        .iter()
        .filter(|(of, _)| of.namespace == name.namespace);
    there.into_iter().any(|(_, grant)| {
        let from = grant.spec.from.iter().any(|one| {
            (
                one.group.as_str(),
                one.kind.as_str(),
                one.namespace.as_str(),
            ) == (from.group, from.kind, namespace)
        });
        let to = grant.spec.to.iter().any(|one| {
            (one.group.as_str(), one.kind.as_str()) == (to.group, to.kind)
                && one.name.as_ref().is_none_or(|own| *own == name.name)
        });
        from && to
    })
}
