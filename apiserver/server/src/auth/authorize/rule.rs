//! One RBAC rule: whether it allows a request, whether rules cover other rules, how a rule is written in a message.
//!
//! Invariant: a rule that is not understood allows nothing. Follows `pkg/apis/rbac/v1/evaluation_helpers.go`,
//! `staging/src/k8s.io/component-helpers/auth/rbac/validation` and `pkg/registry/rbac/validation/policy_compact.go`.

use std::collections::BTreeMap;

use crate::auth::{Attributes, PolicyRule, text::quote_list};

const ALL: &str = "*";

/// Whether `rule` allows the request, its namespace left aside.
pub fn allows(rule: &PolicyRule, attributes: &Attributes) -> bool {
    if !holds(&rule.verbs, &attributes.verb) {
        return false;
    }
    if !attributes.resource_request {
        return rule
            .non_resource_urls
            .iter()
            .any(|url| url_covers(url, &attributes.path));
    }
    holds(&rule.api_groups, &attributes.group)
        && rule.resources.iter().any(|resource| {
            resource_matches(resource, &attributes.resource, &attributes.subresource)
        })
        && (rule.resource_names.is_empty() || rule.resource_names.contains(&attributes.name))
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    match rule.split_once('/') {
        Some((left, right)) => right == subresource && (left == ALL || left == resource),
        None => false,
    }
}

/// `*` at the end of a rule's path stands for anything.
fn url_covers(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// The parts of `wanted` that `owned` does not hold, each as a rule of one verb, one group, one resource and at most one name
/// (or one URL). Empty when all is covered.
pub fn missing(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted
        .iter()
        .flat_map(break_down)
        .filter(|part| !owned.iter().any(|rule| covers(rule, part)))
        .collect()
}

fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut parts = Vec::new();
    let names: Vec<Vec<String>> = match rule.resource_names.is_empty() {
        true => vec![vec![]],
        false => rule
            .resource_names
            .iter()
            .map(|name| vec![name.clone()])
            .collect(),
    };
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                parts.extend(names.iter().map(|name| PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: name.clone(),
                    ..PolicyRule::default()
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        parts.extend(rule.verbs.iter().map(|verb| PolicyRule {
            verbs: vec![verb.clone()],
            non_resource_urls: vec![url.clone()],
            ..PolicyRule::default()
        }));
    }
    parts
}

fn covers(owner: &PolicyRule, part: &PolicyRule) -> bool {
    let all = |owned: &[String], wanted: &[String]| wanted.iter().all(|item| holds(owned, item));
    let names = match part.resource_names.is_empty() {
        true => owner.resource_names.is_empty(),
        false => {
            owner.resource_names.is_empty()
                || part
                    .resource_names
                    .iter()
                    .all(|name| owner.resource_names.contains(name))
        }
    };
    all(&owner.verbs, &part.verbs)
        && all(&owner.api_groups, &part.api_groups)
        && part
            .resources
            .iter()
            .all(|resource| resource_covered(&owner.resources, resource))
        && part.non_resource_urls.iter().all(|url| {
            owner
                .non_resource_urls
                .iter()
                .any(|owned| url_covers(owned, url))
        })
        && names
}

fn resource_covered(owned: &[String], resource: &str) -> bool {
    holds(owned, resource)
        || resource
            .split_once('/')
            .is_some_and(|(_, sub)| owned.iter().any(|o| o.strip_prefix("*/") == Some(sub)))
}

/// Rules that differ in nothing but the verb become one; the rest stay as they are.
pub fn compact(rules: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut compacted = Vec::new();
    let mut simple: BTreeMap<(String, String, Option<String>), PolicyRule> = BTreeMap::new();
    for rule in rules {
        let is_simple = rule.resource_names.len() <= 1
            && rule.non_resource_urls.is_empty()
            && rule.api_groups.len() == 1
            && rule.resources.len() == 1;
        if !is_simple {
            compacted.push(rule.clone());
            continue;
        }
        let key = (
            rule.api_groups[0].clone(),
            rule.resources[0].clone(),
            rule.resource_names.first().cloned(),
        );
        match simple.get_mut(&key) {
            Some(seen) => seen.verbs.extend(rule.verbs.iter().cloned()),
            None => drop(simple.insert(key, rule.clone())),
        }
    }
    compacted.extend(simple.into_values());
    compacted
}

/// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`.
pub fn describe(rule: &PolicyRule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(name, list)| format!("{name}:{}", quote_list(list)))
    .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Reads the short form of a rule that the tables of default policy use: `verbs | groups | resources [| names]` or `verbs : urls`,
/// items separated by blanks, the core group written `core`.
pub fn parse(text: &str) -> PolicyRule {
    let words = |part: &str| {
        part.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if let Some((verbs, urls)) = text.split_once(" : ") {
        return PolicyRule {
            verbs: words(verbs),
            non_resource_urls: words(urls),
            ..PolicyRule::default()
        };
    }
    let mut parts = text.split(" | ").map(words);
    let mut next = || parts.next().unwrap_or_default();
    let (verbs, mut api_groups, resources, resource_names) = (next(), next(), next(), next());
    api_groups
        .iter_mut()
        .filter(|group| *group == "core")
        .for_each(String::clear);
    PolicyRule {
        verbs,
        api_groups,
        resources,
        resource_names,
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Attributes {
        let mut words = text.split(' ');
        let verb = words.next().unwrap().to_owned();
        let what = words.next().unwrap();
        if what.starts_with('/') {
            return Attributes {
                verb,
                path: what.into(),
                ..Attributes::default()
            };
        }
        let (group, resource) = what.split_once(':').unwrap_or(("", what));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb,
            resource_request: true,
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: words.next().unwrap_or_default().into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn rules_allow_what_upstream_allows() {
        // rule, then requests it allows, then requests it does not
        let table = skiff_testing::table::rows_by::<3>(
            ';',
            r#"
                * | * | * ; get pods, delete apps:deployments/scale x, impersonate users bob ; get /metrics
                get | core | pods ; get pods, get pods a ; list pods, get apps:pods, get pods/log a, get pods/status a, get /pods
                get | core | pods/log ; get pods/log a ; get pods a, get pods/status a
                get | core | pods/* ;  ; get pods/log a, get pods a
                * | * | */scale ; update apps:deployments/scale x, get replicationcontrollers/scale ; get apps:deployments x, get pods/scaler
                get | * | */pods/log ;  ; get pods/log a
                get | core | secrets | only ; get secrets only ; get secrets other, get secrets, list secrets
                get | core | secrets | a b ; get secrets a, get secrets b ; get secrets c
                get | apps | deployments ; get apps:deployments ; get deployments, get extensions:deployments, get apps:deployments/scale x
                get | core apps | * ; get pods, get apps:x/y z ; get batch:jobs
                get : /healthz ; get /healthz ; get /healthz/, get /healthz/ping, post /healthz, get healthz
                get : /healthz/* ; get /healthz/, get /healthz/ping/x ; get /healthz, get /healthy
                get : /api* ; get /api, get /apis/x ; get /ap
                * : * ; get /, post /x/y ; get pods
                get : /a/*/b ; get /a/*/b ; get /a/x/b
                get : /a/** ; get /a/, get /a/b ; get /a
                deletecollection | core | pods ; deletecollection pods ; delete pods a, delete pods
                GET | core | pods ;  ; get pods
            "#,
        );
        let mut cases = 0;
        for [rule, allowed, refused] in table {
            for (texts, wanted) in [(allowed, true), (refused, false)] {
                for text in texts.split(", ").filter(|text| !text.is_empty()) {
                    assert_eq!(
                        allows(&parse(rule), &request(text)),
                        wanted,
                        "{rule}: {text}"
                    );
                    cases += 1;
                }
            }
        }
        let nothing = parse(" | core | pods");
        assert!(!allows(&nothing, &request("get pods")));
        assert!(cases >= 59, "{cases} cases");
    }

    #[test]
    fn rules_cover_what_upstream_covers() {
        // owned, wanted, missing
        let table = skiff_testing::table::rows_by::<3>(
            ';',
            r#"
                * | * | * ; get | core | pods, * | * | * ;
                * | * | * ; get : /x ; get : /x
                get list | core | configmaps ; get | core | configmaps ;
                get | core | configmaps ; get list | core | configmaps secrets ; list | core | configmaps, get | core | secrets, list | core | secrets
                get | core | secrets | only ; get | core | secrets | only more ; get | core | secrets | more
                get | core | secrets | only ; get | core | secrets ; get | core | secrets
                get | core | secrets ; get | core | secrets | only ;
                get | apps | */scale ; get | apps | deployments/scale ;
                get | apps | */scale ; get | apps | deployments ; get | apps | deployments
                get | apps | deployments/scale ; get | apps | */scale ; get | apps | */scale
                get | core | pods, list | core | pods ; get list | core | pods ;
                get : /healthz/* ; get : /healthz/a /healthz ; get : /healthz
                get : * ; get : /a/* * ;
                 ;  ;
                 ; get | core | pods ; get | core | pods
            "#,
        );
        let parse_all = |rules: &str| {
            let rules = rules.split(", ").filter(|rule| !rule.is_empty());
            rules.map(parse).collect::<Vec<_>>()
        };
        for [owned, wanted, expected] in table {
            let found = missing(&parse_all(owned), &parse_all(wanted));
            assert_eq!(found, parse_all(expected), "{owned:?} {wanted:?}");
        }
    }

    #[test]
    fn missing_rules_are_put_together_by_verb() {
        let rules = missing(
            &[],
            &[
                parse("get list | core | secrets"),
                parse("get | apps | deployments | a"),
                parse("get : /x"),
            ],
        );
        let mut texts: Vec<String> = compact(&rules).iter().map(describe).collect();
        texts.sort();
        assert_eq!(
            texts,
            [
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
                r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["a"], Verbs:["get"]}"#,
                r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
            ]
        );
    }
}
