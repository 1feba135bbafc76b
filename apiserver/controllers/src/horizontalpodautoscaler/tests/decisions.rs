//! Decisions as data: `testdata/autoscaling/decisions.txt`, whose head describes it.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::*,
    world::{NAMESPACE, World, autoscaler, measured},
};

const DECISIONS: &str = include_str!("../../../../../testdata/autoscaling/decisions.txt");
const NOW: i64 = 1_000_000;

/// A block of the file: its name, and what each line says.
struct Case<'t> {
    name: &'t str,
    lines: Vec<(&'t str, &'t str)>,
}

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'static>> = Vec::new();
    let lines = DECISIONS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let Some(said) = line.strip_prefix("  ") else {
            cases.push(Case {
                name: line,
                lines: Vec::new(),
            });
            continue;
        };
        let said = said.split_once(' ').unwrap_or((said, ""));
        cases.last_mut().unwrap().lines.push(said);
    }
    cases
}

impl<'t> Case<'t> {
    fn all(&self, key: &str) -> impl Iterator<Item = &'t str> {
        let lines = self.lines.iter().filter(move |(have, _)| *have == key);
        lines.map(|(_, said)| *said)
    }

    fn words(&self, key: &str) -> Vec<&'t str> {
        self.all(key).flat_map(str::split_whitespace).collect()
    }
}

/// `cpu=30%`.
fn metric(word: &str) -> Value {
    let Some((what, target)) = word.split_once('=') else {
        return json!({"type": word});
    };
    let (amount, each) = match target.strip_suffix("/each") {
        Some(amount) => (amount, true),
        None => (target, false),
    };
    let value = match each {
        true => json!({"type": "AverageValue", "averageValue": amount}),
        false => json!({"type": "Value", "value": amount}),
    };
    let resource = match target.strip_suffix('%') {
        Some(percent) => {
            json!({"type": "Utilization", "averageUtilization": percent.parse::<i32>().unwrap()})
        }
        None => json!({"type": "AverageValue", "averageValue": target}),
    };
    match (what.split_once('/'), what.split_once('.')) {
        (Some(("pods", name)), _) => {
            json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": resource}})
        }
        (Some(("object", name)), _) => {
            let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "some"});
            json!({"type": "Object", "object": {"describedObject": object, "metric": {"name": name}, "target": value}})
        }
        (Some(("external", name)), _) => {
            json!({"type": "External", "external": {"metric": {"name": name}, "target": value}})
        }
        (None, Some((container, name))) => {
            json!({"type": "ContainerResource", "containerResource": {"name": name, "container": container, "target": resource}})
        }
        _ => json!({"type": "Resource", "resource": {"name": what, "target": resource}}),
    }
}

/// `window=60 select=Min pods=4/60`, with what a server fills in.
fn rules(line: &str) -> Value {
    let mut rules = json!({"selectPolicy": "Max", "policies": []});
    for word in line.split_whitespace() {
        let (what, value) = word.split_once('=').unwrap();
        let policy = |kind: &str| {
            let (amount, period) = value.split_once('/').unwrap();
            json!({"type": kind, "value": amount.parse::<i32>().unwrap(), "periodSeconds": period.parse::<i32>().unwrap()})
        };
        let policies =
            |rules: &mut Value, policy| rules["policies"].as_array_mut().unwrap().push(policy);
        match what {
            "window" => rules["stabilizationWindowSeconds"] = json!(value.parse::<i32>().unwrap()),
            "select" => rules["selectPolicy"] = json!(value),
            "tolerance" => rules["tolerance"] = json!(value),
            "pods" => policies(&mut rules, policy("Pods")),
            "percent" => policies(&mut rules, policy("Percent")),
            other => panic!("{other}"),
        }
    }
    rules
}

fn spec(case: &Case<'_>) -> HorizontalPodAutoscaler {
    let words = case.words("auto");
    let (least, most) = words[0].split_once("..").unwrap();
    let metrics: Vec<Value> = words[1..].iter().map(|word| metric(word)).collect();
    let mut spec = json!({"minReplicas": least.parse::<i32>().unwrap(), "maxReplicas": most.parse::<i32>().unwrap(), "metrics": metrics});
    let (up, down) = (case.all("up").next(), case.all("down").next());
    if up.is_some() || down.is_some() {
        let mut up = rules(up.unwrap_or("percent=100/15"));
        if up.get("stabilizationWindowSeconds").is_none() {
            up["stabilizationWindowSeconds"] = json!(0);
        }
        spec["behavior"] =
            json!({"scaleUp": up, "scaleDown": rules(down.unwrap_or("percent=100/15"))});
    }
    autoscaler(spec)
}

/// A pod as it is written, with what is measured of it.
fn pod(number: usize, word: &str, memory: Option<&&str>) -> (Arc<Pod>, Option<Value>) {
    let ago = |seconds: i64| Timestamp::from_second(NOW - seconds).unwrap();
    let (word, state) = word.split_once('/').unwrap_or((word, ""));
    let (used, request) = word.split_once('*').unwrap_or((word, "1"));
    let (start, ready, changed) = match state {
        "unready" => (3600, "False", 3600),
        "lost" => (3600, "False", 600),
        "hot" => (10, "True", 10),
        _ => (3600, "True", 3590),
    };
    let phase = match state {
        "pending" => "Pending",
        "failed" => "Failed",
        _ => "Running",
    };
    let asks = match state {
        "bare" => json!({}),
        _ => json!({"requests": {"cpu": request, "memory": "1Gi"}}),
    };
    let names = ["main", "side"];
    let containers = used
        .split('+')
        .zip(names)
        .map(|(_, name)| json!({"name": name, "resources": asks}));
    let name = format!("pod-{number}");
    let mut object = json!({
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": containers.collect::<Vec<_>>()},
        "status": {"phase": phase, "startTime": ago(start), "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": ago(changed)}]},
    });
    if state == "deleted" {
        object["metadata"]["deletionTimestamp"] = json!(ago(5));
    }
    let usage = (used != "-").then(|| {
        let of = |cpu: &str| {
            let mut usage = json!({"cpu": format!("{cpu}m")});
            if let Some(memory) = memory {
                usage["memory"] = json!(memory);
            }
            usage
        };
        let containers: Vec<(&str, Value)> =
            names.into_iter().zip(used.split('+').map(of)).collect();
        measured(&name, ago(10), &containers)
    });
    (Arc::new(serde_json::from_value(object).unwrap()), usage)
}

fn world(case: &Case<'_>) -> World {
    let world = World::new(NOW, Options::default());
    let mut state = world.state.lock();
    let replicas = case.words("replicas");
    state.replicas = replicas[0].parse().unwrap();
    state.status_replicas = replicas
        .get(1)
        .map_or(state.replicas, |status| status.parse().unwrap());
    state.selector = match replicas.get(2) {
        Some(&"\"\"") => String::new(),
        Some(selector) => (*selector).into(),
        None => "app=web".into(),
    };
    state.fails = case.all("fails").next().is_some();
    let memory = case.words("memory");
    for (number, word) in case.words("pods").into_iter().enumerate() {
        let (pod, usage) = pod(number + 1, word, memory.get(number));
        state.pods.push(pod);
        state.measured.extend(usage);
    }
    for line in case.all("values") {
        let mut words = line.split_whitespace();
        let path = match words.next().unwrap().split_once('/').unwrap() {
            ("pods", name) => {
                format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/*/{name}")
            }
            ("object", name) => format!(
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/deployments.apps/some/{name}"
            ),
            (_, name) => format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/{name}"),
        };
        let now = Timestamp::from_second(NOW).unwrap();
        let value = |(number, value): (usize, &str)| json!({"describedObject": {"name": format!("pod-{}", number + 1)}, "timestamp": now, "value": value});
        state
            .values
            .insert(path, words.enumerate().map(value).collect());
    }
    drop(state);
    let key = Key::new(NAMESPACE, "web");
    let times = |key: &str| {
        let words = case.words(key).into_iter();
        let pair = |word: &str| {
            let (age, number) = word.split_once(':').unwrap();
            let at = world.now() - SignedDuration::from_secs(age.parse().unwrap());
            (at, number.parse::<i32>().unwrap())
        };
        words.map(pair).collect::<Vec<_>>()
    };
    let memory = Memory::of(times("past"), times("ups"), times("downs"));
    world.controller.memories.lock().insert(key, memory);
    if let Some(selector) = case.all("other").next() {
        let other = Key::new(NAMESPACE, "other");
        world
            .controller
            .selectors
            .lock()
            .insert(other, selector.parse().unwrap());
    }
    world
}

/// `50% 20 -`.
fn current(auto: &HorizontalPodAutoscaler) -> String {
    let metrics = auto
        .status
        .iter()
        .flat_map(|status| status.current_metrics.iter().flatten());
    let shown = metrics.map(|metric| {
        let value = json!(metric);
        let kinds = [
            "resource",
            "containerResource",
            "pods",
            "object",
            "external",
        ];
        let current = kinds
            .iter()
            .find_map(|kind| value.get(kind))
            .map(|of| &of["current"]);
        let Some(current) = current else {
            return "-".to_owned();
        };
        match (
            current["averageUtilization"].as_i64(),
            current["averageValue"].as_str(),
        ) {
            (Some(percent), _) => format!("{percent}%"),
            (None, Some(average)) => average.to_owned(),
            (None, None) => current["value"].as_str().unwrap_or("-").to_owned(),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What of a line that is expected is not so.
fn differs(wanted: &str, found: &Found) -> Option<String> {
    let (what, rest) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let is = |found: &str, exact: bool| match exact {
        true => found == rest,
        false => found == rest || found.starts_with(&format!("{rest} ")),
    };
    match what {
        "event" => {
            let there = found.events.iter().any(|event| is(event.trim_end(), true));
            (!there).then(|| format!("no event {rest:?} among {:#?}", found.events))
        }
        "current" => {
            (found.current != rest).then(|| format!("{:?} is not {rest:?}", found.current))
        }
        replicas if replicas.parse::<i64>().is_ok() => (found.replicas.to_string() != replicas)
            .then(|| format!("{} replicas, not {replicas}", found.replicas)),
        condition => match found.conditions.get(condition) {
            Some(told) if is(told, false) => None,
            told => Some(format!("{condition} is {told:?}, not {rest:?}")),
        },
    }
}

struct Found {
    replicas: i64,
    /// `STATUS REASON MESSAGE` by type.
    conditions: HashMap<String, String>,
    events: Vec<String>,
    current: String,
}

async fn decide(case: &Case<'_>) -> Found {
    let world = world(case);
    let mut auto = spec(case);
    world.look(&mut auto).await;
    let status = auto.status.clone().unwrap_or_default();
    let conditions = status.conditions.into_iter().flatten().map(|condition| {
        let reason = condition.reason.unwrap_or_default();
        let message = condition.message.unwrap_or_default();
        (
            condition.type_,
            format!("{} {reason} {message}", condition.status),
        )
    });
    let events = world.events().await;
    let replicas = world.state.lock().replicas;
    Found {
        replicas,
        conditions: conditions.collect(),
        events,
        current: current(&auto),
    }
}

#[tokio::test]
async fn decisions_are_upstreams() {
    let mut wrong = Vec::new();
    let cases = cases();
    for case in &cases {
        let found = decide(case).await;
        let differences = case.all("->").filter_map(|wanted| differs(wanted, &found));
        wrong.extend(differences.map(|difference| format!("{}: {difference}", case.name)));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} decisions:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert!(cases.len() >= 60);
}
