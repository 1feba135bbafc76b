//! Whom bindings mean, what reasons say, and that changes count at once.

use serde_json::json;

use super::*;
use crate::auth::testing::Fake;

fn ask(rbac: &Rbac, user: &User, verb: &str, resource: &str, namespace: &str) -> Decision {
    rbac.authorize(&Attributes {
        user: Arc::new(user.clone()),
        verb: verb.into(),
        resource_request: true,
        resource: resource.into(),
        namespace: namespace.into(),
        ..Attributes::default()
    })
}

#[test]
fn subjects_are_matched() {
    let fake = Fake::default()
        .cluster_role("pods", &["get | core | pods"])
        .cluster_bind("c-user", "pods", &["User carl"])
        .cluster_bind("c-group", "pods", &["Group crew"])
        .cluster_bind(
            "c-sa",
            "pods",
            &["ServiceAccount ns1/robot", "ServiceAccount homeless"],
        )
        .cluster_bind("c-odd", "pods", &["Robot carla", "user case"])
        .bind(
            "a",
            "user",
            "ClusterRole",
            "pods",
            &["User ann", "User ann"],
        )
        .bind("a", "group", "ClusterRole", "pods", &["Group team"])
        .bind(
            "a",
            "sa-here",
            "ClusterRole",
            "pods",
            &["ServiceAccount local"],
        )
        .bind(
            "a",
            "sa-there",
            "ClusterRole",
            "pods",
            &["ServiceAccount ns2/guest"],
        );
    let rbac = Rbac::new(Arc::new(fake));
    let table: &[(&str, &[&str], &str, bool)] = &[
        ("carl", &[], "", true),
        ("carl", &[], "any", true),
        ("Carl", &[], "", false),
        ("x", &["crew"], "", true),
        ("crew", &[], "", false),
        ("x", &["carl"], "", false),
        ("system:serviceaccount:ns1:robot", &[], "a", true),
        ("system:serviceaccount:ns2:robot", &[], "a", false),
        ("system:serviceaccount:a:homeless", &[], "a", false),
        ("robot", &[], "a", false),
        ("carla", &[], "", false),
        ("case", &[], "", false),
        ("ann", &[], "a", true),
        ("ann", &[], "b", false),
        ("ann", &[], "", false),
        ("x", &["other", "team"], "a", true),
        ("x", &["team"], "b", false),
        ("system:serviceaccount:a:local", &[], "a", true),
        ("system:serviceaccount:b:local", &[], "a", false),
        ("system:serviceaccount:a:local", &[], "b", false),
        ("system:serviceaccount:ns2:guest", &[], "a", true),
        ("system:serviceaccount:a:guest", &[], "a", false),
        ("", &[], "a", false),
    ];
    for (name, groups, namespace, allowed) in table {
        assert_eq!(
            ask(&rbac, &User::new(*name, groups), "get", "pods", namespace).allowed(),
            *allowed,
            "{name} {groups:?} in {namespace:?}"
        );
        assert!(
            !ask(&rbac, &User::new(*name, groups), "list", "pods", namespace).allowed(),
            "{name}"
        );
    }
}

#[test]
fn reasons_name_the_binding() {
    let fake = Fake::default()
        .cluster_role("pods", &["get | core | pods"])
        .cluster_bind("crew", "pods", &["User other", "Group crew"])
        .bind(
            "a",
            "here",
            "ClusterRole",
            "pods",
            &["ServiceAccount local"],
        );
    let rbac = Rbac::new(Arc::new(fake));
    let reason = |name: &str, groups: &[&str]| {
        ask(&rbac, &User::new(name, groups), "get", "pods", "a")
            .reason()
            .to_owned()
    };
    assert_eq!(
        reason("x", &["crew"]),
        r#"RBAC: allowed by ClusterRoleBinding "crew" of ClusterRole "pods" to Group "crew""#
    );
    assert_eq!(
        reason("system:serviceaccount:a:local", &[]),
        r#"RBAC: allowed by RoleBinding "here/a" of ClusterRole "pods" to ServiceAccount "local/a""#
    );
    assert_eq!(reason("x", &[]), "");
}

#[test]
fn changes_count_at_once() {
    let fake = Arc::new(Fake::default().role("a", "r", &["get | core | pods"]).bind(
        "a",
        "b",
        "Role",
        "r",
        &["User ann"],
    ));
    let rbac = Rbac::new(fake.clone());
    let ann = User::new("ann", &[]);
    assert!(ask(&rbac, &ann, "get", "pods", "a").allowed());
    fake.put(ROLES, json!({"metadata": {"namespace": "a", "name": "r"}, "rules": [rule::parse("list | core | pods")]}));
    assert!(!ask(&rbac, &ann, "get", "pods", "a").allowed());
    assert!(ask(&rbac, &ann, "list", "pods", "a").allowed());
    fake.remove(ROLES, "a", "r");
    let decision = ask(&rbac, &ann, "list", "pods", "a");
    assert_eq!(
        decision,
        Decision::NoOpinion("RBAC: role.rbac.authorization.k8s.io \"r\" not found".into())
    );
    fake.remove(ROLE_BINDINGS, "a", "b");
    assert_eq!(
        ask(&rbac, &ann, "list", "pods", "a"),
        Decision::NoOpinion(String::new())
    );
}

#[test]
fn what_cannot_be_read_grants_nothing() {
    let fake = Fake::default()
        .with(
            ROLES,
            json!({"metadata": {"namespace": "a", "name": "odd"}, "rules": "all"}),
        )
        .with(
            ROLES,
            json!({"metadata": {"namespace": "a", "name": "empty"}, "rules": null}),
        )
        .bind("a", "odd", "Role", "odd", &["User ann"])
        .bind("a", "empty", "Role", "empty", &["User ben"])
        .bind("a", "kind", "Thing", "odd", &["User cid"])
        .with(
            ROLE_BINDINGS,
            json!({"metadata": {"namespace": "a", "name": "bad"}, "subjects": 7}),
        );
    let rbac = Rbac::new(Arc::new(fake));
    let reason = |name: &str| match ask(&rbac, &User::new(name, &[]), "get", "pods", "a") {
        Decision::NoOpinion(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert!(
        reason("ann").starts_with("RBAC: cannot read role \"odd\": invalid type"),
        "{}",
        reason("ann")
    );
    assert_eq!(reason("ben"), "");
    assert_eq!(
        reason("cid"),
        "RBAC: unsupported role reference kind: \"Thing\""
    );
}

/// No bound is checked: the machine's speed is not ours to assert. Run with `--nocapture` to see it.
#[test]
fn speed() {
    let fake = Fake::default();
    for (resource, _, object) in super::super::bootstrap::bootstrap_objects() {
        fake.put(resource, object);
    }
    let rbac = Rbac::new(Arc::new(fake));
    let attributes = Attributes {
        user: Arc::new(User::new(
            "system:kube-scheduler",
            &["system:authenticated"],
        )),
        verb: "create".into(),
        resource_request: true,
        resource: "pods".into(),
        subresource: "binding".into(),
        namespace: "default".into(),
        ..Attributes::default()
    };
    assert!(rbac.authorize(&attributes).allowed());
    let start = std::time::Instant::now();
    for _ in 0..10_000 {
        assert!(
            std::hint::black_box(&rbac)
                .authorize(std::hint::black_box(&attributes))
                .allowed()
        );
    }
    eprintln!("an allowed request: {:?}", start.elapsed() / 10_000);
}
