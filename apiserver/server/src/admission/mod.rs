//! Admission: what is asked before an object is written. ONE file a plugin, one line each in the list.
//!
//! Invariant: all mutating steps come before all validating ones, in upstream's order of plugins; an error refuses the write.
//! Follows `pkg/kubeapiserver/options/plugins.go` (order) and `staging/src/k8s.io/apiserver/pkg/admission`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::{kinds::Kind, machinery::status::Status};

use crate::{app::App, auth::User};

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
    pub kind: &'static Kind,
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
        Attributes { object: None, warnings: Vec::new(), ..*self }
    }

    /// The write is of this resource (`pods`, group empty) itself.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural && self.subresource.is_empty()
    }

    /// `pods "x" is forbidden: WHY`.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let name = if self.name.is_empty() {
            use skiff_api::machinery::meta::Meta;
            self.object.as_ref().map_or("", |object| if object.name().is_empty() { object.meta_str("generateName") } else { object.name() })
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
            plugin.admit(attributes).await?;
        }
        Ok(())
    }

    pub async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        for plugin in &self.0 {
            plugin.validate(attributes).await?;
        }
        Ok(())
    }
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
const PLUGINS: &[Entry] = &[];

/// The chain that the command line asks for.
pub fn chain(selection: &Selection) -> Result<Chain, SelectionError> {
    let known = |name: &String| PLUGINS.iter().any(|entry| entry.name == name);
    if let Some(name) = selection.enable.iter().find(|name| !known(name)) {
        return Err(SelectionError::UnknownEnabled(name.clone()));
    }
    if let Some(name) = selection.disable.iter().find(|name| !known(name)) {
        return Err(SelectionError::UnknownDisabled(name.clone()));
    }
    if let Some(name) = selection.enable.iter().find(|name| selection.disable.contains(name)) {
        return Err(SelectionError::Both(name.clone()));
    }
    let on = |entry: &&Entry| {
        let named = |list: &[String]| list.iter().any(|name| name == entry.name);
        named(&selection.enable) || entry.default && !named(&selection.disable)
    };
    Ok(Chain(PLUGINS.iter().filter(on).map(|entry| (entry.make)()).collect()))
}
