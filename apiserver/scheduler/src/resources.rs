//! Amounts of resources: what a pod asks for and what a node has.
//!
//! Invariant: quantities are added up exactly and rounded once, at the end; one that cannot be read is an error and never nothing. Follows
//! `pkg/scheduler/framework/types.go` (Resource, CalculateResource) and `plugins/noderesources/resource_allocation.go`.

use std::{collections::BTreeMap, sync::LazyLock};

use skiff_api::machinery::quantity::{Format, Quantity};
use skiff_podspec::pod::Pod;
use skiff_podspec::resources::{self, Amounts, List, Options, Status, Unreadable};

/// What a container that asks for no cpu or memory counts as when nodes are compared: 100 millicores, 200 MiB.
static DEFAULTS: LazyLock<Amounts> = LazyLock::new(|| {
    let (cpu, memory) = (
        Quantity::from_milli(100, Format::DecimalSi),
        Quantity::from_i64(200 << 20, Format::BinarySi),
    );
    Amounts::from([("cpu".to_string(), cpu), ("memory".to_string(), memory)])
});

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
        for (name, quantity) in amounts {
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
    pub fn read(list: Option<&List>) -> Result<Resources, Unreadable> {
        Ok(Resources::rounded(&resources::read(list)?))
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
    /// cpu and memory, with a default for containers that say nothing: what a pod on a node counts as when nodes are compared.
    pub compared: (i64, i64),
    /// What it counts as where it is to go: there the defaults stand even beside requests of the pod as a whole.
    pub scored: (i64, i64),
}

impl Requests {
    pub fn of(pod: &Pod) -> Result<Requests, Unreadable> {
        let asked = |missing: Option<&Amounts>| {
            resources::requests(
                pod,
                Options {
                    status: Status::Counts,
                    missing,
                },
            )
        };
        let both = |amounts: &Amounts| {
            (
                Resources::rounded(amounts).cpu,
                Resources::rounded(amounts).memory,
            )
        };
        let all = asked(None)?;
        let scored = both(&asked(Some(&DEFAULTS))?);
        let mut compared = scored;
        if resources::has_requests_as_a_whole(pod) {
            let mut missing = DEFAULTS.clone();
            missing.retain(|name, _| !all.contains_key(name));
            compared = both(&asked(Some(&missing))?);
        }
        Ok(Requests {
            all: Resources::rounded(&all),
            compared,
            scored,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn requests(spec: Value, status: Value) -> Requests {
        Requests::of(
            &serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status}))
                .unwrap(),
        )
        .unwrap()
    }

    fn container(name: &str, requests: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests}})
    }

    #[test]
    fn sums_are_rounded_once_and_resizes_count() {
        let status = json!({"containerStatuses": [{"name": "a", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}]});
        for (what, spec, status, cpu) in [
            (
                "rounded once",
                json!({"containers": [container("a", json!({"cpu": "100u"})), container("b", json!({"cpu": "100u"}))]}),
                json!({}),
                1,
            ),
            (
                "a resize that is under way",
                json!({"containers": [container("a", json!({"cpu": "1"}))]}),
                status,
                3000,
            ),
        ] {
            assert_eq!(requests(spec, status).all.cpu, cpu, "{what}");
        }
    }

    #[test]
    fn what_is_not_said_counts_when_nodes_are_compared() {
        let found = requests(
            json!({"containers": [container("a", json!({"cpu": "1"})), container("b", json!({}))]}),
            json!({}),
        );
        assert_eq!(found.compared, (1100, 2 * 200 * 1024 * 1024));
        assert_eq!((found.all.cpu, found.all.memory), (1000, 0));
        let containers = [
            container("a", json!({"memory": "1Mi"})),
            container("b", json!({})),
        ];
        let found = requests(
            json!({"containers": containers, "resources": {"requests": {"cpu": "10m"}}}),
            json!({}),
        );
        assert_eq!(
            (found.compared, found.scored),
            ((10, 1 << 20), (10, 201 << 20)),
            "asked for the pod as a whole"
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_zero() {
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [container("a", json!({"cpu": "many"}))]}})).unwrap();
        assert_eq!(
            Requests::of(&pod).unwrap_err().to_string(),
            "the quantity \"many\" of cpu cannot be read"
        );
    }
}
