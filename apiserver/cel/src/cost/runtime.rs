//! What a call costs in fact, by its values.
//!
//! Follows upstream's `vendor/github.com/google/cel-go/interpreter/runtimecost.go`, `ext/{lists,sets}.go` and
//! `staging/src/k8s.io/apiserver/pkg/cel/library/cost.go` (`CallCost`).

use super::calls::{self, fixed};
use super::{LIST, PATTERN, TRAVERSAL, scaled};
use crate::call::Target;
use crate::value::{List, Value};

/// The cost of `==` or `!=`.
pub fn equality(left: &Value<'_>, right: &Value<'_>, negated: bool) -> u64 {
    if matches!(left, Value::Opaque(_)) && !negated {
        return 1;
    }
    scaled(left.size().min(right.size()), TRAVERSAL)
}

/// The cost of a call, without its arguments.
pub fn call(target: &Target, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Value::size);
    let id = target.overload_id();
    if let Some(cost) = extended(id, args, result) {
        return cost;
    }
    if let Some(cost) = by_name(target.name(), id, args, result) {
        return cost;
    }
    match id {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => scaled(size(0), TRAVERSAL),
        "in_list" => size(1),
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => scaled(size(0).min(size(1)), TRAVERSAL),
        "add_string" | "add_bytes" => scaled(size(0) + size(1), TRAVERSAL),
        "matches_string" => search(size(0), size(1)),
        "contains_string" => scaled(size(0), TRAVERSAL) * scaled(size(1), TRAVERSAL),
        _ => 1,
    }
}

/// What looking for a pattern in a text costs.
fn search(text: u64, pattern: u64) -> u64 {
    scaled(text + 1, TRAVERSAL).saturating_mul(scaled(pattern, PATTERN))
}

/// Functions of cel-go's own extensions, by overload.
fn extended(id: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
    let size = |at: usize| args.get(at).map_or(1, Value::size);
    let listed = |cost: u64| Some(cost.saturating_add(1 + LIST));
    let compared = |at: usize| {
        let Some(Value::List(list)) = args.get(at) else {
            return listed(0);
        };
        let texts = matches!(first(list), Some(Value::String(_) | Value::Bytes(_)));
        let factor = if texts { 2.0 + TRAVERSAL } else { 2.0 };
        let size = list.len() as u64;
        listed((size.saturating_mul(size) as f64 * factor) as u64)
    };
    match id {
        "list_sets_contains_list" | "list_sets_intersects_list" => {
            Some(size(0).saturating_mul(size(1)).saturating_add(1))
        }
        "list_sets_equivalent_list" => Some(
            size(0)
                .saturating_mul(size(1))
                .saturating_mul(2)
                .saturating_add(1),
        ),
        "list_slice" | "lists_range" | "list_reverse" => listed(result.map_or(1, Value::size)),
        "list_flatten" => listed(size(0)),
        "list_flatten_int" => {
            let depth = args.get(1).and_then(Value::as_int).unwrap_or(1);
            listed((size(0) as f64 * depth as f64) as u64)
        }
        "list_distinct" => compared(0),
        id if id.ends_with("_sort") => compared(0),
        id if id.ends_with("_sortByAssociatedKeys") => compared(1),
        _ => None,
    }
}

fn first<'a>(list: &List<'a>) -> Option<Value<'a>> {
    list.get(0)?.ok()
}

/// Functions of Kubernetes' libraries, by name, and what those libraries say of others.
fn by_name(name: &str, id: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
    if let Some(fixed) = fixed(name, id) {
        return Some(fixed);
    }
    let size = |at: usize| args.get(at).map_or(1, Value::size);
    Some(match name {
        "fieldSelector" | "labelSelector" => calls::selector(size(1)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            args.first().map_or(0, traversal)
        }
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => scaled(size(0), TRAVERSAL),
        "replace" | "split" | "ip.isCanonical" => scaled(size(0), 2.0 * TRAVERSAL),
        "join" => scaled(result.map_or(1, Value::size), 2.0 * TRAVERSAL),
        "find" | "findAll" => search(size(0), size(1)),
        "ip" => scaled(size(0), TRAVERSAL),
        "containsIP" | "containsCIDR" => {
            let mut cost = scaled(size(0) * 2, TRAVERSAL);
            if name == "containsCIDR" {
                cost += scaled(size(0), TRAVERSAL) + 1;
            }
            if id.ends_with("_string") {
                cost += scaled(size(1), TRAVERSAL);
            }
            cost
        }
        "validate" => match args.first() {
            Some(Value::Opaque(format)) => search(size(1), format.pattern_size()?),
            _ => return None,
        },
        _ => return None,
    })
}

/// What going through a value costs.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list
            .iter()
            .map(|item| item.map_or(1, |item| traversal(&item)))
            .sum(),
        Value::Map(map) => {
            let of = |key: &Value<'_>| match map.get(key) {
                Ok(Some(value)) => traversal(key) + traversal(&value),
                _ => traversal(key) + 1,
            };
            map.keys().iter().map(of).sum()
        }
        _ => 1,
    }
}
