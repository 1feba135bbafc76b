//! Which writes a webhook, a policy or a binding is about: rules with wildcards and scopes, selectors, and versions that stand for each other.
//!
//! Invariant: what is read of an object that selects is read once, when the object is taken in; a write is held to it without decoding anything.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/matching/matching.go` and `.../plugin/webhook/predicates`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        read::Read,
        selector::{Selector, SelectorError},
        status::Status,
    },
};

use super::plugin::{Attributes, Operation};
use crate::stored::LabelsOf;

/// Kinds that admission itself is made of, which no webhook or policy may refuse.
const EXEMPT: [&str; 6] = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
];

/// Whether no webhook or policy is asked about such objects, so that a wrong one can always be mended.
pub fn is_exempt(kind: &Kind) -> bool {
    kind.group == "admissionregistration.k8s.io" && EXEMPT.contains(&kind.kind)
}

/// In which namespace rules see a write: a namespace itself stands in itself.
pub fn namespace_of<'a>(attributes: &'a Attributes<'_>) -> &'a str {
    match is_namespace(attributes.kind) {
        true => attributes.given_name(),
        false => attributes.namespace,
    }
}

/// Namespaces themselves.
pub fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

/// What a webhook, a policy or a binding says of the writes that it is about.
#[derive(Debug)]
pub struct Criteria {
    /// `None`: all that the rest does not rule out.
    rules: Option<Vec<Rule>>,
    excluded: Vec<Rule>,
    /// A write of another version of the same objects counts, too.
    equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

impl Criteria {
    /// `MatchResources` of a policy or a binding, absent ones being about everything.
    ///
    /// # Errors
    /// A selector cannot be read, which validation rules out.
    pub fn of_resources(resources: &Value) -> Result<Criteria, SelectorError> {
        if resources.is_null() {
            return Ok(Criteria {
                rules: None,
                excluded: Vec::new(),
                equivalent: false,
                namespaces: Selector::everything(),
                objects: Selector::everything(),
            });
        }
        let rules = rules(resources, "resourceRules");
        Criteria::read(
            resources,
            Some(rules).filter(|rules| !rules.is_empty()),
            rules_excluded(resources),
        )
    }

    /// A webhook; one without rules is about nothing.
    ///
    /// # Errors
    /// A selector cannot be read, which validation rules out.
    pub fn of_webhook(webhook: &Value) -> Result<Criteria, SelectorError> {
        Criteria::read(webhook, Some(rules(webhook, "rules")), Vec::new())
    }

    fn read(
        of: &Value,
        rules: Option<Vec<Rule>>,
        excluded: Vec<Rule>,
    ) -> Result<Criteria, SelectorError> {
        Ok(Criteria {
            rules,
            excluded,
            equivalent: of.text("matchPolicy") == "Equivalent",
            namespaces: Selector::from_label_selector(of.some("namespaceSelector"))?,
            objects: Selector::from_label_selector(of.some("objectSelector"))?,
        })
    }

    /// Whether a write is meant, and by which version of its objects: the client's, or another one for which it stands.
    ///
    /// # Errors
    /// The write is meant, but its namespace does not exist, so that nobody knows whether it is selected.
    pub fn matches(&self, attributes: &Attributes<'_>) -> Result<Option<Arc<Kind>>, Status> {
        let by_namespace = self.selects_namespace(attributes);
        if matches!(by_namespace, Ok(false)) || !self.selects_object(attributes) {
            return Ok(None);
        }
        if self.matched_by(&self.excluded, attributes).is_some() {
            return Ok(None);
        }
        let matched = match &self.rules {
            None => Some(attributes.asked.clone()),
            Some(rules) => self.matched_by(rules, attributes),
        };
        match matched {
            None => Ok(None),
            Some(kind) => by_namespace.map(|_| Some(kind)),
        }
    }

    fn selects_namespace(&self, attributes: &Attributes<'_>) -> Result<bool, Status> {
        let (namespace, itself) = (
            namespace_of(attributes),
            is_namespace(attributes.kind) && attributes.subresource.is_empty(),
        );
        let outside = namespace.is_empty() && !is_namespace(attributes.kind);
        if outside || self.namespaces.is_everything() {
            return Ok(true);
        }
        let written = matches!(attributes.operation, Operation::Create | Operation::Update);
        if let Some(object) = attributes.object.as_ref().filter(|_| itself && written) {
            return Ok(self.namespaces.matches(object.at("metadata").at("labels")));
        }
        match attributes.stored("namespaces", "", namespace) {
            Some(object) => Ok(self.namespaces.matches(&LabelsOf(object.attributes()))),
            None => Err(Status::not_found("", "namespaces", namespace)),
        }
    }

    fn selects_object(&self, attributes: &Attributes<'_>) -> bool {
        // what has no metadata is selected by nothing
        let selects = |object: &Value| {
            let metadata = object.some("metadata");
            metadata.is_some_and(|metadata| self.objects.matches(metadata.at("labels")))
        };
        self.objects.is_everything()
            || attributes.object.as_ref().is_some_and(selects)
            || attributes.old.is_some_and(selects)
    }

    /// The version by which one of these rules means a write.
    fn matched_by(&self, rules: &[Rule], attributes: &Attributes<'_>) -> Option<Arc<Kind>> {
        let write = Write {
            operation: attributes.operation,
            subresource: attributes.subresource,
            namespace: attributes.namespace,
            name: attributes.given_name(),
        };
        let means = |kind: &Arc<Kind>| rules.iter().any(|rule| rule.means(&write, kind));
        if means(attributes.asked) {
            return Some(attributes.asked.clone());
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let (asked, sub) = (attributes.asked, attributes.subresource);
        let others: Vec<&Arc<Kind>> = attributes
            .kinds
            .all()
            .iter()
            .filter(|kind| kind.same_objects(asked) && !same_version(kind, asked))
            .filter(|kind| sub.is_empty() || kind.subresource(sub).is_some())
            .collect();
        rules
            .iter()
            .find_map(|rule| {
                let mut others = others.iter();
                others.find(|kind| rule.means(&write, kind))
            })
            .map(|kind| (*kind).clone())
    }
}

fn same_version(kind: &Kind, other: &Kind) -> bool {
    (kind.group, kind.version) == (other.group, other.version)
}

fn rules(of: &Value, name: &str) -> Vec<Rule> {
    of.list(name).iter().map(Rule::read).collect()
}

fn rules_excluded(of: &Value) -> Vec<Rule> {
    rules(of, "excludeResourceRules")
}

/// What rules look at in a write besides its kind.
struct Write<'a> {
    operation: Operation,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// One rule: writes of these operations on these resources; `*` is all of them.
#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// With the part behind the slash, empty for the resource itself.
    resources: Vec<(String, String)>,
    scope: Scope,
    /// Empty: all.
    names: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
    /// A word that nobody knows, which means nothing.
    Unknown,
}

fn holds(given: &[String], asked: &str) -> bool {
    given.iter().any(|one| is(one, asked))
}

fn is(given: &str, asked: &str) -> bool {
    given == "*" || given == asked
}

impl Rule {
    fn read(rule: &Value) -> Rule {
        let texts = |name| rule.texts(name).map(str::to_string).collect();
        let resources = rule.texts("resources").map(|resource| {
            let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
            (resource.to_string(), sub.to_string())
        });
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: resources.collect(),
            scope: match rule.text_ptr("scope") {
                None | Some("*") => Scope::All,
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                Some(_) => Scope::Unknown,
            },
            names: texts("resourceNames"),
        }
    }

    /// Whether a write is meant, were it one of this version.
    fn means(&self, write: &Write<'_>, kind: &Kind) -> bool {
        let outside = is_namespace(kind) || write.namespace.is_empty();
        let scope = match self.scope {
            Scope::All => true,
            Scope::Cluster => outside,
            Scope::Namespaced => !outside,
            Scope::Unknown => false,
        };
        scope
            && holds(&self.operations, write.operation.name())
            && holds(&self.groups, kind.group)
            && holds(&self.versions, kind.version)
            && (self.resources.iter())
                .any(|(of, sub)| is(of, kind.plural) && is(sub, write.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == write.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_api::kinds::Registry;

    use super::*;

    fn means(change: Value, resource: &str, write: &Write<'_>) -> bool {
        let mut rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        for (name, value) in change.as_object().unwrap() {
            rule[name] = value.clone();
        }
        let kind = Registry::builtin().stored(resource).unwrap();
        Rule::read(&rule).means(write, kind)
    }

    #[test]
    fn rules_mean_what_they_name() {
        let pods = |sub| Write {
            operation: Operation::Create,
            subresource: sub,
            namespace: "a",
            name: "x",
        };
        for (change, sub, wanted) in [
            (json!({}), "", true),
            (json!({}), "status", false),
            (json!({"resources": ["*/*"]}), "status", true),
            (json!({"resources": ["*/*"]}), "", true),
            (json!({"resources": ["*/status"]}), "status", true),
            (json!({"resources": ["*/status"]}), "", false),
            (json!({"resources": ["pods/*"]}), "", true),
            (json!({"resources": ["pods/*"]}), "exec", true),
            (json!({"resources": ["services", "pods"]}), "", true),
            (json!({"resources": ["services"]}), "", false),
            (json!({"operations": ["UPDATE"]}), "", false),
            (json!({"operations": ["UPDATE", "CREATE"]}), "", true),
            (json!({"apiGroups": ["apps"]}), "", false),
            (json!({"apiGroups": [""]}), "", true),
            (json!({"apiVersions": ["v2"]}), "", false),
            (json!({"apiVersions": ["v1"]}), "", true),
            (json!({"scope": "Namespaced"}), "", true),
            (json!({"scope": "Cluster"}), "", false),
            (json!({"scope": "elsewhere"}), "", false),
            (json!({"resourceNames": ["y"]}), "", false),
            (json!({"resourceNames": ["y", "x"]}), "", true),
        ] {
            assert_eq!(
                means(change.clone(), "pods", &pods(sub)),
                wanted,
                "{change} {sub}"
            );
        }
    }

    #[test]
    fn a_namespace_stands_in_none() {
        let write = Write {
            operation: Operation::Update,
            subresource: "",
            namespace: "a",
            name: "a",
        };
        for (scope, wanted) in [("Cluster", true), ("Namespaced", false), ("*", true)] {
            assert_eq!(
                means(json!({"scope": scope}), "namespaces", &write),
                wanted,
                "{scope}"
            );
        }
    }

    #[test]
    fn what_admission_is_made_of_is_exempt() {
        let kinds = Registry::builtin();
        let exempt = kinds.all().iter().filter(|kind| is_exempt(kind));
        assert_eq!(exempt.filter(|kind| kind.version == "v1").count(), 6);
    }
}
