//! `proxy` of pods, services and nodes: the address that the name in the path stands for.
//!
//! Invariant: an address that a proxy leads to is a pod's or a node's, and neither this machine's loopback nor its link.
//! Follows `pkg/registry/core/pod/strategy.go`, `pkg/registry/core/node/strategy.go` and `pkg/registry/core/service/storage/storage.go`
//! (ResourceLocation).

use std::sync::Arc;

use std::net::IpAddr;

use rand::RngExt;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::Read;
use skiff_api::{
    kinds::{Kind, Proxied},
    machinery::status::Status,
};

use super::{live::live, node};
use crate::context::Context;
use crate::dial::location::{self, Location, Scheme, Via, is_global_unicast, split_id};

pub async fn location(
    ctx: &Context,
    kind: &Arc<Kind>,
    proxied: Proxied,
) -> Result<Location, Status> {
    let id = ctx.info.name_in_path();
    let (scheme, name, port) = split_id(id).ok_or_else(|| {
        Status::bad_request(format!(
            "invalid {} request {id}",
            kind.singular,
            id = GoQuoted(&id)
        ))
    })?;
    let path = location::subpath(&ctx.info);
    match proxied {
        Proxied::Node => node_location(ctx, scheme, name, port, path).await,
        Proxied::Pod => pod_location(ctx, kind, scheme.unwrap_or(Scheme::Http), name, port, path),
        Proxied::Service => service_location(
            ctx,
            kind,
            scheme.unwrap_or(Scheme::Http),
            (id, name, port),
            path,
        ),
    }
}

/// The node's own API, or another port of that node.
async fn node_location(
    ctx: &Context,
    scheme: Option<Scheme>,
    name: &str,
    port: &str,
    path: String,
) -> Result<Location, Status> {
    let own = node::location(ctx, name, path, String::new())?;
    let addresses: Vec<IpAddr> = match own.host.parse() {
        Ok(ip) => vec![ip],
        Err(_) => tokio::net::lookup_host((own.host.as_str(), 0))
            .await
            .map_err(|error| Status::bad_request(format!("lookup {}: {error}", own.host)))?
            .map(|found| found.ip())
            .collect(),
    };
    if addresses.is_empty() {
        return Err(Status::bad_request("no addresses for hostname"));
    }
    if !addresses.iter().all(|ip| is_global_unicast(*ip)) {
        return Err(Status::bad_request("address not allowed"));
    }
    if port.is_empty() || port == own.port.to_string() {
        return Ok(own);
    }
    // the address that was looked at is the one that is dialled
    let host = addresses[0].to_string();
    Ok(Location {
        scheme: scheme.unwrap_or(Scheme::Http),
        host,
        port: reached(port)?,
        via: Via::Anybody,
        ..own
    })
}

fn reached(port: &str) -> Result<u16, Status> {
    location::port(port).map_err(unreachable)
}

/// What a proxied request is told when nobody answers.
pub fn unreachable(why: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

fn not_allowed() -> Status {
    Status::bad_request("address not allowed")
}

fn pod_location(
    ctx: &Context,
    kind: &Arc<Kind>,
    scheme: Scheme,
    name: &str,
    port: &str,
    path: String,
) -> Result<Location, Status> {
    let pod = live(ctx, kind, &ctx.info.namespace, name)?;
    let first = pod["status"]["podIPs"][0]["ip"]
        .as_str()
        .or(pod.at("status").text_ptr("podIP"));
    let ip: IpAddr = first
        .and_then(|text| text.parse().ok())
        .filter(|ip| is_global_unicast(*ip))
        .ok_or_else(not_allowed)?;
    let port = match port {
        "" => first_port(&pod).unwrap_or(scheme.port()),
        text => reached(text)?,
    };
    Ok(Location {
        scheme,
        host: ip.to_string(),
        port,
        path,
        query: String::new(),
        via: Via::Anybody,
    })
}

/// The first port that a container declares.
fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod.at("spec").list("containers").iter();
    containers
        .filter_map(|container| container["ports"][0]["containerPort"].as_u64())
        .next()
        .and_then(|port| u16::try_from(port).ok())
}

fn service_location(
    ctx: &Context,
    kind: &Arc<Kind>,
    scheme: Scheme,
    (id, name, port): (&str, &str, &str),
    path: String,
) -> Result<Location, Status> {
    let namespace = ctx.info.namespace.as_str();
    let mut port_name = port.to_owned();
    if let Ok(number) = port.parse::<i64>() {
        let service = live(ctx, kind, namespace, name)?;
        let ports = service.at("spec").list("ports").iter();
        let found = ports
            .clone()
            .find(|port| port.int_ptr("port") == Some(number));
        let found = found.ok_or_else(|| {
            Status::unavailable(format!(
                "no service port {number} found for service {name}",
                name = GoQuoted(&name)
            ))
        })?;
        port_name = found.text("name").to_owned();
    }
    let endpoints = live(
        ctx,
        ctx.kinds
            .find("", "v1", "endpoints")
            .ok_or_else(Status::no_such_path)?,
        namespace,
        name,
    )?;
    let subsets = endpoints.list("subsets");
    if subsets.is_empty() {
        return Err(Status::unavailable(format!(
            "no endpoints available for service {name}",
            name = GoQuoted(&name)
        )));
    }
    let (ip, port) = from_any(subsets)
        .find_map(|subset| endpoint(ctx, subset, &port_name))
        .ok_or_else(|| {
            Status::unavailable(format!(
                "no endpoints available for service {id}",
                id = GoQuoted(&id)
            ))
        })?;
    Ok(Location {
        scheme,
        host: ip.to_string(),
        port,
        path,
        query: String::new(),
        via: Via::Anybody,
    })
}

/// All items once, from any of them on.
fn from_any(items: &[Value]) -> impl Iterator<Item = &Value> {
    let start = rand::rng().random_range(0..items.len().max(1));
    items[start..].iter().chain(&items[..start])
}

/// An address of the subset that is a pod's, when it has the port.
fn endpoint(ctx: &Context, subset: &Value, port_name: &str) -> Option<(IpAddr, u16)> {
    let port = subset
        .at("ports")
        .as_array()?
        .iter()
        .find(|port| port.text("name") == port_name)?;
    let port = u16::try_from(port.at("port").as_u64()?).ok()?;
    let addresses = subset.list("addresses");
    from_any(addresses)
        .find_map(|address| pod_address(ctx, address))
        .map(|ip| (ip, port))
}

/// The address, when the pod that it is said to be of has it.
fn pod_address(ctx: &Context, address: &Value) -> Option<IpAddr> {
    let reference = address.at("targetRef");
    if reference.text_ptr("namespace") != Some(&ctx.info.namespace) {
        return None;
    }
    let pod = live(
        ctx,
        ctx.kinds.find("", "v1", "pods")?,
        &ctx.info.namespace,
        reference.text_ptr("name")?,
    )
    .ok()?;
    let ip = address.text_ptr("ip")?;
    let has = pod
        .at("status")
        .list("podIPs")
        .iter()
        .any(|one| one.at("ip") == ip);
    let known =
        has || pod.at("status").some("podIPs").is_none() && pod.at("status").at("podIP") == ip;
    ip.parse().ok().filter(|ip| known && is_global_unicast(*ip))
}
