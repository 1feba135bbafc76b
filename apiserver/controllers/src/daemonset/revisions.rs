//! The revisions of a DaemonSet.
//!
//! Invariant: exactly one revision stands for the present template, with the greatest number. Follows
//! pkg/controller/daemon/update.go (constructHistory, cleanupHistory).

use std::collections::HashSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use serde_json::json;
use skiff_podspec::pod::Pod;

use super::{Controller, HASH_LABEL, placement::Placement};
use crate::{
    dependents::claimed,
    history::{self, Made},
    prelude::*,
};

fn hash_of(revision: &ControllerRevision) -> &str {
    revision.metadata.label(HASH_LABEL).unwrap_or("")
}

impl Controller {
    /// The hash of the present revision, which is made when it is missing, and all former revisions.
    pub async fn revisions_of(
        &self,
        key: &Key,
        set: &DaemonSet,
        selector: &Selector,
    ) -> Result<(String, Vec<Arc<ControllerRevision>>), Error> {
        let mine = claimed(&self.api, set, selector, &self.revisions).await?;
        let mine = self.labelled(mine).await?;
        let template = set
            .spec
            .as_ref()
            .map(|s| s.template.clone())
            .unwrap_or_default();
        let data = history::data_of(&template)?;
        let (mut current, old): (Vec<_>, Vec<_>) =
            mine.into_iter().partition(|r| history::is_of(r, &data));
        let number = history::max_revision(&old).saturating_add(1);
        history::sort(&mut current);
        let Some(keep) = current.pop() else {
            let collisions = set.status().collision_count;
            let revision = history::new(set, &template, HASH_LABEL, number, collisions)?;
            return match history::create(&self.api, &revision).await? {
                Made::Is(made) => {
                    self.revisions.note(key, &made.metadata);
                    Ok((hash_of(&made).to_string(), old))
                }
                Made::Collides => Err(self.salt(key, set).await),
            };
        };
        self.merge_duplicates(set, &keep, &current).await?;
        if keep.revision < number {
            let update = ControllerRevision {
                revision: number,
                ..(*keep).clone()
            };
            let written = self.api.update(&update).await?;
            self.revisions.note(key, &written.metadata);
        }
        Ok((hash_of(&keep).to_string(), old))
    }

    /// Those that bear no hash, as others may have made them, are given their names for one.
    async fn labelled(
        &self,
        revisions: Vec<Arc<ControllerRevision>>,
    ) -> Result<Vec<Arc<ControllerRevision>>, Error> {
        let mut labelled = Vec::with_capacity(revisions.len());
        for revision in revisions {
            if revision.metadata.label(HASH_LABEL).is_some() {
                labelled.push(revision);
                continue;
            }
            let mut update = (*revision).clone();
            let own_name = update.metadata.name().to_string();
            update
                .metadata
                .labels
                .get_or_insert_default()
                .insert(HASH_LABEL.into(), own_name);
            labelled.push(Arc::new(self.api.update(&update).await?));
        }
        Ok(labelled)
    }

    async fn salt(&self, key: &Key, set: &DaemonSet) -> Error {
        let mut update = set.clone();
        let status = update.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        match self.api.update_status(&update).await {
            Ok(written) => {
                self.sets.note(key, &written.metadata);
                failed!("found a hash collision of DaemonSet {key}, will retry with another")
            }
            Err(error) => error,
        }
    }

    async fn merge_duplicates(
        &self,
        set: &DaemonSet,
        keep: &ControllerRevision,
        others: &[Arc<ControllerRevision>],
    ) -> Result<(), Error> {
        if others.is_empty() {
            return Ok(());
        }
        for pod in self.pods.owned_by(set.metadata.uid()) {
            if pod.metadata.label(HASH_LABEL) != Some(hash_of(keep)) {
                let path = item::<Pod>(pod.metadata.namespace(), pod.metadata.name());
                self.api
                    .patch(
                        &path,
                        PatchType::Merge,
                        &json!({"metadata": {"labels": {HASH_LABEL: hash_of(keep)}}}),
                    )
                    .await?;
            }
        }
        for other in others {
            self.api
                .remove::<ControllerRevision>(&Key::of(&other.metadata))
                .await?;
        }
        Ok(())
    }

    /// Deletes the oldest revisions that no pod is of, down to what the history may keep.
    pub async fn drop_history(
        &self,
        set: &DaemonSet,
        placement: &Placement<'_>,
        mut old: Vec<Arc<ControllerRevision>>,
    ) -> Result<(), Error> {
        let keep = usize::try_from(set.spec().revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let surplus = old.len().saturating_sub(keep);
        let live: HashSet<&str> = placement
            .by_node
            .values()
            .flatten()
            .filter_map(|pod| pod.metadata.labels.as_ref()?.get(HASH_LABEL))
            .map(String::as_str)
            .collect();
        history::sort(&mut old);
        for revision in old
            .iter()
            .filter(|r| !live.contains(hash_of(r)))
            .take(surplus)
        {
            self.api
                .remove::<ControllerRevision>(&Key::of(&revision.metadata))
                .await?;
        }
        Ok(())
    }
}
