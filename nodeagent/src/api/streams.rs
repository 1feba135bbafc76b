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
use k8s_openapi::api::core::v1::Container;

use super::{query::parameters, shared::Shared};
use crate::{
    agent::context::Context,
    pod::{handle::Handle, names},
    runtime::{ContainerPhase, ExecSpec, Runtime},
    stream::{
        forward::{self, Target},
        remote::{self, Ends},
        upgrade::{self, Kind},
    },
    worker::hooks::run_in_container,
};
use skiff_api::machinery::quote::GoQuoted;

fn refuse(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

/// The values of a query's parameter.
fn values(request: &Request, name: &str) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    parameters(query)
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .collect()
}

/// What a command is given; the parameters have one name here and another at the API server, and both are understood.
fn exec_spec(request: &Request) -> ExecSpec {
    let is_set = |names: [&str; 2]| {
        names.iter().any(|name| {
            values(request, name)
                .iter()
                .any(|value| value == "1" || value.eq_ignore_ascii_case("true"))
        })
    };
    let tty = is_set(["tty", "tty"]);
    ExecSpec {
        command: values(request, "command"),
        tty,
        stdin: is_set(["input", "stdin"]),
        stdout: is_set(["output", "stdout"]),
        stderr: is_set(["error", "stderr"]) && !tty,
    }
}

/// The pod of that name, or the refusal.
fn found(node: &Context, namespace: &str, pod: &str) -> Result<Arc<Handle>, Box<Response>> {
    node.pod_named(namespace, pod)
        .ok_or_else(|| Box::new(refuse(StatusCode::NOT_FOUND, "pod does not exist")))
}

/// The running container of that name.
fn running(handle: &Handle, container: &str) -> Option<String> {
    let state = handle.state.lock();
    state
        .view
        .container(container)
        .filter(|state| state.phase == ContainerPhase::Running)
        .map(|state| state.id.clone())
}

#[derive(Clone, Copy)]
enum Way {
    Exec,
    Attach,
}

/// What a path names: a container, or the pod itself; and, if it was said, the only pod of that name that is meant.
#[derive(Debug, serde::Deserialize)]
pub struct Place {
    namespace: String,
    pod: String,
    uid: Option<String>,
    #[serde(default)]
    container: String,
}

impl Place {
    /// The pod, or the refusal.
    fn found(&self, node: &Context) -> Result<Arc<Handle>, Box<Response>> {
        let handle = found(node, &self.namespace, &self.pod)?;
        let other = (self.uid.as_deref()).is_some_and(|uid| names::uid(&handle.pod()) != uid);
        if other {
            return Err(Box::new(match self.container.is_empty() {
                true => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("pod not found (\"{}_{}\")", self.pod, self.namespace),
                ),
                false => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("container not found ({})", GoQuoted(&self.container)),
                ),
            }));
        }
        Ok(handle)
    }
}

pub async fn exec(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    request: Request,
) -> Response {
    remote_command(&shared, &place, Way::Exec, request).unwrap_or_else(|refusal| *refusal)
}

pub async fn attach(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    request: Request,
) -> Response {
    remote_command(&shared, &place, Way::Attach, request).unwrap_or_else(|refusal| *refusal)
}

/// Which container is meant, and what is to be done with it.
fn wanted(
    shared: &Shared,
    place: &Place,
    way: Way,
    request: &Request,
) -> Result<(String, ExecSpec, Ends), Box<Response>> {
    let mut spec = exec_spec(request);
    if !(spec.stdin || spec.stdout || spec.stderr) {
        return Err(Box::new(refuse(
            StatusCode::BAD_REQUEST,
            "you must specify at least 1 of stdin, stdout, stderr",
        )));
    }
    let handle = place.found(&shared.node)?;
    let (namespace, pod, container) = (&place.namespace, &place.pod, &place.container);
    let missing = match way {
        Way::Exec => format!(
            "container not found ({container})",
            container = GoQuoted(&container)
        ),
        Way::Attach => format!("container {container} not found in pod {pod}_{namespace}"),
    };
    let id = running(&handle, container)
        .ok_or_else(|| Box::new(refuse(StatusCode::INTERNAL_SERVER_ERROR, missing)))?;
    let mut ends = Ends::WithProcess;
    if matches!(way, Way::Attach) {
        let container = names::find_container(&handle.pod(), container);
        let container = container.map(|(_, container)| container);
        (spec, ends) = attached(spec, &container.unwrap_or_default());
    }
    Ok((id, spec, ends))
}

/// What a client that asked for this is attached to, and until when.
fn attached(asked: ExecSpec, container: &Container) -> (ExecSpec, Ends) {
    // Whether there is a terminal was decided when the container was started.
    let tty = container.tty == Some(true);
    // Who sits at a terminal and has no more to say detaches. Whoever else has said all waits for what comes of it; `ContainerIO.Attach` of containerd
    // ends with the input there, too, unless the container reads it once.
    let detaches = asked.tty && tty && asked.stdin && container.stdin == Some(true);
    let ends = match detaches {
        true => Ends::WithInput,
        false => Ends::WithProcess,
    };
    let spec = ExecSpec {
        command: Vec::new(),
        tty,
        stderr: asked.stderr && !tty,
        ..asked
    };
    (spec, ends)
}

/// The stream protocol that the request is to be upgraded to.
fn upgraded_to(request: &Request) -> Result<Kind, Box<Response>> {
    upgrade::kind(request.headers()).ok_or_else(|| {
        Box::new(refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Upgrade request required\n",
        ))
    })
}

fn remote_command(
    shared: &Shared,
    place: &Place,
    way: Way,
    request: Request,
) -> Result<Response, Box<Response>> {
    let (id, spec, ends) = wanted(shared, place, way, &request)?;
    let runtime = shared.node.runtime.clone();
    let kind = upgraded_to(&request)?;
    let spoken: Vec<&str> = match kind {
        Kind::Spdy => remote::SPDY.iter().map(|(name, _)| *name).collect(),
        Kind::WebSocket => remote::WEBSOCKET.iter().map(|(name, ..)| *name).collect(),
    };
    let protocol = upgrade::choose(kind, request.headers(), &spoken)?;
    Ok(upgrade::upgrade(
        kind,
        protocol,
        request,
        shared.node.stop.clone(),
        move |io| async move {
            let session = match kind {
                Kind::Spdy => {
                    let Some((_, version)) =
                        remote::SPDY.iter().find(|(name, _)| *name == protocol)
                    else {
                        return;
                    };
                    match remote::spdy(io, *version, &spec).await {
                        Ok(session) => session,
                        Err(error) => return tracing::debug!(%error, "remote command not begun"),
                    }
                }
                Kind::WebSocket => {
                    let Some((_, version, framing)) = remote::WEBSOCKET
                        .iter()
                        .find(|(name, ..)| *name == protocol)
                    else {
                        return;
                    };
                    remote::websocket(io, *version, *framing, &spec).await
                }
            };
            let started = start(&*runtime, &id, &spec, way).await;
            session.join(started, &spec.command, ends).await;
        },
    ))
}

async fn start(
    runtime: &dyn Runtime,
    id: &str,
    spec: &ExecSpec,
    way: Way,
) -> Result<crate::runtime::Streams, crate::runtime::Error> {
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
fn target(handle: &Arc<Handle>) -> Result<Target, Box<Response>> {
    let pod = handle.pod();
    let refuse = |status, text: String| Err(Box::new(refuse(status, text)));
    let newest = handle.state.lock().view.sandboxes.first().map(|sandbox| {
        (
            sandbox.ready,
            sandbox.id.clone(),
            sandbox.spec.netns.clone(),
        )
    });
    let (namespace, name, uid) = (names::namespace(&pod), names::name(&pod), names::uid(&pod));
    match newest {
        None => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("pod not found (\"{name}_{namespace}\")"),
        ),
        Some((false, id, _)) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("sandbox container {id} is not running", id = GoQuoted(&id)),
        ),
        Some((true, _, None)) if !names::is_host_network(&pod) => refuse(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "pod {namespace}/{name} has no network that could be forwarded to: its node is simulated"
            ),
        ),
        Some((true, _, netns)) => Ok(Target {
            netns,
            pod: format!("{namespace}/{name}"),
            uid: uid.to_owned(),
        }),
    }
}

pub async fn port_forward(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    request: Request,
) -> Response {
    forward_ports(&shared, &place, request).unwrap_or_else(|refusal| *refusal)
}

fn forward_ports(
    shared: &Shared,
    place: &Place,
    request: Request,
) -> Result<Response, Box<Response>> {
    let target = target(&place.found(&shared.node)?)?;
    let kind = upgraded_to(&request)?;
    let spoken: Vec<&str> = match kind {
        Kind::Spdy => vec![forward::PROTOCOL],
        Kind::WebSocket => std::iter::once(forward::TUNNEL)
            .chain(forward::WEBSOCKET.iter().map(|(name, _)| *name))
            .collect(),
    };
    let protocol = upgrade::choose(kind, request.headers(), &spoken)?;
    let ports: Vec<u16> = values(&request, "ports")
        .iter()
        .chain(&values(&request, "port"))
        .flat_map(|list| {
            list.split(',')
                .filter_map(|port| port.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    let old = forward::WEBSOCKET
        .iter()
        .find(|(name, _)| *name == protocol)
        .map(|(_, framing)| *framing);
    if kind == Kind::WebSocket && old.is_some() && ports.is_empty() {
        return Err(Box::new(refuse(
            StatusCode::BAD_REQUEST,
            "query parameter \"port\" is required",
        )));
    }
    Ok(upgrade::upgrade(
        kind,
        protocol,
        request,
        shared.node.stop.clone(),
        move |io| async move {
            match (kind, old) {
                (Kind::Spdy, _) => forward::limited(forward::spdy(io, target)).await,
                (Kind::WebSocket, None) => forward::limited(forward::tunnelled(io, target)).await,
                (Kind::WebSocket, Some(framing)) => {
                    forward::limited(forward::websocket(io, framing, &ports, target)).await
                }
            }
        },
    ))
}

/// Runs a command and answers its output.
pub async fn run(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    request: Request,
) -> Response {
    let container = &place.container;
    let handle = match place.found(&shared.node) {
        Ok(handle) => handle,
        Err(refusal) => return *refusal,
    };
    let Some(id) = running(&handle, container) else {
        return refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "container not found ({container})",
                container = GoQuoted(&container)
            ),
        );
    };
    let command: Vec<String> = values(&request, "cmd")
        .join(" ")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if command.is_empty() {
        return refuse(
            StatusCode::BAD_REQUEST,
            "query parameter \"cmd\" is required",
        );
    }
    match run_in_container(&shared.node, &id, &command).await {
        Ok((0, output)) => Response::new(Body::from(output)),
        Ok((code, output)) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "command '{}' exited with {code}: {output}",
                command.join(" ")
            ),
        ),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let request = Request::get(
            "/exec?command=sh&command=-c&command=echo%20a+b%26&input=1&stdout=true&error=1&tty=0",
        )
        .body(Body::empty())
        .unwrap();
        let spec = exec_spec(&request);
        assert_eq!(spec.command, ["sh", "-c", "echo a b&"]);
        assert_eq!(
            (spec.stdin, spec.stdout, spec.stderr, spec.tty),
            (true, true, true, false)
        );
    }

    #[test]
    fn who_is_attached_at_a_terminal_detaches_with_the_end_of_the_input() {
        let all = |tty: bool, stdin: bool| ExecSpec {
            command: vec!["x".into()],
            tty,
            stdin,
            stdout: true,
            stderr: true,
        };
        for (asked, (stdin, tty), ends) in [
            ((true, true), (true, true), Ends::WithInput),
            ((true, false), (true, true), Ends::WithProcess),
            ((true, true), (false, true), Ends::WithProcess),
            // a client whose input is no terminal: what it asked for comes yet
            ((false, true), (true, true), Ends::WithProcess),
            ((false, true), (true, false), Ends::WithProcess),
        ] {
            let container = Container {
                stdin: Some(stdin),
                tty: Some(tty),
                ..Container::default()
            };
            let (spec, found) = attached(all(asked.0, asked.1), &container);
            assert_eq!(found, ends, "{asked:?} {stdin} {tty}");
            assert_eq!((spec.tty, spec.stderr), (tty, !tty));
            assert!(spec.command.is_empty());
        }
    }
}
