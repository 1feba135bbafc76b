//! Going back to an earlier revision, which the annotation asks for that stands for the field `rollbackTo` of API versions no longer served.
//!
//! Invariant: the annotation is gone after one pass, whether there was such a revision or not. Follows pkg/controller/deployment/rollback.go.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use skiff_podspec::parts::{HasSpec, Meta};

use super::{
    Pass,
    replicasets::{HASH_LABEL, Sets, revision, same_template},
    revision::{OWN, ROLLBACK_TO},
};
use crate::error::Error;

const NOT_FOUND: &str = "DeploymentRollbackRevisionNotFound";

/// The revision that the Deployment shall go back to, 0 being the last one; a text that is no number asks for nothing.
pub fn wanted(deployment: &Deployment) -> Option<i64> {
    deployment.metadata.annotation(ROLLBACK_TO)?.parse().ok()
}

/// The second greatest revision; 0 when there is none.
fn last_revision(sets: &Sets) -> i64 {
    let mut all: Vec<i64> = sets.all().filter_map(revision).collect();
    all.sort_unstable();
    all.into_iter().rev().nth(1).unwrap_or(0).max(0)
}

/// Gives the Deployment the template of a set, and the annotations that it had then.
fn go_back(deployment: &mut Deployment, set: &ReplicaSet) {
    let mut template = set.spec().template.clone().unwrap_or_default();
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    deployment.spec.get_or_insert_default().template = template;
    let of = |meta: &Option<BTreeMap<String, String>>, own: bool| {
        meta.clone()
            .into_iter()
            .flatten()
            .filter(move |(key, _)| OWN.contains(&key.as_str()) == own)
    };
    let kept = of(&deployment.metadata.annotations, true);
    deployment.metadata.annotations =
        Some(kept.chain(of(&set.metadata.annotations, false)).collect());
}

impl Pass<'_> {
    /// Goes back to this revision, and has nothing more to do with it afterwards.
    pub async fn roll_back(&mut self, wanted: i64) -> Result<(), Error> {
        self.take_new_set(true).await?;
        let number = match wanted {
            0 => last_revision(&self.sets),
            number => number,
        };
        if number == 0 {
            self.warn(NOT_FOUND, "Unable to find last revision.".into());
            return self.clear_rollback().await;
        }
        let set = self.sets.all().find(|set| revision(set) == Some(number));
        let Some(set) = set.cloned() else {
            let message = "Unable to find the revision to rollback to.";
            self.warn(NOT_FOUND, message.into());
            return self.clear_rollback().await;
        };
        let name = self.deployment.metadata.name().to_string();
        let template = self.deployment.spec.as_ref().map(|s| &s.template);
        if same_template(template, set.spec().template.as_ref()) {
            let message = format!(
                "The rollback revision contains the same template as current deployment \"{name}\""
            );
            self.warn("DeploymentRollbackTemplateUnchanged", message);
            return self.clear_rollback().await;
        }
        go_back(&mut self.deployment, &set);
        self.clear_rollback().await?;
        let message = format!("Rolled back deployment \"{name}\" to revision {number}");
        let recorder = &self.controller.recorder;
        recorder.normal(&self.deployment, "DeploymentRollback", message);
        Ok(())
    }

    fn warn(&self, reason: &'static str, message: String) {
        self.controller
            .recorder
            .warning(&self.deployment, reason, message);
    }

    async fn clear_rollback(&mut self) -> Result<(), Error> {
        if let Some(annotations) = &mut self.deployment.metadata.annotations {
            annotations.remove(ROLLBACK_TO);
        }
        let written = self.controller.api.update(&self.deployment).await?;
        let deployments = &self.controller.deployments;
        deployments.note(self.key, &written.metadata);
        self.deployment = written;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::replicasets::{REVISION, annotate, tests::set};

    fn of_revision(number: &str) -> ReplicaSet {
        let mut set = set("set", 1, 0, 0);
        annotate(&mut set.metadata, REVISION, number.into());
        set
    }

    #[test]
    fn the_last_revision_is_the_second_greatest() {
        let case = |old: &[&str], new: Option<&str>| {
            last_revision(&Sets {
                new: new.map(of_revision),
                old: old.iter().map(|n| of_revision(n)).collect(),
            })
        };
        assert_eq!(case(&[], None), 0);
        assert_eq!(case(&[], Some("1")), 0);
        assert_eq!(case(&["1", "4"], Some("3")), 3);
        assert_eq!(case(&["x", "2"], Some("3")), 2);
    }

    #[test]
    fn a_set_gives_back_its_template_and_annotations() {
        let mut set = of_revision("1");
        annotate(&mut set.metadata, "why", "begin".into());
        let template = set
            .spec
            .get_or_insert_default()
            .template
            .get_or_insert_default();
        let labels = [(HASH_LABEL.into(), "x".into()), ("app".into(), "a".into())];
        template.metadata.get_or_insert_default().labels = Some(labels.into());
        let mut deployment = Deployment::default();
        for (key, value) in [(REVISION, "2"), ("why", "edit"), ("more", "yes")] {
            annotate(&mut deployment.metadata, key, value.into());
        }
        go_back(&mut deployment, &set);
        let annotations = deployment.metadata.annotations.unwrap();
        let expected = [(REVISION, "2"), ("why", "begin")]
            .map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(annotations, expected.into());
        let labels = deployment.spec.unwrap().template.metadata.unwrap().labels;
        assert_eq!(labels.unwrap().into_keys().collect::<Vec<_>>(), ["app"]);
    }
}
