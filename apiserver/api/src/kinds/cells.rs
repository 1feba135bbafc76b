//! What the columns of several kinds share: reading fields of an object, ages, label selectors, container lists, and the columns that recur.
//!
//! Invariant: a field that is absent or of another type reads as Go's zero, so that a half-filled object prints and never panics. Follows the
//! helpers of `pkg/printers/internalversion/printers.go`, and `k8s.io/apimachinery/pkg/util/duration/duration.go` for ages.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Column, table::AGE};
use crate::machinery::{quantity::Quantity, selector::Selector, time};

/// A row from expressions that are strings, integers or booleans.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::kinds::Cell::from($cell)),*] };
}
pub(crate) use row;

/// What an empty set prints.
pub const NONE: &str = "<none>";
/// What an absent optional field prints.
pub const UNSET: &str = "<unset>";
/// What a time or quantity that is not known prints.
pub const UNKNOWN: &str = "<unknown>";

/// A column that is always shown. `kind` is the OpenAPI type.
pub const fn column(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
) -> Column<'static> {
    Column {
        name,
        kind,
        description,
        ..AGE
    }
}

/// A column that `-o wide` adds.
pub const fn wide(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
) -> Column<'static> {
    Column {
        priority: 1,
        ..column(name, kind, description)
    }
}

/// The columns that every kind with a pod template ends in.
pub const CONTAINERS: Column<'static> = wide(
    "Containers",
    "string",
    "Names of each container in the template.",
);
pub const IMAGES: Column<'static> = wide(
    "Images",
    "string",
    "Images referenced by each container in the template.",
);

/// The empty string when absent.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `other` when absent or empty.
pub fn text_or<'a>(value: &'a Value, other: &'a str) -> &'a str {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or(other)
}

/// Zero when absent.
pub fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// False when absent.
pub fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

/// Empty when absent.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// How many entries a map or list has.
pub fn size(value: &Value) -> usize {
    value
        .as_object()
        .map_or_else(|| list(value).len(), serde_json::Map::len)
}

/// A field that holds a number or a text (`IntOrString`), `other` when absent.
pub fn int_or_text(value: &Value, other: &str) -> String {
    value.as_i64().map_or_else(
        || text_or(value, other).to_string(),
        |number| number.to_string(),
    )
}

/// A quantity in canonical form, `other` when absent.
pub fn quantity(value: &Value, other: &str) -> String {
    let written = match value {
        Value::String(written) => written.clone(),
        Value::Number(number) => number.to_string(),
        _ => return other.to_string(),
    };
    written
        .parse::<Quantity>()
        .map_or(written, |quantity| quantity.to_string())
}

pub fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// Whether deletion was asked for.
pub fn is_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The first entry of `status.conditions` of this type.
pub fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    list(&object["status"]["conditions"])
        .iter()
        .find(|condition| condition["type"] == of_type)
}

/// A moment as the API writes it; `None` when absent.
pub fn moment(value: &Value) -> Option<Timestamp> {
    time::parse(value.as_str()?).ok()
}

/// The time since a moment, `<unknown>` when it is absent.
pub fn since(value: &Value, now: Timestamp) -> String {
    moment(value).map_or_else(
        || UNKNOWN.to_string(),
        |at| human_duration(now.duration_since(at)),
    )
}

/// The time since an object's creation.
pub fn age(object: &Value, now: Timestamp) -> String {
    since(&object["metadata"]["creationTimestamp"], now)
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
pub fn labels(map: &Value) -> String {
    let mut pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    pairs.sort();
    if pairs.is_empty() {
        NONE.to_string()
    } else {
        pairs.join(",")
    }
}

/// A `metav1.LabelSelector` in the syntax of `--selector`, `<none>` when it is absent or empty, `<error>` when it is malformed.
pub fn label_selector(selector: &Value) -> String {
    match Selector::from_label_selector(Some(selector)).map(|selector| selector.to_string()) {
        Ok(written) if written.is_empty() => NONE.to_string(),
        Ok(written) => written,
        Err(_) => "<error>".to_string(),
    }
}

/// The names and the images of a pod spec's containers, each joined by commas.
pub fn containers(pod_spec: &Value) -> (String, String) {
    let joined = |field: &str| {
        list(&pod_spec["containers"])
            .iter()
            .map(|container| text(&container[field]))
            .collect::<Vec<_>>()
            .join(",")
    };
    (joined("name"), joined("image"))
}

/// The first `max` items by commas, and how many more there are.
pub fn few(items: &[String], max: usize) -> String {
    match items.len().checked_sub(max) {
        Some(more) if more > 0 => format!("{} + {more} more...", items[..max].join(",")),
        _ => items.join(","),
    }
}

/// The addresses of a load balancer's status, in order, each once. The server fills rows as for `-o wide`, so nothing is cut.
pub fn load_balancer(status: &Value) -> String {
    let ingress = list(&status["loadBalancer"]["ingress"]);
    let addresses: std::collections::BTreeSet<&str> = ingress
        .iter()
        .map(|point| text_or(&point["ip"], text(&point["hostname"])))
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

/// The access modes of a volume by their short names, in a fixed order.
pub fn access_modes(modes: &Value) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| list(modes).iter().any(|listed| listed == mode);
    SHORT
        .iter()
        .filter(|(mode, _)| has(mode))
        .map(|(_, short)| *short)
        .collect::<Vec<_>>()
        .join(",")
}

/// A volume's or claim's storage class; the beta annotation goes before the field.
pub fn storage_class(object: &Value) -> &str {
    annotation(object, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(&object["spec"]["storageClassName"]))
}

/// The users, groups and service accounts of a binding's subjects.
pub fn subjects(binding: &Value) -> (String, String, String) {
    let of_kind = |kind: &'static str| {
        list(&binding["subjects"])
            .iter()
            .filter(move |subject| subject["kind"] == kind)
    };
    let names = |kind| {
        of_kind(kind)
            .map(|subject| text(&subject["name"]))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let accounts: Vec<String> = of_kind("ServiceAccount")
        .map(|subject| format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])))
        .collect();
    (names("User"), names("Group"), accounts.join(", "))
}

/// The kind of an admission policy's parameters as `apiVersion/kind`.
pub fn param_kind(policy: &Value) -> String {
    let kind = &policy["spec"]["paramKind"];
    if kind.is_null() {
        UNSET.to_string()
    } else {
        format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"]))
    }
}

/// Which parameters a policy binding uses: by name, or by a selector as Go prints the type.
pub fn param_ref(binding: &Value) -> String {
    let reference = &binding["spec"]["paramRef"];
    if let Some(name) = reference["name"].as_str().filter(|name| !name.is_empty()) {
        return format!("{}/{name}", text_or(&reference["namespace"], "*"));
    }
    let selector = &reference["selector"];
    if selector.is_null() {
        return UNSET.to_string();
    }
    let labels: String = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}: {},", text(value)))
        .collect();
    let expressions: String = list(&selector["matchExpressions"])
        .iter()
        .map(|term| {
            let values = list(&term["values"])
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(" ");
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
                text(&term["key"]),
                text(&term["operator"])
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
#[path = "cells_tests.rs"]
mod tests;
