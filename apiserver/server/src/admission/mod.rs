//! Admission: what is asked before an object is written. ONE file a plugin, one line each in the list.
//!
//! To add a plugin: a file beside this one with a type that implements `Plugin` (`default_ingress_class.rs` is the shortest that changes objects,
//! `namespace_lifecycle.rs` the shortest that refuses), its `mod` line, and its line in `all` where upstream's order has it. `handles` says which
//! writes concern it, by what costs nothing to ask; `admit` changes `attributes.object`, `validate` only looks; a refusal is
//! `attributes.forbidden(…)`; other objects come from `attributes.look_up` and `attributes.list`, in which what cannot be read is an error. Its
//! decision is a pure function with a table of cases below it; `tests/api/admission.rs` tries it from outside.
//!
//! Invariant: all mutating steps come before all validating ones, in upstream's order of plugins; an error refuses the write.
//! Follows `pkg/kubeapiserver/options/plugins.go` (order) and `staging/src/k8s.io/apiserver/pkg/admission`.

mod amounts;
mod certificates;
mod charged;
mod configuration;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod durations;
mod expressions;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod plugin;
mod pod_resize_validator;
mod pod_security;
mod pod_topology_labels;
mod policies;
mod priority;
mod resource_quota;
mod rounds;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod view;
mod webhooks;

use std::{sync::Arc, time::Instant};

use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::status::Status;

pub use self::{
    charged::Charged,
    configuration::ConfigurationError,
    plugin::{Attributes, Compute, Given, Operation, Plugin, Statuses},
    rounds::Rounds,
    webhooks::Webhooks,
};
use self::{
    configuration::Configuration,
    durations::{Durations, Pass},
};
use skiff_watching::tally::family;

/// The plugins that are on, in order.
#[derive(Default)]
pub struct Chain {
    plugins: Vec<(Box<dyn Plugin>, Durations)>,
    passes: Durations,
    hooks: Arc<webhooks::Tally>,
}

impl Chain {
    pub async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let (began, operation) = (Instant::now(), attributes.operation);
        let mut admitted = self.round(attributes).await;
        if admitted.is_ok() && attributes.rounds.begin_another() {
            admitted = self.round(attributes).await;
        }
        let took = began.elapsed();
        self.passes
            .observe(Pass::Admit, operation, admitted.is_err(), took);
        admitted
    }

    async fn round(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        for (plugin, durations) in &self.plugins {
            if plugin.handles(attributes) {
                let (began, operation) = (Instant::now(), attributes.operation);
                let admitted = plugin.admit(attributes).await;
                let took = began.elapsed();
                durations.observe(Pass::Admit, operation, admitted.is_err(), took);
                admitted?;
            }
        }
        Ok(())
    }

    pub async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let (began, operation) = (Instant::now(), attributes.operation);
        let checked = self.checked(attributes).await;
        let took = began.elapsed();
        self.passes
            .observe(Pass::Validate, operation, checked.is_err(), took);
        checked
    }

    async fn checked(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        for (plugin, durations) in &self.plugins {
            if plugin.handles(attributes) {
                let began = Instant::now();
                let checked = plugin.validate(attributes).await;
                let took = began.elapsed();
                durations.observe(Pass::Validate, attributes.operation, checked.is_err(), took);
                checked?;
            }
        }
        Ok(())
    }

    /// Lines of `/metrics`.
    pub fn metrics(&self, text: &mut String) {
        let mut name = "apiserver_admission_controller_admission_duration_seconds";
        let help = "Seconds that a plugin of admission took.";
        family(text, name, "histogram", help);
        for (plugin, durations) in &self.plugins {
            durations.text(name, &format!("name=\"{}\",", plugin.name()), text);
        }
        name = "apiserver_admission_step_admission_duration_seconds";
        let help = "Seconds that all plugins took that change an object, or that look at it.";
        family(text, name, "histogram", help);
        self.passes.text(name, "", text);
        self.hooks.text(text);
    }
}

/// What the command line says of plugins.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub enable: Vec<String>,
    pub disable: Vec<String>,
    /// `--admission-control-config-file`
    pub configuration: Option<std::path::PathBuf>,
}

#[derive(thiserror::Error, Debug)]
pub enum SelectionError {
    #[error("enable-admission-plugins plugin {} is unknown", GoQuoted(.0))]
    UnknownEnabled(String),
    #[error("disable-admission-plugins plugin {} is unknown", GoQuoted(.0))]
    UnknownDisabled(String),
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error("{} in enable-admission-plugins and disable-admission-plugins overlapped", GoQuoted(.0))]
    Both(String),
}

/// All plugins, in upstream's order, one line each. Each is on unless the command line says otherwise.
fn all(webhooks: &Webhooks, configuration: Configuration) -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(taint_nodes_by_condition::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity(configuration.pod_security)),
        Box::<priority::Priority>::default(),
        Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        Box::new(default_storage_class::DefaultStorageClass),
        Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
        Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(default_ingress_class::DefaultIngressClass),
        Box::new(pod_topology_labels::PodTopologyLabels),
        Box::new(pod_resize_validator::PodResizeValidator),
        Box::<policies::MutatingAdmissionPolicy>::default(),
        webhooks.mutating_plugin(),
        Box::<policies::ValidatingAdmissionPolicy>::default(),
        webhooks.validating_plugin(),
        Box::new(resource_quota::ResourceQuota),
    ]
}

/// The chain that the command line asks for.
pub fn chain(selection: &Selection, webhooks: &Webhooks) -> Result<Chain, SelectionError> {
    let file = selection.configuration.as_deref();
    let configuration = file
        .map(Configuration::read)
        .transpose()?
        .unwrap_or_default();
    let mut plugins = all(webhooks, configuration);
    let unknown = |names: &[String]| {
        let known = |name: &&String| plugins.iter().any(|plugin| plugin.name() == **name);
        names.iter().find(|name| !known(name)).cloned()
    };
    if let Some(name) = unknown(&selection.enable) {
        return Err(SelectionError::UnknownEnabled(name));
    }
    if let Some(name) = unknown(&selection.disable) {
        return Err(SelectionError::UnknownDisabled(name));
    }
    let off = |name: &str| selection.disable.iter().any(|disabled| disabled == name);
    if let Some(name) = selection.enable.iter().find(|name| off(name)) {
        return Err(SelectionError::Both(name.clone()));
    }
    plugins.retain(|plugin| !off(plugin.name()));
    let plugins = plugins.into_iter();
    Ok(Chain {
        plugins: plugins
            .map(|plugin| (plugin, Durations::default()))
            .collect(),
        passes: Durations::default(),
        hooks: webhooks.tally.clone(),
    })
}
