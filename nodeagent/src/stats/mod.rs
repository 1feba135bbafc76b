//! What the node's pods use, measured when somebody asks and not more often than once a second.
//!
//! Invariant: there is one sampler, and whoever asks at the same time gets the same sample; rates are reckoned between two samples of the same run
//! of a container, never guessed from one. No thread of the runtime waits for the kernel's files.
//! Follows `pkg/kubelet/stats/cri_stats_provider.go`.

pub mod disks;
pub mod network;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    agent::context::Context,
    pod::{
        handle::Handle,
        names::{is_host_network, name, namespace},
    },
    runtime::{ContainerState, Depth, Error, Groups, Measured, OfPod, Usage},
};
use network::Interface;

/// A sample is good for so long.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Two readings are at least so far apart for a rate.
const SHORTEST: Duration = Duration::from_millis(50);

/// A reading, with what happened since the one before.
#[derive(Clone, Debug, Default)]
pub struct Rated {
    pub usage: Usage,
    /// Nanoseconds of CPU a second.
    pub rate: Option<u64>,
}

/// A running container.
pub struct ContainerSample {
    pub state: ContainerState,
    pub rated: Rated,
}

/// A pod that has running containers.
pub struct PodSample {
    pub pod: Arc<Pod>,
    pub handle: Arc<Handle>,
    pub sandbox: String,
    /// Below the runtime's own group.
    pub cgroup: String,
    pub whole: Option<Rated>,
    pub containers: Vec<ContainerSample>,
    /// Of the pod's own network; those in the node's have none.
    pub interfaces: Vec<Interface>,
}

/// All that was measured at once; pods by namespace and name.
pub struct Sample {
    pub machine: Rated,
    pub pods: Vec<PodSample>,
    depth: Depth,
}

/// The last reading of a container, pod or node.
#[derive(Clone, Copy)]
struct Last {
    at: Timestamp,
    cpu: u64,
    rate: Option<u64>,
}

#[derive(Default)]
struct State {
    sample: Option<(Instant, Arc<Sample>)>,
    last: HashMap<String, Last>,
}

/// Measures.
#[derive(Default)]
pub struct Sampler(tokio::sync::Mutex<State>);

impl Sampler {
    /// What is used now.
    pub async fn sample(&self, node: &Context, depth: Depth) -> Result<Arc<Sample>, Error> {
        let mut state = self.0.lock().await;
        if let Some((at, sample)) = &state.sample
            && at.elapsed() < GOOD_FOR
            && sample.depth >= depth
        {
            return Ok(sample.clone());
        }
        let sample = Arc::new(state.measure(node, depth).await?);
        state.sample = Some((Instant::now(), sample.clone()));
        Ok(sample)
    }
}

/// A pod that is to be measured.
struct Wanted {
    pod: Arc<Pod>,
    handle: Arc<Handle>,
    groups: Groups,
    containers: Vec<ContainerState>,
}

/// The pods that have running containers.
fn wanted(node: &Context) -> Vec<Wanted> {
    let handles: Vec<Arc<Handle>> = node.pods.read().values().cloned().collect();
    let mut all: Vec<Wanted> = handles.into_iter().filter_map(running).collect();
    let key = |of: &Wanted| (namespace(&of.pod).to_owned(), name(&of.pod).to_owned());
    all.sort_by_cached_key(key);
    all
}

fn running(handle: Arc<Handle>) -> Option<Wanted> {
    let (groups, containers) = {
        let state = handle.state.lock();
        let sandbox = state.view.sandboxes.first()?;
        // the newest of each name comes first
        let containers: Vec<ContainerState> = state.view.running().cloned().collect();
        let groups = Groups {
            sandbox: sandbox.id.clone(),
            cgroup: sandbox.spec.cgroup.clone(),
            containers: containers.iter().map(|of| of.id.clone()).collect(),
        };
        (groups, containers)
    };
    (!containers.is_empty()).then(|| Wanted {
        pod: handle.pod(),
        handle,
        groups,
        containers,
    })
}

impl State {
    async fn measure(&mut self, node: &Context, depth: Depth) -> Result<Sample, Error> {
        let wanted = wanted(node);
        let groups = wanted.iter().map(|of| of.groups.clone()).collect();
        let Measured { machine, pods } = node.runtime.measure(groups, depth).await?;
        let interfaces = match depth {
            Depth::Main => Vec::new(),
            Depth::All => interfaces(&wanted).await?,
        };
        let mut last = HashMap::with_capacity(self.last.len());
        let mut rated = |id: String, usage: Usage| {
            let rated = rate(self.last.get(&id), usage);
            let noted = Last {
                at: rated.usage.at,
                cpu: rated.usage.cpu_nanoseconds,
                rate: rated.rate,
            };
            last.insert(id, noted);
            rated
        };
        let machine = rated(String::new(), machine);
        let mut interfaces = interfaces.into_iter();
        let mut all = Vec::with_capacity(wanted.len());
        for (of, measured) in wanted.into_iter().zip(pods) {
            let interfaces = interfaces.next().unwrap_or_default();
            all.extend(joined(of, measured, interfaces, &mut rated));
        }
        self.last = last;
        Ok(Sample {
            machine,
            pods: all,
            depth,
        })
    }
}

/// A pod with what was measured of it; `None`: nothing of it runs any more.
fn joined(
    of: Wanted,
    measured: OfPod,
    interfaces: Vec<Interface>,
    rated: &mut impl FnMut(String, Usage) -> Rated,
) -> Option<PodSample> {
    let containers = of.containers.into_iter().zip(measured.containers);
    let containers: Vec<ContainerSample> = containers
        .filter_map(|(state, usage)| {
            let rated = rated(state.id.clone(), usage?);
            Some(ContainerSample { state, rated })
        })
        .collect();
    let sandbox = of.groups.sandbox;
    let whole = measured.whole.map(|usage| rated(sandbox.clone(), usage));
    (!containers.is_empty()).then_some(PodSample {
        pod: of.pod,
        handle: of.handle,
        sandbox,
        cgroup: of.groups.cgroup,
        whole,
        containers,
        interfaces,
    })
}

fn rate(before: Option<&Last>, usage: Usage) -> Rated {
    let rate = before.and_then(|before| {
        let passed: Duration = usage.at.duration_since(before.at).try_into().ok()?;
        if passed < SHORTEST {
            return before.rate;
        }
        let more = usage.cpu_nanoseconds.checked_sub(before.cpu)?;
        let rate = u128::from(more) * 1_000_000_000 / passed.as_nanos();
        u64::try_from(rate).ok()
    });
    Rated { usage, rate }
}

/// The interfaces of each pod, seen by one of its processes.
async fn interfaces(wanted: &[Wanted]) -> Result<Vec<Vec<Interface>>, Error> {
    let seen_by = |of: &Wanted| {
        let own = !is_host_network(&of.pod);
        let pids = of.containers.iter().filter_map(|container| container.pid);
        pids.filter(|_| own).collect()
    };
    let processes: Vec<Vec<i32>> = wanted.iter().map(seen_by).collect();
    let read = move || {
        processes
            .iter()
            .map(|pids| network::of_processes(pids))
            .collect()
    };
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| Error::Failed {
        what: "measure the pods' networks".into(),
        reason: error.to_string(),
    })
}

/// What is measured with.
#[derive(Default)]
pub struct Measuring {
    pub sampler: Sampler,
    pub disks: disks::Disks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let usage = |millis: i64, cpu| Usage {
            at: Timestamp::from_millisecond(millis).unwrap(),
            cpu_nanoseconds: cpu,
            ..Usage::default()
        };
        let last = |millis, cpu, rate| {
            let usage = usage(millis, cpu);
            Last {
                at: usage.at,
                cpu,
                rate,
            }
        };
        for (before, now, wanted) in [
            (None, usage(0, 5), None),
            (
                Some(last(0, 0, None)),
                usage(2000, 1_000_000_000),
                Some(500_000_000),
            ),
            (Some(last(0, 5, Some(7))), usage(10, 9), Some(7)),
            (Some(last(0, 9, Some(7))), usage(1000, 5), None),
        ] {
            assert_eq!(rate(before.as_ref(), now).rate, wanted);
        }
    }
}
