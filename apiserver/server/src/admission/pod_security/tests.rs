//! What an update changes, and what is said of pods that are there already.

use serde_json::json;

use super::*;

#[test]
fn updates_that_may_change_what_is_checked() {
    let old = json!({"spec": {
        "containers": [{"name": "a", "image": "x"}],
        "ephemeralContainers": [{"name": "e", "image": "x"}],
    }});
    for (path, value, significant) in [
        ("/spec/priority", json!(5), false),
        ("/spec/containers/0/image", json!("y"), true),
        ("/spec/containers/0/name", json!("b"), false),
        ("/spec/ephemeralContainers/0/image", json!("y"), true),
        ("/spec/ephemeralContainers/0/name", json!("f"), true),
        ("/spec/ephemeralContainers", json!([]), false),
        ("/spec/containers", json!([]), true),
        ("/spec/initContainers", json!([{"image": "x"}]), true),
    ] {
        let mut new = old.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let at = new.pointer_mut(parent).unwrap();
        at[name] = value;
        assert_eq!(is_significant(&new, &old), significant, "{path}");
    }
}

#[test]
fn pods_that_are_there_are_counted_by_what_is_wrong() {
    let pod = |name: &str, owner: &str, field: &str| {
        let owners = match owner {
            "" => json!([]),
            uid => json!([{"uid": uid, "controller": true}]),
        };
        json!({
            "metadata": {"name": name, "ownerReferences": owners},
            "spec": {field: true, "containers": []},
        })
    };
    let asked = Asked {
        level: Level::Baseline,
        version: None,
    };
    let pods = [
        pod("d", "one", "hostPID"),
        pod("c", "one", "hostPID"),
        pod("b", "two", "hostPID"),
        pod("fine", "", "hostUsers"),
    ];
    let title = r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#;
    assert_eq!(
        existing(&pods, "ns", asked),
        [title, "b (and 2 other pods): host namespaces"]
    );
    assert_eq!(
        existing(&pods[1..3], "ns", asked),
        [title, "b (and 1 other pod): host namespaces"]
    );
    assert_eq!(
        existing(&pods[..1], "ns", asked),
        [title, "d: host namespaces"]
    );
    assert!(existing(&pods[3..], "ns", asked).is_empty());
    let order: Vec<&str> = one_of_each_controller_first(&pods)
        .iter()
        .map(|pod| pod.name())
        .collect();
    assert_eq!(order, ["d", "b", "fine", "c"]);
}
