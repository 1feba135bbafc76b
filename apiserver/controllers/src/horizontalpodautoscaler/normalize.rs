//! From what metrics ask for to what is done: stabilized over time, within bounds, and not faster than policies allow.
//!
//! Invariant: pure but for the memory of one autoscaler, which it is handed. Follows pkg/controller/podautoscaler/horizontal.go
//! (stabilizeRecommendation, convertDesiredReplicasWithRules, and their siblings with behaviors).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior,
};

use crate::{clock::since, pods::seconds};

/// What is remembered of one autoscaler: recommendations, and the changes that were made.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    recommendations: Vec<(Timestamp, i32)>,
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

/// Between which numbers, and from which.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub current: i32,
    pub least: i32,
    pub most: i32,
}

/// A reason and its message.
pub type Why = (&'static str, &'static str);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalized {
    pub replicas: i32,
    /// Why the condition `AbleToScale` is true.
    pub able: Why,
    /// Whether the condition `ScalingLimited` is true, and why.
    pub limited: (bool, Why),
}

const READY: Why = ("ReadyForNewScale", "recommended size matches current size");
const WITHIN: Why = (
    "DesiredWithinRange",
    "the desired count is within the acceptable range",
);
const TOO_MANY: Why = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: Why = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);
const TOO_FAST_UP: Why = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const TOO_FAST_DOWN: Why = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const STABILIZED_DOWN: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const STABILIZED_UP: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

impl Memory {
    /// One that remembers this.
    #[cfg(test)]
    pub fn of(
        recommendations: Vec<(Timestamp, i32)>,
        ups: Vec<(Timestamp, i32)>,
        downs: Vec<(Timestamp, i32)>,
    ) -> Self {
        Memory {
            recommendations,
            ups,
            downs,
        }
    }

    /// The number that the autoscaler found counts as its first recommendation.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    fn recommend(&mut self, replicas: i32, keep: Duration, now: Timestamp) {
        note(&mut self.recommendations, (now, replicas), keep);
    }

    fn recent(&self, within: Duration, now: Timestamp) -> impl Iterator<Item = i32> {
        self.recommendations
            .iter()
            .filter(move |(at, _)| since(now, *at) < within)
            .map(|(_, replicas)| *replicas)
    }

    /// Notes a change that was made.
    pub fn changed(
        &mut self,
        behavior: Option<&HorizontalPodAutoscalerBehavior>,
        from: i32,
        to: i32,
        now: Timestamp,
    ) {
        let Some(behavior) = behavior else { return };
        let (rules, list) = if to > from {
            (&behavior.scale_up, &mut self.ups)
        } else {
            (&behavior.scale_down, &mut self.downs)
        };
        let longest = policies(rules.as_ref())
            .iter()
            .map(|policy| policy.period_seconds)
            .max()
            .unwrap_or(0);
        note(list, (now, (to - from).abs()), seconds(longest));
    }
}

/// Notes something in place of the last that is older than `keep`, if there is one. Other old ones stay, as upstream has it: when a window becomes
/// longer they count again.
fn note(list: &mut Vec<(Timestamp, i32)>, new: (Timestamp, i32), keep: Duration) {
    let old = list.iter().rposition(|(at, _)| since(new.0, *at) > keep);
    match old {
        Some(place) => list[place] = new,
        None => list.push(new),
    }
}

fn policies(rules: Option<&HPAScalingRules>) -> &[HPAScalingPolicy] {
    rules
        .and_then(|rules| rules.policies.as_deref())
        .unwrap_or_default()
}

fn limited(replicas: i32, wanted: i32, why: Why) -> (i32, (bool, Why)) {
    (replicas, (replicas != wanted, why))
}

/// Without policies: no faster than double (or four) at once, and down only to the highest recommendation of the window.
pub fn plainly(
    memory: &mut Memory,
    bounds: Bounds,
    wanted: i32,
    window: Duration,
    now: Timestamp,
) -> Normalized {
    let stabilized = memory
        .recent(window + Duration::from_nanos(1), now)
        .chain([wanted])
        .max()
        .unwrap_or(wanted);
    memory.recommend(wanted, window, now);
    let able = if stabilized == wanted {
        READY
    } else {
        STABILIZED_DOWN
    };
    let fastest = bounds.current.saturating_mul(2).max(4);
    let (most, why) = if bounds.most > fastest {
        (fastest, TOO_FAST_UP)
    } else {
        (bounds.most, TOO_MANY)
    };
    let (replicas, limited) = match stabilized {
        wanted if wanted < bounds.least => limited(bounds.least, wanted, TOO_FEW),
        wanted if wanted > most => limited(most, wanted, why),
        wanted => limited(wanted, wanted, WITHIN),
    };
    Normalized {
        replicas,
        able,
        limited,
    }
}

fn window(rules: Option<&HPAScalingRules>, default: Duration) -> Duration {
    rules
        .and_then(|rules| rules.stabilization_window_seconds)
        .map_or(default, seconds)
}

/// The farthest that rules let the number go from where it is.
fn farthest(
    memory: &Memory,
    current: i32,
    rules: Option<&HPAScalingRules>,
    up: bool,
    now: Timestamp,
) -> i32 {
    let select = rules
        .and_then(|rules| rules.select_policy.as_deref())
        .unwrap_or("Max");
    if select == "Disabled" {
        return current;
    }
    let within = |list: &[(Timestamp, i32)], period: Duration| -> i32 {
        list.iter()
            .filter(|(at, _)| since(now, *at) < period)
            .map(|(_, change)| *change)
            .fold(0, i32::saturating_add)
    };
    let proposals = policies(rules).iter().map(|policy| {
        let period = seconds(policy.period_seconds);
        let begun = current
            .saturating_sub(within(&memory.ups, period))
            .saturating_add(within(&memory.downs, period));
        match (policy.type_.as_str(), up) {
            ("Percent", true) => {
                (f64::from(begun) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32
            }
            ("Percent", false) => {
                (f64::from(begun) * (1.0 - f64::from(policy.value) / 100.0)) as i32
            }
            (_, true) => begun.saturating_add(policy.value),
            (_, false) => begun.saturating_sub(policy.value),
        }
    });
    // the largest change upwards is the largest number, downwards the smallest
    let found = if (select == "Min") == up {
        proposals.min()
    } else {
        proposals.max()
    };
    let none = if (select == "Min") == up {
        i32::MAX
    } else {
        i32::MIN
    };
    found.unwrap_or(none)
}

/// With policies.
pub fn by_behavior(
    memory: &mut Memory,
    bounds: Bounds,
    wanted: i32,
    behavior: &HorizontalPodAutoscalerBehavior,
    down_window: Duration,
    now: Timestamp,
) -> Normalized {
    let (up, down) = (behavior.scale_up.as_ref(), behavior.scale_down.as_ref());
    let windows = (window(up, Duration::ZERO), window(down, down_window));
    let lowest = memory
        .recent(windows.0, now)
        .chain([wanted])
        .min()
        .unwrap_or(wanted);
    let highest = memory
        .recent(windows.1, now)
        .chain([wanted])
        .max()
        .unwrap_or(wanted);
    let stabilized = bounds.current.max(lowest).min(highest);
    memory.recommend(wanted, windows.0.max(windows.1), now);
    let able = match (stabilized == wanted, wanted >= bounds.current) {
        (true, _) => READY,
        (false, true) => STABILIZED_UP,
        (false, false) => STABILIZED_DOWN,
    };
    let (replicas, limited) = if stabilized > bounds.current {
        let fastest = farthest(memory, bounds.current, up, true, now).max(bounds.current);
        let (most, why) = if bounds.most > fastest {
            (fastest, TOO_FAST_UP)
        } else {
            (bounds.most, TOO_MANY)
        };
        if stabilized > most {
            limited(most, stabilized, why)
        } else {
            limited(stabilized, stabilized, WITHIN)
        }
    } else if stabilized < bounds.current {
        let fastest = farthest(memory, bounds.current, down, false, now).min(bounds.current);
        let (least, why) = if bounds.least < fastest {
            (fastest, TOO_FAST_DOWN)
        } else {
            (bounds.least, TOO_FEW)
        };
        if stabilized < least {
            limited(least, stabilized, why)
        } else {
            limited(stabilized, stabilized, WITHIN)
        }
    } else {
        limited(stabilized, stabilized, WITHIN)
    };
    Normalized {
        replicas,
        able,
        limited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn without_policies() {
        let bounds = |current| Bounds {
            current,
            least: 2,
            most: 20,
        };
        for (current, wanted, replicas, limited) in [
            (4, 5, 5, (false, WITHIN)),
            (4, 9, 8, (true, TOO_FAST_UP)),
            (1, 9, 4, (true, TOO_FAST_UP)),
            (15, 30, 20, (true, TOO_MANY)),
            (4, 1, 2, (true, TOO_FEW)),
        ] {
            let found = plainly(
                &mut Memory::default(),
                bounds(current),
                wanted,
                Duration::from_secs(300),
                at(0),
            );
            assert_eq!(
                found,
                Normalized {
                    replicas,
                    able: READY,
                    limited
                },
                "{current} to {wanted}"
            );
        }
    }

    #[test]
    fn down_only_when_the_window_is_over() {
        let (mut memory, bounds) = (
            Memory::default(),
            Bounds {
                current: 5,
                least: 1,
                most: 10,
            },
        );
        memory.begin(5, at(0));
        let mut down =
            |second| plainly(&mut memory, bounds, 2, Duration::from_secs(300), at(second));
        assert_eq!((down(15).replicas, down(30).able), (5, STABILIZED_DOWN));
        assert_eq!((down(301).replicas, down(302).able), (2, READY));
    }

    fn rules(window: i32, select: &str, policies: &[(&str, i32, i32)]) -> HPAScalingRules {
        let policy = |(kind, value, period): &(&str, i32, i32)| HPAScalingPolicy {
            type_: kind.to_string(),
            value: *value,
            period_seconds: *period,
        };
        HPAScalingRules {
            stabilization_window_seconds: Some(window),
            select_policy: Some(select.into()),
            policies: Some(policies.iter().map(policy).collect()),
            ..Default::default()
        }
    }

    #[test]
    fn policies_set_the_pace() {
        let up = |select: &str| rules(0, select, &[("Pods", 4, 60), ("Percent", 10, 60)]);
        let behavior = |select: &str| HorizontalPodAutoscalerBehavior {
            scale_up: Some(up(select)),
            scale_down: Some(up(select)),
        };
        let bounds = Bounds {
            current: 20,
            least: 1,
            most: 100,
        };
        for (select, wanted, replicas, why) in [
            ("Max", 50, 24, TOO_FAST_UP),
            ("Min", 50, 22, TOO_FAST_UP),
            ("Disabled", 50, 20, TOO_FAST_UP),
            ("Max", 23, 23, WITHIN),
            ("Max", 2, 16, TOO_FAST_DOWN),
            ("Min", 2, 18, TOO_FAST_DOWN),
            ("Disabled", 2, 20, TOO_FAST_DOWN),
        ] {
            let found = by_behavior(
                &mut Memory::default(),
                bounds,
                wanted,
                &behavior(select),
                Duration::ZERO,
                at(0),
            );
            assert_eq!(
                (found.replicas, found.limited.1),
                (replicas, why),
                "{select} to {wanted}"
            );
        }
        let mut memory = Memory::default();
        memory.changed(Some(&behavior("Max")), 16, 20, at(0));
        let mut next = |second| {
            by_behavior(
                &mut memory,
                bounds,
                50,
                &behavior("Max"),
                Duration::ZERO,
                at(second),
            )
            .replicas
        };
        assert_eq!(
            (next(30), next(61)),
            (20, 24),
            "what was added in the period counts"
        );
    }

    #[test]
    fn windows_of_both_directions() {
        let policy = [("Percent", 100, 15)];
        let behavior = HorizontalPodAutoscalerBehavior {
            scale_up: Some(rules(60, "Max", &policy)),
            scale_down: Some(rules(60, "Max", &policy)),
        };
        let (mut memory, bounds) = (
            Memory::default(),
            Bounds {
                current: 5,
                least: 1,
                most: 10,
            },
        );
        memory.begin(5, at(0));
        let mut ask = |wanted, second| {
            by_behavior(
                &mut memory,
                bounds,
                wanted,
                &behavior,
                Duration::ZERO,
                at(second),
            )
        };
        assert_eq!((ask(8, 10).replicas, ask(8, 20).able), (5, STABILIZED_UP));
        assert_eq!(ask(2, 30).able, STABILIZED_DOWN);
        assert_eq!(ask(8, 61).replicas, 5, "two was asked for lately");
        assert_eq!(ask(8, 100).replicas, 8);
    }
}
