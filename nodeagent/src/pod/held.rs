//! What one pod holds of its node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use skiff_api::machinery::quantity::Quantity;
use skiff_podspec::{
    ports::{HostPort, host_ports},
    resources::Unreadable,
};

use super::{names::spec, resources::pod_requests};

/// Resources by name: thousandths of a CPU, and whole numbers of anything else.
pub type Amounts = BTreeMap<String, i64>;

/// `value` of the resource `name` as it is counted.
pub fn amount(name: &str, value: &Quantity) -> i64 {
    if name == "cpu" {
        value.milli_value()
    } else {
        value.value()
    }
}

/// What one pod holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub amounts: Amounts,
    pub ports: Vec<HostPort>,
}

impl Held {
    pub fn of(pod: &Pod) -> Result<Self, Unreadable> {
        let amounts = pod_requests(pod)?
            .into_iter()
            .map(|(name, value)| (name.clone(), amount(&name, &value)))
            .collect();
        Ok(Self {
            amounts,
            ports: host_ports(spec(pod)),
        })
    }
}
