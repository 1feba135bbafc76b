//! An autoscaler's day: the load of a shop from midnight to midnight, in virtual time.
//!
//! Invariant: the same trace each time, which stands in `testdata/autoscaling/day.txt`; `SKIFF_UPDATE=1` writes it anew.

use std::{fmt::Write, path::Path};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::*,
    world::{NAMESPACE, World, autoscaler, measured},
};

const TRACE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../testdata/autoscaling/day.txt"
);
/// 2026-03-02T00:00:00Z.
const MIDNIGHT: i64 = 1_772_409_600;
const DAY: i64 = 24 * 3600;
/// So long after it was asked for a pod is ready.
const START: i64 = 20;

/// Thousandths of a core that the shop needs in all at a second of the day: nights are quiet, noon and evening are not, and at 15:00 somebody
/// mentions it for ten minutes.
fn load(second: i64) -> i64 {
    const HOURS: [i64; 25] = [
        300, 200, 150, 150, 150, 200, 500, 900, 1500, 1800, 2000, 2600, 3200, 2600, 2000, 2000,
        2200, 2500, 3000, 3600, 4000, 3000, 1800, 900, 300,
    ];
    let hour = (second / 3600) as usize;
    let between = HOURS[hour] + (HOURS[hour + 1] - HOURS[hour]) * (second % 3600) / 3600;
    let mentioned = (15 * 3600..15 * 3600 + 600).contains(&second);
    between + if mentioned { 6000 } else { 0 }
}

/// The pods of the Deployment, by when each was asked for.
struct Pods {
    begun: Vec<(u64, i64)>,
    next: u64,
}

impl Pods {
    /// As many as are wanted: the newest go first.
    fn follow(&mut self, wanted: i64, second: i64) {
        while (self.begun.len() as i64) < wanted {
            self.begun.push((self.next, second));
            self.next += 1;
        }
        self.begun.truncate(wanted as usize);
    }

    /// They and what they use: those that are ready share the load, and none uses more than a core.
    fn show(&self, world: &World, second: i64) {
        let ready = |begun: i64| second - begun >= START;
        let count = self
            .begun
            .iter()
            .filter(|(_, begun)| ready(*begun))
            .count()
            .max(1) as i64;
        let each = (load(second) / count).min(1000);
        let at = |second: i64| Timestamp::from_second(MIDNIGHT + second).unwrap();
        let mut state = world.state.lock();
        (state.pods, state.measured) = (Vec::new(), Vec::new());
        for (number, begun) in &self.begun {
            let (name, is_ready) = (format!("web-{number}"), ready(*begun));
            let changed = if is_ready { begun + START } else { *begun };
            let pod = json!({
                "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "500m"}}}]},
                "status": {"phase": "Running", "startTime": at(*begun), "conditions": [
                    {"type": "Ready", "status": if is_ready { "True" } else { "False" }, "lastTransitionTime": at(changed)}]},
            });
            state
                .pods
                .push(Arc::new(serde_json::from_value(pod).unwrap()));
            if is_ready {
                let usage = json!({"cpu": format!("{each}m")});
                state
                    .measured
                    .push(measured(&name, at(second), &[("main", usage)]));
            }
        }
    }
}

fn clock(second: i64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// What happens in a day, a line each.
async fn day(behavior: Option<Value>) -> String {
    let world = World::new(MIDNIGHT, Options::default());
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}});
    let mut spec = json!({"minReplicas": 1, "maxReplicas": 20, "metrics": [metric]});
    if let Some(behavior) = behavior {
        spec["behavior"] = behavior;
    }
    let mut auto = autoscaler(spec);
    let mut pods = Pods {
        begun: Vec::new(),
        next: 1,
    };
    pods.follow(1, -START);
    {
        let mut state = world.state.lock();
        (state.replicas, state.selector) = (1, "app=web".into());
    }
    let (mut trace, mut limited) = (String::new(), String::new());
    let period = i64::try_from(Options::default().sync_period.as_secs()).unwrap();
    for second in (0..DAY).step_by(period as usize) {
        pods.show(&world, second);
        let before = world.state.lock().replicas;
        world.state.lock().status_replicas = before;
        world.look(&mut auto).await;
        for event in world.events().await {
            writeln!(trace, "{} {before:>2} {event}", clock(second)).unwrap();
        }
        let conditions = auto
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let told = |of: &k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition| {
            format!("{} {}", of.status, of.reason.clone().unwrap_or_default())
        };
        let now = conditions
            .filter(|of| of.type_ == "ScalingLimited")
            .map(told)
            .next()
            .unwrap_or_default();
        if now != limited {
            writeln!(trace, "{} {before:>2} ScalingLimited {now}", clock(second)).unwrap();
            limited = now;
        }
        let wanted = world.state.lock().replicas;
        pods.follow(wanted, second);
        world.pass(period);
    }
    trace
}

#[tokio::test]
async fn a_day_is_always_the_same() {
    let slow = json!({
        "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 600, "selectPolicy": "Min", "policies": [
            {"type": "Percent", "value": 20, "periodSeconds": 120}, {"type": "Pods", "value": 1, "periodSeconds": 120}]},
    });
    let found = format!(
        "# without behavior\n{}# with behavior\n{}",
        day(None).await,
        day(Some(slow)).await
    );
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        std::fs::write(TRACE, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(Path::new(TRACE)).unwrap_or_default();
    assert_eq!(found, wanted, "SKIFF_UPDATE=1 writes it anew");
}
