//! A pod that names its node goes nowhere else. Follows `plugins/nodename/node_name.go`.

use crate::{
    cache::NodeInfo,
    framework::{Plugin, Rejection},
    pod::PodInfo,
};

pub const PLUGIN: Plugin = Plugin { name: "NodeName", filter: Some(filter), score: None };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let wanted = pod.pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())?;
    (wanted != node.name).then(|| Rejection::unresolvable("node(s) didn't match the requested node name"))
}
