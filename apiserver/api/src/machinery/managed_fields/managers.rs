//! The managers of an object: who owns which fields, as `metadata.managedFields` lists them.
//!
//! Invariant: no manager owns nothing, and an entry that nobody touched is written as it was read.
//! Follows upstream's `apimachinery/pkg/util/managedfields/internal/{managedfields,capmanagers,buildmanagerinfo}.go`.

use serde_json::{Map, Value};

use super::element::ElementError;
use super::set::Set;

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

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct Manager<'a> {
    pub name: String,
    pub operation: Operation,
    pub subresource: String,
    /// The version of the object that the paths are of.
    pub api_version: String,
    /// RFC 3339, seconds.
    pub time: Option<String>,
    pub set: Set<'a>,
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
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
    #[error("error decoding set: {0}")]
    Set(#[from] ElementError),
}

impl<'a> Manager<'a> {
    /// Whether two entries are of one manager: appliers are the same at every version.
    pub fn is(&self, other: &Manager<'_>) -> bool {
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
        put("apiVersion", if self.operation == Operation::Apply { "" } else { &self.api_version });
        put("subresource", &self.subresource);
        out.push('}');
        out
    }

    fn decode(at: usize, entry: &'a Value) -> Result<Manager<'a>, DecodeError> {
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
        Ok(Manager {
            name: text("manager").into(),
            operation,
            subresource: text("subresource").into(),
            api_version: text("apiVersion").into(),
            time: entry.get("time").and_then(Value::as_str).map(Into::into),
            set: entry.get("fieldsV1").map(Set::from_fields).transpose()?.unwrap_or_default(),
        })
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.into(), value.into());
            }
        };
        put("apiVersion", &self.api_version);
        put("fieldsType", "FieldsV1");
        put("manager", &self.name);
        put("operation", self.operation.name());
        put("subresource", &self.subresource);
        put("time", self.time.as_deref().unwrap_or_default());
        entry.insert("fieldsV1".into(), self.set.to_fields());
        Value::Object(entry)
    }
}

/// Reads `metadata.managedFields`. Of several entries of one manager the last counts.
pub(super) fn decode(entries: Option<&Value>) -> Result<Vec<Manager<'_>>, DecodeError> {
    let mut managers: Vec<Manager<'_>> = Vec::new();
    for (at, entry) in entries.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let manager = Manager::decode(at, entry)?;
        match managers.iter_mut().find(|m| m.is(&manager)) {
            Some(there) => *there = manager,
            None => managers.push(manager),
        }
    }
    Ok(managers)
}

/// `metadata.managedFields` of these managers, in upstream's order; nothing when there are none.
pub(super) fn encode(mut managers: Vec<Manager<'_>>) -> Option<Value> {
    managers.sort_by(|a, b| order(a).cmp(&order(b)));
    (!managers.is_empty()).then(|| managers.iter().map(Manager::encode).collect())
}

/// Appliers first, then by time, name, version, sub-resource.
fn order<'m>(m: &'m Manager<'_>) -> (Operation, &'m str, &'m str, &'m str, &'m str) {
    (m.operation, m.time.as_deref().unwrap_or_default(), &m.name, &m.api_version, &m.subresource)
}

/// The largest number of managers by update; the oldest of more are put together.
const MAX_UPDATERS: usize = 10;

/// Puts the oldest updaters of each version together as `ancient-changes`, until no more than ten are left.
pub(super) fn cap<'a>(mut managers: Vec<Manager<'a>>) -> Vec<Manager<'a>> {
    let mut updaters: Vec<(Option<String>, String)> =
        managers.iter().filter(|m| m.operation == Operation::Update).map(|m| (m.time.clone(), m.identifier())).collect();
    let mut left = updaters.len();
    if left <= MAX_UPDATERS {
        return managers;
    }
    updaters.sort();
    let mut first_of: Vec<(String, String)> = Vec::new();
    for (time, id) in updaters {
        if left <= MAX_UPDATERS {
            break;
        }
        let Some(at) = managers.iter().position(|m| m.identifier() == id) else { continue };
        let version = managers[at].api_version.clone();
        let Some((_, first)) = first_of.iter().find(|(v, _)| *v == version) else {
            first_of.push((version, id));
            continue;
        };
        let old = managers.remove(at);
        let bucket = Manager { name: "ancient-changes".into(), subresource: String::new(), time, ..old };
        match managers.iter_mut().find(|m| m.is(&bucket)) {
            Some(there) => *there = Manager { set: bucket.set.union(&there.set), ..bucket },
            None => {
                let first = managers.iter().position(|m| m.identifier() == *first).map(|at| managers.remove(at).set);
                let set = first.map_or_else(|| bucket.set.clone(), |f| bucket.set.union(&f));
                managers.push(Manager { set, ..bucket });
            }
        }
        left -= 1;
    }
    managers
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
        let sorted = encode(decode(Some(&entries)).unwrap()).unwrap();
        let names: Vec<&str> = sorted.as_array().unwrap().iter().map(|e| e["manager"].as_str().unwrap()).collect();
        assert_eq!(names, ["y", "z", "a", "b"]);
        assert_eq!(encode(Vec::new()), None);
    }

    #[test]
    fn faults() {
        for (entry, wanted) in [
            (json!({}), "operation must be `Apply` or `Update`"),
            (json!({"operation": "Apply"}), "apiVersion must not be empty"),
            (json!({"operation": "Apply", "apiVersion": "v1"}), "missing fieldsType in managed fields entry 0"),
            (json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "V2"}), "invalid fieldsType \"V2\" in managed fields entry 0"),
            (
                json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"a": {}}}),
                "error decoding set: key must be 2 characters long:",
            ),
        ] {
            assert_eq!(decode(Some(&json!([entry]))).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn old_updaters_are_put_together() {
        let entries: Vec<Value> = (0..13)
            .map(|i| json!({"manager": format!("m{i:02}"), "operation": "Update", "apiVersion": if i == 0 { "v2" } else { "v1" }, "time": format!("2026-01-{:02}T00:00:00Z", i + 1), "fieldsType": "FieldsV1", "fieldsV1": {format!("f:x{i:02}"): {}}}))
            .collect();
        let entries = Value::from(entries);
        let capped = encode(cap(decode(Some(&entries)).unwrap())).unwrap();
        let capped = capped.as_array().unwrap();
        assert_eq!(capped.len(), 10);
        assert_eq!(capped[0]["manager"], "m00");
        assert_eq!(capped[1]["manager"], "ancient-changes");
        assert_eq!(capped[1]["time"], "2026-01-05T00:00:00Z");
        assert_eq!(capped[1]["fieldsV1"], json!({"f:x01": {}, "f:x02": {}, "f:x03": {}, "f:x04": {}}));
    }
}
