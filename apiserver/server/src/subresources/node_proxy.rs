//! `log`, `exec`, `attach`, `portforward` of pods and `proxy` of pods, services and nodes: handed on to the node's own API or the pod.
//!
//! Invariant: the server authorizes, the node serves; an upgraded connection is copied byte for byte both ways.
//! Follows `pkg/registry/core/pod/rest/{log,subresources}.go` and `pkg/registry/core/pod/strategy.go` (LogLocation, streamLocation).

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, StatusCode, Uri, header, request::Parts};
use hyper_util::{client::legacy::Client, rt::TokioExecutor, rt::TokioIo};
use serde_json::Value;
use skiff_api::{
    kinds::{self, Kind, Subresource},
    machinery::{meta::Meta, status::Status},
};

use crate::{
    context::{Answer, Context},
    stored,
};

type Https = hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>;

/// The client towards nodes: speaks with the API server's own certificate.
#[derive(Clone)]
pub struct NodeClient(Client<Https, Body>);

impl NodeClient {
    pub fn new(tls: rustls::ClientConfig) -> NodeClient {
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        NodeClient(Client::builder(TokioExecutor::new()).build(connector))
    }
}

/// Where a request goes.
struct Target {
    uri: String,
}

pub async fn serve(ctx: &Context, kind: &'static Kind, sub: &'static Subresource, parts: Parts, body: Body) -> Answer {
    let name = ctx.info.name_in_path();
    let target = match sub {
        Subresource::Proxy(_) => proxy_target(ctx, kind)?,
        _ => {
            let object = ctx.app.store.get(&stored::key_of(kind, &ctx.info.namespace, name)).ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
            pod_target(ctx, &stored::decoded(kind, &object)?, sub)?
        }
    };
    forward(ctx, target, parts, body).await
}

fn node_address(ctx: &Context, name: &str) -> Result<String, Status> {
    let row = kinds::find("", "v1", "nodes").ok_or_else(Status::no_such_path)?;
    let object = ctx.app.store.get(&stored::key_of(row, "", name)).ok_or_else(|| Status::not_found("", "nodes", name))?;
    let node = stored::decoded(row, &object)?;
    let addresses = node["status"]["addresses"].as_array();
    let find = |kind: &str| addresses.into_iter().flatten().find(|a| a["type"] == kind).and_then(|a| a["address"].as_str());
    let host = find("InternalIP").or_else(|| find("ExternalIP")).or_else(|| find("Hostname"));
    let host = host.ok_or_else(|| Status::internal(format!("no preferred addresses found; known addresses: {}", node["status"]["addresses"])))?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().filter(|p| *p > 0).unwrap_or(10250);
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// The container that a request means.
fn container_of(ctx: &Context, pod: &Value, sub: &Subresource) -> Result<String, Status> {
    let names =
        |field: &str| -> Vec<String> { pod["spec"][field].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_string)).collect() };
    let containers = names("containers");
    let all: Vec<String> = containers.iter().cloned().chain(names("initContainers")).chain(names("ephemeralContainers")).collect();
    let asked = ctx.query.text("container");
    if asked.is_empty() {
        if containers.len() == 1 {
            return Ok(containers[0].clone());
        }
        if let Some(default) =
            pod.annotation("kubectl.kubernetes.io/default-container").filter(|name| matches!(sub, Subresource::Log) && all.iter().any(|n| n == name))
        {
            return Ok(default.into());
        }
        let mut said = format!("a container name must be specified for pod {}, choose one of: [{}]", pod.name(), containers.join(" "));
        let init = names("initContainers");
        if !init.is_empty() {
            said += &format!(" or one of the init containers: [{}]", init.join(" "));
        }
        return Err(Status::bad_request(said));
    }
    if !all.iter().any(|name| name == asked) {
        return Err(Status::bad_request(format!("container {asked} is not valid for pod {}", pod.name())));
    }
    Ok(asked.into())
}

fn pod_target(ctx: &Context, pod: &Value, sub: &Subresource) -> Result<Target, Status> {
    let verb = match sub {
        Subresource::Log => "containerLogs",
        Subresource::Exec => "exec",
        Subresource::Attach => "attach",
        _ => "portForward",
    };
    let (namespace, name) = (pod.namespace(), pod.name());
    let container = match sub {
        Subresource::PortForward => None,
        _ => Some(container_of(ctx, pod, sub)?),
    };
    let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
    if node.is_empty() {
        return Err(match sub {
            // logs of a pod that has no node yet are empty
            Subresource::Log => {
                Status::bad_request(format!("container {:?} in pod {name:?} is waiting to start: no host assigned", container.unwrap_or_default()))
            }
            _ => Status::bad_request(format!("pod {name} does not have a host assigned")),
        });
    }
    let address = node_address(ctx, node)?;
    let path = match &container {
        Some(container) => format!("/{verb}/{namespace}/{name}/{container}"),
        None => format!("/{verb}/{namespace}/{name}"),
    };
    let query = node_query(ctx, sub);
    Ok(Target { uri: format!("https://{address}{path}{}{query}", if query.is_empty() { "" } else { "?" }) })
}

/// The parameters as the node's API names them.
fn node_query(ctx: &Context, sub: &Subresource) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut add = |key: &str, value: &str| out.push(format!("{key}={}", encoded(value)));
    match sub {
        Subresource::Exec | Subresource::Attach => {
            for (key, name) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
                if ctx.query.flag(key) {
                    add(name, "1");
                }
            }
            for word in ctx.query.all("command") {
                add("command", word);
            }
        }
        Subresource::Log => {
            for key in ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"] {
                if let Some(value) = ctx.query.get(key) {
                    add(key, value);
                }
            }
        }
        _ => {
            for port in ctx.query.all("ports") {
                add("port", port);
            }
        }
    }
    out.join("&")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// `[scheme:]name[:port]` in the path of a proxy request.
fn split_name(name: &str) -> (&str, &str, &str) {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [scheme, name, port] => (scheme, name, port),
        [name, port] => ("", name, port),
        _ => ("", name, ""),
    }
}

fn proxy_target(ctx: &Context, kind: &'static Kind) -> Result<Target, Status> {
    let (scheme, name, port) = split_name(ctx.info.name_in_path());
    let key = stored::key_of(kind, &ctx.info.namespace, name);
    let object = ctx.app.store.get(&key).ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
    let value = stored::decoded(kind, &object)?;
    let unavailable = || Status::unavailable(format!("no endpoints available for service {name:?}"));
    let (scheme, authority) = match kind.plural {
        "nodes" => ("https", node_address(ctx, name)?),
        "pods" => {
            let ip = value["status"]["podIP"].as_str().ok_or_else(|| Status::bad_request("address not allowed"))?;
            let first = || value["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64().map(|p| p.to_string());
            let port = if port.is_empty() { first().unwrap_or_else(|| "80".into()) } else { port.into() };
            (if scheme.is_empty() { "http" } else { scheme }, format!("{ip}:{port}"))
        }
        _ => (if scheme.is_empty() { "http" } else { scheme }, service_endpoint(ctx, &value, port).ok_or_else(unavailable)?),
    };
    let path = ctx.info.path.split_once("/proxy").map_or("", |(_, rest)| rest);
    let query = ctx.query.encode();
    Ok(Target {
        uri: format!("{scheme}://{authority}{}{path}{}{query}", if path.starts_with('/') { "" } else { "/" }, if query.is_empty() { "" } else { "?" }),
    })
}

/// A ready endpoint of a service's port.
fn service_endpoint(ctx: &Context, service: &Value, port: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let wanted = ports.iter().find(|p| port.is_empty() && ports.len() == 1 || p["name"] == port || p["port"] == port)?;
    let port_name = wanted["name"].as_str().unwrap_or("");
    let snapshot = ctx.app.store.snapshot("endpointslices.discovery.k8s.io");
    let slices = snapshot.range(Some(service.namespace()), None).filter_map(|object| serde_json::from_slice::<Value>(&object.bytes).ok());
    for slice in slices.filter(|slice| slice.label("kubernetes.io/service-name") == Some(service.name())) {
        let number = slice["ports"].as_array()?.iter().find(|p| p["name"].as_str().unwrap_or("") == port_name).and_then(|p| p["port"].as_u64());
        let ready = slice["endpoints"].as_array().into_iter().flatten().find(|e| e["conditions"]["ready"] != false);
        if let (Some(number), Some(address)) = (number, ready.and_then(|e| e["addresses"][0].as_str())) {
            return Some(format!("{address}:{number}"));
        }
    }
    None
}

async fn forward(ctx: &Context, target: Target, mut parts: Parts, body: Body) -> Answer {
    let uri: Uri = target.uri.parse().map_err(|error| Status::internal(format!("{error}: {}", target.uri)))?;
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    let client_upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let mut request = Request::builder().method(parts.method.clone()).uri(uri).body(body).map_err(Status::internal)?;
    *request.headers_mut() = parts.headers.clone();
    for name in [header::AUTHORIZATION, header::HOST] {
        request.headers_mut().remove(name);
    }
    if !upgrade {
        request.headers_mut().remove(header::CONNECTION);
    }
    let answer = ctx.app.node_client.0.request(request).await.map_err(|error| Status::internal(format!("error dialing backend: {}", root_cause(&error))))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(ctx, answer, client_upgrade);
    }
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.remove(header::CONNECTION);
    Ok(Response::from_parts(head, Body::new(body)))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// Both sides have switched: bytes go through as they are.
fn switch(ctx: &Context, answer: Response<hyper::body::Incoming>, client: Option<hyper::upgrade::OnUpgrade>) -> Answer {
    let client = client.ok_or_else(|| Status::bad_request("the connection cannot be upgraded"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let stopping = ctx.app.stopping.clone();
    let copy = async move {
        let (node, client) = futures::future::try_join(hyper::upgrade::on(answer), client).await?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(node), &mut TokioIo::new(client)).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::spawn(async move {
        tokio::select! {
            done = copy => if let Err(error) = done { tracing::debug!(%error, "a stream to a node ended") },
            () = stopping.cancelled() => {}
        }
    });
    Ok(response)
}

/// For tests and the in-process wiring: a client that trusts `roots` and presents `identity`.
pub fn tls_config(
    roots: rustls::RootCertStore,
    identity: Option<(Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>)>,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}
