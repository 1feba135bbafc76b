//! `/exec`, `/attach`, `/portForward` and `/run`.
//!
//! Follows `getExec`, `getAttach`, `getPortForward` and `getRun` in `pkg/kubelet/server/server.go`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use futures::TryFutureExt;

use super::{query::parameters, server::Shared};
use crate::{
    agent::context::Context,
    pod::{handle::Handle, hooks::run_in_container, names},
    runtime::{ContainerPhase, ExecSpec, Runtime},
    stream::{
        forward::{self, Target},
        remote,
        upgrade::{self, Kind},
    },
};

fn refuse(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

/// The values of a query's parameter.
fn values(request: &Request, name: &str) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    parameters(query).filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

/// What a command is given; the parameters have one name here and another at the API server, and both are understood.
fn exec_spec(request: &Request) -> ExecSpec {
    let is_set = |names: [&str; 2]| names.iter().any(|name| values(request, name).iter().any(|value| value == "1" || value.eq_ignore_ascii_case("true")));
    let tty = is_set(["tty", "tty"]);
    ExecSpec {
        command: values(request, "command"),
        tty,
        stdin: is_set(["input", "stdin"]),
        stdout: is_set(["output", "stdout"]),
        stderr: is_set(["error", "stderr"]) && !tty,
    }
}

/// The running container of that name, or the refusal.
fn running(node: &Context, namespace: &str, pod: &str, container: &str) -> Result<String, Response> {
    let Some(handle) = node.pod_named(namespace, pod) else { return Err(refuse(StatusCode::NOT_FOUND, "pod does not exist")) };
    let state = handle.state.lock();
    let found = state.view.container(container).filter(|state| state.phase == ContainerPhase::Running);
    found.map(|state| state.id.clone()).ok_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({container:?})")))
}

#[derive(Clone, Copy)]
enum Way {
    Exec,
    Attach,
}

pub async fn exec(State(shared): State<Shared>, Path((namespace, pod, container)): Path<(String, String, String)>, request: Request) -> Response {
    let spec = exec_spec(&request);
    remote_command(&shared, running(&shared.node, &namespace, &pod, &container), spec, Way::Exec, request)
}

pub async fn attach(State(shared): State<Shared>, Path((namespace, pod, container)): Path<(String, String, String)>, request: Request) -> Response {
    let mut spec = exec_spec(&request);
    spec.command.clear();
    let tty =
        shared.node.pod_named(&namespace, &pod).and_then(|handle| names::find_container(&handle.pod(), &container)).and_then(|(_, container)| container.tty);
    spec.tty = tty.unwrap_or(false);
    spec.stderr &= !spec.tty;
    remote_command(&shared, running(&shared.node, &namespace, &pod, &container), spec, Way::Attach, request)
}

fn remote_command(shared: &Shared, container: Result<String, Response>, spec: ExecSpec, way: Way, request: Request) -> Response {
    let id = match container {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    if !(spec.stdin || spec.stdout || spec.stderr) {
        return refuse(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let runtime = shared.node.runtime.clone();
    let Some(kind) = upgrade::kind(request.headers()) else { return refuse(StatusCode::BAD_REQUEST, "Upgrade request required") };
    let spoken: Vec<&str> = match kind {
        Kind::Spdy => remote::SPDY.iter().map(|(name, _)| *name).collect(),
        Kind::WebSocket => remote::WEBSOCKET.iter().map(|(name, ..)| *name).collect(),
    };
    let protocol = match upgrade::choose(kind, request.headers(), &spoken) {
        Ok(protocol) => protocol,
        Err(refusal) => return *refusal,
    };
    upgrade::upgrade(kind, protocol, request, shared.node.stop.clone(), move |io| async move {
        let session = match kind {
            Kind::Spdy => {
                let Some((_, version)) = remote::SPDY.iter().find(|(name, _)| *name == protocol) else { return };
                match remote::spdy(io, *version, &spec).await {
                    Ok(session) => session,
                    Err(error) => return tracing::debug!(error, "remote command not begun"),
                }
            }
            Kind::WebSocket => {
                let Some((_, version, framing)) = remote::WEBSOCKET.iter().find(|(name, ..)| *name == protocol) else { return };
                remote::websocket(io, *version, *framing, &spec).await
            }
        };
        let started = start(&*runtime, &id, &spec, way).await;
        session.join(started, &spec.command).await;
    })
}

async fn start(runtime: &dyn Runtime, id: &str, spec: &ExecSpec, way: Way) -> Result<crate::runtime::Streams, crate::runtime::Error> {
    match way {
        Way::Exec => runtime.exec(id, spec.clone()).await,
        Way::Attach => {
            let mut streams = runtime.attach(id, spec.clone()).await?;
            // How the container ends is no matter of the client that looked on.
            streams.exit = Box::pin(streams.exit.map_ok(|_| 0));
            Ok(streams)
        }
    }
}

/// Where the pod's ports are, or the refusal.
fn target(handle: &Arc<Handle>) -> Result<Target, Response> {
    let pod = handle.pod();
    let netns = handle.state.lock().view.sandboxes.first().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.spec.netns.clone());
    let described = || format!("{}/{}", names::namespace(&pod), names::name(&pod));
    match netns {
        None => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("sandbox of pod {} is not running", described()))),
        Some(None) if !names::is_host_network(&pod) => {
            Err(refuse(StatusCode::NOT_IMPLEMENTED, format!("pod {} has no network that could be forwarded to: its node is simulated", described())))
        }
        Some(netns) => Ok(Target { netns, pod: described(), uid: names::uid(&pod).to_owned() }),
    }
}

pub async fn port_forward(State(shared): State<Shared>, Path((namespace, pod)): Path<(String, String)>, request: Request) -> Response {
    let Some(handle) = shared.node.pod_named(&namespace, &pod) else { return refuse(StatusCode::NOT_FOUND, "pod does not exist") };
    let target = match target(&handle) {
        Ok(target) => target,
        Err(refusal) => return refusal,
    };
    let Some(kind) = upgrade::kind(request.headers()) else { return refuse(StatusCode::BAD_REQUEST, "Upgrade request required") };
    let spoken: Vec<&str> = match kind {
        Kind::Spdy => vec![forward::PROTOCOL],
        Kind::WebSocket => std::iter::once(forward::TUNNEL).chain(forward::WEBSOCKET.iter().map(|(name, _)| *name)).collect(),
    };
    let protocol = match upgrade::choose(kind, request.headers(), &spoken) {
        Ok(protocol) => protocol,
        Err(refusal) => return *refusal,
    };
    let ports: Vec<u16> = values(&request, "ports")
        .iter()
        .chain(&values(&request, "port"))
        .flat_map(|list| list.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>())
        .collect();
    let old = forward::WEBSOCKET.iter().find(|(name, _)| *name == protocol).map(|(_, framing)| *framing);
    if kind == Kind::WebSocket && old.is_some() && ports.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "query parameter \"port\" is required");
    }
    upgrade::upgrade(kind, protocol, request, shared.node.stop.clone(), move |io| async move {
        match (kind, old) {
            (Kind::Spdy, _) => forward::limited(forward::spdy(io, target)).await,
            (Kind::WebSocket, None) => forward::limited(forward::tunnelled(io, target)).await,
            (Kind::WebSocket, Some(framing)) => forward::limited(forward::websocket(io, framing, &ports, target)).await,
        }
    })
}

/// Runs a command and answers its output.
pub async fn run(State(shared): State<Shared>, Path((namespace, pod, container)): Path<(String, String, String)>, request: Request) -> Response {
    let id = match running(&shared.node, &namespace, &pod, &container) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    let command: Vec<String> = values(&request, "cmd").join(" ").split_whitespace().map(str::to_owned).collect();
    if command.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "query parameter \"cmd\" is required");
    }
    match run_in_container(&shared.node, &id, &command).await {
        Ok((0, output)) => Response::new(Body::from(output)),
        Ok((code, output)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("command '{}' exited with {code}: {output}", command.join(" "))),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let request = Request::get("/exec?command=sh&command=-c&command=echo%20a+b%26&input=1&stdout=true&error=1&tty=0").body(Body::empty()).unwrap();
        let spec = exec_spec(&request);
        assert_eq!(spec.command, ["sh", "-c", "echo a b&"]);
        assert_eq!((spec.stdin, spec.stdout, spec.stderr, spec.tty), (true, true, true, false));
    }
}
