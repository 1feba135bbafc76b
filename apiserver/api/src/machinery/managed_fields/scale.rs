//! Managed fields of the `scale` sub-resource, whose object is another one than the kind's: ownership of the replicas is carried to and fro.
//!
//! Invariant: only the path of the replicas changes hands; all else that managers own stays as it is.
//! Follows upstream's `apimachinery/pkg/util/managedfields/scalehandler.go`.

use serde_json::Value;

use super::managers::{DecodeError, Entry, Header, Manager, Source, decode, encode};
use super::set::Set;
use super::{PathElement, of, put};

/// The version of `Scale`.
const SCALE_VERSION: &str = "autoscaling/v1";

/// Translates between the managed fields of a kind and those of its scale.
#[derive(Debug, Clone)]
pub struct ScaleHandler<'a> {
    /// The version at which the kind's object is.
    api_version: &'a str,
    /// Where the replicas are at each version that there is; a version may have no scale.
    replicas: Vec<(String, Option<Vec<PathElement<'a>>>)>,
}

fn replicas_in_scale() -> Vec<PathElement<'static>> {
    vec![PathElement::field("spec"), PathElement::field("replicas")]
}

fn written(managers: Vec<Manager<'_>>) -> Option<Value> {
    encode(
        managers.into_iter().map(Entry::from).collect(),
        Source::Borrowed(&[]),
    )
}

fn only<'a>(path: &[PathElement<'a>]) -> Set<'a> {
    let mut set = Set::default();
    set.insert(path);
    set
}

impl<'a> ScaleHandler<'a> {
    /// `replicas` are the paths with dots (`spec.replicas`) at each version that there is.
    pub fn new(
        api_version: &'a str,
        replicas: impl IntoIterator<Item = (String, Option<&'a str>)>,
    ) -> ScaleHandler<'a> {
        let steps = |path: &'a str| {
            let steps = path.split('.').filter(|step| !step.is_empty());
            steps.map(PathElement::field).collect()
        };
        let replicas = replicas.into_iter();
        ScaleHandler {
            api_version,
            replicas: replicas
                .map(|(version, path)| (version, path.map(steps)))
                .collect(),
        }
    }

    /// Where the replicas are at a version; `None`: there is no such version.
    fn at(&self, version: &str) -> Option<Option<&[PathElement<'a>]>> {
        let (_, path) = self.replicas.iter().find(|(known, _)| known == version)?;
        Some(path.as_deref())
    }

    /// Whether a manager owns the replicas.
    fn owns(&self, manager: &Manager<'_>) -> bool {
        let path = self.at(&manager.header.api_version).flatten();
        path.is_some_and(|path| manager.set.has(path))
    }

    /// Gives a scale the managers that own the replicas of the `parent`.
    pub fn to_subresource(&self, parent: &Value, scale: &mut Value) -> Result<(), DecodeError> {
        let managers = decode(of(parent))?.into_iter().filter(|m| self.owns(m));
        let owners = managers.map(|m| Manager {
            header: Header {
                api_version: SCALE_VERSION.into(),
                ..m.header
            },
            set: only(&replicas_in_scale()),
        });
        put(scale, written(owners.collect()));
        Ok(())
    }

    /// Gives the `parent` who owns its replicas after a write of the `scale`. Who wrote at a version that is no more is forgotten.
    pub fn to_parent(&self, parent: &mut Value, scale: &Value) -> Result<(), DecodeError> {
        let entries = of(parent).cloned();
        let mut of_scale = decode(of(scale))?;
        let mut managers = Vec::new();
        for mut manager in decode(entries.as_ref())? {
            let Some(path) = self.at(&manager.header.api_version) else {
                continue;
            };
            if let Some(path) = path.filter(|path| manager.set.has(path)) {
                match of_scale
                    .iter()
                    .position(|m| same(&m.header, &manager.header))
                {
                    Some(at) => drop(of_scale.remove(at)),
                    None => manager.set = manager.set.difference(&only(path)),
                }
            }
            if !manager.set.is_empty() {
                managers.push(manager);
            }
        }
        let own = self.at(self.api_version).flatten().unwrap_or_default();
        for new in of_scale
            .into_iter()
            .filter(|m| m.set.has(&replicas_in_scale()))
        {
            let set = only(own);
            // upstream does not carry over since when
            managers.push(Manager {
                header: Header {
                    api_version: self.api_version.into(),
                    time: None,
                    ..new.header
                },
                set,
            });
        }
        put(parent, written(managers));
        Ok(())
    }
}

/// Whether an entry of the scale is the same as one of the parent, but for the version.
fn same(scale: &Header<'_>, parent: &Header<'_>) -> bool {
    scale.name == parent.name
        && scale.operation == parent.operation
        && scale.subresource == parent.subresource
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, version: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": version, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn to_and_fro() {
        let versions = [
            ("apps/v1".to_string(), Some("spec.replicas")),
            ("apps/v2".to_string(), None),
        ];
        let handler = ScaleHandler::new("apps/v1", versions);
        let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let mut parent = json!({"metadata": {"managedFields": [entry("a", "Apply", "apps/v1", both), entry("b", "Update", "apps/v1", json!({"f:spec": {"f:paused": {}}}))]}});
        let mut scale = json!({"metadata": {}});
        handler.to_subresource(&parent, &mut scale).unwrap();
        assert_eq!(
            scale["metadata"]["managedFields"],
            json!([entry(
                "a",
                "Apply",
                "autoscaling/v1",
                json!({"f:spec": {"f:replicas": {}}})
            )])
        );
        // nobody took it
        let before = parent.clone();
        handler.to_parent(&mut parent, &scale).unwrap();
        assert_eq!(parent, before);
        // nor was who wrote at a version without a scale forgotten, as is who wrote at none that there is
        let mut others = parent.clone();
        let list = others["metadata"]["managedFields"].as_array_mut().unwrap();
        list.push(entry("c", "Update", "apps/v2", json!({"f:spec": {}})));
        let kept = others.clone();
        let list = others["metadata"]["managedFields"].as_array_mut().unwrap();
        list.push(entry("d", "Update", "apps/v3", json!({"f:spec": {}})));
        handler.to_parent(&mut others, &scale).unwrap();
        assert_eq!(others, kept);
        // another one did
        scale["metadata"]["managedFields"] = json!([entry(
            "hpa",
            "Update",
            "autoscaling/v1",
            json!({"f:spec": {"f:replicas": {}}})
        )]);
        handler.to_parent(&mut parent, &scale).unwrap();
        assert_eq!(parent["metadata"]["managedFields"][1].get("time"), None);
        let names: Vec<_> = parent["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["manager"].clone(), e["fieldsV1"].clone()))
            .collect();
        assert_eq!(
            names,
            [
                (json!("a"), json!({"f:spec": {"f:paused": {}}})),
                (json!("hpa"), json!({"f:spec": {"f:replicas": {}}})),
                (json!("b"), json!({"f:spec": {"f:paused": {}}}))
            ]
        );
    }
}
