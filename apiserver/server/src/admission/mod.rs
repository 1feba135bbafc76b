//! Admission: what is asked before an object is written. ONE file a plugin, one line each in the list.
//!
//! Invariant: all mutating steps come before all validating ones, in upstream's order of plugins; an error refuses the write.
//! Follows `pkg/kubeapiserver/options/plugins.go` (order) and `staging/src/k8s.io/apiserver/pkg/admission`.

mod certificates;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_resize_validator;
mod pod_topology_labels;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::status::Status,
};
use skiff_storage::{Key, Object};

use crate::{app::App, auth::User, context::Context, stored};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// What a write is about.
pub struct Attributes<'a> {
    pub app: &'a Arc<App>,
    pub kinds: &'a Registry,
    pub kind: &'a Arc<Kind>,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    pub operation: Operation,
    pub namespace: &'a str,
    /// Empty while a generated name is still to come.
    pub name: &'a str,
    /// The object as it is to be written; `None` for deletions.
    pub object: Option<Value>,
    /// The object as it stands; `None` for creations.
    pub old: Option<&'a Value>,
    pub user: &'a User,
    pub dry_run: bool,
    /// Texts for Warning headers.
    pub warnings: Vec<String>,
}

impl<'a> Attributes<'a> {
    /// The same, its object left out.
    pub fn without_object(&self) -> Attributes<'a> {
        Attributes {
            object: None,
            warnings: Vec::new(),
            ..*self
        }
    }

    /// The write is of this resource (`pods`, group empty) itself.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural && self.subresource.is_empty()
    }

    /// The write is of this resource itself and one of these operations.
    pub fn is_one(&self, operations: &[Operation], group: &str, plural: &str) -> bool {
        operations.contains(&self.operation) && self.is(group, plural)
    }

    /// An object as it is stored; `resource` is `plural.group`.
    pub fn stored(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.app.store.get(&Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The same, decoded.
    pub fn look_up(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        let Some(object) = self.stored(resource, namespace, name) else {
            return Ok(None);
        };
        let row = self
            .kinds
            .stored(resource)
            .ok_or_else(|| Status::internal(format!("no row for {resource}")))?;
        stored::decoded(row, &object).map(Some)
    }

    /// All objects of a resource in a namespace (`None`: everywhere), decoded.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Result<Vec<Value>, Status> {
        let row = self
            .kinds
            .stored(resource)
            .ok_or_else(|| Status::internal(format!("no row for {resource}")))?;
        self.app
            .store
            .snapshot(resource)
            .range(namespace, None)
            .map(|object| stored::decoded(row, &object))
            .collect()
    }

    /// `pods "x" is forbidden: WHY`.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let name = if self.name.is_empty() {
            use skiff_api::machinery::meta::Meta;
            self.object.as_ref().map_or("", |object| {
                if object.name().is_empty() {
                    object.meta_str("generateName")
                } else {
                    object.name()
                }
            })
        } else {
            self.name
        };
        Status::forbidden(self.kind.group, self.kind.plural, name, &why.to_string())
    }
}

/// One admission plugin. `admit` may change the object, `validate` may not.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// As kube-apiserver's `--enable-admission-plugins` names it.
    fn name(&self) -> &'static str;
    /// Whether it has anything to say of such a write; asked before the object is looked at, so that others do not pay for it.
    fn handles(&self, attributes: &Attributes<'_>) -> bool;
    async fn admit(&self, _attributes: &mut Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
    async fn validate(&self, _attributes: &Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// The plugins that are on, in order.
#[derive(Default)]
pub struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    pub async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        for plugin in &self.0 {
            if plugin.handles(attributes) {
                plugin.admit(attributes).await?;
            }
        }
        Ok(())
    }

    pub async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        for plugin in &self.0 {
            if plugin.handles(attributes) {
                plugin.validate(attributes).await?;
            }
        }
        Ok(())
    }
}

/// Lets the plugins change what is to be written; their client hears their warnings, whatever comes of it.
pub async fn admit(ctx: &Context, attributes: &mut Attributes<'_>) -> Result<(), Status> {
    let admitted = ctx.app.admission.admit(attributes).await;
    std::mem::take(&mut attributes.warnings)
        .into_iter()
        .for_each(|text| ctx.warn(text));
    admitted
}

/// Asks about a write of a subresource that is no part of its object (`pods/eviction`, `serviceaccounts/token`); the object as admitted.
pub async fn subresource(
    ctx: &Context,
    kind: &Arc<Kind>,
    subresource: &str,
    operation: Operation,
    object: Option<Value>,
) -> Result<Option<Value>, Status> {
    let mut attributes = Attributes {
        app: &ctx.app,
        kinds: &ctx.kinds,
        kind,
        subresource,
        operation,
        namespace: &ctx.info.namespace,
        name: ctx.info.name_in_path(),
        object,
        old: None,
        user: &ctx.user,
        dry_run: crate::write::dry_run(ctx)?,
        warnings: Vec::new(),
    };
    admit(ctx, &mut attributes).await?;
    ctx.app.admission.validate(&attributes).await?;
    Ok(attributes.object)
}

/// What the command line says of plugins.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub enable: Vec<String>,
    pub disable: Vec<String>,
}

#[derive(thiserror::Error, Debug)]
pub enum SelectionError {
    #[error("enable-admission-plugins plugin {0:?} is unknown")]
    UnknownEnabled(String),
    #[error("disable-admission-plugins plugin {0:?} is unknown")]
    UnknownDisabled(String),
    #[error("{0:?} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Both(String),
}

/// A plugin that there is: its name, whether it is on by default, and how it is made.
struct Entry {
    name: &'static str,
    default: bool,
    make: fn() -> Box<dyn Plugin>,
}

/// All plugins, in upstream's order, one line each.
const PLUGINS: &[Entry] = &[
    Entry {
        name: "NamespaceLifecycle",
        default: true,
        make: || Box::new(namespace_lifecycle::NamespaceLifecycle),
    },
    Entry {
        name: "LimitRanger",
        default: true,
        make: || Box::new(limit_ranger::LimitRanger),
    },
    Entry {
        name: "ServiceAccount",
        default: true,
        make: || Box::new(service_account::ServiceAccount),
    },
    Entry {
        name: "NodeRestriction",
        default: true,
        make: || Box::new(node_restriction::NodeRestriction),
    },
    Entry {
        name: "TaintNodesByCondition",
        default: true,
        make: || Box::new(taint_nodes_by_condition::TaintNodesByCondition),
    },
    Entry {
        name: "Priority",
        default: true,
        make: || Box::<priority::Priority>::default(),
    },
    Entry {
        name: "DefaultTolerationSeconds",
        default: true,
        make: || Box::new(default_toleration_seconds::DefaultTolerationSeconds),
    },
    Entry {
        name: "DefaultStorageClass",
        default: true,
        make: || Box::new(default_storage_class::DefaultStorageClass),
    },
    Entry {
        name: "StorageObjectInUseProtection",
        default: true,
        make: || Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
    },
    Entry {
        name: "PersistentVolumeClaimResize",
        default: true,
        make: || Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
    },
    Entry {
        name: "RuntimeClass",
        default: true,
        make: || Box::new(runtime_class::RuntimeClass),
    },
    Entry {
        name: "CertificateApproval",
        default: true,
        make: || Box::new(certificates::CertificateApproval),
    },
    Entry {
        name: "CertificateSigning",
        default: true,
        make: || Box::new(certificates::CertificateSigning),
    },
    Entry {
        name: "CertificateSubjectRestriction",
        default: true,
        make: || Box::new(certificates::CertificateSubjectRestriction),
    },
    Entry {
        name: "DefaultIngressClass",
        default: true,
        make: || Box::new(default_ingress_class::DefaultIngressClass),
    },
    Entry {
        name: "PodTopologyLabels",
        default: true,
        make: || Box::new(pod_topology_labels::PodTopologyLabels),
    },
    Entry {
        name: "PodResizeValidator",
        default: true,
        make: || Box::new(pod_resize_validator::PodResizeValidator),
    },
    Entry {
        name: "ResourceQuota",
        default: true,
        make: || Box::new(resource_quota::ResourceQuota),
    },
];

/// The chain that the command line asks for.
pub fn chain(selection: &Selection) -> Result<Chain, SelectionError> {
    let known = |name: &String| PLUGINS.iter().any(|entry| entry.name == name);
    if let Some(name) = selection.enable.iter().find(|name| !known(name)) {
        return Err(SelectionError::UnknownEnabled(name.clone()));
    }
    if let Some(name) = selection.disable.iter().find(|name| !known(name)) {
        return Err(SelectionError::UnknownDisabled(name.clone()));
    }
    if let Some(name) = selection
        .enable
        .iter()
        .find(|name| selection.disable.contains(name))
    {
        return Err(SelectionError::Both(name.clone()));
    }
    let on = |entry: &&Entry| {
        let named = |list: &[String]| list.iter().any(|name| name == entry.name);
        named(&selection.enable) || entry.default && !named(&selection.disable)
    };
    Ok(Chain(
        PLUGINS
            .iter()
            .filter(on)
            .map(|entry| (entry.make)())
            .collect(),
    ))
}
