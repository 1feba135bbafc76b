//! How many replicas what was measured asks for.
//!
//! Invariant: pure; pods that are not ready yet or were not measured make no decision bolder. Follows
//! pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::Pod;
use skiff_podspec::{
    containers::sidecars,
    resources::{self, Options},
};

use super::why::Why;
use crate::{clock::after, pods};

/// What was measured of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodMetric {
    /// In thousandths.
    pub value: i64,
    pub timestamp: Timestamp,
    /// The time that the measurement covers.
    pub window: Duration,
}

/// By the pod's name.
pub type PodMetrics = BTreeMap<String, PodMetric>;

/// How far usage may be from its target without anything being done.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    pub down: f64,
    pub up: f64,
}

impl Tolerances {
    fn hold(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// How long pods are given.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// So long after its start a pod's cpu says little.
    pub cpu_initialization: Duration,
    /// So long after its start a pod that is not ready may never have been.
    pub initial_readiness: Duration,
}

/// What a calculation goes by.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub current: i32,
    pub pods: &'a [Arc<Pod>],
    pub tolerances: Tolerances,
    pub timing: Timing,
    pub now: Timestamp,
}

#[derive(Default)]
struct Groups {
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

fn is_unready(pod: &Pod, metric: &PodMetric, seen: &Seen) -> bool {
    let status = pod.status.as_deref();
    let started = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let (Some(ready), Some(started)) = (pods::condition(status, "Ready"), started) else {
        return true;
    };
    let since = ready
        .last_transition_time
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    if after(started, seen.timing.cpu_initialization) > seen.now {
        // what was measured before it was ready does not count
        ready.status == "False" || metric.timestamp < after(since, metric.window)
    } else {
        ready.status == "False" && after(started, seen.timing.initial_readiness) > since
    }
}

fn group(seen: &Seen, metrics: &PodMetrics, is_cpu: bool) -> Groups {
    let mut groups = Groups::default();
    for pod in seen.pods {
        let name = pod.metadata.name().to_string();
        if pods::is_deleting(pod) || pods::phase(pod) == "Failed" {
            groups.ignored.insert(name);
        } else if pods::phase(pod) == "Pending" {
            groups.unready.insert(name);
        } else {
            match metrics.get(&name) {
                None => drop(groups.missing.insert(name)),
                Some(metric) if is_cpu && is_unready(pod, metric, seen) => {
                    groups.unready.insert(name);
                }
                Some(_) => groups.ready += 1,
            }
        }
    }
    groups
}

fn ceiling(value: f64) -> i32 {
    // a cast of a float that is too large gives the largest integer
    value.ceil() as i32
}

/// The rest of both calculations: `measure` gives the ratio of usage to target, `filled` what pods count as that were not measured while
/// there is less usage than wanted.
fn decide(
    seen: &Seen,
    mut metrics: PodMetrics,
    is_cpu: bool,
    measure: impl Fn(&PodMetrics) -> Result<f64, Why>,
    filled: impl Fn(&str) -> i64,
) -> Result<(i32, PodMetrics), Why> {
    if seen.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = group(seen, &metrics, is_cpu);
    metrics.retain(|name, _| !groups.ignored.contains(name) && !groups.unready.contains(name));
    if metrics.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let (measured, ratio) = (metrics.clone(), measure(&metrics)?);
    let counts_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !counts_unready && groups.missing.is_empty() {
        let replicas = if seen.tolerances.hold(ratio) {
            seen.current
        } else {
            ceiling(ratio * groups.ready as f64)
        };
        return Ok((replicas, measured));
    }
    let mut count = |name: &str, value: i64| {
        metrics.insert(
            name.to_string(),
            PodMetric {
                value,
                timestamp: seen.now,
                window: Duration::ZERO,
            },
        );
    };
    if ratio < 1.0 {
        groups
            .missing
            .iter()
            .for_each(|name| count(name, filled(name)));
    } else if ratio > 1.0 {
        groups.missing.iter().for_each(|name| count(name, 0));
    }
    groups
        .unready
        .iter()
        .filter(|_| counts_unready)
        .for_each(|name| count(name, 0));
    let new = measure(&metrics)?;
    let turned = (ratio < 1.0 && new > 1.0) || (ratio > 1.0 && new < 1.0);
    let replicas = ceiling(new * metrics.len() as f64);
    let backwards =
        (new < 1.0 && replicas > seen.current) || (new > 1.0 && replicas < seen.current);
    Ok((
        if seen.tolerances.hold(new) || turned || backwards {
            seen.current
        } else {
            replicas
        },
        measured,
    ))
}

/// What is asked for of a resource by a pod, or by one of its containers, in thousandths.
fn request(pod: &Pod, container: &str, resource: &str) -> Result<i64, Why> {
    let (spec, pod_name) = (pod.spec(), pod.metadata.name());
    if container.is_empty() && resources::has_requests_as_a_whole(pod) {
        let requests = resources::requests(pod, Options::default()).map_err(|e| e.to_string())?;
        let found = requests.get(resource).map(|amount| amount.milli_value());
        let missing = || format!("missing pod-level request for {resource} in Pod {pod_name}");
        return found.ok_or_else(|| missing().into());
    }
    let mut sum = 0;
    for each in spec
        .containers
        .iter()
        .chain(sidecars(spec))
        .filter(|each| container.is_empty() || each.name == container)
    {
        let asked = resources::get(
            each.resources.as_ref().and_then(|r| r.requests.as_ref()),
            resource,
        )
        .map_err(|e| e.to_string())?;
        sum += asked
            .ok_or_else(|| {
                format!(
                    "missing request for {resource} in container {} of Pod {pod_name}",
                    each.name
                )
            })?
            .milli_value();
        if !container.is_empty() {
            return Ok(sum);
        }
    }
    if container.is_empty() {
        Ok(sum)
    } else {
        Err(format!("container {container} not found in Pod {pod_name}").into())
    }
}

/// Ratio, percentage of what is asked for, and the average.
fn utilization(
    metrics: &PodMetrics,
    requests: &BTreeMap<String, i64>,
    target: i32,
) -> Result<(f64, i32, i64), Why> {
    let known = metrics
        .iter()
        .filter_map(|(name, metric)| Some((metric.value, *requests.get(name)?)));
    let (used, asked, count) = known.fold(
        (0i64, 0i64, 0i64),
        |(used, asked, count), (value, request)| {
            (
                used.saturating_add(value),
                asked.saturating_add(request),
                count + 1,
            )
        },
    );
    if asked == 0 {
        return Err("no metrics returned matched known pods".into());
    }
    let percent = i32::try_from(used.saturating_mul(100) / asked).unwrap_or(i32::MAX);
    Ok((
        f64::from(percent) / f64::from(target),
        percent,
        used / count,
    ))
}

/// Replicas so that usage comes to `target` percent of what is asked for; with the percentage now, and the average usage.
pub fn by_utilization(
    seen: &Seen,
    metrics: PodMetrics,
    resource: &str,
    container: &str,
    target: i32,
) -> Result<(i32, i32, i64), Why> {
    let asked = || {
        seen.pods.iter().map(|pod| {
            Ok((
                pod.metadata.name().to_string(),
                request(pod, container, resource)?,
            ))
        })
    };
    // upstream asks for requests only when pods were measured, which decides what is said first
    let requests: Result<BTreeMap<String, i64>, Why> = asked().collect();
    let known = requests.clone().unwrap_or_default();
    let measure = |metrics: &PodMetrics| {
        requests.clone()?;
        Ok(utilization(metrics, &known, target)?.0)
    };
    let filled =
        |name: &str| known.get(name).copied().unwrap_or(0) * i64::from(target.max(100)) / 100;
    let (replicas, measured) = decide(seen, metrics, resource == "cpu", measure, filled)?;
    let (_, percent, average) = utilization(&measured, &known, target)?;
    Ok((replicas, percent, average))
}

fn average(metrics: &PodMetrics) -> i64 {
    metrics
        .values()
        .map(|metric| metric.value)
        .fold(0, i64::saturating_add)
        / metrics.len().max(1) as i64
}

/// Replicas so that each has `target` (in thousandths); with the average now. `resource` is empty for what is none.
pub fn by_average(
    seen: &Seen,
    metrics: PodMetrics,
    resource: &str,
    target: i64,
) -> Result<(i32, i64), Why> {
    let measure = |metrics: &PodMetrics| Ok(average(metrics) as f64 / target as f64);
    let (replicas, measured) = decide(seen, metrics, resource == "cpu", measure, |_| target)?;
    Ok((replicas, average(&measured)))
}

/// Replicas so that one number for all comes to `target`.
pub fn by_value(seen: &Seen, usage: i64, target: i64) -> Result<i32, Why> {
    let ratio = usage as f64 / target as f64;
    if seen.current == 0 {
        return Ok(ceiling(ratio));
    }
    if seen.tolerances.hold(ratio) {
        return Ok(seen.current);
    }
    if seen.pods.is_empty() {
        return Err("unable to calculate ready pods: no pods returned by selector while calculating replica count".into());
    }
    let ready = seen
        .pods
        .iter()
        .filter(|pod| pods::phase(pod) == "Running" && pods::is_ready(pod))
        .count();
    Ok(ceiling(ratio * ready as f64))
}

/// Replicas so that one number for all, divided among them, comes to `target`; with what each has now.
pub fn by_share(
    status_replicas: i32,
    tolerances: Tolerances,
    usage: i64,
    target: i64,
) -> (i32, i64) {
    let ratio = usage as f64 / (target as f64 * f64::from(status_replicas));
    let replicas = if tolerances.hold(ratio) {
        status_replicas
    } else {
        ceiling(usage as f64 / target as f64)
    };
    (
        replicas,
        (usage as f64 / f64::from(status_replicas)).ceil() as i64,
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time};

    use super::*;

    const NOW: i64 = 100_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A pod that has run for an hour, and asks for a core.
    fn pod(name: &str, phase: &str, ready: bool) -> Arc<Pod> {
        let mut pod = crate::pods::tests::pod(name, "n", phase, ready.then_some(NOW - 3500));
        let status = pod.status.as_mut().unwrap();
        status.start_time = Some(Time(at(NOW - 3600)));
        status.conditions.as_mut().unwrap()[0].last_transition_time = Some(Time(at(NOW - 3590)));
        let resources = k8s_openapi::api::core::v1::ResourceRequirements {
            requests: Some([("cpu".to_string(), Quantity("1".into()))].into()),
            ..Default::default()
        };
        let container = k8s_openapi::api::core::v1::Container {
            name: "main".into(),
            resources: Some(resources),
            ..Default::default()
        };
        pod.spec.as_mut().unwrap().containers = vec![container];
        Arc::new(pod)
    }

    fn seen(current: i32, pods: &[Arc<Pod>]) -> Seen<'_> {
        let timing = Timing {
            cpu_initialization: Duration::from_secs(300),
            initial_readiness: Duration::from_secs(30),
        };
        Seen {
            current,
            pods,
            tolerances: Tolerances { down: 0.1, up: 0.1 },
            timing,
            now: at(NOW),
        }
    }

    fn metrics(values: &[(&str, i64)]) -> PodMetrics {
        let metric = |value: i64| PodMetric {
            value,
            timestamp: at(NOW - 10),
            window: Duration::from_secs(30),
        };
        values
            .iter()
            .map(|(name, value)| (name.to_string(), metric(*value)))
            .collect()
    }

    #[test]
    fn by_percentage_of_what_is_asked_for() {
        let two = [pod("a", "Running", true), pod("b", "Running", true)];
        let third = |phase: &str, ready: bool| [two.as_slice(), &[pod("c", phase, ready)]].concat();
        #[rustfmt::skip]
        let cases = [
            ("as wanted", two.to_vec(), vec![("a", 500), ("b", 500)], Ok((2, 50, 500))),
            ("within a tenth", two.to_vec(), vec![("a", 540), ("b", 540)], Ok((2, 54, 540))),
            ("twice as much", two.to_vec(), vec![("a", 1000), ("b", 1000)], Ok((4, 100, 1000))),
            ("half as much", two.to_vec(), vec![("a", 250), ("b", 250)], Ok((1, 25, 250))),
            ("one that was not measured counts nothing on the way up", third("Running", true), vec![("a", 1000), ("b", 1000)], Ok((4, 100, 1000))),
            ("and all that it asks for on the way down", third("Running", true), vec![("a", 100), ("b", 100)], Ok((3, 10, 100))),
            ("so that there is no way down", third("Running", true), vec![("a", 300), ("b", 300)], Ok((3, 30, 300))),
            ("one that begins counts nothing on the way up", third("Pending", false), vec![("a", 2000), ("b", 2000)], Ok((8, 200, 2000))),
            ("one that never was ready", third("Running", false), vec![("a", 800), ("b", 800), ("c", 9000)], Ok((3, 80, 800))),
            ("nobody measured", two.to_vec(), vec![("x", 1)], Err("no metrics returned matched known pods".into())),
            ("nobody there", vec![], vec![("a", 1)], Err("no pods returned by selector while calculating replica count".into())),
            ("nobody ready", vec![pod("a", "Pending", false)], vec![("a", 1)], Err("did not receive metrics for targeted pods (pods might be unready)".into())),
        ];
        for (what, pods, values, wanted) in cases {
            let current = if pods.len() == 3 { 3 } else { 2 };
            assert_eq!(
                by_utilization(&seen(current, &pods), metrics(&values), "cpu", "", 50),
                wanted,
                "{what}"
            );
        }
        let error =
            by_utilization(&seen(2, &two), metrics(&[("a", 1)]), "memory", "", 50).unwrap_err();
        assert_eq!(
            error.0,
            "missing request for memory in container main of Pod a"
        );
        let error =
            by_utilization(&seen(2, &two), metrics(&[("a", 1)]), "cpu", "other", 50).unwrap_err();
        assert_eq!(error.0, "container other not found in Pod a");
    }

    #[test]
    fn by_other_numbers() {
        let two = [pod("a", "Running", true), pod("b", "Running", true)];
        assert_eq!(
            by_average(
                &seen(2, &two),
                metrics(&[("a", 2000), ("b", 4000)]),
                "",
                1000
            ),
            Ok((6, 3000))
        );
        assert_eq!(
            by_average(
                &seen(2, &two),
                metrics(&[("a", 1000), ("b", 1000)]),
                "",
                1000
            ),
            Ok((2, 1000))
        );
        assert_eq!(
            [10, 30, 4].map(|usage| by_value(&seen(2, &two), usage, 10)),
            [Ok(2), Ok(6), Ok(1)]
        );
        assert_eq!(by_value(&seen(0, &[]), 25, 10), Ok(3));
        let tolerances = Tolerances { down: 0.1, up: 0.1 };
        assert_eq!(
            [20, 50].map(|usage| by_share(2, tolerances, usage, 10)),
            [(2, 10), (5, 25)]
        );
    }
}
