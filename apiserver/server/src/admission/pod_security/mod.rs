//! PodSecurity: pods keep to the Pod Security Standards that their namespace's labels ask for; what makes pods is let in, with a warning.
//!
//! Invariant: no pod is let in whose namespace cannot be read. Follows `staging/src/k8s.io/pod-security-admission/admission/admission.go`.

mod checks;
mod configuration;
mod policy;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{field::Errors, meta::Meta, read::Read, status::Status};

use self::{
    checks::{Pod, Violations},
    policy::{Asked, Level, Policy},
};
use super::{Attributes, Operation, Plugin};

pub use self::configuration::Configuration;

pub const NAME: &str = "PodSecurity";

pub struct PodSecurity(pub Configuration);

/// What has pods, and where in it their template is.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    (
        "batch",
        "cronjobs",
        &["spec", "jobTemplate", "spec", "template"],
    ),
    ("batch", "jobs", &["spec", "template"]),
];

/// Parts of pods by which what is checked cannot be changed.
const HARMLESS: &[&str] = &[
    "exec",
    "attach",
    "binding",
    "eviction",
    "log",
    "portforward",
    "proxy",
    "status",
];

/// Of a namespace's pods, at most so many are looked at when it gets a stricter label.
const MOST_PODS: usize = 3000;

/// What a write is about.
enum Subject {
    Namespace,
    Pod,
    Template(&'static [&'static str]),
}

fn subject(attributes: &Attributes<'_>) -> Option<Subject> {
    let (group, plural) = (attributes.kind.group, attributes.kind.plural);
    match (group, plural, attributes.subresource) {
        ("", "namespaces", "") => Some(Subject::Namespace),
        ("", "pods", part) => (!HARMLESS.contains(&part)).then_some(Subject::Pod),
        (_, _, "") => TEMPLATES
            .iter()
            .find(|of| (of.0, of.1) == (group, plural))
            .map(|(_, _, path)| Subject::Template(path)),
        _ => None,
    }
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        matches!(attributes.operation, Operation::Create | Operation::Update)
            && subject(attributes).is_some()
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let (Some(object), Some(subject)) = (&attributes.object, subject(attributes)) else {
            return Ok(());
        };
        match subject {
            Subject::Namespace => self.namespace(attributes, object),
            Subject::Pod => {
                if self.exempts(attributes, object) {
                    return Ok(());
                }
                if attributes
                    .old
                    .is_some_and(|old| !is_significant(object, old))
                {
                    return Ok(());
                }
                let asked = self.asked(attributes)?;
                note(attributes, object, &asked, true);
                let found = violations(object, asked.enforce);
                if !found.is_empty() {
                    return Err(attributes.forbidden(format_args!(
                        "violates PodSecurity {}: {}",
                        GoQuoted(&asked.enforce.to_string()),
                        found.details()
                    )));
                }
                warn(attributes, object, asked.warn);
                Ok(())
            }
            Subject::Template(path) => {
                // what makes pods is let in whatever its namespace asks: its pods are not
                let template = path.iter().fold(object, |at, name| at.at(name));
                if self.exempts(attributes, template) {
                    return Ok(());
                }
                if let Ok(asked) = self.asked(attributes) {
                    note(attributes, template, &asked, false);
                    warn(attributes, template, asked.warn);
                }
                Ok(())
            }
        }
    }
}

impl PodSecurity {
    /// Nothing is asked of a pod or template, whatever its namespace says.
    fn exempts(&self, attributes: &Attributes<'_>, pod: &Value) -> bool {
        let class = pod.at("spec").text("runtimeClassName");
        let reason = if self.0.is_exempt_namespace(attributes.namespace) {
            "namespace"
        } else if self.0.is_exempt_user(&attributes.user.name) {
            "user"
        } else if self.0.is_exempt_class(class) {
            "runtimeClass"
        } else {
            return false;
        };
        let trail = attributes.trail;
        trail.note("pod-security.kubernetes.io/exempt", reason.to_string());
        true
    }

    /// What a namespace asks, and what is wrong with its labels.
    fn policy(&self, namespace: &Value) -> (Policy, Errors) {
        Policy::of(namespace.at("metadata").map("labels"), &self.0.defaults)
    }

    /// What the namespace of a write asks.
    fn asked(&self, attributes: &Attributes<'_>) -> Result<Policy, Status> {
        let name = attributes.namespace;
        let failed = || {
            Status::internal(format!(
                "failed to lookup namespace {name}",
                name = GoQuoted(&name)
            ))
        };
        let namespace = attributes
            .look_up("namespaces", "", name)
            .map_err(|_| failed())?
            .ok_or_else(failed)?;
        let (policy, errors) = self.policy(&namespace);
        if !errors.is_empty() {
            let said = format!("Failed to parse policy: {}", errors.message());
            let trail = attributes.trail;
            trail.note("pod-security.kubernetes.io/error", said);
        }
        Ok(policy)
    }
    /// Labels of a namespace must be readable, unless they were not before; and who asks for more hears which of its pods do not comply.
    fn namespace(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        let (new, errors) = self.policy(object);
        let old = attributes.old.map(|old| self.policy(old));
        let known = old.as_ref().is_some_and(|(_, known)| *known == errors);
        if !errors.is_empty() && !known {
            let kind = attributes.kind;
            return Err(Status::invalid(
                kind.group,
                kind.kind,
                object.name(),
                &errors,
            ));
        }
        let exempt = self.0.is_exempt_namespace(object.name());
        let Some((old, _)) = old else {
            if exempt {
                self.warn_exempt(attributes, object, &new);
            }
            return Ok(());
        };
        let laxer =
            new.enforce.version == old.enforce.version && new.enforce.level <= old.enforce.level;
        if new.enforce.level == Level::Privileged || laxer {
            return Ok(());
        }
        if exempt {
            self.warn_exempt(attributes, object, &new);
            return Ok(());
        }
        match attributes.list("pods", Some(object.name())) {
            Ok(pods) => {
                let held = |pod: &Value| {
                    let class = pod.at("spec").text("runtimeClassName");
                    !self.0.is_exempt_class(class)
                };
                let pods: Vec<Value> = pods.into_iter().filter(held).collect();
                for warning in existing(&pods, object.name(), new.enforce) {
                    attributes.warn(warning);
                }
            }
            Err(_) => attributes.warn(
                "failed to list pods while checking new PodSecurity enforce level".to_string(),
            ),
        }
        Ok(())
    }

    /// Who labels a namespace that is exempt hears that it has no effect.
    fn warn_exempt(&self, attributes: &Attributes<'_>, namespace: &Value, asked: &Policy) {
        if asked.asks_nothing() || *asked == self.0.defaults {
            return;
        }
        let said = asked.said_by(namespace.at("metadata").map("labels"));
        let name = namespace.name();
        attributes.warn(format!(
            "namespace {name} is exempt from Pod Security, and the policy ({said}) will be ignored",
            name = GoQuoted(&name)
        ));
    }
}

/// What is wrong with a pod or a template of pods.
fn violations(pod: &Value, asked: Asked) -> Violations {
    let pod = Pod {
        metadata: pod.at("metadata"),
        spec: pod.at("spec"),
        minor: asked.version.unwrap_or(u32::MAX),
    };
    Violations::of(pod, asked.level)
}

/// What is told of a pod besides: what is asked of it where that is `enforced`, and what the mode `audit` has against it.
fn note(attributes: &Attributes<'_>, pod: &Value, asked: &Policy, enforced: bool) {
    let trail = attributes.trail;
    if !trail.is_on() {
        return;
    }
    if enforced {
        let level = asked.enforce.to_string();
        trail.note("pod-security.kubernetes.io/enforce-policy", level);
    }
    let found = violations(pod, asked.audit);
    if !found.is_empty() {
        let (level, details) = (asked.audit.to_string(), found.details());
        let said = format!(
            "would violate PodSecurity {level}: {details}",
            level = GoQuoted(&level)
        );
        trail.note("pod-security.kubernetes.io/audit-violations", said);
    }
}

fn warn(attributes: &Attributes<'_>, pod: &Value, asked: Asked) {
    let found = violations(pod, asked);
    if !found.is_empty() {
        attributes.warn(format!(
            "would violate PodSecurity {}: {}",
            GoQuoted(&asked.to_string()),
            found.details()
        ));
    }
}

/// Whether an update may change what is checked: another image, another container.
fn is_significant(new: &Value, old: &Value) -> bool {
    let (new, old) = (new.at("spec"), old.at("spec"));
    let images = |spec: &Value, list: &str| -> Vec<String> {
        let containers = spec.list(list).iter();
        containers
            .map(|one| one.text("image").to_string())
            .collect()
    };
    if ["containers", "initContainers"]
        .iter()
        .any(|list| images(new, list) != images(old, list))
    {
        return true;
    }
    new.list("ephemeralContainers").iter().any(|container| {
        let before = old
            .list("ephemeralContainers")
            .iter()
            .find(|one| one.text("name") == container.text("name"));
        before.is_none_or(|before| before.text("image") != container.text("image"))
    })
}

/// What is told of the pods that are there already: one line for all that are wrong in the same way.
fn existing(pods: &[Value], namespace: &str, asked: Asked) -> Vec<String> {
    let looked_at = pods.len().min(MOST_PODS);
    let mut wrong: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in one_of_each_controller_first(pods)
        .into_iter()
        .take(looked_at)
    {
        let found = violations(pod, asked);
        if !found.is_empty() {
            wrong.entry(found.reasons()).or_default().push(pod.name());
        }
    }
    let mut warnings = Vec::new();
    if looked_at < pods.len() {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {looked_at} of {} existing pods",
            pods.len()
        ));
    }
    if !wrong.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace} violate the new PodSecurity enforce level {}",
            GoQuoted(&asked.to_string()),
            namespace = GoQuoted(&namespace)
        ));
    }
    let mut lines: Vec<String> = wrong
        .iter()
        .map(|(reasons, names)| {
            let first = names.iter().min().copied().unwrap_or_default();
            match names.len() {
                1 => format!("{first}: {reasons}"),
                2 => format!("{first} (and 1 other pod): {reasons}"),
                many => format!("{first} (and {} other pods): {reasons}", many - 1),
            }
        })
        .collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}

/// Pods of one controller are alike, so that the first of each says most.
fn one_of_each_controller_first(pods: &[Value]) -> Vec<&Value> {
    let mut seen = std::collections::BTreeSet::new();
    let (mut first, further): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|pod| {
        let owners = pod.at("metadata").list("ownerReferences").iter();
        let controller = owners
            .filter(|owner| owner.flag("controller"))
            .map(|owner| owner.text("uid").to_string())
            .next();
        controller.is_none_or(|uid| seen.insert(uid))
    });
    first.extend(further);
    first
}

#[cfg(test)]
mod tests;
