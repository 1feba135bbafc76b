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
use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{query::parameters, shared::Shared};
use crate::{
    agent::context::Context,
    logs::{
        cri::Stream,
        read::{self, Options},
    },
    outcome,
    pod::{
        containers::ID_PREFIX,
        handle::Handle,
        names::{find_container, name},
        told::Told,
    },
    runtime::ContainerPhase,
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a request's parameters cannot be read.
#[derive(thiserror::Error, Debug)]
enum BadQuery {
    #[error("{key}: {source}")]
    Number {
        key: String,
        source: std::num::ParseIntError,
    },
    #[error("sinceTime: {0}")]
    Time(#[from] jiff::Error),
}

/// Why there is no log; the texts speak of `container "c" in pod "p"`.
#[derive(thiserror::Error, Debug)]
enum NoLog {
    #[error("{0} is not available")]
    Unavailable(String),
    #[error("previous terminated {0} not found")]
    NoPrevious(String),
    #[error("{0} is terminated")]
    Terminated(String),
    #[error("{whose} is waiting to start{why}")]
    Waiting { whose: String, why: String },
    #[error("unable to retrieve container logs for {0}")]
    Unknown(String),
}

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
    fn parse(query: &str) -> Result<Self, BadQuery> {
        let mut wanted = Self::default();
        for (key, value) in parameters(query) {
            let number = || match value.parse() {
                Ok(number) => Ok(Some(number)),
                Err(source) => Err(BadQuery::Number {
                    key: key.clone(),
                    source,
                }),
            };
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
    value
        .as_deref()
        .is_some_and(|value| matches!(value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

impl Wanted {
    /// What the reader is to do; none when the values do not go together (`ValidatePodLogOptions`).
    fn options(&self, now: Timestamp, since_time: Option<Timestamp>) -> Option<Options> {
        let stream = match self.stream.as_deref().unwrap_or_default() {
            "" | "All" => None,
            "Stdout" => Some(Stream::Stdout),
            "Stderr" => Some(Stream::Stderr),
            _ => return None,
        };
        let exclusive = (self.since_seconds.is_some() && since_time.is_some())
            || (stream.is_some() && self.tail_lines.is_some());
        let positive = |value: Option<i64>| value.is_none_or(|value| value > 0);
        if exclusive
            || !positive(self.since_seconds)
            || !positive(self.limit_bytes)
            || self.tail_lines.is_some_and(|lines| lines < 0)
        {
            return None;
        }
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let ago = |seconds: u64| now.checked_sub(Duration::from_secs(seconds)).ok();
        Some(Options {
            follow: is_set(&self.follow),
            timestamps: is_set(&self.timestamps),
            since: since_time.or_else(|| number(self.since_seconds).and_then(ago)),
            tail: number(self.tail_lines),
            limit_bytes: number(self.limit_bytes),
            stream,
        })
    }
}

fn refuse(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

/// Reads a request's parameters.
fn parameters_of(query: &str) -> Result<(Options, bool), Response> {
    let read = Wanted::parse(query).and_then(|wanted| {
        let since_time = wanted.since_time.as_deref().filter(|text| !text.is_empty());
        Ok((since_time.map(str::parse).transpose()?, wanted))
    });
    let (since_time, wanted) = read.map_err(|error| {
        tracing::debug!(%error, "parameters of a log not read");
        refuse(
            StatusCode::BAD_REQUEST,
            r#"{"message": "Unable to decode query."}"#,
        )
    })?;
    let options = wanted.options(time::now(), since_time).ok_or_else(|| {
        refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            r#"{"message": "Invalid request."}"#,
        )
    })?;
    Ok((options, is_set(&wanted.previous)))
}

pub async fn container(
    State(shared): State<Shared>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let (options, previous) = match parameters_of(request.uri().query().unwrap_or_default()) {
        Ok(both) => both,
        Err(refusal) => return refusal,
    };
    let Some(handle) = shared.node.pod_named(&namespace, &pod) else {
        return refuse(
            StatusCode::NOT_FOUND,
            format!("pod {pod} does not exist", pod = GoQuoted(&pod)),
        );
    };
    if find_container(&handle.pod(), &container).is_none() {
        return refuse(
            StatusCode::NOT_FOUND,
            format!(
                "container {container} not found in pod {pod}",
                container = GoQuoted(&container),
                pod = GoQuoted(&pod)
            ),
        );
    }
    let log = match log_of(&handle, &container, previous) {
        Ok(log) => log,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason.to_string()),
    };
    let (sink, pieces) = mpsc::channel(16);
    skiff_watching::task::spawn(send(shared.node.clone(), handle, log, options, sink));
    let body = Body::from_stream(ReceiverStream::new(pieces));
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

async fn send(
    node: Arc<Context>,
    handle: Arc<Handle>,
    (id, log): (String, PathBuf),
    options: Options,
    sink: read::Sink,
) {
    let running = || {
        let state = handle.state.lock();
        state
            .view
            .by_id(&id)
            .is_some_and(|container| container.phase == ContainerPhase::Running)
            && !handle.done.is_cancelled()
    };
    let read = tokio::select! {
        read = read::read(&log, &options, running, &sink) => read,
        () = node.stop.cancelled() => Ok(()),
    };
    if let Err(error) = read {
        tracing::debug!(%error, path = %log.display(), "log not read to its end");
        outcome::nobody_may_wait(sink.send(Err(error)).await);
    }
}

/// The container whose log is wanted: its id and the log's place.
fn log_of(handle: &Handle, container: &str, previous: bool) -> Result<(String, PathBuf), NoLog> {
    let pod = handle.pod();
    let state = handle.state.lock();
    let id = container_id(&state.status, name(&pod), container, previous)?;
    let found = state.view.by_id(id.strip_prefix(ID_PREFIX).unwrap_or(id));
    found
        .map(|found| (found.id.clone(), found.log_path.clone()))
        .ok_or_else(|| NoLog::Unknown(id.to_owned()))
}

/// The container that the status means.
fn container_id<'a>(
    status: &'a PodStatus,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<&'a str, NoLog> {
    let whose = || {
        format!(
            "container {container} in pod {pod}",
            container = GoQuoted(&container),
            pod = GoQuoted(&pod)
        )
    };
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let Some(status) = all
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == container)
    else {
        return Err(NoLog::Unavailable(whose()));
    };
    let id = |id: &'a Option<String>| id.as_deref().filter(|id| !id.is_empty());
    let last = status.last_state.terminated();
    let before = last.and_then(|ended| id(&ended.container_id));
    if previous {
        return before.ok_or_else(|| NoLog::NoPrevious(whose()));
    }
    let ended = || NoLog::Terminated(whose());
    let state = &status.state;
    if state.running().is_some() {
        return Ok(status.container_id.as_deref().unwrap_or_default());
    }
    if let Some(terminated) = state.terminated() {
        // Empty where the next one did not start: then the one before it counts.
        return id(&terminated.container_id).or(before).ok_or_else(ended);
    }
    if last.is_some() {
        return before.ok_or_else(ended);
    }
    let waiting = state.waiting();
    let why = match waiting.map(|waiting| waiting.reason.as_deref().unwrap_or_default()) {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) => format!(": {reason}"),
        None => " - no logs yet".to_owned(),
    };
    Err(NoLog::Waiting {
        whose: whose(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn queries() {
        let options = parameters_of("follow=true&tailLines=5")
            .map(|(options, previous)| (options.follow, options.tail, previous))
            .unwrap();
        assert_eq!(options, (true, Some(5), false));
        let at = "2024-01-01T00:00:00Z";
        assert_eq!(
            parameters_of(&format!("sinceTime={at}"))
                .unwrap()
                .0
                .since
                .unwrap()
                .to_string(),
            at
        );
        assert_eq!(
            parameters_of("stream=Stderr&previous=true")
                .map(|(options, previous)| (options.stream, previous))
                .unwrap(),
            (Some(Stream::Stderr), true)
        );
        for (query, code) in [
            ("sinceSeconds=1&sinceTime=2024-01-01T00:00:00Z", 422),
            ("sinceSeconds=0", 422),
            ("tailLines=-1", 422),
            ("limitBytes=0", 422),
            ("stream=Both", 422),
            ("stream=Stdout&tailLines=1", 422),
            ("limitBytes=x", 400),
            ("sinceTime=x", 400),
        ] {
            assert_eq!(parameters_of(query).unwrap_err().status(), code, "{query}");
        }
    }

    #[test]
    fn which_container_a_status_means() {
        let ended = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        let before = Err("previous terminated container \"c\" in pod \"p\" not found");
        let table: [(Value, Value, Result<&str, &str>, Result<&str, &str>); 9] = [
            (json!({"running": {}}), Value::Null, Ok("now"), before),
            (json!({"running": {}}), ended("old"), Ok("now"), Ok("old")),
            (ended("now"), ended("old"), Ok("now"), Ok("old")),
            (ended(""), ended("old"), Ok("old"), Ok("old")),
            (
                ended(""),
                Value::Null,
                Err("container \"c\" in pod \"p\" is terminated"),
                before,
            ),
            (
                waits("CrashLoopBackOff"),
                ended("old"),
                Ok("old"),
                Ok("old"),
            ),
            (
                waits("ErrImagePull"),
                Value::Null,
                Err("container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
                before,
            ),
            (
                waits("ContainerCreating"),
                Value::Null,
                Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
                before,
            ),
            (
                json!({}),
                Value::Null,
                Err("container \"c\" in pod \"p\" is waiting to start - no logs yet"),
                before,
            ),
        ];
        for (state, last, now, previous) in table {
            let container = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "containerID": "now", "state": state, "lastState": last});
            let status: PodStatus =
                from_value(json!({"ephemeralContainerStatuses": [container]})).unwrap();
            for (wanted, is_previous) in [(now, false), (previous, true)] {
                let found = container_id(&status, "p", "c", is_previous);
                let found = found.map_err(|error| error.to_string());
                assert_eq!(
                    found,
                    wanted.map_err(str::to_owned),
                    "{state} {last} {is_previous}"
                );
            }
        }
        let none = container_id(&PodStatus::default(), "p", "c", false).unwrap_err();
        assert_eq!(
            none.to_string(),
            "container \"c\" in pod \"p\" is not available"
        );
    }
}
