//! The words that authentication and authorization share with the rest of the server: users, attributes, decisions, rules.
//!
//! Invariant: nothing here decides anything. Follows `staging/src/k8s.io/apiserver/pkg/authentication/user/user.go` and
//! `staging/src/k8s.io/apiserver/pkg/authorization/authorizer/interfaces.go`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize};
use skiff_storage::Object;

use super::text::aggregate;

pub const ALL_AUTHENTICATED: &str = "system:authenticated";
pub const ALL_UNAUTHENTICATED: &str = "system:unauthenticated";
pub const ANONYMOUS: &str = "system:anonymous";
pub const SYSTEM_MASTERS: &str = "system:masters";
/// How the server shows itself to nodes.
pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";
pub const NODES_GROUP: &str = "system:nodes";
pub const NODE_USER_PREFIX: &str = "system:node:";
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
pub const ALL_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
pub const SERVICE_ACCOUNT_GROUP_PREFIX: &str = "system:serviceaccounts:";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub groups: Vec<String>,
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn new(name: impl Into<String>, groups: &[&str]) -> User {
        User {
            name: name.into(),
            groups: groups.iter().map(|g| g.to_string()).collect(),
            ..User::default()
        }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The name and namespace of the service account that this user is.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        split_service_account(&self.name)
    }
}

/// `system:serviceaccount:NAMESPACE:NAME` as namespace and name.
pub fn split_service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username
        .strip_prefix(SERVICE_ACCOUNT_PREFIX)?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// Read access to the cluster's objects, implemented by the server over its store.
/// `resource` is `plural.group`, the plural alone for the core group; `namespace` is empty for cluster-scoped objects.
pub trait Objects: Send + Sync {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>>;
    /// All objects of a resource, or those of one namespace.
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>>;
    /// Grows with every change of that resource, and not before the change can be read.
    fn version(&self, resource: &str) -> u64;
    /// What comes of a resource from now on, after all that there is.
    fn follow(&self, resource: &str) -> Box<dyn Follow>;
}

/// A place in the changes of a resource.
pub trait Follow: Send {
    /// What came since it was asked last, in order; nothing that can be read is missing.
    fn since(&mut self) -> Vec<Change>;
}

/// What came of a resource.
#[derive(Clone, Debug)]
pub enum Change {
    /// This is all there is: whatever was known besides is gone.
    All(Vec<Arc<Object>>),
    Put(Arc<Object>),
    Removed(Arc<Object>),
}

/// What a request is about, as authorizers see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    pub user: Arc<User>,
    /// Kubernetes' verb of a resource request (`get`, `list`, `deletecollection` …), else the HTTP method in lower case.
    pub verb: String,
    /// False for a path that is no resource (`/healthz`, `/api`); then only `user`, `verb` and `path` count.
    pub resource_request: bool,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub path: String,
    /// The raw `fieldSelector` of a list, watch or deletecollection.
    pub field_selector: String,
    /// The raw `labelSelector` of a list, watch or deletecollection.
    pub label_selector: String,
}

impl Attributes {
    /// A verb that changes nothing.
    pub fn read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// `resource` or `resource/subresource`.
    pub fn combined_resource(&self) -> String {
        match self.subresource.is_empty() {
            true => self.resource.clone(),
            false => format!("{}/{}", self.resource, self.subresource),
        }
    }
}

/// What an authorizer says; the text is the reason, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(String),
    /// Nobody else is asked.
    Deny(String),
    /// The next authorizer is asked; the last one's lack of opinion is a refusal.
    NoOpinion(String),
}

impl Decision {
    pub fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    pub fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                reason
            }
        }
    }
}

/// One rule of a Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    #[serde(deserialize_with = "null_is_default")]
    pub verbs: Vec<String>,
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub api_groups: Vec<String>,
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub resources: Vec<String>,
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub non_resource_urls: Vec<String>,
}

/// `null` in stored JSON is an absent list.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What a user may do in a namespace, as far as it can be listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Rules with `resources`.
    pub resource: Vec<PolicyRule>,
    /// Rules with `non_resource_urls`.
    pub non_resource: Vec<PolicyRule>,
    /// Some authorizer cannot list its rules, or a rule could not be read.
    pub incomplete: bool,
    /// Why, when something could not be read; joined by `, ` in an answer.
    pub errors: Vec<String>,
}

/// What was decided, and what went wrong on the way to it: whoever is not allowed because somebody could not be asked is told so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    pub errors: Vec<String>,
}

impl Verdict {
    pub fn allowed(&self) -> bool {
        self.decision.allowed()
    }

    pub fn reason(&self) -> &str {
        self.decision.reason()
    }

    /// All that went wrong as one text.
    pub fn error(&self) -> Option<String> {
        aggregate(&self.errors)
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Verdict {
        Verdict {
            decision,
            errors: Vec::new(),
        }
    }
}

/// Decides on requests by what is known here.
pub trait Authorizer: Send + Sync {
    fn authorize(&self, attributes: &Attributes) -> Decision;
    fn rules(&self, user: &User, namespace: &str) -> Rules;
}

/// Decides on requests by asking somebody outside.
#[async_trait]
pub trait RemoteAuthorizer: Send + Sync {
    async fn authorize(&self, attributes: &Attributes) -> Verdict;
    fn rules(&self, user: &User, namespace: &str) -> Rules;
}

/// The credentials do not hold; to be answered with 401 and nothing more. The text is for the log and for token reviews.
#[derive(thiserror::Error, Clone, Debug, PartialEq)]
#[error("{0}")]
pub struct Unauthorized(pub String);

impl From<String> for Unauthorized {
    fn from(why: String) -> Unauthorized {
        Unauthorized(why)
    }
}

impl From<&str> for Unauthorized {
    fn from(why: &str) -> Unauthorized {
        Unauthorized(why.to_owned())
    }
}
