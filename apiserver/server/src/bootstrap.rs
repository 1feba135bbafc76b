//! What a new cluster holds: namespaces, the `kubernetes` service, default roles, priority classes, flow schemas.
//!
//! Invariant: nothing that exists is overwritten but what upstream reconciles too (missing rules and subjects of default roles).
//! Follows `pkg/controlplane/controller`, `pkg/registry/rbac/rest/storage_rbac.go`, `pkg/registry/scheduling/rest`.

mod flow_control;

use std::{net::SocketAddr, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{meta::Meta, schema::conform, status::Status, time},
};

use crate::{
    app::App,
    auth::{
        User,
        authorize::bootstrap::{Reconcile, bootstrap_objects, reconcile},
    },
    context::Context,
    legacy_tokens,
    request::{Query, RequestInfo},
    stored, write,
};

/// A context for what the server does by itself.
pub fn own_context(app: &Arc<App>) -> Context {
    Context {
        kinds: app.kinds.load_full(),
        app: app.clone(),
        user: Arc::new(User::new(
            "system:apiserver",
            &["system:masters", "system:authenticated"],
        )),
        info: RequestInfo::own(),
        query: Query::read(Some("fieldManager=kube-apiserver")),
        headers: Default::default(),
        warnings: Default::default(),
    }
}

/// Makes what is missing.
pub async fn run(app: &Arc<App>, advertised: &[SocketAddr]) -> Result<(), Status> {
    let ctx = own_context(app);
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(
            &ctx,
            "",
            "v1",
            "namespaces",
            "",
            json!({"metadata": {"name": name}}),
        )
        .await?;
    }
    let roles = stream::iter(bootstrap_objects().into_iter().map(
        |(resource, namespace, value)| {
            let ctx = &ctx;
            async move {
                let row = ctx
                    .kinds
                    .stored(resource)
                    .ok_or_else(|| Status::internal(format!("no row for {resource}")))?;
                reconcile_row(ctx, row, namespace, value).await
            }
        },
    ));
    roles.buffer_unordered(64).try_collect::<()>().await?;
    for (name, value, description) in [
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
    ] {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        ensure(
            &ctx,
            "scheduling.k8s.io",
            "v1",
            "priorityclasses",
            "",
            class,
        )
        .await?;
    }
    flow_control::run(app).await?;
    legacy_tokens::track(&ctx).await?;
    service_cidr(app).await?;
    kubernetes_service(&ctx, advertised).await?;
    crate::addresses::repair(app).await
}

/// The network of the services, as an object. Follows `pkg/controlplane/controller/defaultservicecidr`.
async fn service_cidr(app: &Arc<App>) -> Result<(), Status> {
    const NAME: &str = "kubernetes";
    let cidr = app.allocator.cidr.trunc().to_string();
    ensure(
        &own_context(app),
        "networking.k8s.io",
        "v1",
        "servicecidrs",
        "",
        json!({"metadata": {"name": NAME}, "spec": {"cidrs": [cidr]}}),
    )
    .await?;
    let now = time::seconds(app.clock.now());
    let status = json!({"conditions": [
        {"type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": now}]});
    let told = |live: &Value| {
        let conditions = live["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] != "Unknown");
        ready || live["spec"]["cidrs"] != json!([cidr])
    };
    apply_status(
        app,
        "kubernetes-service-cidr-controller",
        ["networking.k8s.io", "v1", "servicecidrs"],
        NAME,
        &status,
        &told,
    )
    .await
}

/// Applies a status by the name of a controller, unless it was `told` before or the object is being deleted.
async fn apply_status(
    app: &Arc<App>,
    manager: &str,
    [group, version, plural]: [&str; 3],
    name: &str,
    status: &Value,
    told: &(dyn Fn(&Value) -> bool + Sync),
) -> Result<(), Status> {
    let kinds = app.kinds.load_full();
    let row = kinds
        .find(group, version, plural)
        .ok_or_else(|| Status::internal(format!("no row for {plural}")))?;
    let part = write::Part::Sub(
        row.subresource("status")
            .ok_or_else(|| Status::internal(format!("{plural} have no status")))?,
    );
    let ctx = Context {
        query: Query::read(Some(&format!("fieldManager={manager}&force=true"))),
        ..own_context(app)
    };
    let config = json!({"apiVersion": row.api_version(), "kind": row.kind, "metadata": {"name": name}, "status": status});
    write::update(&ctx, row, "", name, write::Update::of(part), &mut |live| {
        let live = live.unwrap_or(&Value::Null);
        if live.is_deleting() || told(live) {
            return Ok(live.clone());
        }
        let mut new = crate::managed::apply(&ctx, row, part, Some(live), &config)?;
        conform(&mut new, row.node()).map_err(|error| Status::internal(error.to_string()))?;
        Ok(new)
    })
    .await
    .map(|_| ())
}

/// The service `kubernetes` and where it leads.
async fn kubernetes_service(ctx: &Context, advertised: &[SocketAddr]) -> Result<(), Status> {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let ip = ctx.app.allocator.first().to_string();
    let Some(first) = advertised.first() else {
        return Ok(());
    };
    let port = first.port();
    let service = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]}});
    ensure(ctx, "", "v1", "services", "default", service).await?;
    let addresses: Vec<Value> = advertised
        .iter()
        .map(|a| json!({"ip": a.ip().to_string()}))
        .collect();
    let endpoints = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]});
    put(ctx, "", "v1", "endpoints", "default", endpoints).await?;
    let slice = json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": advertised.iter().map(|a| json!({"addresses": [a.ip().to_string()], "conditions": {"ready": true}})).collect::<Vec<_>>()});
    put(
        ctx,
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "default",
        slice,
    )
    .await
}

pub async fn ensure(
    ctx: &Context,
    group: &str,
    version: &str,
    plural: &str,
    namespace: &str,
    value: Value,
) -> Result<(), Status> {
    let row = ctx
        .kinds
        .find(group, version, plural)
        .ok_or_else(|| Status::internal(format!("no row for {plural}.{group}")))?;
    ensure_row(ctx, row, namespace, value).await
}

pub fn ready(row: &Arc<Kind>, mut value: Value) -> Result<Value, Status> {
    conform(&mut value, row.node())
        .map_err(|error| Status::internal(format!("{}: {error}", value.name())))?;
    value["apiVersion"] = row.api_version().into();
    value["kind"] = row.kind.into();
    (row.strategy.defaults)(&mut value);
    Ok(value)
}

/// Creates what is absent and leaves what is there.
async fn ensure_row(
    ctx: &Context,
    row: &Arc<Kind>,
    namespace: &str,
    value: Value,
) -> Result<(), Status> {
    if ctx
        .app
        .store
        .get(&stored::key_of(row, namespace, value.name()))
        .is_some()
    {
        return Ok(());
    }
    match write::create(ctx, row, namespace, ready(row, value)?).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "AlreadyExists" => Ok(()),
        Err(status) => Err(status),
    }
}

/// Brings an object of the default policy to what it lacks, unless it is annotated to be left alone.
async fn reconcile_row(
    ctx: &Context,
    row: &Arc<Kind>,
    namespace: &str,
    value: Value,
) -> Result<(), Status> {
    let name = value.name().to_string();
    let expected = ready(row, value)?;
    let stored = |object: std::sync::Arc<skiff_storage::Object>| stored::decoded(row, &object);
    let existing = ctx
        .app
        .store
        .get(&stored::key_of(row, namespace, &name))
        .map(stored)
        .transpose()?;
    match reconcile(&expected, existing.as_ref()) {
        Reconcile::Nothing => Ok(()),
        Reconcile::Create(_) => ensure_row(ctx, row, namespace, expected).await,
        Reconcile::Update(_) => {
            let how = write::Update::of(write::Part::Whole);
            let mut compute = |live: Option<&Value>| {
                Ok(match reconcile(&expected, live) {
                    Reconcile::Update(new) => new,
                    _ => live.cloned().unwrap_or_default(),
                })
            };
            write::update(ctx, row, namespace, &name, how, &mut compute)
                .await
                .map(drop)
        }
        Reconcile::Recreate(_) => {
            crate::verbs::delete_object(ctx, row, namespace, &name, &Default::default()).await?;
            ensure_row(ctx, row, namespace, expected).await
        }
    }
}

/// Creates or replaces all but metadata.
pub async fn put(
    ctx: &Context,
    group: &str,
    version: &str,
    plural: &str,
    namespace: &str,
    value: Value,
) -> Result<(), Status> {
    let row = ctx
        .kinds
        .find(group, version, plural)
        .ok_or_else(|| Status::internal(format!("no row for {plural}.{group}")))?;
    let name = value.name().to_string();
    if ctx
        .app
        .store
        .get(&stored::key_of(row, namespace, &name))
        .is_none()
    {
        return ensure_row(ctx, row, namespace, value).await;
    }
    let value = ready(row, value)?;
    write::update(
        ctx,
        row,
        namespace,
        &name,
        write::Update::of(write::Part::Whole),
        &mut |live| {
            let mut new = value.clone();
            if let Some(live) = live {
                new["metadata"] = live["metadata"].clone();
            }
            Ok(new)
        },
    )
    .await
    .map(|_| ())
}
