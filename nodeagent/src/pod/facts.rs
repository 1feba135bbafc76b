//! What the status of a pod is made from.

use std::{collections::HashMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};

use super::{containers::Waiting, handle::Verdict, view::PodView};
use crate::probe::state::Results;

/// All that the status of a pod is made from.
pub struct Facts<'a> {
    pub pod: &'a Pod,
    /// What was last computed; the API's own status at first.
    pub old: &'a PodStatus,
    pub view: &'a PodView,
    pub reasons: &'a HashMap<String, Waiting>,
    pub messages: &'a HashMap<String, String>,
    /// Results of probes, by container id.
    pub probes: &'a HashMap<String, Results>,
    /// Containers whose postStart hook has not come back yet, by id.
    pub in_post_start: &'a [String],
    pub ips: &'a [IpAddr],
    pub host_ips: &'a [IpAddr],
    /// Nothing of the pod will be started any more.
    pub terminal: bool,
    /// Nothing of the pod is left on the node.
    pub finished: bool,
    /// A verdict on the pod as a whole: phase Failed with this reason and message.
    pub failed: Option<&'a Verdict>,
    /// What is told of a resize of the running pod.
    pub resize: &'a [PodCondition],
}
