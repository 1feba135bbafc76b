//! What a new cluster holds: namespaces, the `kubernetes` service, default roles, priority classes, flow schemas.
//!
//! Invariant: nothing that exists is overwritten but what upstream reconciles too (missing rules and subjects of default roles).
//! Follows `pkg/controlplane/controller`, `pkg/registry/rbac/rest/storage_rbac.go`, `pkg/registry/scheduling/rest`.

use std::{net::SocketAddr, sync::Arc};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use serde_json::{Map, Value, json};
use skiff_api::machinery::{
    meta::Meta,
    names::ip::{IPV4, IPV6},
    read::Read,
    status::Status,
};

use crate::{
    addresses,
    aggregation::register,
    auth::{
        authorize::bootstrap::{Reconcile, bootstrap_objects, reconcile},
        front,
        pki::{FRONT_PROXY_CLIENT, Pki},
    },
    fairness, legacy_tokens, measured,
    own::{Own, ready},
    write::{Part, Writer},
};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Name, value and description.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// A step of these; one that fails where objects could not be decrypted does not keep the server from starting, as somebody is to mend that.
fn done(own: &Own, step: Result<(), Status>) -> Result<(), Status> {
    let store = &own.writer.core.store;
    let any_sealed = || {
        let resources = store.resources();
        let mut all = resources
            .iter()
            .flat_map(|resource| store.snapshot(resource).range(None, None));
        all.any(|object| object.sealed().is_some())
    };
    match step {
        Err(status) if any_sealed() => {
            tracing::error!("a default object was not looked after: {}", status.message);
            Ok(())
        }
        step => step,
    }
}

/// Makes what is missing: namespaces, then all else at once, so that few commits wait for the disk.
pub async fn run(
    writer: &Arc<Writer>,
    advertised: &[SocketAddr],
    pki: &Pki,
    fairness_acts: bool,
) -> Result<(), Status> {
    let own = &Own::new(writer);
    namespaces(own).await?;
    let steps = tokio::join!(
        default_policy(own),
        priority_classes(own),
        fairness::begin(writer, fairness_acts),
        register::builtin(own),
        own.put("configmaps", authentication(pki)),
        legacy_tokens::track(own),
        addresses::default_network(own),
    );
    let (policy, classes, flows, services, access, tokens, cidr) = steps;
    // its address is of a network that stands there
    let kubernetes = kubernetes_service(own, advertised).await;
    for step in [
        policy, classes, flows, services, access, tokens, cidr, kubernetes,
    ] {
        done(own, step)?;
    }
    done(own, addresses::repair(own).await)
}

/// Who may look at objects may see what is used, too. What metrics-server brings along for that has another name, and comes and goes with it.
pub async fn metrics_reader(writer: &Arc<Writer>) -> Result<(), Status> {
    const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
    let aggregated = |role: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
        (label, json!("true"))
    };
    let labels: Map<String, Value> = ["admin", "edit", "view"]
        .map(aggregated)
        .into_iter()
        .collect();
    let rule = json!({"apiGroups": [measured::GROUP], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]});
    let role = json!({"metadata": {"name": "skiff:aggregated-metrics-reader", "labels": labels}, "rules": [rule]});
    let own = &Own::new(writer);
    done(own, own.ensure(ROLES, role).await)
}

/// The namespaces that every cluster has.
pub async fn namespaces(own: &Own) -> Result<(), Status> {
    let namespaces = NAMESPACES.map(|name| {
        let namespace = json!({"metadata": {"name": name}});
        own.ensure("namespaces", namespace)
    });
    try_join_all(namespaces).await.map(drop)
}

async fn default_policy(own: &Own) -> Result<(), Status> {
    stream::iter(bootstrap_objects())
        // their namespaces stand in them
        .map(
            |(resource, _, value)| async move { done(own, reconciled(own, resource, value).await) },
        )
        .buffer_unordered(64)
        .try_collect()
        .await
}

async fn priority_classes(own: &Own) -> Result<(), Status> {
    let classes = PRIORITY_CLASSES.map(|(name, value, description)| {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        own.ensure("priorityclasses.scheduling.k8s.io", class)
    });
    try_join_all(classes).await.map(drop)
}

/// The ConfigMap by which API servers behind this one know whom it speaks for. Follows `pkg/controlplane/controller/clusterauthenticationtrust`.
pub fn authentication(pki: &Pki) -> Value {
    let list = |text: &str| json!([text]).to_string();
    let [user, uid, group, extra] = front::NAMES.map(list);
    let data = json!({"client-ca-file": String::from_utf8_lossy(&pki.client_ca), "requestheader-client-ca-file": pki.front_proxy_ca,
        "requestheader-allowed-names": list(FRONT_PROXY_CLIENT), "requestheader-username-headers": user, "requestheader-uid-headers": uid,
        "requestheader-group-headers": group, "requestheader-extra-headers-prefix": extra});
    json!({"metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"}, "data": data})
}

/// The service `kubernetes` and where it leads.
pub async fn kubernetes_service(own: &Own, advertised: &[SocketAddr]) -> Result<(), Status> {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let ip = own.writer.allocator.first().to_string();
    let Some(first) = advertised.first() else {
        return Ok(());
    };
    let port = first.port();
    let service = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ipFamilyPolicy": "SingleStack", "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]}});
    own.ensure("services", service).await?;
    let addresses: Vec<Value> = advertised
        .iter()
        .map(|a| json!({"ip": a.ip().to_string()}))
        .collect();
    let endpoints = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]});
    own.put("endpoints", endpoints).await?;
    slice_of_server(own, advertised, port).await
}

/// A slice has addresses of one family: IPv6 where there are no others. One of the other family is made anew. Follows
/// `pkg/controlplane/reconcilers/endpointsadapter.go`.
async fn slice_of_server(own: &Own, advertised: &[SocketAddr], port: u16) -> Result<(), Status> {
    const SLICES: &str = "endpointslices.discovery.k8s.io";
    let six = advertised.iter().all(SocketAddr::is_ipv6);
    let of_family = advertised.iter().filter(|a| a.is_ipv6() == six);
    let endpoints: Vec<Value> = of_family
        .map(|a| json!({"addresses": [a.ip().to_string()], "conditions": {"ready": true}}))
        .collect();
    let slice = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if six { IPV6 } else { IPV4 }, "ports": [{"name": "https", "port": port, "protocol": "TCP"}], "endpoints": endpoints});
    let live = own.stored(own.row(SLICES)?, "default", "kubernetes")?;
    if live.is_some_and(|live| live.text("addressType") != slice.text("addressType")) {
        own.delete(SLICES, "default", "kubernetes").await?;
    }
    own.put(SLICES, slice).await
}

/// Brings an object of the default policy to what it lacks, unless it is annotated to be left alone.
async fn reconciled(own: &Own, resource: &str, value: Value) -> Result<(), Status> {
    let row = own.row(resource)?;
    let (namespace, name) = (value.namespace().to_string(), value.name().to_string());
    let expected = ready(row, value)?;
    let existing = own.stored(row, &namespace, &name)?;
    match reconcile(&expected, existing.as_ref()) {
        Reconcile::Nothing => Ok(()),
        Reconcile::Create(_) => own.ensure(resource, expected).await,
        Reconcile::Update(_) => {
            own.update(row, (&namespace, &name), Part::Whole, &mut |live| {
                Ok(match reconcile(&expected, live) {
                    Reconcile::Update(new) => new,
                    _ => live.unwrap_or(&expected).clone(),
                })
            })
            .await
        }
        Reconcile::Recreate(_) => {
            own.delete(resource, &namespace, &name).await?;
            own.ensure(resource, expected).await
        }
    }
}
