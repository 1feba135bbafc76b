//! Amounts of resources: what a pod asks for and what a node has.
//!
//! Invariant: quantities are added up exactly and rounded once, at the end; one that cannot be read is an error and never nothing. Follows
//! `k8s.io/component-helpers/resource/helpers.go` (PodRequests) and `pkg/scheduler/framework/types.go` (Resource, calculateResource).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_api::machinery::quantity::Quantity;

/// What a container that asks for no cpu or memory counts as when nodes are compared: 100 millicores, 200 MiB.
const DEFAULTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "200Mi")];

/// A quantity in an object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quantity {quantity:?} of {resource} cannot be read")]
pub struct Unreadable {
    resource: String,
    quantity: String,
}

/// Exact amounts by resource.
#[derive(Clone, Debug, Default)]
struct Amounts(BTreeMap<String, Quantity>);

impl Amounts {
    fn read(list: Option<&BTreeMap<String, ApiQuantity>>) -> Result<Amounts, Unreadable> {
        let read = |(name, quantity): (&String, &ApiQuantity)| match quantity.0.parse() {
            Ok(read) => Ok((name.clone(), read)),
            Err(_) => Err(Unreadable { resource: name.clone(), quantity: quantity.0.clone() }),
        };
        Ok(Amounts(list.into_iter().flatten().map(read).collect::<Result<_, _>>()?))
    }

    fn add(&mut self, more: &Amounts) {
        for (name, value) in &more.0 {
            match self.0.get_mut(name) {
                Some(had) => had.add(value),
                None => drop(self.0.insert(name.clone(), value.clone())),
            }
        }
    }

    fn raise_to(&mut self, other: &Amounts) {
        for (name, value) in &other.0 {
            if self.0.get(name).is_none_or(|had| had < value) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }

    fn or_defaults(mut self) -> Amounts {
        for (name, value) in DEFAULTS {
            if let (false, Ok(value)) = (self.0.contains_key(name), value.parse()) {
                self.0.insert(name.to_string(), value);
            }
        }
        self
    }
}

/// Amounts as they are compared: cpu in millicores, all else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu: i64,
    pub memory: i64,
    pub ephemeral: i64,
    pub other: BTreeMap<String, i64>,
}

impl Resources {
    fn rounded(amounts: &Amounts) -> Resources {
        let mut out = Resources::default();
        for (name, quantity) in &amounts.0 {
            match name.as_str() {
                "cpu" => out.cpu = quantity.milli_value(),
                "memory" => out.memory = quantity.value(),
                "ephemeral-storage" => out.ephemeral = quantity.value(),
                name => drop(out.other.insert(name.to_string(), quantity.value())),
            }
        }
        out
    }

    /// What a list says.
    pub fn read(list: Option<&BTreeMap<String, ApiQuantity>>) -> Result<Resources, Unreadable> {
        Ok(Resources::rounded(&Amounts::read(list)?))
    }

    /// Of one resource; nothing when it is not named.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.ephemeral,
            name => self.other.get(name).copied().unwrap_or(0),
        }
    }

    pub fn add(&mut self, more: &Resources) {
        self.change(more, 1);
    }

    pub fn subtract(&mut self, less: &Resources) {
        self.change(less, -1);
    }

    fn change(&mut self, by: &Resources, sign: i64) {
        self.cpu += sign * by.cpu;
        self.memory += sign * by.memory;
        self.ephemeral += sign * by.ephemeral;
        for (name, value) in &by.other {
            *self.other.entry(name.clone()).or_default() += sign * value;
        }
    }
}

/// What a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub all: Resources,
    /// cpu and memory, with a default for containers that say nothing: for comparing nodes.
    pub compared: (i64, i64),
}

impl Requests {
    pub fn of(pod: &Pod) -> Result<Requests, Unreadable> {
        let all = Resources::rounded(&total(pod, false)?);
        let compared = Resources::rounded(&total(pod, true)?);
        Ok(Requests { all, compared: (compared.cpu, compared.memory) })
    }
}

fn is_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let pending = conditions.into_iter().find(|c| c.type_ == "PodResizePending");
    pending.is_some_and(|c| c.reason.as_deref() == Some("Infeasible"))
}

/// The largest of what is asked for, given and allotted: a resize takes its room before it is through.
fn effective(pod: &Pod, asked: Amounts, given: Amounts, allotted: Amounts) -> Amounts {
    let mut most = if is_infeasible(pod) { Amounts::default() } else { asked };
    most.raise_to(&given);
    most.raise_to(&allotted);
    most
}

fn of_container(pod: &Pod, container: &Container, statuses: &[&ContainerStatus]) -> Result<Amounts, Unreadable> {
    let asked = Amounts::read(container.resources.as_ref().and_then(|r| r.requests.as_ref()))?;
    let status = statuses.iter().find(|status| status.name == container.name);
    let Some((status, given)) = status.and_then(|status| Some((status, status.resources.as_ref()?))) else { return Ok(asked) };
    Ok(effective(pod, asked, Amounts::read(given.requests.as_ref())?, Amounts::read(status.allocated_resources.as_ref())?))
}

fn is_restartable(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Containers run together; init containers one after another before them, but for those that restart, which stay.
fn of_containers(pod: &Pod, with_defaults: bool) -> Result<Amounts, Unreadable> {
    let Some(spec) = &pod.spec else { return Ok(Amounts::default()) };
    let status = pod.status.as_ref();
    let statuses = [status.and_then(|s| s.container_statuses.as_ref()), status.and_then(|s| s.init_container_statuses.as_ref())];
    let statuses: Vec<&ContainerStatus> = statuses.into_iter().flatten().flatten().collect();
    let asked = |container: &Container, statuses: &[&ContainerStatus]| {
        let amounts = of_container(pod, container, statuses)?;
        Ok(if with_defaults { amounts.or_defaults() } else { amounts })
    };
    let (mut sum, mut beside, mut highest) = (Amounts::default(), Amounts::default(), Amounts::default());
    for container in &spec.containers {
        sum.add(&asked(container, &statuses)?);
    }
    for container in spec.init_containers.iter().flatten() {
        if is_restartable(container) {
            let amounts = asked(container, &statuses)?;
            sum.add(&amounts);
            beside.add(&amounts);
            highest.raise_to(&beside);
        } else {
            let mut amounts = asked(container, &[])?;
            amounts.add(&beside);
            highest.raise_to(&amounts);
        }
    }
    sum.raise_to(&highest);
    Ok(sum)
}

fn is_for_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

fn total(pod: &Pod, with_defaults: bool) -> Result<Amounts, Unreadable> {
    let mut sum = of_containers(pod, with_defaults)?;
    let spec = pod.spec.as_ref();
    // what is asked for the pod as a whole replaces what its containers ask for
    let of_pod = Amounts::read(spec.and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()))?;
    if of_pod.0.keys().any(|name| is_for_pods(name)) {
        let status = pod.status.as_ref();
        let wanted = match status.and_then(|s| s.resources.as_ref()) {
            Some(given) => {
                effective(pod, of_pod.clone(), Amounts::read(given.requests.as_ref())?, Amounts::read(status.and_then(|s| s.allocated_resources.as_ref()))?)
            }
            None => of_pod.clone(),
        };
        sum.0.extend(wanted.0.into_iter().filter(|(name, _)| of_pod.0.contains_key(name) && is_for_pods(name)));
    }
    sum.add(&Amounts::read(spec.and_then(|s| s.overhead.as_ref()))?);
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn requests(spec: Value, status: Value) -> Requests {
        Requests::of(&serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()).unwrap()
    }

    fn container(name: &str, requests: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests}})
    }

    #[test]
    fn what_pods_ask_for() {
        let sidecar = |cpu: &str| json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let two = [container("a", json!({"cpu": "100m", "memory": "1Mi"})), container("b", json!({"cpu": "50m"}))];
        for (what, spec, status, cpu, memory) in [
            ("a sum", json!({"containers": two}), json!({}), 150, 1 << 20),
            ("rounded once", json!({"containers": [container("a", json!({"cpu": "100u"})), container("b", json!({"cpu": "100u"}))]}), json!({}), 1, 0),
            ("the largest init container", json!({"containers": two, "initContainers": [container("i", json!({"cpu": "1"}))]}), json!({}), 1000, 1 << 20),
            ("a sidecar stays", json!({"containers": two, "initContainers": [sidecar("1"), container("i", json!({"cpu": "1"}))]}), json!({}), 2000, 1 << 20),
            ("for the pod as a whole", json!({"containers": two, "resources": {"requests": {"cpu": "10m"}}}), json!({}), 10, 1 << 20),
            ("overhead", json!({"containers": two, "overhead": {"cpu": "5m"}}), json!({}), 155, 1 << 20),
            (
                "a resize that is under way",
                json!({"containers": [container("a", json!({"cpu": "1"}))]}),
                json!({"containerStatuses": [{"name": "a", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}]}),
                3000,
                0,
            ),
            (
                "a resize that cannot be",
                json!({"containers": [container("a", json!({"cpu": "9"}))]}),
                json!({"containerStatuses": [{"name": "a", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}],
                    "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]}),
                3000,
                0,
            ),
        ] {
            let found = requests(spec, status);
            assert_eq!((found.all.cpu, found.all.memory), (cpu, memory), "{what}");
        }
    }

    #[test]
    fn what_is_not_said_counts_when_nodes_are_compared() {
        let found = requests(json!({"containers": [container("a", json!({"cpu": "1"})), container("b", json!({}))]}), json!({}));
        assert_eq!(found.compared, (1100, 2 * 200 * 1024 * 1024));
        assert_eq!((found.all.cpu, found.all.memory), (1000, 0));
    }

    #[test]
    fn what_cannot_be_read_is_no_zero() {
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [container("a", json!({"cpu": "many"}))]}})).unwrap();
        assert_eq!(Requests::of(&pod).unwrap_err().to_string(), "the quantity \"many\" of cpu cannot be read");
    }
}
