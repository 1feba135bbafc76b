//! The taint eviction controller: deletes pods from nodes whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! Invariant: a pod's time runs from when the taint was first noticed, however often it is looked at again. Follows
//! pkg/controller/tainteviction/taint_eviction.go.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Taint, Toleration};
use serde_json::json;
use skiff_podspec::conditions::status_patch;
use skiff_podspec::pod::Pod;
use skiff_podspec::tolerations::{of_pod, tolerates};

use crate::{
    clock::{after, until},
    pods,
    prelude::*,
};

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// When each pod that tolerates for a while is to go.
    scheduled: Mutex<HashMap<Key, Timestamp>>,
}

/// `taint-eviction-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "taint_eviction",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("taint-eviction-controller"),
            pods: context.informer(),
            nodes: context.informer(),
            scheduled: Mutex::default(),
        },
    );
    c.on(&c.pods, |c, change, queue| {
        let comes = |pod: &Pod| c.is_tainted(pods::node_name(pod));
        let concerns = match change {
            Change::Deleted(pod) => return c.cancel(&Key::of(&pod.metadata)),
            Change::Added(pod) => !pods::node_name(pod).is_empty() && comes(pod),
            Change::Updated { old, new } => {
                old.spec().tolerations != new.spec().tolerations
                    || (pods::node_name(old) != pods::node_name(new) && comes(new))
            }
        };
        if concerns {
            queue.add(Key::of(&change.object().metadata));
        }
    });
    c.on(&c.nodes, |c, change, queue| {
        let (old, new) = match change {
            Change::Added(new) => (Vec::new(), evicting(new)),
            Change::Updated { old, new } => (evicting(old), evicting(new)),
            Change::Deleted(_) => return,
        };
        if old != new {
            wake(queue, c.pods.in_group(change.object().metadata.name()));
        }
    });
    Ok(c.some_workers(8))
}

fn evicting(node: &Node) -> Vec<Taint> {
    node.spec()
        .taints
        .iter()
        .flatten()
        .filter(|t| t.effect == "NoExecute")
        .cloned()
        .collect()
}

/// How long a pod with these tolerations may stay.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    /// Not at all.
    Never,
    /// For a while.
    For(Duration),
    /// As long as it likes.
    Forever,
}

fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|t| tolerates(t, taint)) else {
            return Stay::Never;
        };
        if let Some(seconds) = used.toleration_seconds {
            shortest = Some(shortest.map_or(seconds, |s| s.min(seconds)));
        }
    }
    match shortest {
        None => Stay::Forever,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds @ 1..) => Stay::For(Duration::from_secs(seconds)),
            // nothing is put off that could be cancelled
            Ok(0) | Err(_) => Stay::Never,
        },
    }
}

impl Controller {
    fn is_tainted(&self, node: &str) -> bool {
        self.nodes
            .get(&Key::cluster(node))
            .is_some_and(|node| !evicting(&node).is_empty())
    }

    fn say(&self, key: &Key, what: &str) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(key.namespace().into()),
            name: Some(key.name().into()),
            ..Default::default()
        };
        self.recorder.about(
            about,
            EventType::Normal,
            "TaintManagerEviction",
            format!("{what} Pod {key}"),
        );
    }

    /// The pod is not to go any more, or is gone. (Upstream says so, too, of one that is gone at once by its own eviction.)
    fn cancel(&self, key: &Key) {
        if self.scheduled.lock().remove(key).is_some() {
            self.say(key, "Cancelling deletion of");
        }
    }

    async fn evict(&self, key: &Key) -> Result<(), Error> {
        self.say(key, "Marking for deletion");
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": self.clock.time(),
        });
        let Some(pod) = unless_gone(self.api.get::<Pod>(key.namespace(), key.name()).await)? else {
            return Ok(());
        };
        let marked = pods::condition(pod.status.as_deref(), "DisruptionTarget").is_some_and(|c| {
            c.status == "True" && c.reason.as_deref() == Some("DeletionByTaintManager")
        });
        if !marked {
            let mut condition = condition;
            if let Some(generation) = pod.metadata.generation {
                condition["observedGeneration"] = generation.into();
            }
            let status = status_patch(pod.status.as_deref(), condition);
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
            if self
                .api
                .amend_status::<Pod>(key, PatchType::Strategic, &patch)
                .await?
                .is_none()
            {
                return Ok(());
            }
        }
        unless_gone(
            self.api
                .delete::<Pod>(key, &Delete::of_uid(pod.metadata.uid()))
                .await,
        )?;
        if pod.spec().termination_grace_period_seconds == Some(0) {
            self.cancel(key);
        }
        Ok(())
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "taint-eviction-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(key) else {
            self.cancel(key);
            return Ok(Next::DONE);
        };
        let taints = self
            .nodes
            .get(&Key::cluster(pods::node_name(&pod)))
            .map(|node| evicting(&node))
            .unwrap_or_default();
        let stay = if taints.is_empty() {
            Stay::Forever
        } else {
            stay(&taints, of_pod(pod.spec()))
        };
        match stay {
            Stay::Forever => self.cancel(key),
            Stay::Never => {
                self.cancel(key);
                self.evict(key).await?;
            }
            Stay::For(time) => {
                let now = self.clock.now();
                let due = *self
                    .scheduled
                    .lock()
                    .entry(key.clone())
                    .or_insert_with(|| after(now, time));
                if due > now {
                    return Ok(Next::after(until(now, due)));
                }
                if !pods::is_deleting(&pod) {
                    self.evict(key).await?;
                }
                self.scheduled.lock().remove(key);
            }
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_pod_may_stay() {
        let taint = |key: &str, value: &str| Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: "NoExecute".into(),
            time_added: None,
        };
        let toleration =
            |key: &str, operator: &str, value: &str, seconds: Option<i64>| Toleration {
                key: (!key.is_empty()).then(|| key.into()),
                operator: Some(operator.into()),
                value: Some(value.into()),
                effect: None,
                toleration_seconds: seconds,
            };
        for (tolerations, expected) in [
            (vec![], Stay::Never),
            (vec![toleration("", "Exists", "", None)], Stay::Forever),
            (vec![toleration("a", "Equal", "1", None)], Stay::Forever),
            (vec![toleration("a", "Equal", "2", None)], Stay::Never),
            (
                vec![toleration("a", "Exists", "", Some(5))],
                Stay::For(Duration::from_secs(5)),
            ),
            (vec![toleration("a", "Exists", "", Some(-5))], Stay::Never),
            (vec![toleration("a", "Exists", "", Some(0))], Stay::Never),
            (vec![toleration("b", "Exists", "", None)], Stay::Never),
            (vec![toleration("a", "Gt", "0", None)], Stay::Never),
        ] {
            assert_eq!(
                stay(&[taint("a", "1")], &tolerations),
                expected,
                "{tolerations:?}"
            );
        }
        assert_eq!(
            stay(
                &[taint("a", "1"), taint("b", "1")],
                &[toleration("a", "Exists", "", None)]
            ),
            Stay::Never
        );
    }
}
