//! What the proxy knows of the cluster at one moment, besides services.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::networking::v1::{Ingress, IngressClass},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};

use super::{AGENT, certificates::Kept, gateway::watch::Objects};
use crate::network::view::ObjectName;

/// An Ingress as the proxy keeps it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Without its managed fields.
    pub ingress: Arc<Ingress>,
    /// Whether the addresses in its status are this proxy's word.
    pub told: bool,
}

impl Known {
    pub(super) fn of(mut ingress: Ingress) -> Self {
        let fields = ingress.metadata.managed_fields.take().unwrap_or_default();
        Known {
            told: fields.iter().any(says_address),
            ingress: Arc::new(ingress),
        }
    }
}

/// Whether the manager is this proxy, and the addresses are what it manages.
fn says_address(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let addresses = ["f:status", "f:loadBalancer", "f:ingress"]
        .iter()
        .try_fold(fields, |at, name| Some(at?.get(name)))
        .flatten();
    entry.manager.as_deref() == Some(AGENT) && addresses.is_some()
}

/// All that is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    pub ingresses: BTreeMap<ObjectName, Known>,
    pub classes: BTreeMap<String, Arc<IngressClass>>,
    pub certificates: Kept,
    /// Nothing while the kinds of the Gateway API are not defined.
    pub gateways: Objects,
}
