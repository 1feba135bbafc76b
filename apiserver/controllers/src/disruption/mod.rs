//! The disruption controller: says in each PodDisruptionBudget how many of its pods may be evicted now.
//!
//! Invariant: what cannot be counted allows nothing. Follows pkg/controller/disruption/disruption.go.

mod count;

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        autoscaling::v1::Scale,
        core::v1::ReplicationController,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use serde_json::json;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::pod::Pod;

use self::count::{allow, disrupted};
use crate::{
    clock::{after, until},
    discovery::{ApiResource, discover},
    fraction::total,
    owners::controller_of,
    pods,
    prelude::*,
};

/// After which time a pod that was to be disrupted, but was not, is taken to stay.
const STALE: Duration = Duration::from_secs(120);

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    budgets: Fresh<PodDisruptionBudget>,
    pods: Informer<Pod>,
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    stateful: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

/// Takes back the condition of pods that were to be disrupted and were not.
struct Stale(Arc<Controller>);

/// `disruption-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let stale = context.queue::<Key>("stale_pod_disruption");
    let c = context.wire(
        "disruption",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("controllermanager"),
            budgets: context.fresh(),
            pods: context.informer(),
            sets: context.informer(),
            deployments: context.informer(),
            stateful: context.informer(),
            controllers: context.informer(),
        },
    );
    let marked = stale.clone();
    c.each(&c.budgets);
    c.on(&c.pods, move |c, change, queue| {
        if let Change::Updated { old, new } = change
            && old.metadata.labels != new.metadata.labels
        {
            c.wake(old, queue);
        }
        let pod = change.object();
        c.wake(pod, queue);
        if !matches!(change, Change::Deleted(_)) && stale_since(pod).is_some() {
            marked.add(Key::of(&pod.metadata));
        }
    });
    let (controller, _) = c.parts();
    let cleaning = context.some_workers(1, Arc::new(Stale(controller)), stale);
    Ok(c.some_workers_and(1, cleaning))
}

fn selector_of(budget: &PodDisruptionBudget) -> Result<Selector, Error> {
    Ok(selector::of(budget.spec().selector.as_ref())?)
}

/// Since when a pod that does not go bears the mark of one that is to; one that does not say when has borne it for ever.
fn stale_since(pod: &Pod) -> Option<Timestamp> {
    if pods::is_deleting(pod) || pods::is_finished(pod) {
        return None;
    }
    let condition = pods::condition(pod.status.as_deref(), "DisruptionTarget")?;
    let stale =
        condition.status == "True" && condition.reason.as_deref() != Some("TerminationByKubelet");
    let since = condition.last_transition_time.as_ref();
    stale.then(|| since.map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

impl Controller {
    fn wake(&self, pod: &Pod, queue: &Queue<Key>) {
        let budgets = self.budgets.in_namespace(pod.metadata.namespace());
        let fits = |b: &&Arc<PodDisruptionBudget>| {
            selector_of(b).is_ok_and(|s| s.matches(&pod.metadata.labels.as_ref()))
        };
        let mut fitting = budgets.iter().filter(fits).peekable();
        let first = fitting.peek().map(|b| b.metadata.name().to_string());
        let mut count = 0;
        for budget in fitting {
            queue.add(Key::of(&budget.metadata));
            count += 1;
        }
        if let (2.., Some(first)) = (count, first) {
            let (namespace, pod_name) = (pod.metadata.namespace(), pod.metadata.name());
            let message = format!(
                "Pod {namespace}/{pod_name} matches multiple PodDisruptionBudgets.  Chose {first} arbitrarily.",
                namespace = GoQuoted(&namespace),
                pod_name = GoQuoted(&pod_name),
                first = GoQuoted(&first)
            );
            self.recorder
                .warning(pod, "MultiplePodDisruptionBudgets", message);
        }
    }

    /// The scale of what controls a pod, by the uid of whoever decides it.
    async fn scale(
        &self,
        owner: &OwnerReference,
        namespace: &str,
    ) -> Result<Option<(String, i32)>, Error> {
        let key = Key::new(namespace, &owner.name);
        let known = match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("apps/v1", "ReplicaSet") => match self
                .sets
                .get(&key)
                .filter(|s| s.metadata.uid.as_ref() == Some(&owner.uid))
            {
                None => None,
                Some(set) => {
                    match controller_of(&set.metadata).filter(|r| r.kind == "Deployment") {
                        None => set.spec().replicas,
                        Some(owner) => {
                            let deployment = self
                                .deployments
                                .get(&Key::new(namespace, &owner.name))
                                .filter(|d| d.metadata.uid.as_ref() == Some(&owner.uid));
                            let replicas = deployment.and_then(|d| d.spec().replicas);
                            return Ok(replicas.map(|replicas| (owner.uid.clone(), replicas)));
                        }
                    }
                }
            },
            ("apps/v1", "StatefulSet") => self
                .stateful
                .get(&key)
                .filter(|s| s.metadata.uid.as_ref() == Some(&owner.uid))
                .and_then(|s| s.spec().replicas),
            ("v1", "ReplicationController") => self
                .controllers
                .get(&key)
                .filter(|c| c.metadata.uid.as_ref() == Some(&owner.uid))
                .and_then(|c| c.spec().replicas),
            _ => return self.other_scale(owner, namespace).await,
        };
        Ok(known.map(|replicas| (owner.uid.clone(), replicas)))
    }

    /// The scale of something that the server knows how to scale.
    async fn other_scale(
        &self,
        owner: &OwnerReference,
        namespace: &str,
    ) -> Result<Option<(String, i32)>, Error> {
        let found = discover(&self.api).await?;
        let (group, version) = owner
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &owner.api_version));
        let is_meant =
            |r: &&ApiResource| r.group == group && r.kind == owner.kind && r.serves(version);
        let Some(resource) = found.resources.iter().find(is_meant) else {
            return Err(failed!(
                "no matches for kind {} in version {}",
                GoQuoted(&owner.kind),
                GoQuoted(&owner.api_version)
            ));
        };
        let scale = self
            .api
            .get_at::<Scale>(&(resource.item(namespace, &owner.name) + "/scale"))
            .await;
        let Some(scale) = unless_gone(scale)? else {
            return match resource.scales {
                true => Ok(None),
                false => Err(failed!(
                    "{} does not implement the scale subresource",
                    resource.name_in_group()
                )),
            };
        };
        let replicas = scale.spec.and_then(|s| s.replicas).unwrap_or(0);
        let is_it = scale.metadata.uid.as_ref() == Some(&owner.uid);
        Ok(is_it.then(|| (owner.uid.clone(), replicas)))
    }

    /// How many pods all controllers of these want together, and the pods that have none.
    async fn expected_scale(&self, selected: &[Arc<Pod>]) -> Result<(i32, bool), Error> {
        let mut scales = HashMap::<String, i32>::new();
        let mut asked = HashMap::<String, ()>::new();
        let mut unmanaged = false;
        for pod in selected {
            let Some(owner) = controller_of(&pod.metadata) else {
                unmanaged = true;
                continue;
            };
            if asked.insert(owner.uid.clone(), ()).is_some() {
                continue;
            }
            let scale = self.scale(owner, pod.metadata.namespace()).await?;
            let (uid, replicas) = scale.ok_or_else(|| {
                failed!(
                    "found no controllers for pod {}",
                    GoQuoted(&pod.metadata.name())
                )
            })?;
            scales.insert(uid, replicas);
        }
        Ok((total(scales.into_values()), unmanaged))
    }

    /// Expected and desired pods, and whether some have no controller.
    async fn expectations(
        &self,
        budget: &PodDisruptionBudget,
        selected: &[Arc<Pod>],
    ) -> Result<(i32, i32, bool), Error> {
        let scale = match count::needs_scale(budget.spec()) {
            true => Some(self.expected_scale(selected).await?),
            false => None,
        };
        let (expected, desired) =
            count::wanted(budget.spec(), selected.len(), scale.map_or(0, |s| s.0));
        Ok((expected, desired, scale.is_some_and(|s| s.1)))
    }

    async fn sync(&self, key: &Key, budget: &PodDisruptionBudget) -> Result<Next, Error> {
        let selector = selector_of(budget)?;
        let mut selected = self.pods.in_namespace(key.namespace());
        selected.retain(|pod| selector.matches(&pod.metadata.labels.as_ref()));
        if selected.is_empty() {
            self.recorder
                .normal(budget, "NoPods", "No matching pods found");
        }
        let (expected, desired, unmanaged) = match self.expectations(budget, &selected).await {
            Ok(numbers) => numbers,
            Err(error) => {
                let message = format!("Failed to calculate the number of expected pods: {error}");
                self.recorder
                    .warning(budget, "CalculateExpectedPodCountFailed", message);
                return Err(error);
            }
        };
        if unmanaged {
            let selector = selector::go_text(budget.spec().selector.as_ref());
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of the PDB cannot be \
                 calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB \
                 to an integer value."
            );
            self.recorder.warning(budget, "UnmanagedPods", message);
        }
        let now = self.clock.now();
        let (still, overdue, recheck) = disrupted(budget, &selected, now);
        for pod in overdue {
            let namespace = key.namespace();
            let message = format!(
                "Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't"
            );
            self.recorder.warning(&*pod, "NotDeleted", message);
        }
        let old = budget.status.clone().unwrap_or_default();
        let mut status = count::status(budget, &selected, still, (expected, desired));
        allow(&mut status, self.clock.time(), None);
        if status != old {
            self.write(key, budget, status).await?;
        }
        Ok(Next::maybe_after(recheck.map(|at| until(now, at))).resting(selected.len()))
    }

    async fn write(
        &self,
        key: &Key,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), Error> {
        let update = PodDisruptionBudget {
            status: Some(status),
            ..budget.clone()
        };
        let written = self.api.update_status(&update).await?;
        self.budgets.note(key, &written.metadata);
        Ok(())
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "disruption-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.budgets.catch_up(key).await;
        let Some(budget) = self.budgets.get(key) else {
            return Ok(Next::DONE);
        };
        match self.sync(key, &budget).await {
            Err(error) if !error.is_conflict() && !error.is_not_found() => {
                let mut status = budget.status.clone().unwrap_or_default();
                status.disruptions_allowed = Some(0);
                allow(&mut status, self.clock.time(), Some(&error));
                if Some(&status) != budget.status.as_ref() {
                    self.write(key, &budget, status).await?;
                }
                Ok(Next::DONE)
            }
            other => other,
        }
    }
}

impl Reconcile<Key> for Stale {
    const NAME: &'static str = "disruption-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let controller = &self.0;
        let Some(pod) = controller.pods.get(key) else {
            return Ok(Next::DONE);
        };
        let Some(since) = stale_since(&pod) else {
            return Ok(Next::DONE);
        };
        let (now, end) = (controller.clock.now(), after(since, STALE));
        if end > now {
            return Ok(Next::after(until(now, end)));
        }
        let condition = json!({"type": "DisruptionTarget", "status": "False", "reason": null, "message": null,
            "lastTransitionTime": controller.clock.time(), "observedGeneration": pod.metadata.generation});
        let patch =
            json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        controller
            .api
            .amend_status::<Pod>(key, PatchType::Strategic, &patch)
            .await?;
        Ok(Next::DONE)
    }
}
