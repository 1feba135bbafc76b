//! One run of a probe.
//!
//! Follows `pkg/kubelet/prober/prober.go` and `pkg/probe`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use crate::{
    agent::context::Context,
    pod::{expand::expand, names::describe},
    probe::{grpc, http},
    time,
    worker::hooks::run_in_container,
};
use skiff_api::machinery::quote::GoQuoted;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// A success that is worth an event.
    Warning(String),
    Failure(String),
    /// The probe itself did not work; the run does not count.
    Error(String),
}

/// Runs the probe once against the container `id`.
pub async fn run(
    node: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    pod_ip: &str,
    probe: &Probe,
) -> Outcome {
    if node.config.simulated {
        return Outcome::Success;
    }
    let limit =
        Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        return command(
            node,
            container,
            id,
            exec.command.as_deref().unwrap_or_default(),
            limit,
        )
        .await;
    }
    if let Some(get) = &probe.http_get {
        return match http::get(container, get, pod_ip, "kube-probe/1.36", limit).await {
            Ok(answer) if answer.redirected_away => Outcome::Warning(format!(
                "Probe terminated redirects, Response body: {}",
                answer.body
            )),
            Ok(answer) if (200..400).contains(&answer.code) => Outcome::Success,
            Ok(answer) => Outcome::Failure(format!(
                "HTTP probe failed with statuscode: {}",
                answer.code
            )),
            Err(http::Error::Invalid(error)) => Outcome::Error(error.to_string()),
            Err(error) => Outcome::Failure(error.to_string()),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp
            .host
            .as_deref()
            .filter(|host| !host.is_empty())
            .unwrap_or(pod_ip);
        return match http::port(&tcp.port, container) {
            Err(error) => Outcome::Error(error.to_string()),
            Ok(port) => match time::timeout(limit, http::connect(host, port)).await {
                Some(Ok(_)) => Outcome::Success,
                Some(Err(error)) => Outcome::Failure(error.to_string()),
                None => {
                    Outcome::Failure(format!("dial tcp {}: i/o timeout", http::place(host, port)))
                }
            },
        };
    }
    if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).unwrap_or(0);
        return match time::timeout(
            limit,
            grpc::check(pod_ip, port, grpc.service.as_deref().unwrap_or_default()),
        )
        .await
        {
            Some(Ok(grpc::Health::Serving)) => Outcome::Success,
            Some(Ok(_)) => {
                Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".to_owned())
            }
            Some(Err(error)) => Outcome::Failure(error.to_string()),
            None => Outcome::Failure(format!(
                "timeout: failed to connect service {} within {}s: context deadline exceeded",
                GoQuoted(&http::place(pod_ip, port)),
                limit.as_secs()
            )),
        };
    }
    Outcome::Error(format!(
        "missing probe handler for {}:{}",
        describe(pod),
        container.name
    ))
}

async fn command(
    node: &Context,
    container: &Container,
    id: &str,
    command: &[String],
    limit: Duration,
) -> Outcome {
    let plain = |name: &str| {
        container
            .env
            .iter()
            .flatten()
            .find(|var| var.name == name && var.value_from.is_none())
            .map(|var| var.value.clone().unwrap_or_default())
    };
    let command: Vec<String> = command.iter().map(|text| expand(text, plain)).collect();
    match time::timeout(limit, run_in_container(node, id, &command)).await {
        Some(Ok((0, _))) => Outcome::Success,
        Some(Ok((_, output))) => Outcome::Failure(output),
        Some(Err(error)) => Outcome::Error(format!("rpc error: code = Unknown desc = {error}")),
        None => Outcome::Failure(format!(
            "command timed out: \"{}\" timed out after {}s",
            command.join(" "),
            limit.as_secs()
        )),
    }
}
