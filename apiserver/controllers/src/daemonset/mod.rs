//! The DaemonSet controller: one pod of the template on every node that admits it.
//!
//! Invariant: while creations or deletions that were asked for have not shown up in the cache, no more are asked for.
//! Follows pkg/controller/daemon/daemon_controller.go.

mod placement;
mod revisions;
mod update;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::Node,
};
use skiff_podspec::pod::Pod;

use self::placement::Placement;
use crate::{
    clock::since,
    dependents::{self, Pods, Selecting, claimed},
    owners::controller_of,
    pods,
    prelude::*,
};

/// How many pods one pass creates or deletes at most.
const BURST: usize = 250;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15 * 60);
/// The label that says which revision a pod is of.
pub const HASH_LABEL: &str = "controller-revision-hash";

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    sets: Fresh<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Fresh<ControllerRevision>,
    expectations: Expectations,
    backoff: Mutex<HashMap<(Key, String), Backoff>>,
}

/// How failed pods of a set on a node are left alone.
struct Backoff {
    /// Of the set: a new one begins anew.
    generation: i64,
    last: Timestamp,
    pause: Duration,
}

/// `daemonset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "daemonset",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("daemonset-controller"),
            sets: context.fresh(),
            pods: context.informer(),
            nodes: context.informer(),
            revisions: context.fresh(),
            expectations: Expectations::new(context.clock.clone()),
            backoff: Mutex::default(),
        },
    );
    c.each(&c.sets);
    c.on(&c.pods, |c, change, queue| {
        dependents::heard_of_pod(&c.sets, &c.expectations, change, &|key| queue.add(key));
    });
    c.on(&c.nodes, |c, change, queue| {
        if matters(change) {
            c.node_changed(change.object(), queue);
        }
    });
    c.on(&c.revisions, |c, change, queue| {
        // somebody else changed, let go or deleted it; of a new one with an owner nothing is to be done
        if !matches!(change, Change::Added(revision) if controller_of(&revision.metadata).is_some())
        {
            dependents::heard(&c.sets, change, &|key| queue.add(key));
        }
    });
    Ok(c.workers())
}

/// Whether sets are looked at for what became of a node. Not when it goes: its pods go after it, and wake them then.
fn matters(change: &Change<Node>) -> bool {
    let taints = |node: &Node| node.spec().taints.clone();
    match change {
        Change::Added(_) => true,
        Change::Updated { old, new } => {
            old.metadata.labels != new.metadata.labels || taints(old) != taints(new)
        }
        Change::Deleted(_) => false,
    }
}

impl Controller {
    /// Wakes the sets that the node concerns as it is now.
    fn node_changed(&self, node: &Node, queue: &Queue<Key>) {
        let here = self.pods.in_group(node.metadata.name());
        let owners: HashSet<&str> = here
            .iter()
            .filter_map(|pod| Some(controller_of(&pod.metadata)?.uid.as_str()))
            .collect();
        let concerned = |set: &Arc<DaemonSet>| {
            Placement::new(set, &[], BTreeMap::new())
                .is_concerned(node, owners.contains(set.metadata.uid()))
        };
        wake(queue, self.sets.list().into_iter().filter(concerned));
    }

    /// The set's pods, by the node that they are on or meant for.
    async fn pods_by_node(
        &self,
        set: &DaemonSet,
        selector: &Selector,
    ) -> Result<BTreeMap<String, Vec<Arc<Pod>>>, Error> {
        let mine = claimed(&self.api, set, selector, &self.pods).await?;
        let mut by_node = BTreeMap::<String, Vec<Arc<Pod>>>::new();
        for pod in mine
            .into_iter()
            .filter(|pod| !(pods::is_finished(pod) && pods::is_deleting(pod)))
        {
            if let Some(node) = placement::target(&pod) {
                by_node.entry(node.to_string()).or_default().push(pod);
            }
        }
        by_node.values_mut().for_each(|pods| placement::sort(pods));
        Ok(by_node)
    }

    /// Creates pods for these nodes and deletes these pods.
    async fn carry_out(
        &self,
        key: &Key,
        set: &DaemonSet,
        hash: &str,
        mut plan: placement::Plan,
    ) -> Result<(), Error> {
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(
            key,
            plan.create.len(),
            plan.delete
                .iter()
                .map(|pod| Key::of(&pod.metadata))
                .collect(),
        );
        let pods = Pods {
            api: &self.api,
            recorder: &self.recorder,
            expectations: &self.expectations,
            key,
            owner: set,
        };
        let new = |i: usize| placement::new_pod(set, &plan.create[i], hash);
        let (_, failure) = pods.create(plan.create.len(), new).await;
        let mut errors = pods.delete(&plan.delete).await;
        errors.splice(0..0, failure);
        Error::collect(errors)
    }

    /// Whether a failed pod on this node may be deleted now; if not, when.
    fn may_retry(&self, key: &Key, generation: i64, node: &str) -> Option<Duration> {
        let now = self.clock.now();
        let mut backoff = self.backoff.lock();
        next_try(
            backoff.entry((key.clone(), node.to_string())),
            generation,
            now,
        )
    }

    async fn manage(
        &self,
        key: &Key,
        set: &DaemonSet,
        placement: &Placement<'_>,
        hash: &str,
    ) -> Result<Option<Duration>, Error> {
        let mut again: Option<Duration> = None;
        let mut plan = placement::Plan::default();
        for verdict in placement.verdicts(
            hash,
            set.spec().min_ready_seconds.unwrap_or(0),
            self.clock.now(),
        ) {
            plan.create.extend(verdict.create);
            plan.delete.extend(verdict.delete);
            for pod in verdict.failed {
                let node = placement::target(&pod).unwrap_or("").to_string();
                let what = format!("{}/{}", key.namespace(), pod.metadata.name());
                if let Some(wait) = self.may_retry(key, set.metadata.generation.unwrap_or(0), &node)
                {
                    again = Some(again.map_or(wait, |a| a.min(wait)));
                    continue;
                }
                let message =
                    format!("Found failed daemon pod {what} on node {node}, will try to kill it");
                self.recorder.warning(set, "FailedDaemonPod", message);
                plan.delete.push(pod);
            }
            for pod in verdict.succeeded {
                let (what, node) = (
                    format!("{}/{}", key.namespace(), pod.metadata.name()),
                    placement::target(&pod).unwrap_or(""),
                );
                let message = format!(
                    "Found succeeded daemon pod {what} on node {node}, will try to delete it"
                );
                self.recorder.normal(set, "SucceededDaemonPod", message);
                plan.delete.push(pod);
            }
        }
        self.carry_out(key, set, hash, plan).await?;
        Ok(again)
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &DaemonSet,
        mut status: DaemonSetStatus,
        observed: bool,
    ) -> Result<(), Error> {
        let old = set.status.clone().unwrap_or_default();
        let generation = set.metadata.generation;
        (status.conditions, status.collision_count) = (old.conditions.clone(), old.collision_count);
        status.observed_generation = if observed {
            generation
        } else {
            old.observed_generation
        };
        if status == old && old.observed_generation >= generation {
            return Ok(());
        }
        let update = DaemonSet {
            status: Some(status),
            ..set.clone()
        };
        let written = self.api.update_status(&update).await?;
        self.sets.note(key, &written.metadata);
        Ok(())
    }
}

/// When the next try is, if not now: a second after the first, then twice as long each time; anew after twice the longest time.
fn next_try(
    entry: Entry<'_, (Key, String), Backoff>,
    generation: i64,
    now: Timestamp,
) -> Option<Duration> {
    let backoff = entry.or_insert(Backoff {
        generation,
        last: Timestamp::UNIX_EPOCH,
        pause: Duration::ZERO,
    });
    let passed = since(now, backoff.last);
    if backoff.generation != generation || passed > LAST_BACKOFF * 2 {
        *backoff = Backoff {
            generation,
            last: now,
            pause: FIRST_BACKOFF,
        };
        return None;
    }
    if passed < backoff.pause {
        return Some(backoff.pause - passed);
    }
    (backoff.last, backoff.pause) = (now, (backoff.pause * 2).clamp(FIRST_BACKOFF, LAST_BACKOFF));
    None
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "daemonset-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.sets.catch_up(key).await;
        self.revisions.catch_up(key).await;
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            self.backoff.lock().retain(|(set, _), _| set != key);
            return Ok(Next::DONE);
        };
        let selector = set.selector()?;
        if selector.is_everything() {
            self.recorder.warning(
                &*set,
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            );
            return Ok(Next::DONE);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::DONE);
        }
        let (hash, old) = self.revisions_of(key, &set, &selector).await?;
        let nodes = self.nodes.list();
        let settled = self.expectations.satisfied(key);
        let mut placement = Placement::new(&set, &nodes, self.pods_by_node(&set, &selector).await?);
        let mut outcome = Ok(None);
        if settled {
            outcome = self.manage(key, &set, &placement, &hash).await;
            if outcome.is_ok() && self.expectations.satisfied(key) {
                placement.by_node = self.pods_by_node(&set, &selector).await?;
                let plan = update::plan(&set, &placement, &hash, self.clock.now());
                outcome = self.carry_out(key, &set, &hash, plan).await.and(outcome);
                self.drop_history(&set, &placement, old).await?;
            }
            placement.by_node = self.pods_by_node(&set, &selector).await?;
        }
        let status = placement.status(&hash, self.clock.now());
        let unripe = status.number_ready != status.number_available.unwrap_or(0);
        self.write_status(key, &set, status, settled).await?;
        let again = outcome?;
        let min_ready = set
            .spec()
            .min_ready_seconds
            .filter(|s| *s > 0 && unripe)
            .map(pods::seconds);
        Ok(Next::maybe_after([again, min_ready].into_iter().flatten().min()).resting(nodes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_changes_of_a_node_matter() {
        let node = |labels: serde_json::Value, taints: serde_json::Value| -> Arc<Node> {
            let node =
                serde_json::json!({"metadata": {"labels": labels}, "spec": {"taints": taints}});
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let none = || serde_json::Value::Null;
        let plain = node(none(), none());
        let labelled = node(serde_json::json!({"a": "b"}), none());
        let tainted = node(
            none(),
            serde_json::json!([{"key": "k", "effect": "NoSchedule"}]),
        );
        let updated = |new: &Arc<Node>| Change::Updated {
            old: plain.clone(),
            new: new.clone(),
        };
        for (change, expected) in [
            (Change::Added(plain.clone()), true),
            (updated(&plain), false),
            (updated(&labelled), true),
            (updated(&tainted), true),
            (Change::Deleted(plain.clone()), false),
        ] {
            assert_eq!(matters(&change), expected, "{:?}", change.object());
        }
    }

    #[test]
    fn failed_pods_are_left_alone_longer_and_longer() {
        let mut backoff = HashMap::new();
        let mut at = |seconds: i64, generation: i64| {
            let now = Timestamp::from_second(1_000_000 + seconds).unwrap();
            next_try(
                backoff.entry((Key::new("ns", "set"), "node".to_string())),
                generation,
                now,
            )
            .map(|wait| wait.as_secs())
        };
        assert_eq!(
            [at(0, 1), at(0, 1), at(1, 1), at(2, 1), at(3, 1)],
            [None, Some(1), None, Some(1), None]
        );
        assert_eq!([at(6, 1), at(7, 1)], [Some(1), None], "four seconds by now");
        assert_eq!(
            [at(7, 2), at(7, 2)],
            [None, Some(1)],
            "another template begins anew"
        );
        assert_eq!(
            [at(7 + 1801, 2), at(7 + 1801, 2)],
            [None, Some(1)],
            "and so does one that held"
        );
    }
}
