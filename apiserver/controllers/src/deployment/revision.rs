//! Revisions: the numbers of a Deployment's templates, and the making of the new ReplicaSet.
//!
//! Invariant: the new set's revision is one more than the greatest of the old ones; a set that comes back into use keeps its former
//! numbers in a history. Follows pkg/controller/deployment/sync.go and util/deployment_util.go.

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};

use super::{
    Pass, conditions,
    replicasets::{
        DESIRED, HASH_LABEL, MAX, REVISION, annotate, annotation, revision, same_template,
    },
    scaling, status,
};
use crate::{error::Error, hash::template_hash, owners::controller_ref, owners::is_controlled_by};

const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Asks for a revision to go back to.
pub const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
/// Annotations that say something about one object only and are not copied.
pub const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    ROLLBACK_TO,
];
const HISTORY_LENGTH: usize = 2000;

/// The greatest revision of the old sets.
pub fn max_revision(sets: &[ReplicaSet]) -> i64 {
    sets.iter().filter_map(revision).max().unwrap_or(0).max(0)
}

/// Brings a set's annotations up to date with the Deployment's and with `new_revision`; true when something changed.
pub fn annotate_set(
    deployment: &Deployment,
    set: &mut ReplicaSet,
    new_revision: i64,
    exists: bool,
) -> bool {
    let mut changed = false;
    for (key, value) in deployment
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| !OWN.contains(&key.as_str()))
    {
        changed |= annotate(&mut set.metadata, key, value.clone());
    }
    let old = annotation(set, REVISION).map(str::to_string);
    let Ok(old_number) = old.as_deref().unwrap_or("0").parse::<i64>() else {
        return changed;
    };
    if old_number < new_revision {
        changed |= annotate(&mut set.metadata, REVISION, new_revision.to_string());
        if let Some(old) = old {
            let history = history_with(annotation(set, HISTORY).unwrap_or(""), &old);
            changed |= history.is_some_and(|history| annotate(&mut set.metadata, HISTORY, history));
        }
    }
    if !exists {
        let replicas = status::replicas(deployment);
        changed |= scaling::annotate_replicas(
            set,
            replicas,
            replicas.saturating_add(status::max_surge(deployment)),
        );
    }
    changed
}

/// The history with one more revision, its oldest dropped where it would become too long; `None` when even that does not help.
fn history_with(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_string());
    }
    let mut all: Vec<&str> = history.split(',').chain([revision]).collect();
    let length = |all: &[&str]| all.iter().map(|r| r.len() + 1).sum::<usize>() - 1;
    while length(&all) > HISTORY_LENGTH && all.len() > 1 {
        all.remove(0);
    }
    (length(&all) <= HISTORY_LENGTH).then(|| all.join(","))
}

impl Pass<'_> {
    /// Brings the new set's annotations up to date, or makes the set when it is missing and `create` says so.
    pub async fn take_new_set(&mut self, create: bool) -> Result<(), Error> {
        let number = max_revision(&self.sets.old).saturating_add(1);
        match self.sets.new.take() {
            Some(set) => self.refresh_new_set(set, number).await,
            None if create => self.create_new_set(number).await,
            None => Ok(()),
        }
    }

    async fn refresh_new_set(&mut self, mut set: ReplicaSet, number: i64) -> Result<(), Error> {
        let wanted = self.deployment.spec().min_ready_seconds;
        let annotated = annotate_set(&self.deployment, &mut set, number, true);
        let spec = set.spec.get_or_insert_default();
        if annotated || spec.min_ready_seconds.unwrap_or(0) != wanted.unwrap_or(0) {
            spec.min_ready_seconds = wanted;
            self.sets.new = Some(self.put_set(&set).await?);
            return Ok(());
        }
        let own = annotation(&set, REVISION).unwrap_or("").to_string();
        let mut update = annotate(&mut self.deployment.metadata, REVISION, own);
        if status::has_deadline(&self.deployment)
            && conditions::get(self.deployment.status.as_ref(), conditions::PROGRESSING).is_none()
        {
            let message = format!("Found new replica set \"{}\"", set.metadata.name());
            self.set_condition("True", "FoundNewReplicaSet", message);
            update = true;
        }
        self.sets.new = Some(set);
        if update {
            self.put_status().await
        } else {
            Ok(())
        }
    }

    /// Writes a set and remembers how new it is.
    pub async fn put_set(&self, set: &ReplicaSet) -> Result<ReplicaSet, Error> {
        let written = self.controller.api.update(set).await?;
        self.controller.sets.note(self.key, &written.metadata);
        Ok(written)
    }

    async fn create_new_set(&mut self, number: i64) -> Result<(), Error> {
        let set = self.new_set(number)?;
        let replicas = super::replicasets::replicas(&set);
        let name = set.metadata.name.clone().unwrap_or_default();
        let (set, existed) = match self.controller.api.create(&set).await {
            Ok(created) => (created, false),
            Err(error) if error.is_already_exists() => {
                (self.existing_set(&name, error).await?, true)
            }
            Err(error) => return Err(self.failed_to_create(&name, error).await),
        };
        self.controller.sets.note(self.key, &set.metadata);
        if !existed && replicas > 0 {
            self.say(format!("Scaled up replica set {name} from 0 to {replicas}"));
        }
        let mut update = annotate(&mut self.deployment.metadata, REVISION, number.to_string());
        if !existed && status::has_deadline(&self.deployment) {
            self.set_condition(
                "True",
                "NewReplicaSetCreated",
                format!("Created new replica set \"{name}\""),
            );
            update = true;
        }
        self.sets.new = Some(set);
        if update {
            self.put_status().await
        } else {
            Ok(())
        }
    }

    /// The new set as it should be.
    fn new_set(&self, number: i64) -> Result<ReplicaSet, Error> {
        let deployment = &self.deployment;
        let spec = deployment.spec.clone().unwrap_or_default();
        let mut template = spec.template;
        let hash = template_hash(&template, deployment.status().collision_count)?;
        let labels = template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let labels = labels.clone();
        let mut selector = spec.selector;
        selector
            .match_labels
            .get_or_insert_default()
            .insert(HASH_LABEL.into(), hash.clone());
        let mut set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(set_name(deployment.metadata.name(), &hash)),
                namespace: deployment.metadata.namespace.clone(),
                owner_references: Some(vec![controller_ref(deployment)]),
                labels: Some(labels),
                ..Default::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        };
        let replicas = scaling::new_set_replicas(deployment, &self.sets, &set);
        set.spec.get_or_insert_default().replicas = Some(replicas);
        annotate_set(deployment, &mut set, number, false);
        Ok(set)
    }

    /// A set of the new one's name exists: it is ours with this very template, or the hash collides and is salted anew.
    async fn existing_set(&mut self, name: &str, error: Error) -> Result<ReplicaSet, Error> {
        let set: ReplicaSet = self.controller.api.get(self.key.namespace(), name).await?;
        let template = self.deployment.spec.as_ref().map(|s| &s.template);
        if is_controlled_by(&set.metadata, &self.deployment.metadata)
            && same_template(template, set.spec().template.as_ref())
        {
            return Ok(set);
        }
        let status = self.deployment.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.put_status().await?;
        Err(error)
    }

    async fn failed_to_create(&mut self, name: &str, error: Error) -> Error {
        if error.is_namespace_terminating() {
            return error;
        }
        let message = format!("Failed to create new replica set \"{name}\": {error}");
        if status::has_deadline(&self.deployment) {
            self.set_condition("False", "ReplicaSetCreateError", message.clone());
            if let Err(also) = self.put_status().await {
                tracing::debug!(deployment = %self.key, error = %also, "cannot write why the replica set was not created");
            }
        }
        self.controller
            .recorder
            .warning(&self.deployment, "ReplicaSetCreateError", message);
        error
    }

    /// Sets the condition `Progressing`.
    pub fn set_condition(&mut self, status: &str, reason: &str, message: String) {
        let condition = conditions::condition(
            conditions::PROGRESSING,
            status,
            reason,
            message,
            self.controller.clock.time(),
        );
        conditions::set(self.deployment.status.get_or_insert_default(), condition);
    }
}

/// `deployment-hash`, the Deployment's name cut where the whole would be too long.
fn set_name(deployment: &str, hash: &str) -> String {
    let most = 253usize.saturating_sub(1 + hash.len());
    format!("{}-{hash}", &deployment[..deployment.len().min(most)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_grows_and_is_cut() {
        assert_eq!(history_with("", "1").as_deref(), Some("1"));
        assert_eq!(history_with("1,3", "5").as_deref(), Some("1,3,5"));
        let long = vec!["1000"; 400].join(",");
        let cut = history_with(&long, "7").unwrap();
        assert!(cut.len() <= HISTORY_LENGTH && cut.ends_with(",7"));
    }

    #[test]
    fn a_set_that_comes_back_remembers_its_revisions() {
        let mut deployment = Deployment::default();
        annotate(
            &mut deployment.metadata,
            "kubernetes.io/change-cause",
            "why".into(),
        );
        annotate(&mut deployment.metadata, REVISION, "9".into());
        let mut set = ReplicaSet::default();
        annotate(&mut set.metadata, REVISION, "1".into());
        assert!(annotate_set(&deployment, &mut set, 3, true));
        assert_eq!(
            (
                annotation(&set, REVISION),
                annotation(&set, HISTORY),
                annotation(&set, "kubernetes.io/change-cause")
            ),
            (Some("3"), Some("1"), Some("why"))
        );
        assert!(!annotate_set(&deployment, &mut set, 3, true));
    }

    #[test]
    fn names_are_cut() {
        assert_eq!(set_name("web", "abc"), "web-abc");
        assert_eq!(set_name(&"x".repeat(253), "abc").len(), 253);
    }
}
