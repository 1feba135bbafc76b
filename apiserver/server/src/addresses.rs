//! IPAddress objects: one for each cluster IP that a service has, made and taken away with it; and the ServiceCIDR of the server's own network.
//!
//! Invariant: who has an address is decided by the allocator; these objects follow, and what is missing or left over is mended at the start.
//! Follows `pkg/registry/core/service/ipallocator/ipallocator.go` and `pkg/registry/core/service/ipallocator/controller/repairip.go`.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};
use skiff_api::machinery::{
    meta::Meta, names::ip::family_of_text, read::Read, status::Status, time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    allocate::{ADDRESSES, cluster_ips, networks},
    following::Following,
    own::Own,
    stored,
    write::{Part, Writer},
};

const MANAGER_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";

/// A service was written: its addresses get their objects, those that it gave up lose them. What goes wrong is mended at the next start, and told of.
pub async fn follow(writer: &Arc<Writer>, new: &Value, old: &Value) {
    let (now, before): (Vec<_>, Vec<_>) = (cluster_ips(new).collect(), cluster_ips(old).collect());
    let own = Own::new(writer);
    for ip in now.iter().filter(|ip| !before.contains(ip)) {
        if let Err(status) = make(&own, &ip.to_string(), new).await {
            tracing::warn!("cannot make the IPAddress {ip}: {}", status.message);
        }
    }
    for ip in before.iter().filter(|ip| !now.contains(ip)) {
        if let Err(status) = own.delete(ADDRESSES, "", &ip.to_string()).await {
            tracing::warn!("cannot remove the IPAddress {ip}: {}", status.message);
        }
    }
}

async fn make(own: &Own, ip: &str, service: &Value) -> Result<(), Status> {
    let family = family_of_text(ip);
    let address = json!({"metadata": {"name": ip, "labels": {"ipaddress.kubernetes.io/ip-family": family, MANAGER_LABEL: MANAGER}},
        "spec": {"parentRef": {"resource": "services", "namespace": service.namespace(), "name": service.name()}}});
    own.ensure(ADDRESSES, address).await
}

/// Makes what services lack, and removes what no service has any more.
pub async fn repair(own: &Own) -> Result<(), Status> {
    let services = own.row("services")?;
    let store = &own.writer.core.store;
    let mut used = HashSet::new();
    for object in store.snapshot("services").range(None, None) {
        let service = stored::decoded(services, &object)?;
        for ip in cluster_ips(&service).map(|ip| ip.to_string()) {
            make(own, &ip, &service).await?;
            used.insert(ip);
        }
    }
    for object in store.snapshot(ADDRESSES).range(None, None) {
        let ours = object.attributes().label(MANAGER_LABEL) == Some(MANAGER);
        if ours && !used.contains(&*object.key.name) {
            own.delete(ADDRESSES, "", &object.key.name).await?;
        }
    }
    Ok(())
}

/// The networks of `--service-cluster-ip-range`, as an object, which a second network may come to. Follows `pkg/controlplane/controller/defaultservicecidr`.
pub async fn default_network(own: &Own) -> Result<(), Status> {
    const NAME: &str = "kubernetes";
    let ranges = own.writer.allocator.ranges;
    let cidrs: Vec<String> = ranges.iter().map(|net| net.to_string()).collect();
    let object = json!({"metadata": {"name": NAME}, "spec": {"cidrs": cidrs}});
    own.ensure(networks::RESOURCE, object).await?;
    let row = own.row(networks::RESOURCE)?;
    if let [first, _] = cidrs.as_slice() {
        own.change(row, ("", NAME), Part::Whole, &mut |live| {
            if live.at("spec").texts("cidrs").eq([first.as_str()]) {
                live["spec"]["cidrs"] = json!(cidrs);
            }
        })
        .await?;
    }
    let now = time::seconds(own.writer.core.now());
    let status = json!({"conditions": [
        {"type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": now}]});
    let told = |live: &Value| {
        let ready = |condition: &Value| {
            condition.text("type") == "Ready" && condition.text("status") != "Unknown"
        };
        live.at("status").list("conditions").iter().any(ready)
            || !live.at("spec").texts("cidrs").eq(&cidrs)
    };
    Own::managing(&own.writer, "kubernetes-service-cidr-controller")
        .apply_status(networks::RESOURCE, NAME, &status, &told)
        .await
}

/// Looks after that object whenever a ServiceCIDR changes, until `stopping`.
pub async fn keep_network(writer: Arc<Writer>, stopping: CancellationToken) {
    let mut following = Following::new(&writer.core.store, networks::RESOURCE);
    loop {
        let changes = tokio::select! {
            changes = following.next() => changes,
            () = stopping.cancelled() => None,
        };
        let Some(_) = changes else { return };
        if let Err(status) = default_network(&Own::new(&writer)).await {
            tracing::error!(
                "cannot look after the default ServiceCIDR: {}",
                status.message
            );
        }
    }
}
