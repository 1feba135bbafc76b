//! Policies and requests: which rule decides. And what is wrong with policies.

use std::sync::Arc;

use super::*;
use crate::auth::User;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", /version]}
- {level: Request, resources: [{group: "", resources: [configmaps], resourceNames: [one]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "pods/*"]}, {group: "*", resources: ["*/scale"]}], omitStages: [Panic]}
- {level: RequestResponse, resources: [{group: apps}], omitManagedFields: false}
- {level: Request, namespaces: [""], verbs: [list]}
- {level: Metadata, nonResourceURLs: ["*"]}
"#;

fn asked(text: &str) -> (Attributes, bool) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [user, verb, what] = words[..] else {
        panic!("{text}")
    };
    let mut asked = Attributes {
        user: Arc::new(User::new(user, &["system:authenticated"])),
        verb: verb.into(),
        ..Attributes::default()
    };
    if what.starts_with('/') {
        asked.path = what.into();
        return (asked, user != "-");
    }
    asked.resource_request = true;
    let (what, group) = what.split_once('.').unwrap_or((what, ""));
    asked.group = group.into();
    let parts: Vec<&str> = what.split(':').collect();
    let (resource, subresource) = parts[0].split_once('/').unwrap_or((parts[0], ""));
    (asked.resource, asked.subresource) = (resource.into(), subresource.into());
    if let Some(namespace) = parts.get(1) {
        asked.namespace = (*namespace).into();
    }
    if let Some(name) = parts.get(2) {
        asked.name = (*name).into();
    }
    (asked, user != "-")
}

#[test]
fn the_first_rule_that_fits_decides() {
    let policy = Policy::parse(POLICY).unwrap();
    for (request, wanted) in [
        ("system:kube-proxy watch services", "None"),
        ("system:kube-proxy get services:a:b", "None"),
        ("bob get /api", "None"),
        ("bob get /apis/apps", "None"),
        ("bob get /version", "None"),
        ("bob get /version/x", "Metadata"),
        ("- get /version", "Metadata"),
        ("bob update configmaps:kube-system:one", "Request"),
        ("bob update configmaps:kube-system:two", "None"),
        ("bob update configmaps:default:one", "None"),
        ("bob get secrets:a:b", "Metadata"),
        ("bob get secrets/status:a:b", "None"),
        ("bob get pods/log:a:b", "Metadata"),
        // what is within a resource fits it, too, as upstream reads it
        ("bob get pods:a:b", "Metadata"),
        ("bob update deployments/scale:a:b.apps", "Metadata"),
        ("bob update deployments:a:b.apps", "RequestResponse"),
        ("bob list nodes", "Request"),
        ("bob list pods:a", "Metadata"),
        ("bob list endpoints:a", "None"),
    ] {
        let (asked, known) = asked(request);
        let verdict = policy.judge(&asked, known);
        assert_eq!(Level::ALL[verdict.level as usize].0, wanted, "{request}");
    }
    let verdict = |request: &str| {
        let (asked, known) = asked(request);
        policy.judge(&asked, known)
    };
    let secrets = verdict("bob get secrets:a:b");
    assert_eq!(secrets.omit_stages, [Stage::Panic, Stage::RequestReceived]);
    assert!(secrets.omit_managed_fields);
    assert!(!verdict("bob get deployments:a:b.apps").omit_managed_fields);
}

#[test]
fn what_is_no_policy() {
    let rules = |rules: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}");
    for (text, wanted) in [
        (
            "apiVersion: audit.k8s.io/v1\nrules: []".to_string(),
            "failed decoding: Object 'Kind' is missing in 'apiVersion: audit.k8s.io/v1\nrules: []'",
        ),
        (
            "apiVersion: audit.k8s.io/v1beta1\nkind: Policy".into(),
            "failed decoding: no kind \"Policy\" is registered for version \"audit.k8s.io/v1beta1\" in scheme \"k8s.io/apiserver/pkg/audit/scheme.go\"",
        ),
        (rules("[]"), "loaded illegal policy with 0 rules"),
        (
            rules("[{level: 1}]"),
            "failed decoding: json: cannot unmarshal number into Go struct field PolicyRule.rules.level of type v1.Level",
        ),
        (rules("[{verbs: [get]}]"), "rules[0].level: Required value"),
        (
            rules("[{level: All}]"),
            "rules[0].level: Unsupported value: \"All\": supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\"",
        ),
        (
            rules("[{level: None, nonResourceURLs: [a, '/x*y', '/z*', '*']}]"),
            "[rules[0].nonResourceURLs[0]: Invalid value: \"a\": non-resource URL rules must begin with a '/' character, rules[0].nonResourceURLs[1]: Invalid value: \"/x*y\": non-resource URL wildcards '*' must be the final character of the rule]",
        ),
        (
            rules("[{level: None, resources: [{resourceNames: [a]}]}]"),
            "rules[0].resources.resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one resource",
        ),
        (
            rules("[{level: None, omitStages: [Never]}]"),
            "rules[0].omitStages[0]: Invalid value: \"Never\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
        ),
        (
            rules("[{level: None, namespaces: [a], nonResourceURLs: ['/a']}]"),
            "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
        ),
    ] {
        assert_eq!(Policy::parse(&text).unwrap_err().0, wanted);
    }
    let group = Policy::parse(&rules(
        "[{level: None, resources: [{group: rbac.authorization.k8s.io/v1beta1}]}]",
    ));
    let said = group.unwrap_err().0;
    assert!(said.starts_with("rules[0].resources.group: Invalid value: \"rbac.authorization.k8s.io/v1beta1\": a lowercase RFC 1123 subdomain"), "{said}");
    // what nobody knows is told of in the log
    Policy::parse(&rules("[{level: None, nosuch: 1}]")).unwrap();
}
