//! The managers of an object: who owns which fields, as `metadata.managedFields` lists them.
//!
//! Invariant: no manager owns nothing, and an entry that nobody touched is written as it was read, without having been looked into.
//! Follows upstream's `apimachinery/pkg/util/managedfields/internal/{managedfields,capmanagers,buildmanagerinfo}.go`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::element::ElementError;
use super::set::Set;
use crate::machinery::quote::GoQuoted;

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// All of an entry but the fields.
#[derive(Debug, Clone)]
pub(super) struct Header<'a> {
    pub name: Cow<'a, str>,
    pub operation: Operation,
    pub subresource: Cow<'a, str>,
    /// The version of the object that the paths are of.
    pub api_version: Cow<'a, str>,
    /// RFC 3339, seconds.
    pub time: Option<Cow<'a, str>>,
}

/// A manager and what it owns.
#[derive(Debug, Clone)]
pub(super) struct Manager<'a> {
    pub header: Header<'a>,
    pub set: Set<'a>,
}

/// An entry that may not have been looked into.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub header: Header<'a>,
    pub fields: Fields<'a>,
}

/// What an entry's manager owns.
#[derive(Debug, Clone)]
pub(super) enum Fields<'a> {
    /// As it is stored, at this place of the list.
    Stored(usize, &'a Value),
    Set(Set<'a>),
}

/// Why `managedFields` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {quoted} in managed fields entry {0}", quoted = GoQuoted(.1))]
    FieldsType(usize, String),
    #[error("error decoding set: {0}")]
    Set(#[from] ElementError),
}

impl<'a> Header<'a> {
    /// Whether two entries are of one manager: appliers are the same at every version.
    pub fn is(&self, other: &Header<'_>) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// What identifies it, as upstream writes that; entries are told apart and sorted by it.
    pub fn identifier(&self) -> String {
        let mut out = String::from("{");
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                let comma = if out.len() > 1 { "," } else { "" };
                out.push_str(&format!("{comma}\"{name}\":{}", Value::from(value)));
            }
        };
        put("manager", &self.name);
        put("operation", self.operation.name());
        put(
            "apiVersion",
            if self.operation == Operation::Apply {
                ""
            } else {
                &self.api_version
            },
        );
        put("subresource", &self.subresource);
        out.push('}');
        out
    }

    fn decode(at: usize, entry: &'a Value) -> Result<Header<'a>, DecodeError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(DecodeError::Operation),
        };
        if text("apiVersion").is_empty() {
            return Err(DecodeError::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(DecodeError::NoFieldsType(at)),
            other => return Err(DecodeError::FieldsType(at, other.into())),
        }
        Ok(Header {
            name: text("manager").into(),
            operation,
            subresource: text("subresource").into(),
            api_version: text("apiVersion").into(),
            time: entry.get("time").and_then(Value::as_str).map(Cow::Borrowed),
        })
    }

    fn encode(&self, set: &Set<'_>) -> Value {
        let text = |name: &str, value: &str| {
            (!value.is_empty()).then(|| (name.to_string(), Value::from(value)))
        };
        let texts = [
            text("apiVersion", &self.api_version),
            text("fieldsType", "FieldsV1"),
            text("manager", &self.name),
            text("operation", self.operation.name()),
            text("subresource", &self.subresource),
            text("time", self.time.as_deref().unwrap_or_default()),
        ];
        let fields = ("fieldsV1".to_string(), set.to_fields());
        Value::Object(
            texts
                .into_iter()
                .flatten()
                .chain([fields])
                .collect::<Map<_, _>>(),
        )
    }

    /// Appliers first, then by time, name, version, sub-resource.
    fn order(&self) -> (Operation, &str, &str, &str, &str) {
        (
            self.operation,
            self.time.as_deref().unwrap_or_default(),
            &self.name,
            &self.api_version,
            &self.subresource,
        )
    }
}

impl<'a> Entry<'a> {
    /// What the manager owns.
    pub fn into_set(self) -> Result<Set<'a>, DecodeError> {
        match self.fields {
            Fields::Set(set) => Ok(set),
            Fields::Stored(_, fields) => Ok(Set::from_fields(fields)?),
        }
    }
}

impl<'a> From<Manager<'a>> for Entry<'a> {
    fn from(manager: Manager<'a>) -> Entry<'a> {
        Entry {
            header: manager.header,
            fields: Fields::Set(manager.set),
        }
    }
}

static NO_FIELDS: Value = Value::Null;

/// The entries of `metadata.managedFields`, not looked into. Of several entries of one manager the last counts.
pub(super) fn entries(list: Option<&Value>) -> Result<Vec<Entry<'_>>, DecodeError> {
    let mut found: Vec<Entry<'_>> = Vec::new();
    for (at, entry) in list
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let header = Header::decode(at, entry)?;
        let fields = Fields::Stored(at, entry.get("fieldsV1").unwrap_or(&NO_FIELDS));
        match found.iter_mut().find(|e| e.header.is(&header)) {
            Some(there) => *there = Entry { header, fields },
            None => found.push(Entry { header, fields }),
        }
    }
    Ok(found)
}

/// Reads `metadata.managedFields` as a whole.
pub(super) fn decode(list: Option<&Value>) -> Result<Vec<Manager<'_>>, DecodeError> {
    entries(list)?
        .into_iter()
        .map(|entry| {
            Ok(Manager {
                header: entry.header.clone(),
                set: entry.into_set()?,
            })
        })
        .collect()
}

/// Where entries that were not looked into are taken from.
pub(super) enum Source<'s> {
    /// They may be moved.
    Owned(Vec<Value>),
    /// They are copied.
    Borrowed(&'s [Value]),
}

impl Source<'_> {
    fn take(&mut self, at: usize) -> Value {
        match self {
            Source::Owned(list) => list[at].take(),
            Source::Borrowed(list) => list[at].clone(),
        }
    }
}

/// `metadata.managedFields` of these entries, in upstream's order; nothing when there are none.
pub(super) fn encode(mut entries: Vec<Entry<'_>>, mut source: Source<'_>) -> Option<Value> {
    entries.sort_by(|a, b| a.header.order().cmp(&b.header.order()));
    let written = entries.iter().map(|e| match &e.fields {
        Fields::Stored(at, _) => source.take(*at),
        Fields::Set(set) => e.header.encode(set),
    });
    let written: Vec<Value> = written.collect();
    (!written.is_empty()).then_some(Value::Array(written))
}

/// The largest number of managers by update; the oldest of more are put together.
const MAX_UPDATERS: usize = 10;

/// Puts the oldest updaters of each version together as `ancient-changes`, until no more than ten are left.
pub(super) fn cap(mut entries: Vec<Entry<'_>>) -> Result<Vec<Entry<'_>>, DecodeError> {
    let is_updater = |e: &&Entry<'_>| e.header.operation == Operation::Update;
    let mut left = entries.iter().filter(is_updater).count();
    if left <= MAX_UPDATERS {
        return Ok(entries);
    }
    let mut updaters: Vec<_> = entries
        .iter()
        .filter(is_updater)
        .map(|e| (e.header.time.clone(), e.header.identifier()))
        .collect();
    updaters.sort();
    let mut first_of: Vec<(Cow<'_, str>, String)> = Vec::new();
    for (time, id) in updaters {
        if left <= MAX_UPDATERS {
            break;
        }
        let place = |entries: &[Entry<'_>], id: &str| {
            entries.iter().position(|e| e.header.identifier() == id)
        };
        let Some(at) = place(&entries, &id) else {
            continue;
        };
        let version = entries[at].header.api_version.clone();
        let Some((_, first)) = first_of.iter().find(|(v, _)| *v == version) else {
            first_of.push((version, id));
            continue;
        };
        let old = entries.remove(at);
        let header = Header {
            name: "ancient-changes".into(),
            subresource: "".into(),
            time,
            ..old.header.clone()
        };
        let with = entries
            .iter()
            .position(|e| e.header.is(&header))
            .or_else(|| place(&entries, first));
        let mut set = old.into_set()?;
        if let Some(with) = with {
            set = set.union(&entries.remove(with).into_set()?);
        }
        entries.push(Entry {
            header,
            fields: Fields::Set(set),
        });
        left -= 1;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_entries() {
        let entry = |manager: &str, operation: &str, time: &str| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}});
        let entries = json!([
            entry("b", "Update", "2026-01-02T00:00:00Z"),
            entry("a", "Update", "2026-01-02T00:00:00Z"),
            entry("z", "Update", "2026-01-01T00:00:00Z"),
            entry("y", "Apply", "2026-01-03T00:00:00Z")
        ]);
        let sorted = encode(
            super::entries(Some(&entries)).unwrap(),
            Source::Borrowed(entries.as_array().unwrap()),
        )
        .unwrap();
        let names: Vec<&str> = sorted
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["manager"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["y", "z", "a", "b"]);
        assert_eq!(encode(Vec::new(), Source::Borrowed(&[])), None);
    }

    #[test]
    fn faults() {
        for (entry, wanted) in [
            (json!({}), "operation must be `Apply` or `Update`"),
            (
                json!({"operation": "Apply"}),
                "apiVersion must not be empty",
            ),
            (
                json!({"operation": "Apply", "apiVersion": "v1"}),
                "missing fieldsType in managed fields entry 0",
            ),
            (
                json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "V2"}),
                "invalid fieldsType \"V2\" in managed fields entry 0",
            ),
            (
                json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"a": {}}}),
                "error decoding set: key must be 2 characters long:",
            ),
        ] {
            assert_eq!(
                decode(Some(&json!([entry]))).unwrap_err().to_string(),
                wanted
            );
        }
    }

    #[test]
    fn old_updaters_are_put_together() {
        let entries: Vec<Value> = (0..13)
            .map(|i| json!({"manager": format!("m{i:02}"), "operation": "Update", "apiVersion": if i == 0 { "v2" } else { "v1" }, "time": format!("2026-01-{:02}T00:00:00Z", i + 1), "fieldsType": "FieldsV1", "fieldsV1": {format!("f:x{i:02}"): {}}}))
            .collect();
        let entries = Value::from(entries);
        let capped = encode(
            cap(super::entries(Some(&entries)).unwrap()).unwrap(),
            Source::Borrowed(entries.as_array().unwrap()),
        )
        .unwrap();
        let capped = capped.as_array().unwrap();
        assert_eq!(capped.len(), 10);
        assert_eq!(capped[0]["manager"], "m00");
        assert_eq!(capped[1]["manager"], "ancient-changes");
        assert_eq!(capped[1]["time"], "2026-01-05T00:00:00Z");
        assert_eq!(
            capped[1]["fieldsV1"],
            json!({"f:x01": {}, "f:x02": {}, "f:x03": {}, "f:x04": {}})
        );
    }
}
