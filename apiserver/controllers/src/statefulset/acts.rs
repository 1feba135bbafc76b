//! What is done to one pod of a StatefulSet, and told of.
//!
//! Invariant: what is told of names the set and the pod. Follows pkg/controller/statefulset/stateful_pod_control.go.

use serde_json::json;
use skiff_podspec::pod::Pod;

use super::{
    control::Pass,
    identity::{self, ordinal},
};
use crate::prelude::*;

impl Pass<'_> {
    /// Makes the pod, and before it its claims.
    pub(super) async fn create(&self, pod: &Pod) -> Result<(), Error> {
        let controller = self.controller;
        if let Err(error) = controller.create_claims(self.key, self.set, pod).await {
            self.say("Create", pod, Some(&error));
            return Err(error);
        }
        match controller.api.create(pod).await {
            Ok(made) => {
                controller.pods.note(self.key, &made.metadata);
                if let Err(error) = controller.fit_claims(self.key, self.set, &made).await {
                    self.say("Update", pod, Some(&error));
                    return Err(error);
                }
                self.say("Create", pod, None);
                Ok(())
            }
            Err(error) if error.is_already_exists() => Err(error),
            Err(error) => {
                self.say("Create", pod, Some(&error));
                Err(error)
            }
        }
    }

    /// Deletes the pod.
    pub(super) async fn delete(&self, pod: &Pod) -> Result<(), Error> {
        match self
            .controller
            .api
            .remove::<Pod>(&Key::of(&pod.metadata))
            .await
        {
            Ok(_) => {
                self.say("Delete", pod, None);
                Ok(())
            }
            Err(error) => {
                self.say("Delete", pod, Some(&error));
                Err(error)
            }
        }
    }

    /// Puts back the labels that tell a pod from its siblings.
    pub(super) async fn keep_identity(&self, pod: &Pod) -> Result<(), Error> {
        let Some(place) = ordinal(pod) else {
            return Ok(());
        };
        let labels = identity::labels(pod.metadata.name(), place);
        if labels.iter().all(|(key, value)| {
            pod.metadata.labels.as_ref().and_then(|l| l.get(*key)) == Some(value)
        }) {
            return Ok(());
        }
        let labels: serde_json::Map<_, _> = labels
            .into_iter()
            .map(|(key, value)| (key.to_string(), value.into()))
            .collect();
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "labels": labels}});
        let outcome = self
            .controller
            .api
            .patch(
                &item::<Pod>(self.key.namespace(), pod.metadata.name()),
                PatchType::Merge,
                &patch,
            )
            .await;
        self.say("Update", pod, outcome.as_ref().err());
        self.controller.pods.note(self.key, &outcome?);
        Ok(())
    }

    fn say(&self, verb: &str, pod: &Pod, error: Option<&Error>) {
        let about = format!(
            "{verb} Pod {} in StatefulSet {}",
            pod.metadata.name(),
            self.key.name()
        );
        let recorder = &self.controller.recorder;
        match error {
            None => recorder.normal(
                self.set,
                &format!("Successful{verb}"),
                about + " successful",
            ),
            Some(error) => recorder.warning(
                self.set,
                &format!("Failed{verb}"),
                format!("{about} failed error: {error}"),
            ),
        }
    }
}
