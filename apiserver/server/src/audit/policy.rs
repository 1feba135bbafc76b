//! Which requests are told of, and how much: `--audit-policy-file`. The first rule that fits decides; what fits none is not told of.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/audit/policy/{reader,checker}.go` and `staging/src/k8s.io/apiserver/pkg/apis/audit/validation`.

use std::path::Path as File;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    field::{Errors, Path},
    names,
    read::Read,
    schema::{Schema, conform},
    yaml,
};

use super::event::{Level, Stage};
use crate::auth::Attributes;

const TYPES: &str = include_str!("types.txt");
const GROUP_VERSION: &str = "audit.k8s.io/v1";

/// Why a policy cannot be used, in upstream's words.
#[derive(thiserror::Error, Debug)]
pub enum PolicyError {
    #[error("loading audit policy file: failed to read file path {path}: {source}", path = GoQuoted(.path))]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("loading audit policy file: {why}: from file {path}")]
    Content { path: String, why: String },
}

#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

#[derive(Debug)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    paths: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

#[derive(Debug)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

/// What a policy says of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

impl Policy {
    /// Reads a file. Fields that nobody knows are told of in the log, and no more, as upstream does it.
    ///
    /// # Errors
    /// It cannot be read, or asks for what cannot be.
    pub fn read(path: &File) -> Result<Policy, PolicyError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| PolicyError::File {
            path: shown(),
            source,
        })?;
        Policy::parse(&text).map_err(|why| PolicyError::Content {
            path: shown(),
            why: why.0,
        })
    }

    fn parse(text: &str) -> Result<Policy, Unusable> {
        let (mut value, repeated) =
            yaml::read_first(text).map_err(|why| Unusable(format!("failed decoding: {why}")))?;
        let (version, kind) = (value.text("apiVersion"), value.text("kind"));
        if kind.is_empty() {
            let shown = text.trim();
            return Err(Unusable(format!(
                "failed decoding: Object 'Kind' is missing in '{shown}'"
            )));
        }
        if (version, kind) != (GROUP_VERSION, "Policy") {
            return Err(Unusable(format!(
                "failed decoding: no kind {kind} is registered for version {version} in scheme \"k8s.io/apiserver/pkg/audit/scheme.go\"",
                kind = GoQuoted(&kind),
                version = GoQuoted(&version)
            )));
        }
        let schema = Schema::beside_metadata(TYPES).map_err(|why| Unusable(why.to_string()))?;
        let decoded = conform(&mut value, schema.root(0))
            .map_err(|why| Unusable(format!("failed decoding: {why}")))?;
        let remarks: Vec<String> = repeated.into_iter().chain(decoded.remarks()).collect();
        if !remarks.is_empty() {
            tracing::warn!(
                "Audit policy contains errors, falling back to lenient decoding: strict decoding error: {}",
                remarks.join(", ")
            );
        }
        let errors = validate(&value);
        if !errors.is_empty() {
            return Err(Unusable(errors.message()));
        }
        let policy = Policy::of(&value);
        match policy.rules.is_empty() {
            true => Err(Unusable("loaded illegal policy with 0 rules".into())),
            false => Ok(policy),
        }
    }

    fn of(value: &Value) -> Policy {
        let (omit_stages, omit_managed_fields) = (stages(value), value.flag("omitManagedFields"));
        let rules = value.list("rules").iter().map(|rule| Rule {
            level: level(rule.text("level")).expect("validated"),
            users: texts(rule, "users"),
            groups: texts(rule, "userGroups"),
            verbs: texts(rule, "verbs"),
            resources: rule
                .list("resources")
                .iter()
                .map(|of| GroupResources {
                    group: of.text("group").into(),
                    resources: texts(of, "resources"),
                    names: texts(of, "resourceNames"),
                })
                .collect(),
            namespaces: texts(rule, "namespaces"),
            paths: texts(rule, "nonResourceURLs"),
            omit_stages: [stages(rule), omit_stages.clone()].concat(),
            omit_managed_fields: rule
                .flag_ptr("omitManagedFields")
                .unwrap_or(omit_managed_fields),
        });
        Policy {
            rules: rules.collect(),
            omit_stages,
            omit_managed_fields,
        }
    }

    pub fn judge(&self, asked: &Attributes, known: bool) -> Verdict {
        match self.rules.iter().find(|rule| rule.fits(asked, known)) {
            Some(rule) => Verdict {
                level: rule.level,
                omit_stages: rule.omit_stages.clone(),
                omit_managed_fields: rule.omit_managed_fields,
            },
            None => Verdict {
                level: Level::None,
                omit_stages: self.omit_stages.clone(),
                omit_managed_fields: self.omit_managed_fields,
            },
        }
    }
}

#[derive(Debug)]
struct Unusable(String);

impl Rule {
    /// Of who asks nothing may be `known`: then no rule for users fits.
    fn fits(&self, asked: &Attributes, known: bool) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|one| one == text);
        let user = &asked.user;
        let fits_user = self.users.is_empty() || known && has(&self.users, &user.name);
        let in_group = || user.groups.iter().any(|group| has(&self.groups, group));
        let fits_group = self.groups.is_empty() || known && in_group();
        let fits_verb = self.verbs.is_empty() || has(&self.verbs, &asked.verb);
        if !fits_user || !fits_group || !fits_verb {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.resource_request
                && (self.namespaces.is_empty() || has(&self.namespaces, &asked.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|of| of.fit(asked)));
        }
        self.paths.is_empty()
            || !asked.resource_request && self.paths.iter().any(|path| fits_path(path, &asked.path))
    }
}

fn fits_path(pattern: &str, path: &str) -> bool {
    pattern == "*"
        || pattern == path
        || pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*'))
}

impl GroupResources {
    fn fit(&self, asked: &Attributes) -> bool {
        if self.group != "*" && self.group != asked.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.names.is_empty() && !self.names.contains(&asked.name) {
            return false;
        }
        let combined = asked.combined_resource();
        let of_subresource = |pattern: &str| {
            !asked.subresource.is_empty()
                && pattern.strip_prefix("*/") == Some(asked.subresource.as_str())
        };
        self.resources.iter().any(|pattern| {
            pattern == "*"
                || *pattern == combined
                || of_subresource(pattern)
                || pattern.strip_suffix("/*") == Some(asked.resource.as_str())
        })
    }
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    value.texts(name).map(str::to_owned).collect()
}

fn stages(value: &Value) -> Vec<Stage> {
    let known = |name: &str| Stage::ALL.iter().find(|(known, _)| *known == name);
    let named = texts(value, "omitStages");
    let found = named.iter().filter_map(|name| known(name));
    found.map(|(_, stage)| *stage).collect()
}

fn level(name: &str) -> Option<Level> {
    let found = Level::ALL.iter().find(|(known, _)| *known == name)?;
    Some(found.1)
}

fn validate(policy: &Value) -> Errors {
    let mut errors = Errors::default();
    omit_stages(policy, &Path::new("omitStages"), &mut errors);
    let rules = Path::new("rules");
    for (index, rule) in policy.list("rules").iter().enumerate() {
        validate_rule(rule, &rules.index(index), &mut errors);
    }
    errors
}

fn validate_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    match rule.text("level") {
        "" => errors.required(&path.child("level"), ""),
        given if level(given).is_none() => {
            errors.not_supported(
                &path.child("level"),
                given,
                &Level::ALL.map(|(name, _)| name),
            );
        }
        _ => {}
    }
    let urls = texts(rule, "nonResourceURLs");
    let at = path.child("nonResourceURLs");
    for (index, url) in urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        if !url.starts_with('/') {
            let why = "non-resource URL rules must begin with a '/' character";
            errors.invalid(&at.index(index), url.as_str(), why);
        }
        if url
            .char_indices()
            .any(|(place, c)| c == '*' && place + 1 < url.len())
        {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.invalid(&at.index(index), url.as_str(), why);
        }
    }
    // upstream does not say which
    let resources = path.child("resources");
    for of in rule.list("resources") {
        let group = of.text("group");
        if !matches!(group, "" | "*") {
            let wrong = names::is_dns1123_subdomain(group);
            if !wrong.is_empty() {
                errors.invalid(&resources.child("group"), group, wrong.join(","));
            }
        }
        if !of.list("resourceNames").is_empty() && of.list("resources").is_empty() {
            let given = Value::from(texts(of, "resourceNames"));
            let why = "using resourceNames requires at least one resource";
            errors.invalid(&resources.child("resourceNames"), given, why);
        }
    }
    omit_stages(rule, &path.child("omitStages"), errors);
    let of_resources = !rule.list("resources").is_empty() || !rule.list("namespaces").is_empty();
    if !urls.is_empty() && of_resources {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        errors.invalid(&at, Value::from(urls), why);
    }
}

fn omit_stages(value: &Value, path: &Path, errors: &mut Errors) {
    let allowed = Stage::ALL.map(|(name, _)| name);
    for (index, stage) in value.list("omitStages").iter().enumerate() {
        let stage = stage.as_str().unwrap_or("");
        if !allowed.contains(&stage) {
            let why = format!("allowed stages are {}", allowed.join(","));
            errors.invalid(&path.index(index), stage, why);
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
