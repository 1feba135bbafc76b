//! The pod garbage collector: deletes pods whose node is gone, that end without ever having been bound, that hang on a node out of
//! service, and the oldest ended ones when there are too many.
//!
//! Invariant: a node that is not in the cache is asked for at the server, 40 seconds later, before its pods go. Follows
//! pkg/controller/podgc/gc_controller.go.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use skiff_podspec::conditions::status_patch;
use skiff_podspec::pod::Pod;

use crate::{clock::since, pods, prelude::*, runner::every};

const PERIOD: Duration = Duration::from_secs(20);
const QUARANTINE: Duration = Duration::from_secs(40);

struct Controller {
    api: Api,
    clock: Clock,
    threshold: usize,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

/// `pod-garbage-collector-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        threshold: usize::try_from(context.options.terminated_pod_gc_threshold).unwrap_or(0),
        pods: context.informer(),
        nodes: context.informer(),
    });
    let (clock, stop) = (context.clock.clone(), context.stop.clone());
    let missing = Arc::new(tokio::sync::Mutex::new(HashMap::<String, Timestamp>::new()));
    Ok(Some(Box::pin(every(clock, PERIOD, stop, move || {
        let (controller, missing) = (controller.clone(), missing.clone());
        async move {
            let mut missing = missing.lock().await;
            controller.collect(&mut missing).await;
        }
    }))))
}

/// The ended pods that are too many: evicted ones first, then the oldest.
fn surplus(pods: &[Arc<Pod>], threshold: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<_> = pods.iter().filter(pods::is_finished).cloned().collect();
    if threshold == 0 || ended.len() <= threshold {
        return Vec::new();
    }
    let evicted = |pod: &Pod| {
        pods::phase(pod) == "Failed" && pod.status().reason.as_deref() == Some("Evicted")
    };
    ended.sort_by_key(|pod| {
        (
            !evicted(pod),
            pod.metadata.creation_timestamp.as_ref().map(|t| t.0),
            pod.metadata.name.clone(),
        )
    });
    ended.truncate(ended.len() - threshold);
    ended
}

/// Whether the node is out of service: not ready, and tainted so by hand.
fn is_out_of_service(node: &Node) -> bool {
    let ready = node
        .status()
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    !ready
        && node
            .spec()
            .taints
            .iter()
            .flatten()
            .any(|t| t.key == "node.kubernetes.io/out-of-service")
}

impl Controller {
    async fn collect(&self, missing: &mut HashMap<String, Timestamp>) {
        let pods = self.pods.list();
        let mut doomed: Vec<(Arc<Pod>, Option<Value>)> = surplus(&pods, self.threshold)
            .into_iter()
            .map(|pod| (pod, None))
            .collect();
        let gone = self.gone_nodes(&pods, missing).await;
        for pod in &pods {
            let node = pods::node_name(pod);
            let deleting = pods::is_deleting(pod);
            if gone.contains(node) {
                doomed.push((pod.clone(), Some(self.orphan_condition(pod))));
            } else if deleting
                && (node.is_empty()
                    || self
                        .nodes
                        .get(&Key::cluster(node))
                        .is_some_and(|n| is_out_of_service(&n)))
            {
                doomed.push((pod.clone(), None));
            }
        }
        for (pod, condition) in doomed {
            if let Err(error) = self.fail_and_delete(&pod, condition).await {
                tracing::debug!(pod = pod.metadata.name(), %error, "cannot delete pod, will try again");
            }
        }
    }

    /// The nodes of bound pods that have been missing for long enough, and are at the server, too.
    async fn gone_nodes(
        &self,
        pods: &[Arc<Pod>],
        missing: &mut HashMap<String, Timestamp>,
    ) -> HashSet<String> {
        let now = self.clock.now();
        let absent: HashSet<&str> = pods
            .iter()
            .map(|pod| pods::node_name(pod))
            .filter(|n| !n.is_empty() && self.nodes.get(&Key::cluster(n)).is_none())
            .collect();
        missing.retain(|node, _| absent.contains(node.as_str()));
        let mut gone = HashSet::new();
        for node in absent {
            let first = *missing.entry(node.to_string()).or_insert(now);
            if since(now, first) < QUARANTINE {
                continue;
            }
            match unless_gone(self.api.get_metadata(&item::<Node>("", node)).await) {
                Ok(None) => drop(gone.insert(node.to_string())),
                Ok(Some(_)) => {}
                Err(error) => tracing::debug!(node, %error, "cannot ask for node, will try again"),
            }
        }
        gone
    }

    fn orphan_condition(&self, pod: &Pod) -> Value {
        let mut condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": self.clock.time(),
        });
        if let Some(generation) = pod.metadata.generation {
            condition["observedGeneration"] = generation.into();
        }
        condition
    }

    async fn fail_and_delete(&self, pod: &Pod, condition: Option<Value>) -> Result<(), Error> {
        let key = Key::of(&pod.metadata);
        if !pods::is_finished(pod) {
            let mut status = match condition {
                Some(condition) => status_patch(pod.status.as_deref(), condition),
                None => json!({}),
            };
            status["phase"] = "Failed".into();
            if let Some(generation) = pod.metadata.generation {
                status["observedGeneration"] = generation.into();
            }
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
            if self
                .api
                .amend_status::<Pod>(&key, PatchType::Strategic, &patch)
                .await?
                .is_none()
            {
                return Ok(());
            }
        }
        // one of the same name may have come meanwhile: that is another, and stays
        let at_once = Delete {
            grace_seconds: Some(0),
            uid: pod.metadata.uid.clone(),
            ..Delete::default()
        };
        match self.api.delete::<Pod>(&key, &at_once).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => unless_gone(other).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;

    #[test]
    fn evicted_ones_go_first_then_the_oldest() {
        let ended = |name: &str, phase: &str, created: i64, reason: Option<&str>| {
            let mut pod = pod(name, "n", phase, None);
            pod.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    Timestamp::from_second(created).unwrap(),
                ));
            pod.status.as_mut().unwrap().reason = reason.map(Into::into);
            Arc::new(pod)
        };
        let pods = [
            ended("old", "Succeeded", 1, None),
            ended("evicted", "Failed", 9, Some("Evicted")),
            ended("new", "Failed", 5, None),
            ended("runs", "Running", 0, None),
        ];
        let names = |threshold| {
            surplus(&pods, threshold)
                .iter()
                .map(|p| p.metadata.name.clone().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["evicted", "old"]);
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(0), Vec::<String>::new());
    }
}
