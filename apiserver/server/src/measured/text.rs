//! Reads what a node tells at `/metrics/resource`.
//!
//! Invariant: lines of other series are passed over; one of these that cannot be read makes all of it an error, never a zero.
//! Follows `pkg/scraper/client/resource/decode.go` of sigs.k8s.io/metrics-server, and Prometheus' text format.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Point, Reading};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot read the line {0:?}")]
pub struct Unread(String);

/// A sample: labels, value, and when it was taken.
struct Sample<'t> {
    labels: &'t str,
    value: f64,
    at: Option<Timestamp>,
}

/// What is known so far of a container or a node.
#[derive(Default)]
struct Parts {
    started: Option<Timestamp>,
    cpu: Option<(u64, Timestamp)>,
    memory: Option<u64>,
}

impl Parts {
    /// A point, where all of it is known.
    fn point(&self) -> Option<Point> {
        let (cpu, at) = self.cpu?;
        Some(Point {
            started: self.started.unwrap_or(Timestamp::UNIX_EPOCH),
            at,
            cpu,
            memory: self.memory?,
        })
    }

    fn take(&mut self, what: &str, sample: &Sample<'_>, now: Timestamp) -> Option<()> {
        match what {
            "cpu_usage_seconds_total" => {
                let cpu = whole(sample.value * 1e9)?;
                self.cpu = Some((cpu, sample.at.unwrap_or(now)));
            }
            "memory_working_set_bytes" => self.memory = Some(whole(sample.value)?),
            "start_time_seconds" => {
                let millis = whole(sample.value * 1e3)?;
                self.started = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok();
            }
            _ => {}
        }
        Some(())
    }
}

fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

/// `now`: the time of samples that do not tell theirs.
pub fn read(text: &str, now: Timestamp) -> Result<Reading, Unread> {
    let mut node = Parts::default();
    let mut pods: BTreeMap<(Arc<str>, Arc<str>), BTreeMap<Arc<str>, Parts>> = BTreeMap::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        let wrong = || Unread(line.to_owned());
        let (of_node, what) = match (line.strip_prefix("node_"), line.strip_prefix("container_")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let end = what.find(['{', ' ']).ok_or_else(wrong)?;
        let (what, rest) = what.split_at(end);
        let sample = sample(rest).ok_or_else(wrong)?;
        let parts = match of_node {
            true => &mut node,
            false => {
                let [container, namespace, pod] =
                    labels(sample.labels, ["container", "namespace", "pod"]).ok_or_else(wrong)?;
                let pod = pods.entry((namespace.into(), pod.into())).or_default();
                pod.entry(container.into()).or_default()
            }
        };
        parts.take(what, &sample, now).ok_or_else(wrong)?;
    }
    let pods = pods.into_iter().map(|(of, containers)| {
        let points = containers.into_iter();
        let points = points.filter_map(|(name, parts)| Some((name, parts.point()?)));
        (of, points.collect())
    });
    Ok(Reading {
        node: node.point(),
        pods: pods
            .filter(|(_, points): &(_, BTreeMap<_, _>)| !points.is_empty())
            .collect(),
    })
}

/// `{a="b"} 1.5 1700000000000`.
fn sample(text: &str) -> Option<Sample<'_>> {
    let (labels, rest) = match text.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", text),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let at = match words.next() {
        Some(millis) => Some(Timestamp::from_millisecond(millis.parse().ok()?).ok()?),
        None => None,
    };
    words
        .next()
        .is_none()
        .then_some(Sample { labels, value, at })
}

/// The values of these labels. Names of namespaces, pods and containers hold nothing that would be escaped.
fn labels<'t, const N: usize>(text: &'t str, wanted: [&str; N]) -> Option<[&'t str; N]> {
    let mut found = [None; N];
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
        let place = wanted.iter().position(|wanted| *wanted == name.trim());
        if let Some(place) = place {
            found[place] = Some(value);
        }
    }
    let mut all = [""; N];
    for (place, value) in all.iter_mut().zip(found) {
        *place = value?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP container_cpu_usage_seconds_total [STABLE] x
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="a",namespace="n",pod="p"} 1.5 2000
container_cpu_usage_seconds_total{container="b",namespace="n",pod="p"} 2e-3 2000
container_memory_working_set_bytes{container="a",namespace="n",pod="p"} 4.096e+03 2001
container_start_time_seconds{container="a",namespace="n",pod="p"} 1.25
container_swap_usage_bytes{container="a",namespace="n",pod="p"} 0 2000
node_cpu_usage_seconds_total 12 3000
node_memory_working_set_bytes 77 3000
pod_cpu_usage_seconds_total{namespace="n",pod="p"} 1.5 2000
resource_scrape_error 0
"#;

    #[test]
    fn what_a_node_tells() {
        let millis = |millis| Timestamp::from_millisecond(millis).unwrap();
        let reading = read(TEXT, millis(9)).unwrap();
        let point = |started, at, cpu, memory| Point {
            started: millis(started),
            at: millis(at),
            cpu,
            memory,
        };
        assert_eq!(reading.node, Some(point(0, 3000, 12_000_000_000, 77)));
        let pod = &reading.pods[&("n".into(), "p".into())];
        let found: Vec<(&str, &Point)> = pod.iter().map(|(name, point)| (&**name, point)).collect();
        // of the other the memory is not known
        assert_eq!(found, [("a", &point(1250, 2000, 1_500_000_000, 4096))]);
    }

    #[test]
    fn what_is_not_understood_is_no_zero() {
        for line in [
            "node_cpu_usage_seconds_total x",
            "node_cpu_usage_seconds_total 1 2 3",
            "node_cpu_usage_seconds_total -1",
            "node_cpu_usage_seconds_total NaN",
            "container_cpu_usage_seconds_total{container=\"a\"} 1",
            "container_cpu_usage_seconds_total{container=a,namespace=\"n\",pod=\"p\"} 1",
            "container_cpu_usage_seconds_total",
        ] {
            assert_eq!(read(line, Timestamp::UNIX_EPOCH), Err(Unread(line.into())));
        }
    }
}
