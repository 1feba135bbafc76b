//! Who plays the kubelets: pods run, end or wait as a test says.
//!
//! Invariant: pods that are bound get the status that they should have, and those being deleted go at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use skiff_watching::api::{Api, Delete, PatchType};
use tokio::task::AbortHandle;

use crate::plane::{Plane, now};

/// What becomes of a pod.
#[derive(Clone, Copy, PartialEq)]
pub enum Act {
    /// Its image cannot be had.
    Wait,
    Run {
        ready: bool,
    },
    /// Its container ends with this code.
    End(i32),
}

/// Ready from the start.
pub const RUN: Act = Act::Run { ready: true };

/// All kubelets of a plane, until it is dropped.
pub struct Kubelets(AbortHandle);

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn status(act: Act) -> Value {
    let (phase, ready, state) = match act {
        Act::Wait => (
            "Pending",
            false,
            json!({"waiting": {"reason": "ErrImagePull"}}),
        ),
        Act::Run { ready } => ("Running", ready, json!({"running": {"startedAt": now()}})),
        Act::End(code) => {
            let ended = json!({"terminated": {"exitCode": code, "startedAt": now(), "finishedAt": now(), "reason": if code == 0 { "Completed" } else { "Error" }}});
            (if code == 0 { "Succeeded" } else { "Failed" }, false, ended)
        }
    };
    let container = json!({"name": "main", "image": "x", "imageID": "", "ready": ready, "restartCount": 0, "state": state});
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now()});
    json!({"status": {"phase": phase, "startTime": now(), "conditions": [condition], "containerStatuses": [container]}})
}

/// One look at all pods.
async fn pass(
    api: &Api,
    act: &(dyn Fn(&Value) -> Act + Send + Sync),
    done: &mut HashMap<String, Act>,
) -> Option<()> {
    let pods: Value = api.get_path("/api/v1/pods").await.ok()?;
    for pod in pods["items"]
        .as_array()?
        .iter()
        .filter(|pod| pod["spec"]["nodeName"].is_string())
    {
        let (uid, meta) = (pod["metadata"]["uid"].as_str()?, &pod["metadata"]);
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            meta["namespace"].as_str()?,
            meta["name"].as_str()?
        );
        if !meta["deletionTimestamp"].is_null() {
            // what ends is told before it goes
            if !matches!(done.get(uid), Some(Act::End(_)))
                && api
                    .patch(
                        &format!("{path}/status"),
                        PatchType::Strategic,
                        &status(Act::End(137)),
                    )
                    .await
                    .is_ok()
            {
                done.insert(uid.to_string(), Act::End(137));
            }
            let at_once = Delete {
                grace_seconds: Some(0),
                ..Delete::of_uid(uid)
            };
            // one that cannot be deleted now is met again at the next look
            drop(api.delete_path(&path, &at_once).await);
            continue;
        }
        let wanted = act(pod);
        let over = matches!(done.get(uid), Some(Act::End(_)));
        if !over
            && done.get(uid) != Some(&wanted)
            && api
                .patch(
                    &format!("{path}/status"),
                    PatchType::Strategic,
                    &status(wanted),
                )
                .await
                .is_ok()
        {
            done.insert(uid.to_string(), wanted);
        }
    }
    Some(())
}

impl Plane {
    /// Starts the kubelets of all nodes.
    pub fn kubelets(&self, act: impl Fn(&Value) -> Act + Send + Sync + 'static) -> Kubelets {
        let (api, act, mut done) = (self.api.clone(), Arc::new(act), HashMap::new());
        let task = tokio::spawn(async move {
            loop {
                pass(&api, &*act, &mut done).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Kubelets(task.abort_handle())
    }
}
