//! What fills the columns of `columns.txt`: the makers that several kinds use, and the list of all. The makers of one kind, or of a few of a kin,
//! stand in files of their own here.
//!
//! Invariant: a field that is absent or of another type reads as Go's zero, so that a half-filled object prints and never panics. Follows the
//! helpers of `pkg/printers/internalversion/printers.go`, and `k8s.io/apimachinery/pkg/util/duration/duration.go` for ages.

mod autoscaling;
mod cluster;
mod event;
mod metrics;
mod network;
pub(super) mod pod;
mod storage;
mod workloads;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Cell;
use crate::machinery::{meta::Meta, quantity::Quantity, read::Read, selector::Selector, time};

/// What an empty set prints.
pub const NONE: &str = "<none>";
/// What an absent optional field prints.
pub const UNSET: &str = "<unset>";
/// What a time or quantity that is not known prints.
pub const UNKNOWN: &str = "<unknown>";

/// What a cell is made of.
pub struct Of<'a> {
    pub object: &'a Value,
    /// What stands at the column's path; null when there is nothing.
    pub at: &'a Value,
    /// What stands in parentheses behind the maker's name.
    pub argument: &'static str,
    pub now: Timestamp,
}

/// How cells are made.
#[derive(Debug, Clone, Copy)]
pub enum Make {
    One(fn(&Of<'_>) -> Cell),
    /// The cells of several columns at once, which have more in common than is got twice.
    Many(fn(&Of<'_>) -> Vec<Cell>),
}

/// A list of makers: their names and what they make of `$of`, a text, a number or a flag.
macro_rules! makers {
    ($of:ident; $($name:literal => $cell:expr,)*) => {
        &[$(($name, $crate::kinds::cells::Make::One(|$of| $crate::kinds::Cell::from($cell)))),*]
    };
}
use makers;

type Makers = &'static [(&'static str, Make)];

const COMMON: Makers = makers! { of;
    "raw" => of.at.clone(),
    "text" => text_or(of.at, of.argument),
    "given" => of.at.as_str().unwrap_or(of.argument),
    "int" => of.at.as_i64().unwrap_or(0),
    "flag" => of.at.as_bool().unwrap_or(of.argument == "true"),
    "size" => size(of.at),
    "int_or_text" => int_or_text(of.at, of.argument),
    "quantity" => quantity(of.at, of.argument),
    "since" => if of.at.is_null() && !of.argument.is_empty() { of.argument.into() } else { since(of.at, of.now) },
    "list" => joined(items(of.at).iter().map(text), of.argument),
    "first" => items(of.at).first().map_or(of.argument, text),
    "each" => joined(items(of.at).iter().map(|item| item.text(of.argument)), ""),
    "labels" => labels(of.at),
    "selector" => label_selector(of.at),
    "pair" => pair(of.at, of.argument),
    "reference" => if of.at.is_null() { of.argument.into() } else { pair(of.at, "namespace/name") },
    "part" => part(of.at, of.argument),
    "condition" => conditions(of.at, of.argument).map_or("?", |condition| condition.text("status")),
    "ready" => format!("{}/{}", of.object.at("status").int("readyReplicas"), of.object.at("spec").int("replicas")),
    "phase" => if of.object.is_deleting() { "Terminating" } else { text(of.at) },
    "default_class" => default_class(of),
    "load_balancer" => load_balancer(of.at),
    "subjects" => subjects(of.at, of.argument),
    "lifetime" => of.at.as_i64().map_or_else(|| NONE.into(), |seconds| human_duration(SignedDuration::from_secs(seconds))),
};

/// The maker of this name.
pub(super) fn maker(name: &str) -> Option<Make> {
    let all = [
        COMMON,
        autoscaling::MAKERS,
        metrics::MAKERS,
        cluster::MAKERS,
        event::MAKERS,
        network::MAKERS,
        pod::MAKERS,
        pod::JOINT,
        cluster::JOINT,
        storage::MAKERS,
        workloads::MAKERS,
    ];
    let mut all = all.into_iter().flatten();
    all.find_map(|(known, make)| (*known == name).then_some(*make))
}

/// The empty string when absent.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `other` when absent or empty.
fn text_or<'a>(value: &'a Value, other: &'a str) -> &'a str {
    or(text(value), other)
}

/// `other` for the empty string.
fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// Empty when absent.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// By commas, `other` when that is the empty string.
fn joined<'a>(items: impl Iterator<Item = &'a str>, other: &str) -> String {
    let written = items.collect::<Vec<_>>().join(",");
    or(&written, other).into()
}

/// How many entries a map or list has.
fn size(value: &Value) -> usize {
    value
        .as_object()
        .map_or_else(|| items(value).len(), serde_json::Map::len)
}

/// A field that holds a number or a text (`IntOrString`), `other` when absent.
fn int_or_text(value: &Value, other: &str) -> String {
    value.as_i64().map_or_else(
        || text_or(value, other).to_string(),
        |number| number.to_string(),
    )
}

/// A quantity in canonical form, `other` when absent.
fn quantity(value: &Value, other: &str) -> String {
    let written = match value {
        Value::String(written) => written.clone(),
        Value::Number(number) => number.to_string(),
        _ => return other.to_string(),
    };
    written
        .parse::<Quantity>()
        .map_or(written, |quantity| quantity.to_string())
}

/// The first condition of this type.
fn conditions<'a>(list: &'a Value, of_type: &str) -> Option<&'a Value> {
    items(list)
        .iter()
        .find(|condition| condition.text("type") == of_type)
}

/// The first entry of `status.conditions` of this type.
fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    conditions(object.at("status").at("conditions"), of_type)
}

/// A condition of this type is true.
fn is_true(object: &Value, of_type: &str) -> bool {
    condition(object, of_type).is_some_and(|condition| condition.text("status") == "True")
}

/// A moment as the API writes it; `None` when absent.
fn moment(value: &Value) -> Option<Timestamp> {
    time::parse(value.as_str()?).ok()
}

/// The time since a moment, `<unknown>` when it is absent.
fn since(value: &Value, now: Timestamp) -> String {
    moment(value).map_or_else(
        || UNKNOWN.to_string(),
        |at| human_duration(now.duration_since(at)),
    )
}

/// A duration with two or three significant figures: `90s`, `5m10s`, `3h`, `2d4h`, `3y20d`. A clock that is one second ahead reads as none; one
/// that is further ahead as `<invalid>`.
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |big: i64, unit: char, small: i64, sub: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{sub}")
        }
    };
    match () {
        () if seconds < -1 => "<invalid>".to_string(),
        () if seconds < 0 => "0s".to_string(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => pair(days, 'd', hours % 24, 'h'),
        () if years < 2 => format!("{days}d"),
        () if years < 8 => pair(years, 'y', days % 365, 'd'),
        () => format!("{years}y"),
    }
}

/// A map of labels as `a=1,b=2`, `<none>` when it is empty.
fn labels(map: &Value) -> String {
    let mut pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    pairs.sort();
    or(&pairs.join(","), NONE).into()
}

/// A `metav1.LabelSelector` in the syntax of `--selector`, `<none>` when it is absent or empty, `<error>` when it is malformed.
fn label_selector(selector: &Value) -> String {
    Selector::from_label_selector(Some(selector)).map_or_else(
        |_| "<error>".to_string(),
        |selector| or(&selector.to_string(), NONE).into(),
    )
}

/// The first `max` items by commas, and how many more there are.
fn few(items: &[String], max: usize) -> String {
    match items.len().checked_sub(max) {
        Some(more) if more > 0 => format!("{} + {more} more...", items[..max].join(",")),
        _ => items.join(","),
    }
}

/// Two fields with a slash between them, as the argument has their names.
fn pair(of: &Value, fields: &str) -> String {
    let (first, second) = fields.split_once('/').unwrap_or((fields, ""));
    format!("{}/{}", of.text(first), of.text(second))
}

/// A number in something optional, `<none>` without it.
fn part(of: &Value, field: &str) -> Cell {
    if of.is_null() {
        NONE.into()
    } else {
        of.int(field).into()
    }
}

/// The name, and whether an annotation (one of those that the argument names) says that the class is the default one.
fn default_class(of: &Of<'_>) -> String {
    let is_default = of
        .argument
        .split(',')
        .any(|key| of.object.annotation(key) == Some("true"));
    format!(
        "{}{}",
        of.object.name(),
        if is_default { " (default)" } else { "" }
    )
}

/// The addresses of a load balancer's status, in order, each once. The server fills rows as for `-o wide`, so nothing is cut.
fn load_balancer(status: &Value) -> String {
    let addresses: BTreeSet<&str> = status
        .at("loadBalancer")
        .list("ingress")
        .iter()
        .map(|point| or(point.text("ip"), point.text("hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    joined(addresses.into_iter(), "")
}

/// Those of a binding's subjects that are of a kind.
fn subjects(subjects: &Value, kind: &str) -> String {
    let of_kind = items(subjects)
        .iter()
        .filter(|subject| subject.text("kind") == kind);
    let written: Vec<String> = match kind {
        "ServiceAccount" => of_kind
            .map(|subject| pair(subject, "namespace/name"))
            .collect(),
        _ => of_kind.map(|subject| subject.text("name").into()).collect(),
    };
    written.join(", ")
}

#[cfg(test)]
mod tests;
