//! Putting granted resources in force: the cgroups of the pod and of its containers, in the order in which no limit is ever below what it has to hold.
//!
//! Invariant: what was changed is noted down at once, so that a failure half way goes on from there.
//! Follows `doPodResizeAction` in `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::resources::{List, Unreadable};

use crate::{
    agent::context::Context,
    pod::{
        enacted,
        names::{describe, find_container, spec},
        resize::plan::{Sizes, Steps, Update},
        resources::{self, resources_text},
        view::{PodView, annotation},
    },
    runtime::{self, ContainerState, Limits},
};

/// A resource by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Memory,
    Cpu,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

/// Why resources are not in force, as the condition and the event say it.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("the sandbox of pod {0:?} has gone")]
    NoSandbox(String),
    #[error(transparent)]
    Resources(#[from] Unreadable),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error("unable to read memory usage: {0}")]
    Usage(#[source] runtime::Error),
    #[error("cannot decrease memory limits: {0}")]
    InUse(String),
}

/// Takes the steps.
pub async fn enact(node: &Context, pod: &Pod, view: &PodView, steps: &Steps) -> Result<(), Error> {
    let Some(sandbox) = view.sandboxes.first() else {
        return Err(Error::NoSandbox(describe(pod)));
    };
    let wanted = resources::pod_cgroup_limits(pod)?;
    let mut work = Work {
        node,
        pod,
        view,
        sandbox: &sandbox.id,
        has: sandbox.spec.cgroup_limits.clone(),
        own: enacted::of_pod(view),
        given: BTreeMap::new(),
    };
    work.check_memory(&wanted, steps).await?;
    let of_pod = steps.pod || steps.pod_level;
    if of_pod || !steps.memory.is_empty() {
        // A limit is never taken away, only moved.
        let (from, to) = (
            work.has.memory_bytes.unwrap_or(i64::MAX),
            wanted.memory_bytes.or(work.has.memory_bytes),
        );
        let limits = |has: &Limits| Limits {
            memory_bytes: to,
            ..has.clone()
        };
        let grows = to.unwrap_or(i64::MAX).cmp(&from);
        if grows.is_gt() {
            work.set_pod(limits).await?;
        }
        work.containers(Of::Memory, &steps.memory).await?;
        if grows.is_lt() {
            work.set_pod(limits).await?;
        }
        work.note_pod(Of::Memory, steps).await?;
    }
    if of_pod || !steps.cpu.is_empty() {
        work.cpu(&wanted, steps).await?;
    }
    Ok(())
}

/// A resize under way.
struct Work<'a> {
    node: &'a Context,
    pod: &'a Pod,
    view: &'a PodView,
    sandbox: &'a str,
    /// What the pod's cgroup has by now.
    has: Limits,
    /// What of its own resources the pod was given by now.
    own: Option<ResourceRequirements>,
    /// What containers were given by now, by id.
    given: BTreeMap<String, ResourceRequirements>,
}

impl Work<'_> {
    async fn cpu(&mut self, wanted: &Limits, steps: &Steps) -> Result<(), Error> {
        let (quota, period) = match wanted.cpu_quota_us {
            Some(quota) => (Some(quota), wanted.cpu_period_us),
            None => (self.has.cpu_quota_us, self.has.cpu_period_us),
        };
        let limits = move |has: &Limits| Limits {
            cpu_quota_us: quota,
            cpu_period_us: period,
            ..has.clone()
        };
        let shares = wanted.cpu_shares;
        let requests = move |has: &Limits| Limits {
            cpu_shares: shares,
            ..has.clone()
        };
        let limit_grows = quota
            .unwrap_or(-1)
            .cmp(&self.has.cpu_quota_us.unwrap_or(-1));
        let request_grows = shares.unwrap_or(0).cmp(&self.has.cpu_shares.unwrap_or(0));
        // On the way up the limit goes first, on the way down last: it is never below the request.
        if limit_grows.is_gt() {
            self.set_pod(limits).await?;
        }
        if request_grows.is_gt() {
            self.set_pod(requests).await?;
        }
        self.containers(Of::Cpu, &steps.cpu).await?;
        if request_grows.is_lt() {
            self.set_pod(requests).await?;
        }
        if limit_grows.is_lt() {
            self.set_pod(limits).await?;
        }
        self.note_pod(Of::Cpu, steps).await
    }

    /// Changes the pod's cgroup.
    async fn set_pod(&mut self, change: impl Fn(&Limits) -> Limits) -> Result<(), Error> {
        let limits = change(&self.has);
        self.write_pod(limits).await
    }

    async fn write_pod(&mut self, limits: Limits) -> Result<(), Error> {
        let noted = BTreeMap::from([(annotation::RESOURCES.to_owned(), resources_text(&self.own))]);
        self.node
            .runtime
            .update_sandbox(self.sandbox, &limits, &noted)
            .await?;
        self.has = limits;
        Ok(())
    }

    /// Notes that one of the pod's own resources is in force.
    async fn note_pod(&mut self, of: Of, steps: &Steps) -> Result<(), Error> {
        let Some(granted) = spec(self.pod)
            .resources
            .as_ref()
            .filter(|_| steps.pod_level)
        else {
            return Ok(());
        };
        self.own = Some(mixed(&self.own.clone().unwrap_or_default(), granted, of));
        self.write_pod(self.has.clone()).await
    }

    async fn containers(&mut self, of: Of, updates: &[Update]) -> Result<(), Error> {
        for update in updates {
            let (Some((_, container)), Some(state)) = (
                find_container(self.pod, &update.name),
                self.view.by_id(&update.id),
            ) else {
                continue;
            };
            let has = self
                .given
                .get(&update.id)
                .cloned()
                .or_else(|| enacted::of_container(state))
                .unwrap_or_default();
            let now = mixed(&has, &resources::effective(self.pod, &container), of);
            let resized = Container {
                resources: Some(now.clone()),
                ..container
            };
            let all = resources::container_limits(self.pod, &resized, self.node.machine.memory)?;
            let limits = Limits {
                oom_score_adj: state.limits.oom_score_adj,
                ..all
            };
            let noted = BTreeMap::from([(
                annotation::RESOURCES.to_owned(),
                resources_text(&Some(now.clone())),
            )]);
            self.node
                .runtime
                .update_container(&update.id, &limits, &noted)
                .await?;
            self.given.insert(update.id.clone(), now);
        }
        Ok(())
    }

    /// Refuses limits that are below what is in use already, before anything is changed.
    async fn check_memory(&self, wanted: &Limits, steps: &Steps) -> Result<(), Error> {
        if steps.memory.is_empty() && !steps.pod {
            return Ok(());
        }
        let lower = |wanted: i64, has: Option<i64>| {
            wanted > 0 && has.filter(|has| *has > 0).is_none_or(|has| wanted < has)
        };
        let pod_limit = wanted
            .memory_bytes
            .filter(|wanted| lower(*wanted, self.has.memory_bytes));
        let mut shrinking: Vec<(&ContainerState, i64)> = Vec::new();
        for update in &steps.memory {
            let (Some((_, container)), Some(state)) = (
                find_container(self.pod, &update.name),
                self.view.by_id(&update.id),
            ) else {
                continue;
            };
            let limit = Sizes::of(&resources::effective(self.pod, &container))?.memory_limit;
            let has = Sizes::of(&enacted::of_container(state).unwrap_or_default())?.memory_limit;
            if lower(limit, Some(has)) {
                shrinking.push((state, limit));
            }
        }
        if pod_limit.is_none() && shrinking.is_empty() {
            return Ok(());
        }
        let mut used = BTreeMap::new();
        for state in self.view.running() {
            let usage = self
                .node
                .runtime
                .usage(&state.id)
                .await
                .map_err(Error::Usage)?;
            used.insert(
                state.id.as_str(),
                i64::try_from(usage.memory_bytes).unwrap_or(i64::MAX),
            );
        }
        let whole: i64 = used.values().sum();
        let mut errors = Vec::new();
        if let Some(limit) = pod_limit.filter(|limit| whole >= *limit) {
            errors.push(format!(
                "attempting to set pod memory limit ({limit}) below current usage ({whole})"
            ));
        }
        for (state, limit) in shrinking {
            let used = used.get(state.id.as_str()).copied().unwrap_or(0);
            if used >= limit {
                errors.push(format!("attempting to set container {} memory limit ({limit}) below current usage ({used})", GoQuoted(&state.name)));
            }
        }
        match errors.as_slice() {
            [] => Ok(()),
            [one] => Err(Error::InUse(one.clone())),
            _ => Err(Error::InUse(format!("[{}]", errors.join(", ")))),
        }
    }
}

/// `has`, but for one resource, which is as in `granted`.
fn mixed(
    has: &ResourceRequirements,
    granted: &ResourceRequirements,
    of: Of,
) -> ResourceRequirements {
    let list = |has: &Option<List>, granted: &Option<List>| -> Option<List> {
        let mut list = has.clone().unwrap_or_default();
        match granted.as_ref().and_then(|granted| granted.get(of.name())) {
            Some(value) => _ = list.insert(of.name().to_owned(), value.clone()),
            None => _ = list.remove(of.name()),
        }
        (!list.is_empty()).then_some(list)
    };
    ResourceRequirements {
        claims: has.claims.clone(),
        limits: list(&has.limits, &granted.limits),
        requests: list(&has.requests, &granted.requests),
    }
}
