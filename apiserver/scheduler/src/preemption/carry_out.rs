//! Makes pods leave a node for one that matters more. Follows `pkg/scheduler/framework/preemption/executor.go`.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use skiff_api::machinery::clock::SharedClock;
use skiff_watching::{
    api::{Api, Delete, PatchType, item},
    error::{Error, unless_gone},
};

use crate::{
    events::{Condition, Recorder, Told, condition},
    pod::PodInfo,
};

/// What it takes.
pub struct Preemption {
    pub api: Api,
    pub recorder: Recorder,
    pub clock: SharedClock,
    pub scheduler: String,
    pub pod: Arc<PodInfo>,
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
    /// Pods that matter less and were promised the node.
    pub promised: Vec<Arc<PodInfo>>,
}

fn status_of(pod: &PodInfo) -> String {
    item::<Pod>(&pod.namespace, &pod.name) + "/status"
}

impl Preemption {
    /// Tells of one pod that had to leave.
    pub async fn tell(&self, victim: &PodInfo, suffix: &str) {
        let note = format!(
            "Preempted by pod {} on node {}{suffix}",
            self.pod.uid, self.node
        );
        self.recorder
            .tell(
                victim,
                Told {
                    kind: "Normal",
                    reason: "Preempted",
                    action: "Preempting",
                    note: &note,
                    related: Some(&self.pod),
                },
            )
            .await;
    }

    async fn evict(&self, victim: &PodInfo) -> Result<(), Error> {
        let message = format!(
            "{}: preempting to accommodate a higher priority pod",
            self.scheduler
        );
        let wanted = Condition {
            kind: "DisruptionTarget",
            status: "True",
            reason: "PreemptionByScheduler",
            message: &message,
        };
        if let Some(patch) = condition(victim, wanted, self.clock.now())
            && unless_gone(
                self.api
                    .patch(&status_of(victim), PatchType::Strategic, &patch)
                    .await,
            )?
            .is_none()
        {
            return Ok(());
        }
        let deleted = self
            .api
            .delete_path(
                &item::<Pod>(&victim.namespace, &victim.name),
                &Delete::of_uid(&victim.uid),
            )
            .await;
        if unless_gone(deleted)?.is_some() {
            self.tell(victim, "").await;
        }
        Ok(())
    }

    /// Takes promises back, then makes everyone leave: the last one when all others have been told to.
    pub async fn carry_out(&self) -> Result<(), Error> {
        for other in &self.promised {
            let patch = json!({"status": {"nominatedNodeName": null}});
            unless_gone(
                self.api
                    .patch(&status_of(other), PatchType::Strategic, &patch)
                    .await,
            )?;
        }
        let Some((last, others)) = self.victims.split_last() else {
            return Ok(());
        };
        let done = join_all(others.iter().map(|victim| self.evict(victim))).await;
        Error::collect(done.into_iter().filter_map(Result::err).collect())?;
        self.evict(last).await
    }
}
