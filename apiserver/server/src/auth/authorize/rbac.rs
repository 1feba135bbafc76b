//! The RBAC authorizer: rules of roles, by the bindings of the user, groups and service account that ask.
//!
//! Invariant: a decision is made on the bindings and roles as they are at that moment (their versions are compared on each call), from
//! parsed and indexed copies, so that nothing is parsed for a request unless a role or binding changed since the last one; and then only
//! what changed. A binding whose role is absent or unreadable grants nothing and says so.
//! Follows `plugin/pkg/auth/authorizer/rbac/rbac.go` and `pkg/registry/rbac/validation/rule.go`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use skiff_storage::Object;

use super::rule;
use crate::auth::text::{aggregate, quote};
use crate::auth::{
    Attributes, Authorizer, Decision, Objects, PolicyRule, Rules, User, null_is_default,
    split_service_account,
};

pub const ROLES: &str = "roles.rbac.authorization.k8s.io";
pub const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
pub const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
pub const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// Why the rules of a role that a binding refers to are not to be had.
#[derive(thiserror::Error, Clone, Debug, PartialEq)]
pub enum RoleError {
    #[error("{resource}.rbac.authorization.k8s.io {} not found", quote(.name))]
    NotFound {
        resource: &'static str,
        name: String,
    },
    #[error("unsupported role reference kind: {}", quote(.0))]
    Kind(String),
    #[error("cannot read {resource} {}: {reason}", quote(.name))]
    Unreadable {
        resource: &'static str,
        name: String,
        reason: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Subject {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleRef {
    pub api_group: String,
    pub kind: String,
    pub name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Binding {
    #[serde(deserialize_with = "null_is_default")]
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Role {
    #[serde(deserialize_with = "null_is_default")]
    rules: Vec<PolicyRule>,
}

/// Namespace and name.
type Name = (Arc<str>, Arc<str>);

/// Parsed objects of one resource, with the revision that was parsed; an error says why an object cannot be read.
struct Parsed<T>(HashMap<Name, (u64, Result<Arc<T>, String>)>);

impl<T: DeserializeOwned> Parsed<T> {
    /// The present objects of `resource`, those unchanged since `before` not parsed again.
    fn read(objects: &dyn Objects, resource: &str, before: Option<&Parsed<T>>) -> Parsed<T> {
        let parse = |object: Arc<Object>| {
            let key = (object.key.namespace.clone(), object.key.name.clone());
            let known = before
                .and_then(|before| before.0.get(&key))
                .filter(|(revision, _)| *revision == object.revision);
            let parsed = known.map_or_else(
                || {
                    serde_json::from_slice(&object.bytes.read())
                        .map(Arc::new)
                        .map_err(|e| e.to_string())
                },
                |(_, parsed)| parsed.clone(),
            );
            (key, (object.revision, parsed))
        };
        Parsed(
            objects
                .list(resource, None)
                .into_iter()
                .map(parse)
                .collect(),
        )
    }
}

/// A binding with its rules at hand.
struct Bound {
    kind: &'static str,
    /// Empty for a ClusterRoleBinding.
    namespace: Arc<str>,
    name: Arc<str>,
    binding: Arc<Binding>,
    rules: Result<Arc<Role>, RoleError>,
}

impl Bound {
    /// `RoleBinding "reader/default" of Role "reader" to User "alice"`.
    fn describe(&self, user: &User) -> String {
        let name = match self.namespace.is_empty() {
            true => quote(&self.name),
            false => quote(&format!("{}/{}", self.name, self.namespace)),
        };
        let role = &self.binding.role_ref;
        let subject = self
            .binding
            .subjects
            .iter()
            .find(|subject| applies(subject, &self.namespace, user));
        let to = subject.map_or(String::new(), |subject| match subject.kind.as_str() {
            "ServiceAccount" => {
                let namespace = if subject.namespace.is_empty() {
                    &self.namespace
                } else {
                    subject.namespace.as_str()
                };
                format!(
                    "ServiceAccount {}",
                    quote(&format!("{}/{namespace}", subject.name))
                )
            }
            kind => format!("{kind} {}", quote(&subject.name)),
        });
        format!(
            "{} {name} of {} {} to {to}",
            self.kind,
            role.kind,
            quote(&role.name)
        )
    }
}

fn applies(subject: &Subject, namespace: &str, user: &User) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == user.name,
        "Group" => user.in_group(&subject.name),
        "ServiceAccount" => {
            let namespace = if subject.namespace.is_empty() {
                namespace
            } else {
                &subject.namespace
            };
            !namespace.is_empty() && user.service_account() == Some((namespace, &subject.name))
        }
        _ => false,
    }
}

/// The bindings of one namespace, or those of the cluster, by subject.
#[derive(Default)]
struct Index {
    bound: Vec<Bound>,
    users: HashMap<String, Vec<usize>>,
    groups: HashMap<String, Vec<usize>>,
    /// By namespace and name.
    accounts: HashMap<(String, String), Vec<usize>>,
}

impl Index {
    fn add(&mut self, bound: Bound) {
        let at = self.bound.len();
        for subject in &bound.binding.subjects {
            let list = match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()).or_default(),
                "Group" => self.groups.entry(subject.name.clone()).or_default(),
                "ServiceAccount" => {
                    let namespace = if subject.namespace.is_empty() {
                        &*bound.namespace
                    } else {
                        &subject.namespace
                    };
                    if namespace.is_empty() {
                        continue;
                    }
                    self.accounts
                        .entry((namespace.to_owned(), subject.name.clone()))
                        .or_default()
                }
                _ => continue,
            };
            if list.last() != Some(&at) {
                list.push(at);
            }
        }
        self.bound.push(bound);
    }

    /// The bindings of the user, of its service account, of its groups, in this order; one may come twice.
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Bound> {
        let account = match self.accounts.is_empty() {
            true => None,
            false => split_service_account(&user.name).and_then(|(namespace, name)| {
                self.accounts.get(&(namespace.to_owned(), name.to_owned()))
            }),
        };
        let lists = self.users.get(&user.name).into_iter().chain(account).chain(
            user.groups
                .iter()
                .filter_map(|group| self.groups.get(group)),
        );
        lists.flatten().map(|at| &self.bound[*at])
    }
}

/// Everything RBAC knows, as of four versions.
struct Snapshot {
    versions: [u64; 4],
    roles: Parsed<Role>,
    cluster_roles: Parsed<Role>,
    role_bindings: Parsed<Binding>,
    cluster_role_bindings: Parsed<Binding>,
    cluster: Index,
    namespaces: HashMap<Arc<str>, Index>,
}

impl Snapshot {
    fn read(objects: &dyn Objects, versions: [u64; 4], before: Option<&Snapshot>) -> Snapshot {
        let roles = Parsed::read(objects, ROLES, before.map(|b| &b.roles));
        let cluster_roles = Parsed::read(objects, CLUSTER_ROLES, before.map(|b| &b.cluster_roles));
        let role_bindings = Parsed::read(objects, ROLE_BINDINGS, before.map(|b| &b.role_bindings));
        let cluster_role_bindings = Parsed::read(
            objects,
            CLUSTER_ROLE_BINDINGS,
            before.map(|b| &b.cluster_role_bindings),
        );
        let mut snapshot = Snapshot {
            versions,
            roles,
            cluster_roles,
            role_bindings,
            cluster_role_bindings,
            cluster: Index::default(),
            namespaces: HashMap::new(),
        };
        let cluster = snapshot.bound("ClusterRoleBinding", &snapshot.cluster_role_bindings);
        cluster
            .into_iter()
            .for_each(|bound| snapshot.cluster.add(bound));
        for bound in snapshot.bound("RoleBinding", &snapshot.role_bindings) {
            snapshot
                .namespaces
                .entry(bound.namespace.clone())
                .or_default()
                .add(bound);
        }
        snapshot
    }

    /// Readable bindings in the order of their names, so that the same binding is named as the reason each time.
    fn bound(&self, kind: &'static str, bindings: &Parsed<Binding>) -> Vec<Bound> {
        let mut bound = Vec::with_capacity(bindings.0.len());
        for ((namespace, name), (_, binding)) in &bindings.0 {
            match binding {
                Ok(binding) => {
                    let rules = self.role(&binding.role_ref, namespace);
                    bound.push(Bound {
                        kind,
                        namespace: namespace.clone(),
                        name: name.clone(),
                        binding: binding.clone(),
                        rules,
                    });
                }
                Err(reason) => tracing::error!(
                    "cannot read {kind} {namespace}/{name}, it grants nothing: {reason}"
                ),
            }
        }
        bound.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        bound
    }

    fn role(&self, reference: &RoleRef, namespace: &str) -> Result<Arc<Role>, RoleError> {
        let (roles, resource, namespace) = match reference.kind.as_str() {
            "Role" => (&self.roles, "role", namespace),
            "ClusterRole" => (&self.cluster_roles, "clusterrole", ""),
            kind => return Err(RoleError::Kind(kind.to_owned())),
        };
        match roles
            .0
            .get(&(Arc::from(namespace), Arc::from(reference.name.as_str())))
        {
            None => Err(RoleError::NotFound {
                resource,
                name: reference.name.clone(),
            }),
            Some((_, Ok(role))) => Ok(role.clone()),
            Some((_, Err(reason))) => Err(RoleError::Unreadable {
                resource,
                name: reference.name.clone(),
                reason: reason.clone(),
            }),
        }
    }

    fn bindings<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Bound> {
        let local = if namespace.is_empty() {
            None
        } else {
            self.namespaces.get(namespace)
        };
        self.cluster
            .of(user)
            .chain(local.into_iter().flat_map(|index| index.of(user)))
    }
}

pub struct Rbac {
    objects: Arc<dyn Objects>,
    snapshot: ArcSwapOption<Snapshot>,
    /// Held while a snapshot is made, so that many requests after one change make one.
    making: Mutex<()>,
}

impl Rbac {
    pub fn new(objects: Arc<dyn Objects>) -> Rbac {
        Rbac {
            objects,
            snapshot: ArcSwapOption::empty(),
            making: Mutex::new(()),
        }
    }

    fn versions(&self) -> [u64; 4] {
        [CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, CLUSTER_ROLES, ROLES]
            .map(|resource| self.objects.version(resource))
    }

    fn with<T>(&self, work: impl FnOnce(&Snapshot) -> T) -> T {
        let fresh = |snapshot: &Option<Arc<Snapshot>>| {
            snapshot
                .as_ref()
                .is_some_and(|snapshot| snapshot.versions == self.versions())
        };
        let present = self.snapshot.load();
        if fresh(&present)
            && let Some(snapshot) = &*present
        {
            return work(snapshot);
        }
        let _making = self.making.lock();
        let present = self.snapshot.load_full();
        if fresh(&present)
            && let Some(snapshot) = &present
        {
            return work(snapshot);
        }
        // The versions are taken before the objects: a change in between is seen as one more change.
        let snapshot = Arc::new(Snapshot::read(
            &*self.objects,
            self.versions(),
            present.as_deref(),
        ));
        self.snapshot.store(Some(snapshot.clone()));
        work(&snapshot)
    }

    /// The rules of the role that a binding in `namespace` (empty: a cluster role binding) refers to.
    pub fn role_rules(
        &self,
        reference: &RoleRef,
        namespace: &str,
    ) -> Result<Vec<PolicyRule>, RoleError> {
        self.with(|snapshot| {
            snapshot
                .role(reference, namespace)
                .map(|role| role.rules.clone())
        })
    }

    /// All rules of a user in a namespace (empty: the cluster's alone), and what could not be resolved.
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        self.with(|snapshot| {
            let (mut rules, mut errors, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
            for bound in snapshot.bindings(user, namespace) {
                if !seen.insert(std::ptr::from_ref(bound)) {
                    continue;
                }
                match &bound.rules {
                    Ok(role) => rules.extend(role.rules.iter().cloned()),
                    Err(error) => errors.push(error.to_string()),
                }
            }
            (rules, errors)
        })
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        self.with(|snapshot| {
            let mut errors = Vec::new();
            for bound in snapshot.bindings(&attributes.user, &attributes.namespace) {
                match &bound.rules {
                    Ok(role) if role.rules.iter().any(|rule| rule::allows(rule, attributes)) => {
                        return Decision::Allow(format!(
                            "RBAC: allowed by {}",
                            bound.describe(&attributes.user)
                        ));
                    }
                    Ok(_) => {}
                    Err(error) => errors.push(error.to_string()),
                }
            }
            Decision::NoOpinion(
                aggregate(&errors).map_or(String::new(), |errors| format!("RBAC: {errors}")),
            )
        })
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        let (rules, errors) = self.rules_for(user, namespace);
        let part = |keep: fn(&PolicyRule) -> bool| {
            rules.iter().filter(|rule| keep(rule)).cloned().collect()
        };
        Rules {
            resource: part(|rule| !rule.resources.is_empty()),
            non_resource: part(|rule| !rule.non_resource_urls.is_empty()),
            incomplete: false,
            errors,
        }
    }
}

#[cfg(test)]
#[path = "tests/rbac.rs"]
mod cases;

#[cfg(test)]
#[path = "tests/bindings.rs"]
mod tests;
