//! Controller revisions: the templates that a StatefulSet or DaemonSet had.
//!
//! Invariant: pure but for the making of a revision, whose name is salted anew when another one has it. Follows
//! pkg/controller/history/controller_history.go and pkg/controller/daemon/update.go.

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};

use crate::{api::Wire, hash::template_hash, owners::controller_ref, prelude::*};

/// The data of the revision of a template: a patch that restores it.
pub fn data_of(template: &PodTemplateSpec) -> Result<Value, Error> {
    let mut template = template.to_value().map_err(|source| Error::Encode {
        what: "a template".into(),
        source,
    })?;
    template["$patch"] = "replace".into();
    Ok(json!({"spec": {"template": template}}))
}

/// Whether the revision is the one of this data.
pub fn is_of(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|raw| raw.0 == *data)
}

/// The greatest number.
pub fn max_revision<'a>(revisions: impl IntoIterator<Item = &'a Arc<ControllerRevision>>) -> i64 {
    revisions.into_iter().map(|r| r.revision).max().unwrap_or(0)
}

/// In the order of their numbers, then of age, then of name.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by(|a, b| {
        let age = |r: &ControllerRevision| r.metadata.creation_timestamp.as_ref().map(|t| t.0);
        a.revision
            .cmp(&b.revision)
            .then_with(|| age(a).cmp(&age(b)))
            .then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
}

/// A new revision of `owner`, not yet created.
pub fn new<O: Kind>(
    owner: &O,
    template: &PodTemplateSpec,
    label: &str,
    number: i64,
    collisions: Option<i32>,
) -> Result<ControllerRevision, Error> {
    let hash = template_hash(template, collisions)?;
    let mut labels = template
        .metadata
        .as_ref()
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    labels.insert(label.into(), hash.clone());
    let meta = owner.meta();
    Ok(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", meta.name())),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![controller_ref(owner)]),
            ..Default::default()
        },
        data: Some(RawExtension(data_of(template)?)),
        revision: number,
    })
}

/// What came of creating a revision.
pub enum Made {
    /// It exists, made now or before.
    Is(Box<ControllerRevision>),
    /// Its name belongs to another one: the hash must be salted anew.
    Collides,
}

/// Creates a revision, or finds that it exists.
pub async fn create(api: &Api, revision: &ControllerRevision) -> Result<Made, Error> {
    match api.create(revision).await {
        Ok(made) => Ok(Made::Is(Box::new(made))),
        Err(e) if e.is_already_exists() => {
            let existing: ControllerRevision = api
                .get(revision.metadata.namespace(), revision.metadata.name())
                .await?;
            let same = revision
                .data
                .as_ref()
                .is_some_and(|raw| is_of(&existing, &raw.0));
            Ok(if same {
                Made::Is(Box::new(existing))
            } else {
                Made::Collides
            })
        }
        Err(e) => Err(e),
    }
}
