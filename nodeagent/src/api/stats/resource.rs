//! `/metrics/resource`: CPU, memory and swap of containers, pods and the node.
//!
//! Invariant: what could not be measured is told by `resource_scrape_error` alone, without figures.
//! Follows `pkg/kubelet/metrics/collectors/resource_metrics.go`, from which names come.

use super::{
    exposition::{Families, labels},
    series::Series,
};
use crate::{
    pod::names::{name, namespace},
    runtime::{Swap, Usage},
    stats::{PodSample, Sample},
};

/// The series of one kind of thing.
struct Three {
    cpu: Series,
    memory: Series,
    swap: Series,
}

const NODE: Three = Three {
    cpu: Series::node_cpu_usage_seconds_total,
    memory: Series::node_memory_working_set_bytes,
    swap: Series::node_swap_usage_bytes,
};
const POD: Three = Three {
    cpu: Series::pod_cpu_usage_seconds_total,
    memory: Series::pod_memory_working_set_bytes,
    swap: Series::pod_swap_usage_bytes,
};
const CONTAINER: Three = Three {
    cpu: Series::container_cpu_usage_seconds_total,
    memory: Series::container_memory_working_set_bytes,
    swap: Series::container_swap_usage_bytes,
};
const SWAP_LIMIT: Series = Series::container_swap_limit_bytes;
const STARTED: Series = Series::container_start_time_seconds;
const ERROR: Series = Series::resource_scrape_error;

/// The text; `None`: nothing could be measured.
pub fn text(sample: Option<&Sample>) -> String {
    let mut families = Families::default();
    let failed = if sample.is_none() { 1.0 } else { 0.0 };
    families.add(ERROR, "", failed, None);
    if let Some(sample) = sample {
        three(&mut families, &NODE, "", &sample.machine.usage);
        sample
            .pods
            .iter()
            .for_each(|pod| of_pod(&mut families, pod));
    }
    families.text()
}

fn three(families: &mut Families, of: &Three, labels: &str, usage: &Usage) {
    let at = Some(usage.at);
    families.add(of.cpu, labels, usage.cpu_nanoseconds as f64 / 1e9, at);
    families.add(of.memory, labels, usage.working_set_bytes as f64, at);
    if let Some(swap) = usage.swap {
        families.add(of.swap, labels, swap.used_bytes as f64, at);
    }
}

fn of_pod(families: &mut Families, of: &PodSample) {
    let (pod, namespace) = (name(&of.pod), namespace(&of.pod));
    for container in &of.containers {
        let name = container.state.name.as_str();
        let labels = labels(&[("container", name), ("namespace", namespace), ("pod", pod)]);
        let usage = &container.rated.usage;
        three(families, &CONTAINER, &labels, usage);
        if let Some(Swap {
            limit_bytes: Some(limit),
            ..
        }) = usage.swap
        {
            families.add(SWAP_LIMIT, &labels, limit as f64, Some(usage.at));
        }
        if let Some(started) = container.state.started_at {
            let seconds = started.as_nanosecond() as f64 / 1e9;
            families.add(STARTED, &labels, seconds, None);
        }
    }
    if let Some(whole) = &of.whole {
        let labels = labels(&[("namespace", namespace), ("pod", pod)]);
        three(families, &POD, &labels, &whole.usage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_measured() {
        let wanted = "# HELP resource_scrape_error 1 where something could not be measured, else 0.\n\
            # TYPE resource_scrape_error gauge\nresource_scrape_error 1\n";
        assert_eq!(text(None), wanted);
    }
}
