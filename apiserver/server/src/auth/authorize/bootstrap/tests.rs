use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::auth::{
    Attributes, User,
    testing::{Fake, now, of_modes, recorded},
};

#[test]
fn the_policy_is_upstreams() {
    let Some(lines) = recorded("bootstrap.jsonl") else {
        return;
    };
    let key = |object: &Value| {
        format!(
            "{} {} {}",
            object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]
        )
    };
    let theirs: BTreeMap<String, Value> = lines
        .into_iter()
        .map(|line| line["response"].clone())
        .filter(|object| {
            object["apiVersion"] == "rbac.authorization.k8s.io/v1"
                && object["metadata"]["name"].is_string()
        })
        .map(|mut object| {
            for field in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
            ] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            (key(&object), object)
        })
        .collect();
    let ours: BTreeMap<String, Value> = bootstrap_objects()
        .into_iter()
        .map(|(_, _, object)| (key(&object), object))
        .collect();
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    for (key, expected) in &theirs {
        assert_eq!(&ours[key], expected, "{key}");
    }
    assert_eq!(ours.len(), 133);
}

#[test]
fn rows_of_the_tables_can_be_read() {
    for (resource, namespace, object) in bootstrap_objects() {
        assert_eq!(
            object["metadata"]["namespace"].as_str().unwrap_or_default(),
            namespace
        );
        assert!(resource.ends_with(API_GROUP));
        for rule in rules(&object) {
            assert!(!rule.verbs.is_empty(), "{object}");
            assert_ne!(
                rule.resources.is_empty(),
                rule.non_resource_urls.is_empty(),
                "{object}"
            );
            assert_eq!(
                rule.resources.is_empty(),
                rule.api_groups.is_empty(),
                "{object}"
            );
        }
    }
    for entry in policy::ENTRIES.iter() {
        let (name, has_rules) = (entry.name, !entry.rules.is_empty());
        let known = match entry.kind {
            "aggregated" => !has_rules,
            "aggregate" => {
                let is_aggregated =
                    |name: &str| policy::all("aggregated").any(|of| of.name == name);
                let member = is_aggregated(name) || policy::cluster_role(name).is_some();
                member && is_aggregated(entry.role)
            }
            "clusterrole" | "controller" | "role" => has_rules && entry.role.is_empty(),
            "clusterrolebinding" | "rolebinding" => !has_rules && !entry.role.is_empty(),
            _ => false,
        };
        assert!(known && !name.is_empty(), "{} {name}", entry.kind);
    }
}

#[test]
fn the_policy_admits_whom_it_should() {
    let fake = Fake::default();
    for (resource, _, object) in bootstrap_objects() {
        fake.put(resource, object);
    }
    let fake = fake.cluster_bind("viewers", "view", &["User vera"]);
    for (name, rules) in aggregated_defaults() {
        let mut role = bootstrap_objects()
            .into_iter()
            .find(|(_, _, object)| object["metadata"]["name"] == name)
            .unwrap()
            .2;
        role["rules"] = json!(rules);
        fake.put(CLUSTER_ROLES, role);
    }
    let authorizers = of_modes(&["RBAC"], Arc::new(fake));
    let ask = |user: &str, groups: &[&str], verb: &str, what: &str, namespace: &str| {
        let (group, resource) = what.split_once(':').unwrap_or(("", what));
        let resource_request = !what.starts_with('/');
        let attributes = Attributes {
            user: Arc::new(User::new(user, groups)),
            verb: verb.into(),
            resource_request,
            group: group.into(),
            resource: if resource_request {
                resource.into()
            } else {
                String::new()
            },
            path: if resource_request {
                String::new()
            } else {
                what.into()
            },
            namespace: namespace.into(),
            ..Attributes::default()
        };
        now(authorizers.decide(&attributes)).allowed()
    };
    let table = skiff_testing::table::rows(
        r#"
            system:anonymous | system:unauthenticated | get | /healthz |  | yes
            system:anonymous | system:unauthenticated | get | /version |  | yes
            system:anonymous | system:unauthenticated | get | /api |  | no
            zed | system:authenticated | get | /api/v1 |  | yes
            zed | system:authenticated | get | /metrics |  | no
            zed | system:authenticated | list | pods | default | no
            zed | system:authenticated | create | authorization.k8s.io:selfsubjectaccessreviews |  | yes
            system:kube-scheduler | system:authenticated | delete | pods | default | yes
            system:kube-scheduler | system:authenticated | delete | secrets | default | no
            system:kube-controller-manager | system:authenticated | watch | any.group:things |  | yes
            system:serviceaccount:kube-system:job-controller | system:authenticated | create | pods | x | yes
            system:serviceaccount:default:job-controller | system:authenticated | create | pods | x | no
            system:serviceaccount:kube-system:bootstrap-signer | system:authenticated | get | secrets | kube-system | yes
            system:serviceaccount:kube-system:bootstrap-signer | system:authenticated | get | secrets | default | no
            system:node:n1 | system:nodes | get | pods | default | no
            probe | system:monitoring | get | /metrics |  | yes
            vera | system:authenticated | list | pods | default | yes
            vera | system:authenticated | list | secrets | default | no
            vera | system:authenticated | create | pods | default | no
            system:serviceaccount:a:b | system:serviceaccounts | get | /openid/v1/jwks |  | yes
        "#,
    );
    for [user, group, verb, what, namespace, expected] in table {
        let allowed = ask(user, &[group], verb, what, namespace);
        assert_eq!(allowed, expected == "yes", "{user} {verb} {what}");
    }
}

#[test]
fn reconciling_only_adds() {
    let find = |name: &str, kind: &str| {
        bootstrap_objects()
            .into_iter()
            .find(|(_, _, object)| object["metadata"]["name"] == name && object["kind"] == kind)
            .unwrap()
            .2
    };
    let dns = find("system:kube-dns", "ClusterRole");
    assert_eq!(reconcile(&dns, None), Reconcile::Create(dns.clone()));
    assert_eq!(reconcile(&dns, Some(&dns)), Reconcile::Nothing);

    let mut more = dns.clone();
    more["rules"]
        .as_array_mut()
        .unwrap()
        .push(json!(rule::parse("get | core | pods")));
    more["metadata"]["labels"]["own"] = json!("x");
    more["metadata"]["uid"] = json!("u");
    assert_eq!(
        reconcile(&dns, Some(&more)),
        Reconcile::Nothing,
        "what was added by hand stays"
    );

    let mut less = more.clone();
    less["rules"] = json!([
        rule::parse("list | core | endpoints services"),
        rule::parse("get | core | pods")
    ]);
    let Reconcile::Update(updated) = reconcile(&dns, Some(&less)) else {
        panic!()
    };
    let expected = [
        "list | core | endpoints services",
        "get | core | pods",
        "watch | core | endpoints",
        "watch | core | services",
    ];
    assert_eq!(rules(&updated), expected.map(rule::parse));
    assert_eq!(updated["metadata"]["uid"], "u");

    less["metadata"]["annotations"][AUTOUPDATE] = json!("false");
    assert_eq!(
        reconcile(&dns, Some(&less)),
        Reconcile::Nothing,
        "protected"
    );

    let mut bare = dns.clone();
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    let Reconcile::Update(updated) = reconcile(&dns, Some(&bare)) else {
        panic!()
    };
    assert_eq!(updated, dns);

    let admin = find("admin", "ClusterRole");
    let mut filled = admin.clone();
    filled["rules"] = json!([rule::parse("get | core | pods")]);
    assert_eq!(reconcile(&admin, Some(&filled)), Reconcile::Nothing);
    filled["aggregationRule"]["clusterRoleSelectors"] = json!([{"matchLabels": {"a": "b"}}]);
    let Reconcile::Update(updated) = reconcile(&admin, Some(&filled)) else {
        panic!()
    };
    assert_eq!(
        updated["aggregationRule"]["clusterRoleSelectors"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let chief = find("cluster-admin", "ClusterRoleBinding");
    let mut other = chief.clone();
    other["subjects"] = json!([{"kind": "User", "apiGroup": API_GROUP, "name": "ann"}]);
    let Reconcile::Update(updated) = reconcile(&chief, Some(&other)) else {
        panic!()
    };
    assert_eq!(updated["subjects"].as_array().unwrap().len(), 2);
    other["roleRef"]["name"] = json!("view");
    assert_eq!(
        reconcile(&chief, Some(&other)),
        Reconcile::Recreate(chief.clone())
    );
    let nodes = find("system:node", "ClusterRoleBinding");
    assert_eq!(reconcile(&nodes, Some(&nodes)), Reconcile::Nothing);
}

#[test]
fn every_controller_has_an_account_with_a_role() {
    let roles =
        || policy::all("role").filter_map(|role| role.name.strip_prefix("system:controller:"));
    for controller in skiff_controllers::list::CONTROLLERS {
        let account = controller.account;
        let mut names = policy::all("controller")
            .map(|role| role.name)
            .chain(roles());
        let held = account.is_empty() || names.any(|name| name == account);
        assert!(held, "{} writes as {account}", controller.name);
    }
}
