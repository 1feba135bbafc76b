//! Spreading over zones and hosts, as tables.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{heard::Event, plugins::tests::World, pod::tests::pod};

const NO: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

fn constraint(key: &str, max_skew: i32, rest: Value) -> Value {
    let mut constraint = json!({"maxSkew": max_skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}});
    rest.as_object()
        .into_iter()
        .flatten()
        .for_each(|(key, value)| constraint[key] = value.clone());
    constraint
}

fn of(name: &str, app: &str, constraints: &[Value], rest: Value) -> Arc<PodInfo> {
    let mut changes = json!({"metadata": {"labels": {"app": app, "v": "1"}}, "spec": {"topologySpreadConstraints": constraints}});
    skiff_api::machinery::patch::merge::apply(&mut changes, rest, false).unwrap();
    pod(name, changes)
}

/// Nodes a1, a2 in zone a, b1 in zone b, and x in none; so many pods of the app on each.
fn world(counts: [usize; 4]) -> World {
    let mut world = World::default();
    for ((name, zone), count) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("x", "")]
        .into_iter()
        .zip(counts)
    {
        let mut labels = json!({"host": name, "kubernetes.io/hostname": name});
        if !zone.is_empty() {
            labels["zone"] = zone.into();
            labels["topology.kubernetes.io/zone"] = zone.into();
        }
        world.node(name, json!({"metadata": {"labels": labels}}));
        (0..count).for_each(|number| {
            drop(
                world
                    .cache
                    .put_pod(name, of(&format!("{name}-{number}"), "a", &[], json!({}))),
            )
        });
    }
    world
}

#[test]
fn what_must_hold() {
    let zone = |rest| vec![constraint("zone", 1, rest)];
    #[rustfmt::skip]
    let cases = [
        ([1, 0, 1, 0], zone(json!({})), "a", json!({}), ["", "", "", NO_LABEL]),
        ([1, 1, 1, 0], zone(json!({})), "a", json!({}), [NO, NO, "", NO_LABEL]),
        ([1, 1, 1, 0], vec![constraint("zone", 2, json!({}))], "a", json!({}), ["", "", "", NO_LABEL]),
        // the pod itself is none of those that are spread
        ([1, 1, 1, 0], zone(json!({})), "b", json!({}), ["", "", "", NO_LABEL]),
        ([3, 0, 1, 0], vec![constraint("host", 1, json!({}))], "a", json!({}), [NO, "", NO, ""]),
        ([0, 0, 1, 0], [zone(json!({})), vec![constraint("host", 1, json!({}))]].concat(), "a", json!({}), ["", "", NO, NO_LABEL]),
        // three zones are wanted, there are two: the third counts as empty
        ([1, 0, 1, 0], zone(json!({"minDomains": 3})), "a", json!({}), [NO, NO, NO, NO_LABEL]),
        ([1, 0, 1, 0], zone(json!({"minDomains": 2})), "a", json!({}), ["", "", "", NO_LABEL]),
        // zone b is none that the pod may go to
        ([1, 1, 0, 0], zone(json!({})), "a", json!({"spec": {"nodeSelector": {"zone": "a"}}}), ["", "", "", NO_LABEL]),
        ([1, 1, 0, 0], zone(json!({"nodeAffinityPolicy": "Ignore"})), "a", json!({"spec": {"nodeSelector": {"zone": "a"}}}), [NO, NO, "", NO_LABEL]),
        ([1, 1, 0, 0], zone(json!({"labelSelector": {"matchLabels": {"app": "a"}}, "matchLabelKeys": ["v"]})), "a", json!({}), [NO, NO, "", NO_LABEL]),
        ([1, 1, 0, 0], zone(json!({"matchLabelKeys": ["v"]})), "a", json!({"metadata": {"labels": {"v": "2"}}}), ["", "", "", NO_LABEL]),
        ([1, 1, 0, 0], zone(json!({"whenUnsatisfiable": "ScheduleAnyway"})), "a", json!({}), ["", "", "", ""]),
        // without a selector no pod counts, not even itself
        ([1, 1, 0, 0], zone(json!({"labelSelector": null})), "a", json!({}), ["", "", "", NO_LABEL]),
    ];
    for (counts, constraints, app, rest, wanted) in cases {
        assert_eq!(
            world(counts).tried(
                &PodTopologySpread,
                &of("new", app, &constraints, rest.clone())
            ),
            wanted,
            "{counts:?} {constraints:?} {app} {rest}"
        );
    }
}

#[test]
fn nodes_with_taints_count_unless_taints_are_honored() {
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}, "metadata": {"labels": {"zone": "b"}}});
    for (policy, wanted) in [(Value::Null, [NO, NO]), (json!("Honor"), ["", ""])] {
        let mut world = world([1, 1, 0, 0]);
        world.node("b1", taint.clone());
        let found = world.tried(
            &PodTopologySpread,
            &of(
                "new",
                "a",
                &[constraint("zone", 1, json!({"nodeTaintsPolicy": policy}))],
                json!({}),
            ),
        );
        assert_eq!(found[..2], wanted, "{policy}");
    }
}

#[test]
fn pods_that_end_do_not_count() {
    let mut world = world([1, 1, 1, 0]);
    let constraints = [constraint("zone", 1, json!({}))];
    world.cache.put_pod(
        "a1",
        of(
            "a1-0",
            "a",
            &[],
            json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}),
        ),
    );
    assert_eq!(
        world.tried(&PodTopologySpread, &of("new", "a", &constraints, json!({}))),
        ["", "", "", NO_LABEL]
    );
}

#[test]
fn pods_that_are_thought_to_come_and_go() {
    let world = world([1, 1, 1, 0]);
    let new = of("new", "a", &[constraint("zone", 1, json!({}))], json!({}));
    let mut state = crate::plugins::State::default();
    crate::run::pre_filter(world.view(), &new, &mut state).unwrap();
    let node = world.cache.get("a1").unwrap();
    let fits = |state: &crate::plugins::State| {
        PodTopologySpread
            .filter(world.view(), state, &new, node)
            .is_ok()
    };
    let other = node.pods.values().next().unwrap();
    assert!(!fits(&state));
    crate::run::change(world.view(), &mut state, &new, other, node, -1);
    assert!(fits(&state));
    crate::run::change(world.view(), &mut state, &new, other, node, 1);
    assert!(!fits(&state));
}

#[test]
fn what_is_wished() {
    let soft = |key: &str, max_skew| {
        constraint(
            key,
            max_skew,
            json!({"whenUnsatisfiable": "ScheduleAnyway"}),
        )
    };
    for (counts, constraints, wanted) in [
        ([0, 0, 0, 0], vec![soft("zone", 1)], [100, 100, 100, 0]),
        // 2 and 1 pods in two zones: scores 3 and 1, of which the fewest is the best
        ([1, 1, 1, 0], vec![soft("zone", 1)], [33, 33, 100, 0]),
        (
            [2, 0, 1, 0],
            vec![soft("kubernetes.io/hostname", 1)],
            [0, 100, 50, 100],
        ),
        // a larger skew waters differences down
        (
            [2, 0, 1, 0],
            vec![soft("kubernetes.io/hostname", 5)],
            [50, 100, 75, 100],
        ),
    ] {
        assert_eq!(
            world(counts).scored(&PodTopologySpread, &of("new", "a", &constraints, json!({}))),
            wanted,
            "{counts:?} {constraints:?}"
        );
    }
}

#[test]
fn pods_that_say_nothing_are_spread_by_their_service() {
    let mut world = world([1, 0, 0, 0]);
    assert_eq!(
        world.scored(&PodTopologySpread, &of("new", "a", &[], json!({}))),
        [0; 4],
        "they belong to nobody"
    );
    let service =
        json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"app": "a"}}});
    world.owners.services.hear(Event::Apply(Arc::new(
        serde_json::from_value(service).unwrap(),
    )));
    let found = world.scored(&PodTopologySpread, &of("new", "a", &[], json!({})));
    assert!(
        found[0] < found[1] && found[1] < found[2] && found[2] < found[3],
        "{found:?}"
    );
}
