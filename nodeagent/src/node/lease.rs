//! The node's heartbeat: a Lease in `kube-node-lease`, renewed four times in the time for which it holds.
//!
//! Invariant: a node that is no more gets no new Lease.
//! Follows `staging/src/k8s.io/component-helpers/apimachinery/lease/controller.go` and `pkg/kubelet/util/nodelease.go`.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use skiff_watching::{
    Error,
    api::{PatchType, item},
};

use crate::{agent::context::Context, config::Config, time};

const NAMESPACE: &str = "kube-node-lease";
/// How many seconds the Lease says that it holds: whole ones, and never none, which no Lease may say.
pub fn seconds(config: &Config) -> i32 {
    let holds = config.intervals.lease.saturating_mul(4).as_secs().max(1);
    i32::try_from(holds).unwrap_or(i32::MAX)
}

/// Renews until the agent stops.
pub async fn keep(node: Arc<Context>) {
    loop {
        if let Err(error) = renew(&node).await {
            tracing::warn!(%error, node = node.config.node_name, "lease not renewed");
        }
        tokio::select! {
            () = time::sleep(node.config.intervals.lease) => {}
            () = node.stop.cancelled() => return,
        }
    }
}

async fn renew(node: &Context) -> Result<(), Error> {
    let name = &node.config.node_name;
    let now = MicroTime(time::now());
    let seconds = seconds(&node.config);
    let patch = serde_json::json!({"spec": {"holderIdentity": name, "leaseDurationSeconds": seconds, "renewTime": now}});
    match node
        .api
        .patch(&item::<Lease>(NAMESPACE, name), PatchType::Merge, &patch)
        .await
    {
        Err(error) if error.is_not_found() => {}
        answer => return answer.map(drop),
    }
    let owner: Node = node.api.get("", name).await?;
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: owner.metadata.uid.unwrap_or_default(),
        ..Default::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(seconds),
            renew_time: Some(now),
            ..Default::default()
        }),
    };
    node.api.create_quietly(&lease).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lease_holds_for_four_heartbeats() {
        for (millis, wanted) in [
            (10_000, 40),
            (2500, 10),
            (2000, 8),
            (400, 1),
            (100, 1),
            (u64::MAX, i32::MAX),
        ] {
            let mut config = Config::new("a", "/nowhere");
            config.intervals.lease = Duration::from_millis(millis);
            assert_eq!(seconds(&config), wanted, "{millis} ms");
        }
    }
}
