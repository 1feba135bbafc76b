//! A cluster that comes and goes many times over one data folder: `up`, two pods and a service, their deletion, `down`.
//!
//! None fails, nothing is left after any, and the last ones are as fast as the first. `SKIFF_CYCLES` says how many.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{Cluster, http_get, missing, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const CYCLES: usize = 5;
/// The last tenth may take so much longer than the first: a machine has other things to do, too.
const SLOWER: f64 = 1.5;

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: "skiff.local/shop:v1", args: [stock], ports: [{containerPort: 8080}], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// How long each part took, in the order in which they are done.
#[derive(Default)]
struct Parts(Vec<(&'static str, Duration)>);

impl Parts {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.0.push((name, begun.elapsed()));
        done
    }

    fn total(&self) -> Duration {
        self.0.iter().map(|(_, took)| *took).sum()
    }
}

fn deploy(cluster: &Cluster) {
    cluster.apply(MANIFEST);
    cluster.skiff(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let node = cluster.skiff(&[
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[0].status.addresses[0].address}",
    ]);
    let port = cluster.skiff(&[
        "get",
        "service",
        "web",
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ]);
    wait(MINUTE, "an answer of the service", || {
        http_get(&format!("{node}:{port}"), "/")
    });
}

fn delete(cluster: &Cluster) {
    cluster.skiff(&["delete", "deployment/web", "service/web"]);
    wait(MINUTE, "the end of the pods", || {
        match cluster.skiff(&["get", "pods", "-o", "name"]) {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        }
    });
    // The API has let go of them; the node clears away their logs.
    wait(MINUTE, "the end of what they left", || {
        let left = ["pods", "logs", "containers"]
            .map(|part| count(&cluster.data().join("nodes/node-1").join(part)));
        if left == [0; 3] {
            Ok(())
        } else {
            Err(format!("{left:?} files"))
        }
    });
}

/// How many files and folders lie below a folder.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            1 + if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                count(&entry.path())
            } else {
                0
            }
        })
        .sum()
}

/// How many files lie in each folder of the cluster's, but for the store, which keeps the history of all.
fn files(data: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "store" {
            found.insert(name, count(&entry.path()));
        }
    }
    found
}

fn mean(cycles: &[Parts]) -> Duration {
    cycles.iter().map(Parts::total).sum::<Duration>() / u32::try_from(cycles.len().max(1)).unwrap()
}

fn tell(what: &str, cycles: &[Parts]) {
    let mut parts: Vec<(&str, Duration)> = Vec::new();
    for (index, (name, _)) in cycles[0].0.iter().enumerate() {
        parts.push((
            name,
            cycles
                .iter()
                .map(|cycle| cycle.0[index].1)
                .sum::<Duration>()
                / u32::try_from(cycles.len()).unwrap(),
        ));
    }
    println!(
        "{what} {}: {:?} each, {parts:?}",
        cycles.len(),
        mean(cycles)
    );
}

#[test]
fn cycles() {
    if let Some(why) = missing(&[]) {
        return skip(&why);
    }
    let number = std::env::var("SKIFF_CYCLES").map_or(CYCLES, |text| {
        text.parse().expect("SKIFF_CYCLES is a number")
    });
    let mut done: Vec<Parts> = Vec::new();
    let mut parts = Parts::default();
    let mut cluster = parts.time("up", || Cluster::start(&[]));
    let mut after_the_first = None;
    for cycle in 1..=number {
        if cycle > 1 {
            parts.time("up", || cluster.up(&[]));
        }
        parts.time("deploy", || deploy(&cluster));
        parts.time("delete", || delete(&cluster));
        parts.time("down", || cluster.down());
        let left = cluster.left();
        assert!(left.is_empty(), "left behind by cycle {cycle}: {left:?}");
        let files = files(&cluster.data());
        let first = after_the_first.get_or_insert_with(|| files.clone());
        assert_eq!(
            &files, first,
            "files after cycle {cycle}, and after the first"
        );
        done.push(std::mem::take(&mut parts));
    }
    let tenth = (number / 10).max(1);
    tell("the first", &done[..tenth]);
    tell("the last", &done[number - tenth..]);
    if number >= 50 {
        let (first, last) = (mean(&done[..tenth]), mean(&done[number - tenth..]));
        assert!(
            last.as_secs_f64() < first.as_secs_f64() * SLOWER,
            "the last take {last:?} each, the first took {first:?}"
        );
    }
}
