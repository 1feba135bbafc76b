//! Makes pods leave a node for one that matters more. Follows `pkg/scheduler/framework/preemption/executor.go`.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use skiff_api::machinery::clock::SharedClock;
use skiff_podspec::pod::Pod;
use skiff_watching::{
    api::{Api, Delete, PatchType},
    error::{Error, unless_gone},
    key::Key,
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

impl Preemption {
    /// Tells of one pod that had to leave.
    pub async fn tell(&self, victim: &PodInfo, suffix: &str) {
        let note = format!(
            "Preempted by pod {} on node {}{suffix}",
            self.pod.uid, self.node
        );
        let told = Told {
            related: Some(&self.pod),
            ..Told::normal("Preempted", "Preempting", &note)
        };
        self.recorder.tell(victim, told).await;
    }

    async fn change_status(
        &self,
        pod: &PodInfo,
        patch: &Value,
    ) -> Result<Option<ObjectMeta>, Error> {
        let key = Key::new(&pod.namespace, &pod.name);
        self.api
            .amend_status::<Pod>(&key, PatchType::Strategic, patch)
            .await
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
            && self.change_status(victim, &patch).await?.is_none()
        {
            return Ok(());
        }
        let key = Key::new(&victim.namespace, &victim.name);
        let only_it = Delete::of_uid(&victim.uid);
        let deleted = self.api.delete::<Pod>(&key, &only_it).await;
        if unless_gone(deleted)?.is_some() {
            self.tell(victim, "").await;
        }
        Ok(())
    }

    /// Takes promises back, then makes everyone leave: the last one when all others have been told to.
    pub async fn carry_out(&self) -> Result<(), Error> {
        for other in &self.promised {
            let patch = json!({"status": {"nominatedNodeName": null}});
            self.change_status(other, &patch).await?;
        }
        let Some((last, others)) = self.victims.split_last() else {
            return Ok(());
        };
        let done = join_all(others.iter().map(|victim| self.evict(victim))).await;
        Error::collect(done.into_iter().filter_map(Result::err).collect())?;
        self.evict(last).await
    }
}
