//! Lists and maps that were given and hold nothing. A canonical value has no trace of them, since nothing is made of them in storage or on the wire; but Go
//! tells them from none for as long as it holds the object, and so do the words in which it refuses one (`[]` and `{}`, not `null`).

use serde_json::{Map, Value};

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Emptied {
    /// From the object down.
    pub place: Vec<Step>,
    pub is_list: bool,
    /// Words show it. What a selector has is left out of them; it counts all the same.
    pub told: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Name(Box<str>),
    Index(usize),
}

impl Step {
    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Step>()
            + match self {
                Step::Name(name) => name.len(),
                Step::Index(_) => 0,
            }
    }
}

impl Emptied {
    /// Puts it back where it stood, if there is such a place still and nothing is in it.
    pub fn restore(&self, value: &mut Value) {
        let Some((Step::Name(name), parents)) = self.place.split_last() else {
            return;
        };
        let parent = parents.iter().try_fold(value, |at, step| match step {
            Step::Name(name) => at.get_mut(&**name),
            Step::Index(index) => at.get_mut(*index),
        });
        if let Some(Value::Object(map)) = parent {
            map.entry(&**name).or_insert_with(|| match self.is_list {
                true => Value::Array(Vec::new()),
                false => Value::Object(Map::new()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Schema, conform};

    #[test]
    fn what_was_empty_is_put_back_where_it_stood() {
        let given = json!({"metadata": {"labels": {}}, "spec": {"nodeSelector": {}, "containers": [{"name": "c", "resources": {}, "args": [], "env": null}]}});
        let mut value = given.clone();
        let node = Schema::builtin().of_kind("v1", "Pod").unwrap();
        let decoded = conform(&mut value, node).unwrap();
        assert_eq!(value["spec"].get("nodeSelector"), None);
        assert_eq!(decoded.emptied.len(), 3);
        decoded
            .emptied
            .iter()
            .for_each(|one| one.restore(&mut value));
        for place in [
            "/metadata/labels",
            "/spec/nodeSelector",
            "/spec/containers/0/args",
        ] {
            assert_eq!(value.pointer(place), given.pointer(place), "{place}");
        }
        // what has come to stand there stays, and what is gone takes its empty ones along
        let mut other = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
        let kept = other.clone();
        decoded
            .emptied
            .iter()
            .for_each(|one| one.restore(&mut other));
        assert_eq!(other["metadata"], kept["metadata"]);
        assert_eq!(other["spec"]["containers"], json!([]));
    }

    #[test]
    fn what_a_selector_has_is_noted_but_not_told() {
        let mut value =
            json!({"metadata": {"labels": {}}, "spec": {"podSelector": {"matchLabels": {}}}});
        let node = Schema::builtin()
            .of_kind("networking.k8s.io/v1", "NetworkPolicy")
            .unwrap();
        let decoded = conform(&mut value, node).unwrap();
        let told: Vec<bool> = decoded.emptied.iter().map(|one| one.told).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1, "{told:?}");
        assert_eq!(told.len(), 2);
    }
}
