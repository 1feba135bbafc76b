//! What calls cost at most, by what is known of their arguments.
//!
//! Invariant: an estimate decides whether a rule may be stored, so it is upstream's to the number. Follows upstream's
//! `vendor/github.com/google/cel-go/checker/cost.go` (`functionCost`), `ext/{lists,sets}.go` and
//! `staging/src/k8s.io/apiserver/pkg/cel/library/cost.go` (`EstimateCallCost`).

use super::{CHECK, LIST, PATTERN, Range, STRUCT, TRAVERSAL};
use crate::ast::{Expr, Kind, Literal};
use crate::types::Type;

/// What is known of an argument.
pub struct Known<'a> {
    pub ty: &'a Type,
    pub expr: &'a Expr,
    /// Its size, if something is known of it.
    pub size: Option<Range>,
    /// The size of its elements, where it comes from declared data.
    pub elements: Option<Range>,
}

impl Known<'_> {
    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }

    /// What its elements are, if it is a list.
    fn element(&self) -> Option<(&Type, Range)> {
        let of = match self.ty {
            Type::List(of) => of,
            Type::Map(of) => &of.0,
            Type::Opaque(opaque) => opaque.params.first()?,
            Type::Type(Some(of)) => of,
            _ => return None,
        };
        Some((of, self.elements.unwrap_or(Range::UNKNOWN)))
    }

    fn int(&self) -> Option<u64> {
        match &self.expr.kind {
            Kind::Literal(Literal::Int(value)) => Some(u64::try_from(*value).unwrap_or(0)),
            _ => None,
        }
    }
}

/// The cost of a call without its arguments, and the size of what it gives.
pub struct Estimate {
    pub cost: Range,
    pub result: Option<Range>,
}

fn cost(cost: Range) -> Estimate {
    Estimate { cost, result: None }
}

fn sized(cost: Range, result: Range) -> Estimate {
    Estimate {
        cost,
        result: Some(result),
    }
}

/// What parsing a selector costs.
pub fn selector(length: u64) -> u64 {
    selector_range(Range::fixed(length)).max
}

fn selector_range(length: Range) -> Range {
    let requirements = length.by(0.5).by((LIST + STRUCT) as f64);
    Range::fixed(LIST)
        .plus(length.by(TRAVERSAL))
        .plus(requirements)
}

/// What looking for a pattern in a text costs.
fn search(text: Range, pattern: Range) -> Range {
    let text = text.plus(Range::fixed(1)).by(TRAVERSAL);
    text.times(pattern.by(PATTERN))
}

pub fn estimate(
    function: &str,
    id: &str,
    target: Option<&Known<'_>>,
    args: &[Known<'_>],
) -> Estimate {
    extended(id, target, args)
        .or_else(|| kubernetes(function, id, target, args))
        .unwrap_or_else(|| standard(id, target, args))
}

/// Functions of cel-go's own extensions.
fn extended(id: &str, target: Option<&Known<'_>>, args: &[Known<'_>]) -> Option<Estimate> {
    let listed =
        |factor: f64, size: Range| sized(size.by(factor).plus(Range::fixed(1 + LIST)), size);
    let sets = |factor: f64| {
        let [a, b] = args else { return None };
        let product = a.size().times(b.size());
        Some(cost(product.by(factor).plus(Range::fixed(1))))
    };
    let sorted = |of: &Known<'_>, id: &str| {
        let texts = id.starts_with("list_string_") || id.starts_with("list_bytes_");
        let factor = if texts { 2.0 + TRAVERSAL } else { 2.0 };
        listed(factor, of.size().times(of.size()))
    };
    Some(match (id, target, args) {
        ("list_sets_contains_list" | "list_sets_intersects_list", ..) => return sets(1.0),
        ("list_sets_equivalent_list", ..) => return sets(2.0),
        ("list_slice", Some(list), [start, end]) => {
            let start = start.int().unwrap_or(0);
            let end = end.int().unwrap_or(list.size().max);
            listed(1.0, Range::fixed(end.wrapping_sub(start)))
        }
        ("lists_range", None, [count]) => {
            listed(1.0, Range::fixed(count.int().unwrap_or(u64::MAX)))
        }
        ("list_reverse", Some(list), []) => listed(1.0, list.size()),
        ("list_flatten", Some(list), []) => listed(1.0, list.size()),
        ("list_flatten_int", Some(list), [depth]) => {
            listed(depth.int().unwrap_or(u64::MAX) as f64, list.size())
        }
        ("list_distinct", Some(list), []) => listed(2.0, list.size().times(list.size())),
        (id, Some(list), []) if id.ends_with("_sort") => sorted(list, id),
        (id, Some(_), [keys]) if id.ends_with("_sortByAssociatedKeys") => sorted(keys, id),
        _ => return None,
    })
}

/// What a call of Kubernetes' libraries costs whatever it is given.
pub fn fixed(function: &str, id: &str) -> Option<u64> {
    Some(match function {
        "check" => CHECK,
        "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
        | "allowed" | "reason" | "error" | "errored" => 1,
        "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast" => 1,
        "ip" if id == "cidr_ip" => 1,
        "format.named" => 1,
        "sign" | "asInteger" | "isInteger" | "asApproximateFloat" | "isGreaterThan"
        | "isLessThan" | "compareTo" | "add" | "sub" | "major" | "minor" | "patch" => 1,
        "getScheme" | "getHostname" | "getHost" | "getPort" | "getEscapedPath" | "getQuery" => 1,
        _ => return None,
    })
}

/// Functions of Kubernetes' libraries, and what those libraries say of others.
fn kubernetes(
    function: &str,
    id: &str,
    target: Option<&Known<'_>>,
    args: &[Known<'_>],
) -> Option<Estimate> {
    if let Some(fixed) = fixed(function, id) {
        return Some(cost(Range::fixed(fixed)));
    }
    let first = args.first();
    match function {
        "fieldSelector" | "labelSelector" => {
            let [selector] = args else { return None };
            Some(cost(selector_range(selector.size())))
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let target = target?;
            let Some((of, size)) = target.element() else {
                return Some(cost(target.size().by(TRAVERSAL)));
            };
            let mut each = Range::fixed(1);
            if matches!(of, Type::String | Type::Bytes) {
                each = each.plus(size.by(TRAVERSAL));
            }
            Some(cost(target.size().times(each)))
        }
        "url" | "jsonpatch.escapeKey" => {
            let [text] = args else { return None };
            Some(sized(text.size().by(TRAVERSAL), text.size()))
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            let size = target?.size();
            Some(sized(size.by(TRAVERSAL), size))
        }
        "replace" => replace(target?, args),
        "split" => {
            let size = target?.size();
            let most = args.get(1).and_then(|limit| match &limit.expr.kind {
                Kind::Literal(Literal::Int(limit)) => Some(*limit as u64),
                _ => None,
            });
            let result = Range {
                min: 0,
                max: most.unwrap_or(size.max),
            };
            Some(sized(size.by(2.0 * TRAVERSAL), result))
        }
        "join" => {
            let target = target?;
            let mut size = target
                .element()
                .map_or(Range::ZERO, |(_, of)| target.size().times(of));
            if let Some(separator) = first {
                let between = Range {
                    min: target.size().min.saturating_sub(1),
                    max: target.size().max.saturating_sub(1),
                };
                size = size.plus(separator.size().times(between));
            }
            Some(sized(size.by(TRAVERSAL), size))
        }
        "find" | "findAll" => {
            let size = target?.size();
            let result = Range {
                min: 0,
                max: size.max,
            };
            Some(sized(search(size, first?.size()), result))
        }
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            Some(cost(first?.size().by(TRAVERSAL)))
        }
        "ip.isCanonical" => Some(cost(first?.size().by(2.0 * TRAVERSAL))),
        "containsIP" | "containsCIDR" => {
            let bytes = Range { min: 4, max: 16 };
            let mut total = bytes.plus(bytes).by(TRAVERSAL);
            if function == "containsCIDR" {
                total = total.plus(bytes.by(TRAVERSAL)).plus(Range::fixed(1));
            }
            if id.ends_with("_string") {
                total = total.plus(first?.size().by(TRAVERSAL));
            }
            Some(cost(total))
        }
        "validate" => {
            const LONGEST_PATTERN: f64 = 128.0;
            Some(cost(
                first?.size().by(TRAVERSAL).by(LONGEST_PATTERN * PATTERN),
            ))
        }
        "_==_" => opaque_equality(args),
        _ => None,
    }
}

fn replace(target: &Known<'_>, args: &[Known<'_>]) -> Option<Estimate> {
    let [old, new, ..] = args else { return None };
    let (size, old, new) = (target.size(), old.size(), new.size());
    // where what comes in is shorter than what it replaces, the text at its longest is one in which nothing was found
    let bound = |size: u64, old: u64, kept: bool| match (old, kept) {
        (0, _) => (size.saturating_add(1), size),
        (_, true) => (0, size),
        (_, false) => ((size as f64 / old as f64).ceil() as u64, 0),
    };
    let (most, most_kept) = bound(size.max, old.min, new.max <= old.min);
    let (least, least_kept) = bound(size.min, old.max, old.max <= new.min);
    let range = |min, max| Range { min, max };
    let (count, kept) = (range(least, most), range(least_kept, most_kept));
    let result = count.times(new).plus(kept);
    Some(sized(size.by(2.0 * TRAVERSAL), result))
}

/// What comparing values of libraries costs.
fn opaque_equality(args: &[Known<'_>]) -> Option<Estimate> {
    let [left, right] = args else { return None };
    if left.ty != right.ty {
        return None;
    }
    let most = match left.ty.name() {
        "net.IP" | "net.CIDR" => return Some(cost(Range::fixed(1))),
        "kubernetes.Quantity"
        | "kubernetes.Semver"
        | "kubernetes.authorization.Authorizer"
        | "kubernetes.authorization.PathCheck"
        | "kubernetes.authorization.GroupCheck"
        | "kubernetes.authorization.ResourceCheck"
        | "kubernetes.authorization.Decision" => return Some(cost(Range::fixed(1))),
        "kubernetes.NamedFormat" => 64,
        "kubernetes.URL" => right.size.map_or(1, |size| size.max),
        _ => return None,
    };
    Some(cost(Range { min: 1, max: most }.by(TRAVERSAL)))
}

/// The standard library. Sizes of results wrap where they do upstream: of what has no bound, twice as much is a little less.
fn standard(id: &str, target: Option<&Known<'_>>, args: &[Known<'_>]) -> Estimate {
    let text = |known: &Known<'_>| known.size().by(TRAVERSAL);
    match (id, target, args) {
        ("string_format", Some(target), _) => cost(text(target)),
        ("string_to_bytes", _, [one]) => sized(
            text(one),
            Range {
                min: one.size().min,
                max: one.size().max.wrapping_mul(4),
            },
        ),
        ("bytes_to_string", _, [one]) => sized(
            text(one),
            Range {
                min: one.size().min / 4,
                max: one.size().max,
            },
        ),
        ("strings_quote", _, [one]) => sized(
            text(one),
            Range {
                min: one.size().min.wrapping_add(2),
                max: one.size().max.wrapping_mul(2).wrapping_add(2),
            },
        ),
        ("starts_with_string" | "ends_with_string", _, [one]) => cost(text(one)),
        ("in_list", _, [_, list]) => cost(list.size().by(1.0)),
        ("matches_string", Some(target), [pattern]) => cost(search(target.size(), pattern.size())),
        ("contains_string", Some(target), [part]) => cost(text(target).times(text(part))),
        ("add_string" | "add_bytes", _, [left, right]) => {
            let size = left.size().plus(right.size());
            sized(size.by(TRAVERSAL), size)
        }
        ("add_list", _, [left, right]) => sized(Range::fixed(1), left.size().plus(right.size())),
        (
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals",
            _,
            [left, right],
        ) => {
            let max = left.size().max.min(right.size().max);
            let min = u64::from(max > 0);
            cost(Range { min, max }.by(TRAVERSAL))
        }
        _ => cost(Range::fixed(1)),
    }
}
