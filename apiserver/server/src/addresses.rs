//! IPAddress objects: one for each cluster IP that a service has, made and taken away with it.
//!
//! Invariant: who has an address is decided by the allocator; these objects follow, and what is missing or left over is mended at the start.
//! Follows `pkg/registry/core/service/ipallocator/ipallocator.go` and `pkg/registry/core/service/ipallocator/controller/repairip.go`.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{meta::Meta, status::Status},
};

use crate::{allocate::cluster_ips, app::App, bootstrap, stored, verbs, write};

const MANAGER_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";

fn row(kinds: &Registry) -> Result<&Arc<Kind>, Status> {
    kinds
        .find("networking.k8s.io", "v1", "ipaddresses")
        .ok_or_else(|| Status::internal("no row for ipaddresses"))
}

/// A service was written: its addresses get their objects, those that it gave up lose them. What goes wrong is mended at the next start, and told of.
pub async fn follow(app: &Arc<App>, new: &Value, old: &Value) {
    let (now, before): (Vec<_>, Vec<_>) = (cluster_ips(new).collect(), cluster_ips(old).collect());
    for ip in now.iter().filter(|ip| !before.contains(ip)) {
        if let Err(status) = make(app, &ip.to_string(), new).await {
            tracing::warn!("cannot make the IPAddress {ip}: {}", status.message);
        }
    }
    for ip in before.iter().filter(|ip| !now.contains(ip)) {
        if let Err(status) = remove(app, &ip.to_string()).await {
            tracing::warn!("cannot remove the IPAddress {ip}: {}", status.message);
        }
    }
}

async fn make(app: &Arc<App>, ip: &str, service: &Value) -> Result<(), Status> {
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    let address = json!({"metadata": {"name": ip, "labels": {"ipaddress.kubernetes.io/ip-family": family, MANAGER_LABEL: MANAGER}},
        "spec": {"parentRef": {"resource": "services", "namespace": service.namespace(), "name": service.name()}}});
    let ctx = bootstrap::own_context(app);
    let row = row(&ctx.kinds)?;
    // in a box: writing a service comes here, and this is a write
    match Box::pin(write::create(
        &ctx,
        row,
        "",
        bootstrap::ready(row, address)?,
    ))
    .await
    {
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}

async fn remove(app: &Arc<App>, ip: &str) -> Result<(), Status> {
    let ctx = bootstrap::own_context(app);
    match Box::pin(verbs::delete_object(
        &ctx,
        row(&ctx.kinds)?,
        "",
        ip,
        &verbs::DeleteOptions::default(),
    ))
    .await
    {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// Makes what services lack, and removes what no service has any more.
pub async fn repair(app: &Arc<App>) -> Result<(), Status> {
    let kinds = app.kinds.load();
    let (row, services) = (
        row(&kinds)?,
        kinds
            .find("", "v1", "services")
            .ok_or_else(Status::no_such_path)?,
    );
    let mut used = std::collections::HashSet::new();
    for object in app.store.snapshot("services").range(None, None) {
        let service = stored::decoded(services, &object)?;
        for ip in cluster_ips(&service).map(|ip| ip.to_string()) {
            if app.store.get(&stored::key_of(row, "", &ip)).is_none() {
                make(app, &ip, &service).await?;
            }
            used.insert(ip);
        }
    }
    for object in app
        .store
        .snapshot(&stored::resource_of(row))
        .range(None, None)
    {
        let ours = object.attributes().label(MANAGER_LABEL) == Some(MANAGER);
        if ours && !used.contains(&*object.key.name) {
            remove(app, &object.key.name).await?;
        }
    }
    Ok(())
}
