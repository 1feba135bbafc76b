//! Attempts in a small cluster: what is said when nothing fits, who is to leave, and how long it takes.

use std::time::Instant;

use serde_json::{Value, json};
use skiff_api::machinery::clock::system;

use super::*;
use crate::{heard::Event, plugins::tests::World, pod::tests::pod, terms::selector};

fn cluster(nodes: &[(&str, Value)]) -> World {
    let mut world = World::default();
    for (name, changes) in nodes {
        let mut node = json!({"metadata": {"labels": {"kubernetes.io/hostname": name}}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}});
        skiff_api::machinery::patch::merge::apply(&mut node, changes.clone(), false).unwrap();
        world.node(name, node);
    }
    world
}

fn asking(name: &str, cpu: &str, rest: Value) -> Arc<PodInfo> {
    let mut changes =
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    skiff_api::machinery::patch::merge::apply(&mut changes, rest, false).unwrap();
    pod(name, changes)
}

fn attempt(world: &World, pod: &PodInfo) -> Result<Choice, Failure> {
    choose(
        world.view(),
        pod,
        &mut Sampling::default(),
        &Store::default(),
        system().now(),
    )
}

#[test]
fn the_words_when_nothing_fits() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let mut world = cluster(&[("a", json!({})), ("b", json!({})), ("c", tainted)]);
    world.cache.put_pod("a", asking("x", "1", json!({})));
    world.cache.put_pod("b", asking("y", "1500m", json!({})));
    let named = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]}}}}});
    let helpless = "Preemption is not helpful for scheduling";
    for (pod, wanted, clears) in [
        (
            asking("p", "1500m", json!({})),
            format!(
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are \
                 available: 1 {helpless}, 2 No preemption victims found for incoming pod."
            ),
            true,
        ),
        (
            asking("p", "3", json!({})),
            format!(
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 {helpless}."
            ),
            true,
        ),
        (
            asking("p", "1500m", named),
            format!(
                "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: \
                 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 {helpless}."
            ),
            true,
        ),
        (
            asking("p", "1500m", json!({"spec": {"priority": 5, "preemptionPolicy": "Never"}})),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to \
             preemptionPolicy=Never."
                .to_string(),
            false,
        ),
        (
            asking("p", "1", json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}})),
            "0/3 nodes are available: persistentvolumeclaim \"c\" not found. not found".to_string(),
            false,
        ),
    ] {
        let failure = attempt(&world, &pod).unwrap_err();
        assert_eq!((failure.message, failure.nominate.is_some_and(|node| node.is_empty())), (wanted, clears));
    }
    assert_eq!(
        attempt(&World::default(), &asking("p", "1", json!({})))
            .unwrap_err()
            .message,
        "no nodes available to schedule pods"
    );
    assert_eq!(
        attempt(&world, &asking("p", "1", json!({}))).unwrap().node,
        "a"
    );
}

#[test]
fn those_that_matter_less_leave() {
    let mut world = cluster(&[("a", json!({})), ("b", json!({}))]);
    let prio = |priority: i32| json!({"spec": {"priority": priority}, "status": {"startTime": "2026-01-01T00:00:00Z"}});
    world.cache.put_pod("a", asking("a1", "1", prio(5)));
    world.cache.put_pod("a", asking("a2", "1", prio(1)));
    world.cache.put_pod("b", asking("b1", "2", prio(3)));
    for (cpu, priority, wanted) in [
        ("1", 10, Some(("a", vec!["a2"]))),
        ("2", 10, Some(("b", vec!["b1"]))),
        ("2", 4, Some(("b", vec!["b1"]))),
        ("1", 1, None),
        ("3", 10, None),
    ] {
        let failure = attempt(&world, &asking("p", cpu, prio(priority))).unwrap_err();
        let victims: Vec<&str> = failure
            .victims
            .iter()
            .map(|pod| pod.name.as_str())
            .collect();
        let found = failure
            .nominate
            .as_deref()
            .filter(|_| !victims.is_empty())
            .map(|node| (node, victims.clone()));
        assert_eq!(found, wanted, "{cpu} at {priority}");
        assert_eq!(
            failure.message.contains("preemption:"),
            wanted.is_none(),
            "{}",
            failure.message
        );
    }
}

#[test]
fn budgets_are_kept_where_they_can_be() {
    let mut world = cluster(&[("a", json!({})), ("b", json!({}))]);
    let app = |app: &str| json!({"metadata": {"labels": {"app": app}}, "spec": {"priority": 1}});
    world.cache.put_pod("a", asking("kept", "2", app("kept")));
    world.cache.put_pod(
        "b",
        asking(
            "other",
            "2",
            json!({"metadata": {"labels": {"app": "other"}}, "spec": {"priority": 4}}),
        ),
    );
    let mut budgets = Store::default();
    let budget = json!({"metadata": {"name": "b", "namespace": "ns"}, "spec": {"selector": {"matchLabels": {"app": "kept"}}}, "status": {"disruptionsAllowed": 0}});
    budgets.hear(Event::Apply(Arc::new(
        serde_json::from_value::<PodDisruptionBudget>(budget).unwrap(),
    )));
    let new = asking("p", "2", json!({"spec": {"priority": 10}}));
    let victims = |budgets: &Store<PodDisruptionBudget>| {
        let failure = choose(
            world.view(),
            &new,
            &mut Sampling::default(),
            budgets,
            system().now(),
        )
        .unwrap_err();
        failure
            .victims
            .iter()
            .map(|pod| pod.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(victims(&Store::default()), ["kept"], "the lower priority");
    assert_eq!(victims(&budgets), ["other"], "the budget comes first");
    assert!(selector(None) == skiff_api::machinery::selector::Selector::Nothing);
}

#[test]
fn a_promised_node_is_kept_for_whom_it_was_promised() {
    let mut world = cluster(&[("a", json!({}))]);
    world.nominator.set(
        &asking("vip", "2", json!({"spec": {"priority": 5}})),
        Some("a"),
    );
    let failure = attempt(&world, &asking("p", "1", json!({"spec": {"priority": 1}}))).unwrap_err();
    assert!(
        failure.message.contains("1 Insufficient cpu"),
        "{}",
        failure.message
    );
    assert_eq!(
        attempt(&world, &asking("p", "1", json!({"spec": {"priority": 9}})))
            .unwrap()
            .node,
        "a"
    );
}

#[test]
fn who_waits_for_others_to_leave_makes_no_more_leave() {
    let mut world = cluster(&[("a", json!({}))]);
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}});
    world.cache.put_pod("a", asking("leaving", "2", leaving));
    let waits = asking(
        "p",
        "2",
        json!({"spec": {"priority": 5}, "status": {"nominatedNodeName": "a"}}),
    );
    let failure = attempt(&world, &waits).unwrap_err();
    assert!(
        failure
            .message
            .ends_with("preemption: not eligible due to a terminating pod on the nominated node."),
        "{}",
        failure.message
    );
    assert_eq!(failure.nominate, None, "the promise stands");
}

#[test]
fn how_many_nodes_are_enough() {
    for (nodes, wanted) in [
        (0, 0),
        (50, 50),
        (99, 99),
        (100, 100),
        (250, 120),
        (1000, 420),
        (5000, 500),
        (6000, 300),
    ] {
        assert_eq!(enough(nodes), wanted, "{nodes}");
    }
}

/// The 3,000th of equal pods costs no more than the first: counting is done by change, not by attempt.
#[test]
fn many_equal_pods() {
    let nodes: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    let zone = |number: usize| json!({"metadata": {"labels": {"topology.kubernetes.io/zone": format!("z{}", number % 3)}}, "status": {"allocatable": {"cpu": "100", "memory": "100Gi", "pods": "110"}}});
    let named: Vec<(&str, Value)> = nodes
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), zone(number)))
        .collect();
    let mut world = cluster(&named);
    let service =
        json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"app": "a"}}});
    world.owners.services.hear(Event::Apply(Arc::new(
        serde_json::from_value(service).unwrap(),
    )));
    let constraint = json!({"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}});
    let apart = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm":
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}}]}});
    for (what, spec) in [
        ("nothing", json!({})),
        ("spread", json!({"topologySpreadConstraints": [constraint]})),
        ("apart", json!({"affinity": apart})),
    ] {
        let begun = Instant::now();
        let mut sampling = Sampling::default();
        for number in 0..3000 {
            let new = asking(
                &format!("{what}-{number}"),
                "10m",
                json!({"metadata": {"labels": {"app": "a"}}, "spec": spec}),
            );
            let choice = choose(
                world.view(),
                &new,
                &mut sampling,
                &Store::default(),
                system().now(),
            )
            .unwrap();
            world.cache.put_pod(&choice.node, new);
        }
        // a hundred times what it takes when built for speed
        assert!(
            begun.elapsed().as_secs() < 20,
            "{what}: {:?}",
            begun.elapsed()
        );
        let mut zones = std::collections::BTreeMap::new();
        world
            .cache
            .nodes()
            .for_each(|node| *zones.entry(node.zone()).or_insert(0) += node.pods.len());
        assert!(
            what != "spread" || zones.values().all(|count| *count == 1000),
            "{what}: {zones:?}"
        );
        let counts: Vec<usize> = world.cache.nodes().map(|node| node.pods.len()).collect();
        assert!(
            what == "spread" || counts.iter().all(|count| (28..=32).contains(count)),
            "{what}: {counts:?}"
        );
        for number in 0..3000 {
            world.cache.remove_pod(&format!("{what}-{number}"));
        }
    }
}
