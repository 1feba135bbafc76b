//! The set of the fields that an object mentions, and how a set follows a schema.
//!
//! Invariant: every leaf is a member, and so is every element of a list and of a map.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/{tofieldset,reconcile_schema}.go` and `fieldpath/set.go` (EnsureNamedFieldsAreMembers).

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::{Entry, Set, SetNode};
use super::types::{Atom, List, Ty};

/// Every leaf and element that `value` mentions.
pub(super) fn field_set<'a>(value: &'a Value, ty: Ty<'a>) -> Set<'a> {
    node(value, ty).below
}

fn node<'a>(value: &'a Value, ty: Ty<'a>) -> SetNode<'a> {
    match ty.atom(Some(value)) {
        Atom::Scalar(_) => SetNode::leaf(),
        Atom::List(list) if list.atomic => SetNode::leaf(),
        Atom::Map(map) if map.atomic => SetNode::leaf(),
        Atom::List(list) => SetNode {
            member: false,
            below: elements(value.as_array().map_or(&[], |l| l), &list),
        },
        Atom::Map(map) => {
            let mut below = Set::default();
            for (key, child) in value.as_object().into_iter().flatten() {
                let field = map.field(key);
                let mut found = node(child, field.or(map.element).unwrap_or(Ty::Deduced));
                found.member |= field.is_none()
                    || child.is_null()
                    || child.as_object().is_some_and(Map::is_empty);
                below.push(PathElement::field(key), found);
            }
            SetNode {
                member: false,
                below,
            }
        }
    }
}

fn elements<'a>(items: &'a [Value], list: &List<'a>) -> Set<'a> {
    // Elements without a step were refused before.
    let mut steps: Vec<_> = items
        .iter()
        .filter_map(|item| Some((list.step(item).ok()?, item)))
        .collect();
    steps.sort_by(|a, b| a.0.cmp(&b.0));
    let mut set = Set::default();
    for group in steps.chunk_by(|a, b| a.0 == b.0) {
        let below = if let [(_, item)] = group {
            node(item, list.element).below
        } else {
            Set::default()
        };
        set.push(
            group[0].0.clone(),
            SetNode {
                member: true,
                below,
            },
        );
    }
    set
}

/// The set with every struct field that has members below it a member, too.
pub(super) fn with_named_fields<'a>(set: &Set<'a>, ty: Option<Ty<'a>>) -> Set<'a> {
    let atom = ty.map(|t| t.atom(None));
    let mut out = Set::default();
    for Entry { element, node } in set.entries() {
        let (named, child) = match (element, atom) {
            (PathElement::Field(name), Some(Atom::Map(map))) => (
                map.field(name).is_some() && !node.below.is_empty(),
                map.child(name),
            ),
            (PathElement::Key(_), Some(Atom::List(list))) => (false, Some(list.element)),
            _ => (false, None),
        };
        out.push(
            element.clone(),
            SetNode {
                member: node.member || named,
                below: with_named_fields(&node.below, child),
            },
        );
    }
    out
}

/// The set as the schema has it now: what became owned as a whole since the set was written is one member.
pub(super) fn reconciled<'a>(set: &Set<'a>, ty: Ty<'a>) -> Option<Set<'a>> {
    below(set, ty)
}

fn below<'a>(set: &Set<'a>, ty: Ty<'a>) -> Option<Set<'a>> {
    let atom = ty.atom(None);
    let mut changed: Option<Set<'a>> = None;
    for (at, Entry { element, node }) in set.entries().iter().enumerate() {
        let child = match (element, atom) {
            (PathElement::Field(name), Atom::Map(map)) => map.child(name),
            (_, Atom::Map(map)) => map.element,
            (_, Atom::List(list)) => Some(list.element),
            (_, Atom::Scalar(_)) => None,
        };
        let new = child.and_then(|child| entry(node, child));
        if new.is_some() && changed.is_none() {
            let mut copy = Set::default();
            set.entries()[..at]
                .iter()
                .for_each(|e| copy.push(e.element.clone(), e.node.clone()));
            changed = Some(copy);
        }
        if let Some(changed) = &mut changed {
            changed.push(element.clone(), new.unwrap_or_else(|| node.clone()));
        }
    }
    changed
}

fn entry<'a>(node: &SetNode<'a>, ty: Ty<'a>) -> Option<SetNode<'a>> {
    if ty.is_deduced() {
        return None;
    }
    let whole = match ty.atom(None) {
        Atom::List(list) => list.atomic,
        Atom::Map(map) => map.atomic,
        Atom::Scalar(_) => return None,
    };
    if whole {
        return (!node.below.is_empty()).then(SetNode::leaf);
    }
    below(&node.below, ty).map(|below| SetNode {
        member: node.member,
        below,
    })
}
