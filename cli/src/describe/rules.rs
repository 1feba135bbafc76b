//! Rules of roles as rows of a table.
//! Invariant: each resource has one row with all its verbs.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/util/rbac/rbac.go`.

use crate::typed::Read;
use serde_json::Value;

#[derive(Default)]
struct Rule {
    group: String,
    resource: String,
    name: Option<String>,
    url: String,
    verbs: Vec<String>,
}

/// Rows of resources, URLs, resource names and verbs, in kubectl's order.
pub fn rows(rules: &[Value]) -> Vec<[String; 4]> {
    let mut urls: Vec<Rule> = Vec::new();
    let mut simple: Vec<Rule> = Vec::new();
    for rule in rules {
        let mut names: Vec<Option<&str>> = rule.texts("resourceNames").map(Some).collect();
        if names.is_empty() {
            names.push(None);
        }
        for group in rule.texts("apiGroups") {
            for resource in rule.texts("resources") {
                for verb in rule.texts("verbs") {
                    for name in &names {
                        add(&mut simple, group, resource, *name, verb);
                    }
                }
            }
        }
        for url in rule.texts("nonResourceURLs") {
            urls.extend(rule.texts("verbs").map(|verb| Rule {
                url: url.into(),
                verbs: vec![verb.into()],
                ..Rule::default()
            }));
        }
    }
    urls.extend(simple);
    urls.sort_by_key(key);
    urls.iter().map(row).collect()
}

fn add(simple: &mut Vec<Rule>, group: &str, resource: &str, name: Option<&str>, verb: &str) {
    match simple
        .iter_mut()
        .find(|r| r.group == group && r.resource == resource && r.name.as_deref() == name)
    {
        Some(r) if r.verbs.iter().any(|v| v == verb) => {}
        Some(r) => r.verbs.push(verb.into()),
        None => simple.push(Rule {
            group: group.into(),
            resource: resource.into(),
            name: name.map(String::from),
            url: String::new(),
            verbs: vec![verb.into()],
        }),
    }
}

/// The text by which Go's generated code would show the rule: rules are sorted by it.
fn key(r: &Rule) -> String {
    let (groups, resources) = if r.url.is_empty() {
        (r.group.as_str(), r.resource.as_str())
    } else {
        ("", "")
    };
    format!(
        "&PolicyRule{{Verbs:[{}],APIGroups:[{groups}],Resources:[{resources}],ResourceNames:[{}],NonResourceURLs:[{}],}}",
        r.verbs.join(" "),
        r.name.as_deref().unwrap_or(""),
        r.url
    )
}

fn row(r: &Rule) -> [String; 4] {
    let resource = match (r.url.is_empty(), r.group.is_empty()) {
        (false, _) => String::new(),
        (true, true) => r.resource.clone(),
        (true, false) => match r.resource.split_once('/') {
            Some((base, sub)) => format!("{base}.{}/{sub}", r.group),
            None => format!("{}.{}", r.resource, r.group),
        },
    };
    [
        resource,
        format!("[{}]", r.url),
        format!("[{}]", r.name.as_deref().unwrap_or("")),
        format!("[{}]", r.verbs.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_row_a_resource() {
        let rules = [
            json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}),
            json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["shop"], "verbs": ["*"]}),
            json!({"nonResourceURLs": ["/healthz"], "verbs": ["get"]}),
        ];
        let shown: Vec<String> = rows(&rules).iter().map(|r| r.join(" ")).collect();
        assert_eq!(
            shown,
            [
                "deployments.apps [] [shop] [*]",
                "pods/log [] [] [get list]",
                "pods [] [] [get list]",
                " [/healthz] [] [get]"
            ]
        );
    }
}
