//! What the scheduler sends: bindings, what volumes need, conditions, and pods that have to leave.
//!
//! Invariant: nothing here waits; what came of it is heard later. Follows `pkg/scheduler/schedule_one.go` (bindingCycle,
//! handleSchedulingFailure) and `plugins/defaultbinder/default_binder.go`.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_podspec::pod::Pod;
use skiff_watching::{
    api::{Api, PatchType, item},
    error::Error,
};

use tokio::task::JoinHandle;

use crate::{
    broken::Broken,
    choose::Failure,
    cycle::Scheduler,
    events::{Condition, Standing, Told, condition},
    figures::Outcome,
    heard::{Heard, told},
    plugins::volume_binding::Plan,
    pod::PodInfo,
    preemption::carry_out::Preemption,
};

async fn bind(api: &Api, pod: &PodInfo, node: &str) -> Result<(), Error> {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let path = item::<Pod>(&pod.namespace, &pod.name) + "/binding";
    api.post(&path, &binding).await.map(drop)
}

async fn patch_status(api: &Api, pod: &PodInfo, patch: &Value) {
    let path = item::<Pod>(&pod.namespace, &pod.name) + "/status";
    if let Err(error) = api.patch(&path, PatchType::Strategic, patch).await {
        tracing::debug!(%error, pod = pod.name, "the status was not written");
    }
}

/// Waits until what was sent before about the same pod has been.
async fn ended(before: Option<JoinHandle<()>>) {
    if let Some(before) = before
        && let Err(error) = before.await
    {
        tracing::error!(%error, "a report about a pod ended badly");
    }
}

/// What is to change in the status of a pod that fits nowhere; `None` when it says so already.
fn status_patch(pod: &PodInfo, failure: &Failure, now: jiff::Timestamp) -> Option<Value> {
    let wanted = Condition {
        kind: "PodScheduled",
        status: "False",
        reason: failure.reason,
        message: &failure.message,
    };
    let mut patch = condition(pod, wanted, now);
    if let Some(node) = failure
        .nominate
        .as_deref()
        .filter(|node| *node != pod.nominated().unwrap_or(""))
    {
        let node = if node.is_empty() {
            Value::Null
        } else {
            node.into()
        };
        patch.get_or_insert_with(|| json!({"status": {}}))["status"]["nominatedNodeName"] = node;
    }
    patch
}

impl Scheduler {
    /// Binds the pod to the node, once it is written why it was given none before: else that would be the last that is written.
    pub fn bind(&mut self, pod: Arc<PodInfo>, node: String) {
        let before = self.reports.remove(&pod.uid);
        let (api, slots, tell, recorder) = (
            self.api.clone(),
            self.slots.clone(),
            self.tell.clone(),
            self.recorder.clone(),
        );
        let attempt = self.assumed.get(&pod.uid).map(|of| of.attempt);
        let figures = self.options.figures.clone();
        skiff_watching::task::spawn(async move {
            ended(before).await;
            let Ok(_slot) = slots.acquire().await else {
                return;
            };
            let done = bind(&api, &pod, &node).await;
            let (uid, succeeded) = (pod.uid.clone(), done.is_ok());
            if let Some(attempt) = attempt.filter(|_| succeeded) {
                figures.over(&attempt, Outcome::Scheduled);
            }
            told(
                &tell,
                match done {
                    Err(error) if error.is_not_found() => Heard::Gone { uid },
                    done => Heard::Bound {
                        uid,
                        done: done.map_err(Broken::Bind),
                    },
                },
            );
            if succeeded {
                let note = format!(
                    "Successfully assigned {}/{} to {node}",
                    pod.namespace, pod.name
                );
                let told = Told::normal("Scheduled", "Binding", &note);
                recorder.tell(&pod, told).await;
            }
        });
    }

    /// Writes into claims and volumes what the pod needs on its node; where it is to run is told beforehand.
    pub fn ask_for_volumes(&self, pod: Arc<PodInfo>, node: &str, plan: &Plan) {
        let (api, tell, patches, node) = (
            self.api.clone(),
            self.tell.clone(),
            plan.patches(node),
            node.to_string(),
        );
        skiff_watching::task::spawn(async move {
            if pod.nominated() != Some(node.as_str()) {
                patch_status(&api, &pod, &json!({"status": {"nominatedNodeName": node}})).await;
            }
            for (path, patch) in patches {
                if let Err(error) = api.patch(&path, PatchType::Merge, &patch).await {
                    let done = Err(Broken::Volumes(error));
                    return told(
                        &tell,
                        Heard::Bound {
                            uid: pod.uid.clone(),
                            done,
                        },
                    );
                }
            }
        });
    }

    /// Tells why a pod was given no node; until now it said that it stood so.
    pub fn report(&mut self, pod: Arc<PodInfo>, failure: Failure, stood: Standing) {
        let (uid, before) = (pod.uid.clone(), self.reports.remove(&pod.uid));
        let (api, recorder, clock) = (
            self.api.clone(),
            self.recorder.clone(),
            self.options.clock.clone(),
        );
        let report = skiff_watching::task::spawn(async move {
            ended(before).await;
            if let Some(patch) = status_patch(&pod, &failure, clock.now()) {
                patch_status(&api, &pod, &patch).await;
            }
            let told = Told {
                stood: Some(stood),
                ..Told::warning("FailedScheduling", "Scheduling", &failure.message)
            };
            recorder.tell(&pod, told).await;
        });
        self.reports.insert(uid, report);
    }

    /// Makes room on a node for the pod.
    pub fn preempt(&mut self, pod: &Arc<PodInfo>, node: String, victims: Vec<Arc<PodInfo>>) {
        let promised = self
            .nominator
            .of_node(&node)
            .filter(|other| other.priority < pod.priority)
            .cloned()
            .collect();
        self.figures().preempted(victims.len());
        let (waiting, victims): (Vec<_>, Vec<_>) = victims
            .into_iter()
            .partition(|victim| self.pending.contains_key(&victim.uid));
        let preemption = Preemption {
            api: self.api.clone(),
            recorder: self.recorder.clone(),
            clock: self.options.clock.clone(),
            scheduler: self.options.scheduler_name.clone(),
            pod: pod.clone(),
            node,
            victims,
            promised,
        };
        // those that wait for their volumes are not bound yet, and need not be deleted
        waiting
            .iter()
            .for_each(|victim| self.bound(&victim.uid, Err(Broken::Preempted)));
        let tell = self.tell.clone();
        skiff_watching::task::spawn(async move {
            for victim in &waiting {
                preemption
                    .tell(victim, " (in kube-scheduler memory).")
                    .await;
            }
            let failed = preemption.carry_out().await.inspect_err(|error| tracing::warn!(%error, pod = preemption.pod.name, "no room could be made")).is_err();
            told(
                &tell,
                Heard::RoomMade {
                    uid: preemption.pod.uid.clone(),
                    failed,
                },
            );
        });
    }
}
