//! `create role`, `clusterrole`, `rolebinding`, `clusterrolebinding`.
//! Invariant: resources are called by their plural; an unknown one is refused.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_role*.go` and `create_clusterrole*.go`.

use super::GENERATOR;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Problem, Result, bail};
use crate::flags::{Csv, Listed};
use crate::generate;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GROUP: &str = "rbac.authorization.k8s.io";
/// Those of paths.
pub const URL_VERBS: &[&str] = &[
    "*", "get", "put", "post", "head", "options", "delete", "patch",
];

/// The verbs of resources that are known.
pub const VERBS: &[&str] = &[
    "*",
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
    "attest",
];

pub static ROLE: Command = Command {
    name: "role",
    usage: "NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename] [--dry-run=server|client|none]",
    short: "Create a role with single rule",
    long: "Create a role that allows some verbs on some resources of its namespace.",
    examples: "
      # Read pods
      kubectl create role pod-reader --verb=get --verb=list --verb=watch --resource=pods
      # One object alone
      kubectl create role pod-reader --verb=get --resource=pods --resource-name=readablepod
      # A resource of a group, and a sub-resource
      kubectl create role foo --verb=get,list,watch --resource=rs.apps,pods/status",
    run: verb!(role: Rules),
    ..GENERATOR
};

pub static CLUSTERROLE: Command = Command {
    name: "clusterrole",
    usage: "NAME --verb=verb --resource=resource.group [--resource-name=resourcename] [--dry-run=server|client|none]",
    short: "Create a cluster role",
    long: "Create a cluster role: rules for resources, for paths, or a selection of other cluster roles.",
    examples: "
      # Read pods everywhere
      kubectl create clusterrole pod-reader --verb=get,list,watch --resource=pods
      # A path
      kubectl create clusterrole foo --verb=get --non-resource-url=/logs/*
      # What other cluster roles allow
      kubectl create clusterrole monitoring --aggregation-rule=\"rbac.example.com/aggregate-to-monitoring=true\"",
    run: verb!(cluster_role: ClusterRole),
    ..GENERATOR
};

pub static ROLEBINDING: Command = Command {
    name: "rolebinding",
    usage: "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    short: "Create a role binding for a particular role or cluster role",
    long: "Give a role to users, groups and service accounts, in this namespace.",
    examples: "
      # Two users and a group
      kubectl create rolebinding admin --clusterrole=admin --user=user1 --user=user2 --group=group1
      # A service account
      kubectl create rolebinding admin-binding --role=admin --serviceaccount=ns1:sa-1",
    run: verb!(role_binding: RoleBinding),
    ..GENERATOR
};

pub static CLUSTERROLEBINDING: Command = Command {
    name: "clusterrolebinding",
    usage: "NAME --clusterrole=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    short: "Create a cluster role binding for a particular cluster role",
    long: "Give a cluster role to users, groups and service accounts, everywhere.",
    examples: "
      # Two users and a group
      kubectl create clusterrolebinding cluster-admin --clusterrole=cluster-admin --user=user1 --user=user2 --group=group1",
    required: &["clusterrole"],
    run: verb!(cluster_role_binding: ClusterRoleBinding),
    values: &[("clusterrole", Words::Names("clusterrole"))],
    ..GENERATOR
};

const RBAC: &str = "rbac.authorization.k8s.io";
/// Verbs that only these resources know, by group and name.
const SPECIAL: &[(&str, &[(&str, &str)])] = &[
    (
        "use",
        &[
            ("policy", "podsecuritypolicies"),
            ("extensions", "podsecuritypolicies"),
        ],
    ),
    ("bind", &[(RBAC, "roles"), (RBAC, "clusterroles")]),
    ("escalate", &[(RBAC, "roles"), (RBAC, "clusterroles")]),
    (
        "impersonate",
        &[
            ("", "users"),
            ("", "serviceaccounts"),
            ("", "groups"),
            ("authentication.k8s.io", "userextras"),
        ],
    ),
];

/// What a rule is made of.
#[derive(clap::Args)]
#[group(skip)]
struct Rules {
    /// A verb that is allowed; may be repeated
    #[arg(long)]
    verb: Vec<Csv>,
    /// A resource that it is allowed on (RESOURCE.GROUP/SUBRESOURCE); may be repeated
    #[arg(long)]
    resource: Vec<Csv>,
    /// Only the object of this name; may be repeated
    #[arg(long)]
    resource_name: Vec<String>,
}

#[derive(clap::Args)]
#[group(skip)]
struct ClusterRole {
    #[command(flatten)]
    rules: Rules,
    /// A path that is allowed; may be repeated
    #[arg(long)]
    non_resource_url: Vec<Csv>,
    /// Labels of the cluster roles to gather (KEY=VALUE,…)
    #[arg(long)]
    aggregation_rule: Vec<Matches>,
}

/// One use of a flag of labels, each of which has a value.
#[derive(Clone, Debug)]
struct Matches(Vec<(String, String)>);

impl std::str::FromStr for Matches {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let pair = |part: &str| {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| Problem::from("malformed pair, expect string=string"))?;
            Ok((key.trim().to_string(), value.trim().to_string()))
        };
        parts.map(pair).collect::<Result<_, Problem>>().map(Matches)
    }
}

/// Who gets a role.
#[derive(clap::Args)]
#[group(skip)]
struct Subjects {
    /// A user who gets the role; may be repeated
    #[arg(long)]
    user: Vec<String>,
    /// A group that gets the role; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// A service account that gets the role (NAMESPACE:NAME); may be repeated
    #[arg(long)]
    serviceaccount: Vec<String>,
}

#[derive(clap::Args)]
#[group(skip)]
struct ClusterRoleBinding {
    /// The cluster role to give
    #[arg(long)]
    clusterrole: String,
    #[command(flatten)]
    subjects: Subjects,
}

#[derive(clap::Args)]
#[group(skip)]
struct RoleBinding {
    #[command(flatten)]
    cluster: ClusterRoleBinding,
    /// The role to give
    #[arg(long)]
    role: String,
}

fn verbs(rules: &Rules) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for v in rules.verb.list() {
        if v == "*" {
            return vec![v];
        }
        if !out.contains(&v) {
            out.push(v);
        }
    }
    out
}

/// The rules: one an API group.
async fn resource_rules(ctx: &Ctx, verbs: &[String], given: &Rules) -> Result<Vec<Value>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut names: Vec<&String> = Vec::new();
    for name in &given.resource_name {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for text in &given.resource.list() {
        let (resource, sub) = text
            .split_once('/')
            .map_or((text.as_str(), None), |(r, s)| (r, Some(s)));
        let sub = sub.filter(|sub| !sub.is_empty());
        let (word, group) = resource
            .split_once('.')
            .map_or((resource, None), |(w, g)| (w, Some(g)));
        if word.is_empty() {
            bail!("resource must be specified if apiGroup/subresource specified");
        }
        let (mut plural, group) = if word == "*" {
            ("*".to_string(), group.unwrap_or("").to_string())
        } else {
            let group = group.unwrap_or_default();
            let found = ctx.discovery()?.lookup(resource).await;
            let (plural, of_group) = match &found {
                Ok(found) => (found.plural.clone(), found.group.clone()),
                Err(_) => (word.to_string(), group.to_string()),
            };
            let is_special = special(verbs, &plural, &of_group)?;
            match found {
                Err(Error::NoResource { .. }) if !is_special => {
                    return Err(Error::NoResource {
                        resource: word.into(),
                        group: group.into(),
                        version: String::new(),
                    });
                }
                Err(why) if !is_special => return Err(why),
                _ => (plural, of_group),
            }
        };
        if let Some(s) = sub {
            plural = format!("{plural}/{s}");
        }
        let list = groups.entry(group).or_default();
        if !list.contains(&plural) {
            list.push(plural);
        }
        if word == "*" && sub.is_none() {
            break;
        }
    }
    Ok(groups
        .into_iter()
        .map(|(group, resources)| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        })
        .collect())
}

/// Whether a verb is among these that few resources know, and this is one of them: nobody need serve it.
fn special(verbs: &[String], plural: &str, group: &str) -> Result<bool> {
    let mut known = false;
    for verb in verbs {
        let Some((_, resources)) = SPECIAL.iter().find(|(special, _)| special == verb) else {
            continue;
        };
        if !resources.contains(&(group, plural)) {
            bail!("can not perform '{verb}' on '{plural}' in group '{group}'");
        }
        known = true;
    }
    Ok(known)
}

fn warn_of_odd_verbs(verbs: &[String]) {
    for v in verbs.iter().filter(|v| !VERBS.contains(&v.as_str())) {
        eprintln!("Warning: '{v}' is not a standard resource verb");
    }
}

async fn role(ctx: With<Rules>) -> Result<()> {
    let name = generate::name(&ctx)?;
    let f = ctx.flags();
    let verbs = verbs(f);
    if verbs.is_empty() {
        bail!("at least one verb must be specified");
    }
    warn_of_odd_verbs(&verbs);
    if f.resource.list().is_empty() {
        bail!("at least one resource must be specified");
    }
    let kind = generate::kind(GROUP, "v1", "roles", "Role", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    object["rules"] = Value::Array(resource_rules(&ctx, &verbs, f).await?);
    generate::create(&ctx, &kind, object, "").await
}

async fn cluster_role(ctx: With<ClusterRole>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let (verbs, resources, urls, aggregation) = (
        verbs(&f.rules),
        f.rules.resource.list(),
        f.non_resource_url.list(),
        f.aggregation_rule.iter().flat_map(|m| m.0.clone()),
    );
    let kind = generate::kind(GROUP, "v1", "clusterroles", "ClusterRole", false);
    let mut object = generate::object(&ctx, &kind, &name)?;
    let aggregation: serde_json::Map<String, Value> =
        aggregation.map(|(k, v)| (k, json!(v))).collect();
    if !aggregation.is_empty() {
        if !verbs.is_empty()
            || !resources.is_empty()
            || !urls.is_empty()
            || !f.rules.resource_name.is_empty()
        {
            bail!(
                "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames"
            );
        }
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": aggregation}]});
        object["rules"] = Value::Null;
        return generate::create(&ctx, &kind, object, "").await;
    }
    if verbs.is_empty() {
        bail!("at least one verb must be specified");
    }
    if resources.is_empty() && urls.is_empty() {
        bail!("one of resource or nonResourceURL must be specified");
    }
    if !resources.is_empty() {
        warn_of_odd_verbs(&verbs);
    }
    for url in &urls {
        if let Some(v) = verbs.iter().find(|v| !URL_VERBS.contains(&v.as_str())) {
            bail!("invalid verb: '{v}' for nonResourceURL");
        }
        if *url != "*" && !url.starts_with('/') {
            bail!("nonResourceURL should start with /");
        }
        if url[..url.len() - 1].contains('*') {
            bail!("nonResourceURL only supports wildcard matches when '*' is at the end");
        }
    }
    let mut rules = resource_rules(&ctx, &verbs, &f.rules).await?;
    if !urls.is_empty() {
        rules.push(json!({"verbs": verbs, "nonResourceURLs": urls}));
    }
    object["rules"] = Value::Array(rules);
    generate::create(&ctx, &kind, object, "").await
}

async fn role_binding(ctx: With<RoleBinding>) -> Result<()> {
    let f = ctx.flags();
    binding(&ctx, "RoleBinding", &f.cluster, &f.role).await
}

async fn cluster_role_binding(ctx: With<ClusterRoleBinding>) -> Result<()> {
    binding(&ctx, "ClusterRoleBinding", ctx.flags(), "").await
}

async fn binding(ctx: &Ctx, kind_name: &str, f: &ClusterRoleBinding, role: &str) -> Result<()> {
    let name = generate::name(ctx)?;
    let namespaced = kind_name == "RoleBinding";
    let (cluster_role, subjects) = (f.clusterrole.as_str(), &f.subjects);
    if cluster_role.is_empty() == role.is_empty() {
        bail!("exactly one of clusterrole or role must be specified");
    }
    let kind = generate::kind(
        GROUP,
        "v1",
        if namespaced {
            "rolebindings"
        } else {
            "clusterrolebindings"
        },
        kind_name,
        namespaced,
    );
    let mut object = generate::object(ctx, &kind, &name)?;
    let (role_kind, role_name) = if role.is_empty() {
        ("ClusterRole", cluster_role)
    } else {
        ("Role", role)
    };
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role_name});
    let named = |kind: &str, names: &[String]| -> Vec<Value> {
        let subject = |name| json!({"kind": kind, "apiGroup": GROUP, "name": name});
        names.iter().map(subject).collect()
    };
    let mut list = named("User", &subjects.user);
    list.extend(named("Group", &subjects.group));
    for account in &subjects.serviceaccount {
        let (ns, n) = account
            .split_once(':')
            .filter(|(ns, n)| !ns.is_empty() && !n.is_empty() && !n.contains(':'))
            .ok_or_else(|| Error::msg("serviceaccount must be <namespace>:<name>"))?;
        list.push(json!({"kind": "ServiceAccount", "name": n, "namespace": ns}));
    }
    if !list.is_empty() {
        object["subjects"] = Value::Array(list);
    }
    let failed = format!("failed to create {}:", kind.singular);
    generate::create(ctx, &kind, object, &failed).await
}
