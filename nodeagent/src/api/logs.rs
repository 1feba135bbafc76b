//! `/containerLogs`: a container's log.
//!
//! Follows `getContainerLogs` in `pkg/kubelet/server/server.go` and `validateContainerLogStatus` in `pkg/kubelet/kubelet_pods.go`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{query::parameters, server::Shared};
use crate::{
    agent::context::Context,
    logs::{
        cri::Stream,
        read::{self, Options},
    },
    pod::{
        handle::Handle,
        names::{find_container, name},
    },
    runtime::ContainerPhase,
    time,
};

/// The parameters of a request for a log.
#[derive(Debug, Default)]
pub struct Wanted {
    follow: Option<String>,
    previous: Option<String>,
    timestamps: Option<String>,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    stream: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (key, value) in parameters(query) {
            let number = || value.parse().map(Some).map_err(|error| format!("{key}: {error}"));
            match key.as_str() {
                "follow" => wanted.follow = Some(value),
                "previous" => wanted.previous = Some(value),
                "timestamps" => wanted.timestamps = Some(value),
                "sinceSeconds" => wanted.since_seconds = number()?,
                "sinceTime" => wanted.since_time = Some(value),
                "tailLines" if value == "all" => {}
                "tailLines" => wanted.tail_lines = number()?,
                "limitBytes" => wanted.limit_bytes = number()?,
                "stream" => wanted.stream = Some(value),
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn is_set(value: &Option<String>) -> bool {
    value.as_deref().is_some_and(|value| matches!(value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

impl Wanted {
    fn options(&self, now: Timestamp) -> Result<Options, String> {
        let positive = |value: Option<i64>, name: &str, least: i64| match value {
            Some(value) if value < least => Err(format!("{name} must be greater than or equal to {least}")),
            value => Ok(value.and_then(|value| u64::try_from(value).ok())),
        };
        let since = match (self.since_seconds, self.since_time.as_deref().filter(|text| !text.is_empty())) {
            (Some(_), Some(_)) => return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned()),
            (Some(seconds), None) if seconds < 1 => return Err("sinceSeconds must be greater than 0".to_owned()),
            (Some(seconds), None) => now.checked_sub(Duration::from_secs(seconds.unsigned_abs())).ok(),
            (None, Some(text)) => Some(text.parse().map_err(|error| format!("sinceTime: {error}"))?),
            (None, None) => None,
        };
        Ok(Options {
            follow: is_set(&self.follow),
            timestamps: is_set(&self.timestamps),
            since,
            tail: positive(self.tail_lines, "tailLines", 0)?,
            limit_bytes: positive(self.limit_bytes, "limitBytes", 1)?,
            stream: match self.stream.as_deref().unwrap_or_default() {
                "" | "All" => None,
                "Stdout" => Some(Stream::Stdout),
                "Stderr" => Some(Stream::Stderr),
                other => return Err(format!("unsupported value: {other:?}")),
            },
        })
    }
}

fn refuse(status: StatusCode, text: String) -> Response {
    (status, text).into_response()
}

pub async fn container(State(shared): State<Shared>, Path((namespace, pod, container)): Path<(String, String, String)>, request: Request) -> Response {
    let parsed = Wanted::parse(request.uri().query().unwrap_or_default());
    let (wanted, options) = match parsed.and_then(|wanted| wanted.options(time::now()).map(|options| (wanted, options))) {
        Ok(both) => both,
        Err(reason) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, format!("{{\"message\": {reason:?}}}")),
    };
    let Some(handle) = shared.node.pod_named(&namespace, &pod) else {
        return refuse(StatusCode::NOT_FOUND, format!("pod {pod:?} not found\n"));
    };
    if find_container(&handle.pod(), &container).is_none() {
        return refuse(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}\n"));
    }
    let log = match log_of(&handle, &container, is_set(&wanted.previous)) {
        Ok(log) => log,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let (sink, pieces) = mpsc::channel(16);
    tokio::spawn(send(shared.node.clone(), handle, log, options, sink));
    let body = Body::from_stream(ReceiverStream::new(pieces));
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

async fn send(node: Arc<Context>, handle: Arc<Handle>, (id, log): (String, PathBuf), options: Options, sink: read::Sink) {
    let running = || {
        let state = handle.state.lock();
        state.view.by_id(&id).is_some_and(|container| container.phase == ContainerPhase::Running) && !handle.done.is_cancelled()
    };
    let read = tokio::select! {
        read = read::read(&log, &options, running, &sink) => read,
        () = node.stop.cancelled() => Ok(()),
    };
    if let Err(error) = read {
        tracing::debug!(%error, path = %log.display(), "log not read to its end");
        // When the client is gone there is nobody to tell.
        let _ = sink.send(Err(error)).await;
    }
}

/// The container whose log is wanted: its id and the log's place; or why there is none.
fn log_of(handle: &Handle, container: &str, previous: bool) -> Result<(String, PathBuf), String> {
    let pod = handle.pod();
    let state = handle.state.lock();
    let mut history = state.view.history(container).filter(|state| state.phase != ContainerPhase::Created);
    // A container that ended and waits to be started again is its own predecessor.
    let waits = waiting(&state.status, container).is_some();
    let found = if previous && !waits { history.nth(1) } else { history.next() };
    if let Some(found) = found {
        return Ok((found.id.clone(), found.log_path.clone()));
    }
    let pod = name(&pod);
    if previous {
        return Err(format!("previous terminated container {container:?} in pod {pod:?} not found"));
    }
    Err(match waiting(&state.status, container).as_deref() {
        Some("ErrImagePull") => format!("container {container:?} in pod {pod:?} is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => format!("container {container:?} in pod {pod:?} is waiting to start: trying and failing to pull image"),
        Some(reason) => format!("container {container:?} in pod {pod:?} is waiting to start: {reason}"),
        None => format!("container {container:?} in pod {pod:?} is not available"),
    })
}

fn waiting(status: &k8s_openapi::api::core::v1::PodStatus, container: &str) -> Option<String> {
    let all = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .chain(status.ephemeral_container_statuses.iter().flatten());
    let status = all.into_iter().find(|status| status.name == container)?;
    Some(status.state.as_ref()?.waiting.as_ref()?.reason.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let now: Timestamp = "2024-01-01T00:01:00Z".parse().unwrap();
        let parse = |text: &str| Wanted::parse(text).and_then(|wanted| wanted.options(now));
        let options = parse("follow=true&sinceSeconds=60&tailLines=5").unwrap();
        assert_eq!((options.follow, options.tail, options.since.unwrap().to_string()), (true, Some(5), "2024-01-01T00:00:00Z".to_owned()));
        assert!(parse("sinceSeconds=1&sinceTime=2024-01-01T00:00:00Z").is_err());
        assert!(parse("tailLines=-1").is_err() && parse("limitBytes=x").is_err());
        assert_eq!(parse("stream=Stderr").unwrap().stream, Some(Stream::Stderr));
    }
}
