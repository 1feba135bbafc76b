//! What a StatefulSet's template was and is.
//!
//! Invariant: a revision that a pod is of, or that the set names, is kept. Follows pkg/controller/statefulset/stateful_set_control.go
//! (getStatefulSetRevisions, truncateHistory).

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use skiff_podspec::pod::Pod;

use super::{Controller, identity::revision};
use crate::{
    history::{self, Made},
    prelude::*,
};

const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The two that a set is between, which may be one.
pub(super) struct Revisions {
    pub current: Arc<ControllerRevision>,
    pub update: Arc<ControllerRevision>,
    pub collisions: i32,
}

impl Controller {
    /// The revisions of the set as it is now; one of its template is made where there is none.
    pub(super) async fn revisions_of(
        &self,
        key: &Key,
        set: &StatefulSet,
        all: &[Arc<ControllerRevision>],
    ) -> Result<Revisions, Error> {
        let mut collisions = set.status().collision_count.unwrap_or(0);
        let template = &set.spec().template;
        let data = history::data_of(template)?;
        let next = all.last().map_or(1, |r| r.revision.saturating_add(1));
        let update = match (all.iter().rfind(|r| history::is_of(r, &data)), all.last()) {
            (Some(same), Some(last)) if same.metadata.uid == last.metadata.uid => same.clone(),
            (Some(same), _) => {
                let written = self
                    .api
                    .update(&ControllerRevision {
                        revision: next,
                        ..(**same).clone()
                    })
                    .await?;
                self.revisions.note(key, &written.metadata);
                Arc::new(written)
            }
            (None, _) => loop {
                let new = history::new(set, template, HASH_LABEL, next, Some(collisions))?;
                match history::create(&self.api, &new).await? {
                    Made::Is(made) => {
                        self.revisions.note(key, &made.metadata);
                        break Arc::new(*made);
                    }
                    Made::Collides => collisions = collisions.saturating_add(1),
                }
            },
        };
        let current = set.status().current_revision.as_deref();
        let current = all
            .iter()
            .find(|r| r.metadata.name.as_deref() == current)
            .cloned()
            .unwrap_or_else(|| update.clone());
        Ok(Revisions {
            current,
            update,
            collisions,
        })
    }

    /// Deletes the oldest revisions that nothing is of, down to what the history may keep.
    pub(super) async fn truncate(
        &self,
        set: &StatefulSet,
        pods: &[Arc<Pod>],
        all: Vec<Arc<ControllerRevision>>,
        revisions: &Revisions,
    ) -> Result<(), Error> {
        let limit = set.spec().revision_history_limit.unwrap_or(10);
        let Ok(limit) = usize::try_from(limit) else {
            return Ok(());
        };
        let mut live: HashSet<&str> = pods.iter().map(|pod| revision(pod)).collect();
        live.extend([
            revisions.current.metadata.name(),
            revisions.update.metadata.name(),
        ]);
        let dead: Vec<_> = all
            .iter()
            .filter(|r| !live.contains(r.metadata.name()))
            .collect();
        for old in dead.iter().take(dead.len().saturating_sub(limit)) {
            self.api
                .remove::<ControllerRevision>(&Key::of(&old.metadata))
                .await?;
        }
        Ok(())
    }
}
