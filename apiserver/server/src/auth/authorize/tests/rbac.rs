//! Who may do what under RBAC: cases of the default policy and of roles of one's own, and requests at random against a plain reading of the rules.

use proptest::prelude::*;

use super::*;
use crate::auth::{
    authorize::bootstrap,
    testing::{Fake, now, of_modes},
};

/// The default policy, and a few teams.
fn world() -> Fake {
    let mut fake = Fake::default();
    for (resource, _, object) in bootstrap::bootstrap_objects() {
        fake.put(resource, object);
    }
    for (name, rules) in bootstrap::aggregated_defaults() {
        let role = serde_json::json!({"metadata": {"name": name}, "rules": rules});
        fake.put(CLUSTER_ROLES, role);
    }
    fake = fake
        .cluster_bind("root", "cluster-admin", &["User root"])
        .cluster_bind("watchers", "view", &["Group watchers"])
        .bind("shop", "lead", "ClusterRole", "admin", &["User lead"])
        .bind("shop", "devs", "ClusterRole", "edit", &["Group devs"])
        .bind("shop", "guest", "ClusterRole", "view", &["User guest"])
        .role(
            "shop",
            "narrow",
            &[
                "get update patch | core | configmaps | prices stock",
                "list watch | core | configmaps",
                "get | core | pods/log pods/status",
                "create | core | pods/exec",
                "* | batch | jobs",
                "get list | * | replicasets",
                "get | apps | */scale",
                "update | apps | deployments/*",
            ],
        )
        .bind("shop", "narrow", "Role", "narrow", &["User nan"])
        .role("shop", "everything", &["* | * | *"])
        .bind(
            "shop",
            "everything",
            "Role",
            "everything",
            &["ServiceAccount robot"],
        )
        .bind(
            "shop",
            "foreign",
            "ClusterRole",
            "view",
            &["ServiceAccount tools/probe"],
        )
        .cluster_role(
            "urls",
            &["get : /healthz /metrics/* /logs*", "post : /hooks/in"],
        )
        .cluster_bind(
            "urls",
            "urls",
            &["User pat", "ServiceAccount tools/scraper"],
        )
        .cluster_role("empty", &[])
        .cluster_bind("empty", "empty", &["User void"])
        .cluster_bind("lost", "nosuch", &["User void"])
        .bind("shop", "lost", "Role", "nosuch", &["User void"]);
    // a role's rules that name nothing
    for (name, rules) in [
        ("no-verbs", " | core | pods"),
        ("no-groups", "get |  | pods"),
        ("no-resources", "get | core | "),
    ] {
        fake = fake
            .cluster_role(name, &[rules])
            .cluster_bind(name, name, &["User void"]);
    }
    fake
}

/// `name` or `name,group,group`; `sa:NAMESPACE/NAME` is a service account with its groups. All are authenticated.
fn user(text: &str) -> User {
    let mut words = text.split(',');
    let name = words.next().unwrap();
    let mut groups: Vec<String> = words.map(str::to_owned).collect();
    let name = match name
        .strip_prefix("sa:")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((namespace, account)) => {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}"));
            format!("system:serviceaccount:{namespace}:{account}")
        }
        None => name.to_owned(),
    };
    let all = match name.as_str() {
        "system:anonymous" => "system:unauthenticated",
        _ => "system:authenticated",
    };
    groups.push(all.into());
    User {
        groups: groups.into_iter().collect(),
        ..User::new(name, &[])
    }
}

/// `verb /path`, or `verb [group:]resource[/subresource] [namespace/][name]`.
fn request(who: &str, text: &str) -> Attributes {
    let words: Vec<&str> = text.split_whitespace().collect();
    let base = Attributes {
        user: Arc::new(user(who)),
        verb: words[0].into(),
        ..Attributes::default()
    };
    if words[1].starts_with('/') {
        return Attributes {
            path: words[1].into(),
            ..base
        };
    }
    let (group, resource) = words[1].split_once(':').unwrap_or(("", words[1]));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let place = words.get(2).copied().unwrap_or("");
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    Attributes {
        resource_request: true,
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..base
    }
}

/// Each line: who | requests that are allowed, between semicolons | requests that are refused.
const CASES: &str = r#"
    root       | get nodes n; delete namespaces shop; * *:*; create rbac.authorization.k8s.io:clusterroles x; escalate rbac.authorization.k8s.io:clusterroles x; get /metrics; post /anything; impersonate users bob; get secrets kube-system/x; deletecollection pods shop/ |
    nobody     | get /healthz; get /livez; get /readyz; get /version; get /api; get /apis; get /apis/apps/v1; get /openapi/v2; get /openapi/v3/api/v1; create authorization.k8s.io:selfsubjectaccessreviews; create authorization.k8s.io:selfsubjectrulesreviews; create authentication.k8s.io:selfsubjectreviews | get /metrics; post /healthz; get /logs/x; get pods shop/; list pods shop/; list namespaces; get nodes n; create authorization.k8s.io:subjectaccessreviews; create authentication.k8s.io:tokenreviews; get secrets shop/x; create pods shop/; impersonate users root; get configmaps kube-system/extension-apiserver-authentication
    system:anonymous | get /healthz; get /livez; get /readyz; get /version | get /api; get /apis; get /openapi/v2; create authorization.k8s.io:selfsubjectaccessreviews; list pods; get configmaps kube-public/cluster-info; get /metrics; get secrets shop/x
    lead       | create pods shop/; delete pods shop/web; get secrets shop/key; create secrets shop/; get apps:deployments shop/web; update apps:deployments/scale shop/web; create rbac.authorization.k8s.io:roles shop/; update rbac.authorization.k8s.io:rolebindings shop/x; create authorization.k8s.io:localsubjectaccessreviews shop/; impersonate serviceaccounts shop/robot; create serviceaccounts/token shop/robot; get pods/log shop/web; create pods/exec shop/web; create pods/eviction shop/web; list namespaces shop/shop; deletecollection configmaps shop/ | create pods other/; get secrets other/key; list pods; get nodes n; update resourcequotas shop/q; create resourcequotas shop/; delete namespaces shop/shop; update namespaces shop/shop; bind rbac.authorization.k8s.io:roles shop/x; escalate rbac.authorization.k8s.io:roles shop/x; create rbac.authorization.k8s.io:clusterroles x; impersonate users bob; get persistentvolumes v; create storage.k8s.io:storageclasses x
    dan,devs   | create pods shop/; get secrets shop/key; update services shop/web; create pods/portforward shop/web; get pods/log shop/web; create batch:cronjobs shop/; patch networking.k8s.io:ingresses shop/x; create policy:poddisruptionbudgets shop/; impersonate serviceaccounts shop/robot; get resourcequotas shop/q; create coordination.k8s.io:leases shop/; list events shop/ | get rbac.authorization.k8s.io:roles shop/x; create rbac.authorization.k8s.io:rolebindings shop/; create authorization.k8s.io:localsubjectaccessreviews shop/; create pods other/; list secrets; create endpoints shop/; create discovery.k8s.io:endpointslices shop/; update pods/status shop/web; get nodes n; create resourcequotas shop/; create limitranges shop/
    dan        | | create pods shop/; get pods shop/web; list services shop/
    guest      | get pods shop/web; list apps:deployments shop/; watch services shop/; get configmaps shop/x; get pods/log shop/web; get apps:deployments/scale shop/web; list events shop/; get serviceaccounts shop/robot; get networking.k8s.io:networkpolicies shop/x; get namespaces shop/shop; get discovery.k8s.io:endpointslices shop/x | get secrets shop/key; list secrets shop/; get pods other/web; list pods; create pods shop/; delete pods shop/web; create pods/exec shop/web; get pods/exec shop/web; get pods/proxy shop/web; create pods/portforward shop/web; get rbac.authorization.k8s.io:roles shop/x; impersonate serviceaccounts shop/robot; create serviceaccounts/token shop/robot; patch configmaps shop/x; update apps:deployments/scale shop/web; deletecollection pods shop/
    wil,watchers | get pods any/web; list pods; watch apps:daemonsets; list namespaces; get resourcequotas a/q; get limitranges a/l | get secrets any/key; list secrets; get nodes n; list persistentvolumes; create pods any/; get rbac.authorization.k8s.io:clusterroles x
    watchers   | | list pods; get pods any/web
    nan        | get configmaps shop/prices; patch configmaps shop/stock; list configmaps shop/; watch configmaps shop/prices; get pods/log shop/web; get pods/status shop/web; create pods/exec shop/web; delete batch:jobs shop/j; anything batch:jobs shop/j; get extensions:replicasets shop/r; list apps:replicasets shop/; get apps:deployments/scale shop/web; get apps:statefulsets/scale shop/db | get configmaps shop/other; update configmaps shop/; patch configmaps other/prices; delete configmaps shop/prices; create configmaps shop/prices; get pods shop/web; get pods/exec shop/web; update pods/log shop/web; delete jobs shop/j; delete batch:jobs/status shop/j; delete batch:cronjobs shop/j; delete apps:replicasets shop/r; get core:replicationcontrollers/scale shop/r; update apps:deployments/scale shop/web; update apps:deployments shop/web; get batch:jobs other/j; get /healthz/etcd/x/y
    sa:shop/robot | get secrets shop/key; * *:* shop/; create pods/exec shop/web; get example.com:widgets/status shop/w; escalate rbac.authorization.k8s.io:roles shop/x | get secrets other/key; list pods; get nodes n; get /metrics; delete namespaces shop
    sa:other/robot | | get secrets shop/key; get pods shop/web
    system:serviceaccount:shop:robot:x | | get pods shop/web
    robot      | | get pods shop/web; get secrets shop/key
    sa:tools/probe | get pods shop/web; get apps:deployments shop/web | get pods tools/web; get secrets shop/key; get pods other/web
    pat        | get /healthz; get /metrics/; get /metrics/cadvisor; get /logs; get /logs/a/b; get /logsomething; post /hooks/in | get /metrics; put /healthz; post /hooks/in/deep; post /hooks; get /log; head /logs; get pods/healthz shop/web; list /healthz
    sa:tools/scraper | get /metrics/x | get /metrics; get pods tools/x
    void       | | get pods; get pods shop/x; get core:pods shop/x; list pods; watch secrets shop/; create pods shop/; get /metrics
    system:kube-scheduler | get pods a/x; list nodes; create pods/binding a/x; update coordination.k8s.io:leases kube-system/kube-scheduler; create events a/; patch pods/status a/x; list apps:replicasets; delete pods a/x | create pods a/; get secrets a/x; update nodes n; delete nodes n; create rbac.authorization.k8s.io:roles a/
    system:kube-controller-manager | create serviceaccounts/token kube-system/x; get secrets a/x; create serviceaccounts kube-system/; list *:*; watch *:* | delete pods a/x; create pods a/; delete namespaces a
    sa:kube-system/replicaset-controller | create pods a/; delete pods a/x; patch pods a/x; list apps:replicasets; update apps:replicasets/status a/x | get secrets a/x; create apps:deployments a/; delete nodes n; list configmaps
    sa:kube-system/namespace-controller | delete namespaces a; update namespaces/finalize a; list *:* a/; deletecollection example.com:widgets a/ | create pods a/; update pods a/x
    system:node:n1,system:nodes | | get pods a/x; list secrets; get nodes n1
"#;

/// The case's requests with whom they come from and whether they are allowed.
fn cases() -> Vec<(&'static str, &'static str, bool)> {
    let mut cases = Vec::new();
    for [who, allowed, refused] in skiff_testing::table::rows(CASES) {
        for (requests, verdict) in [(allowed, true), (refused, false)] {
            let requests = requests.split(';').map(str::trim).filter(|r| !r.is_empty());
            cases.extend(requests.map(|request| (who, request, verdict)));
        }
    }
    cases
}

#[test]
fn who_may_do_what() {
    let authorizers = of_modes(&["RBAC"], Arc::new(world()));
    let cases = cases();
    let count = |verdict| cases.iter().filter(|case| case.2 == verdict).count();
    assert!(
        count(true) >= 80 && count(false) >= 80,
        "{} and {}",
        count(true),
        count(false)
    );
    let wrong: Vec<String> = cases
        .iter()
        .map(|(who, text, verdict)| {
            (
                who,
                text,
                verdict,
                now(authorizers.decide(&request(who, text))).decision,
            )
        })
        .filter(|(_, _, verdict, decision)| decision.allowed() != **verdict)
        .map(|(who, text, verdict, decision)| {
            format!("{who}: {text}: wanted {verdict}, got {decision:?}")
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const VERBS: &[&str] = &["get", "list", "create", "*"];
const GROUPS: &[&str] = &["", "apps", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "deployments", "*/log", "*"];
const NAMES: &[&str] = &["x", "y"];
const NAMESPACES: &[&str] = &["", "a", "b"];
const URLS: &[&str] = &["/healthz", "/logs/*", "*"];
const SUBJECTS: &[&str] = &["User ann", "Group team", "ServiceAccount a/robot"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(of, 0..=2)
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn any_rule() -> impl Strategy<Value = PolicyRule> {
    (
        some(VERBS),
        some(GROUPS),
        some(RESOURCES),
        some(NAMES),
        some(URLS),
    )
        .prop_map(
            |(verbs, api_groups, resources, resource_names, non_resource_urls)| PolicyRule {
                verbs,
                api_groups,
                resources,
                resource_names,
                non_resource_urls,
            },
        )
}

/// A role with its namespace (empty: a cluster role, bound in the whole cluster), and whom it is bound to.
fn any_grant() -> impl Strategy<Value = (&'static str, Vec<PolicyRule>, Vec<&'static str>)> {
    (
        prop::sample::select(NAMESPACES),
        prop::collection::vec(any_rule(), 0..3),
        prop::sample::subsequence(SUBJECTS, 0..=2),
    )
}

fn any_request() -> impl Strategy<Value = Attributes> {
    let who = prop::sample::select(&["ann", "bob", "bob,team", "sa:a/robot", "sa:b/robot"][..]);
    let what = prop::sample::select(
        &[
            "/healthz",
            "/logs/x",
            "/other",
            "pods",
            "pods/log",
            "apps:deployments",
            "apps:deployments/log",
            "apps:pods",
        ][..],
    );
    (
        who,
        prop::sample::select(&["get", "list", "create", "delete"][..]),
        what,
        prop::sample::select(&["", "a/", "a/x", "b/y", "x"][..]),
    )
        .prop_map(|(who, verb, what, place)| request(who, &format!("{verb} {what} {place}")))
}

/// The rule as upstream's documentation has it, read plainly.
fn permits(rule: &PolicyRule, asked: &Attributes) -> bool {
    let lists = |list: &[String], word: &str| list.iter().any(|item| item == "*" || item == word);
    if !asked.resource_request {
        return lists(&rule.verbs, &asked.verb)
            && rule
                .non_resource_urls
                .iter()
                .any(|url| match url.strip_suffix('*') {
                    Some(start) => asked.path.starts_with(start),
                    None => *url == asked.path,
                });
    }
    let forms = match asked.subresource.as_str() {
        "" => vec!["*".to_owned(), asked.resource.clone()],
        sub => vec![
            "*".to_owned(),
            format!("*/{sub}"),
            format!("{}/{sub}", asked.resource),
        ],
    };
    lists(&rule.verbs, &asked.verb)
        && lists(&rule.api_groups, &asked.group)
        && rule
            .resources
            .iter()
            .any(|resource| forms.contains(resource))
        && (rule.resource_names.is_empty() || rule.resource_names.contains(&asked.name))
}

fn is_subject(subject: &str, user: &User) -> bool {
    match subject.split_once(' ') {
        Some(("User", name)) => user.name == name,
        Some(("Group", name)) => user.in_group(name),
        Some((_, account)) => {
            user.name == format!("system:serviceaccount:{}", account.replace('/', ":"))
        }
        None => unreachable!("{subject}"),
    }
}

proptest! {
    /// Nothing passes without a rule that says so, and nothing that a rule says is refused; without any rule, nothing passes.
    #[test]
    fn what_no_rule_allows_is_refused(
        grants in prop::collection::vec(any_grant(), 0..4),
        requests in prop::collection::vec(any_request(), 1..20),
    ) {
        let mut fake = Fake::default();
        for (at, (namespace, rules, subjects)) in grants.iter().enumerate() {
            let name = format!("grant-{at}");
            let mut role = serde_json::json!({"metadata": {"name": name}, "rules": rules});
            if namespace.is_empty() {
                fake.put(CLUSTER_ROLES, role);
                fake = fake.cluster_bind(&name, &name, subjects);
            } else {
                role["metadata"]["namespace"] = (*namespace).into();
                fake.put(ROLES, role);
                fake = fake.bind(namespace, &name, "Role", &name, subjects);
            }
        }
        let authorizers = of_modes(&["Node", "RBAC"], Arc::new(fake));
        let bare = of_modes(&["Node", "RBAC"], Arc::new(Fake::default()));
        for asked in &requests {
            let wanted = grants.iter().any(|(namespace, rules, subjects)| {
                (namespace.is_empty() || *namespace == asked.namespace)
                    && subjects.iter().any(|subject| is_subject(subject, &asked.user))
                    && rules.iter().any(|rule| permits(rule, asked))
            });
            prop_assert_eq!(now(authorizers.decide(asked)).decision.allowed(), wanted, "{:?}", asked);
            prop_assert!(!now(bare.decide(asked)).decision.allowed(), "{:?}", asked);
        }
    }
}
