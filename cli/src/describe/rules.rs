//! Rules of roles as rows of a table.
//! Invariant: each resource has one row with all its verbs.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/util/rbac/rbac.go`.

use super::text::texts;
use serde_json::Value;

#[derive(Clone, PartialEq)]
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
        let (verbs, names) = (texts(rule, "verbs"), texts(rule, "resourceNames"));
        let names: Vec<Option<String>> = if names.is_empty() {
            vec![None]
        } else {
            names.into_iter().map(Some).collect()
        };
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in &verbs {
                    for name in &names {
                        add(&mut simple, &group, &resource, name.as_ref(), verb);
                    }
                }
            }
        }
        for url in texts(rule, "nonResourceURLs") {
            urls.extend(verbs.iter().map(|v| Rule {
                group: String::new(),
                resource: String::new(),
                name: None,
                url: url.clone(),
                verbs: vec![v.clone()],
            }));
        }
    }
    urls.extend(simple);
    urls.sort_by_key(key);
    urls.iter().map(row).collect()
}

fn add(simple: &mut Vec<Rule>, group: &str, resource: &str, name: Option<&String>, verb: &str) {
    match simple
        .iter_mut()
        .find(|r| r.group == group && r.resource == resource && r.name.as_ref() == name)
    {
        Some(r) if r.verbs.iter().any(|v| v == verb) => {}
        Some(r) => r.verbs.push(verb.into()),
        None => simple.push(Rule {
            group: group.into(),
            resource: resource.into(),
            name: name.cloned(),
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
