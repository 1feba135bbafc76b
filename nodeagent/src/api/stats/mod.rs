//! What pods use: `/stats/summary`, `/metrics/resource` and `/metrics/cadvisor`; and what the node counts: `/metrics` and `/metrics/probes`.
//!
//! Invariant: all three show samples of the one sampler. Follows `pkg/kubelet/server/stats/handler.go` and `InstallDefaultHandlers` in
//! `pkg/kubelet/server/server.go`.

mod cadvisor;
mod exposition;
mod own;
mod resource;
mod series;
mod summary;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    query::{json, parameters},
    shared::Shared,
};
use crate::{
    runtime::{Depth, Error},
    stats::{Sample, disks, network},
    time,
};

pub use own::{metrics, probes};

/// What is told of pods is of the moment; a rate needs two.
const MOMENT: Duration = Duration::from_millis(1100);

async fn sample(shared: &Shared, depth: Depth) -> Result<Arc<Sample>, Error> {
    shared.measuring.sampler.sample(&shared.node, depth).await
}

pub async fn summary(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let given: Vec<String> = parameters(&query)
        .filter(|(key, _)| key == "only_cpu_and_memory")
        .map(|(_, value)| value)
        .collect();
    let only = matches!(given.as_slice(), [one] if one == "true");
    let depth = if only { Depth::Main } else { Depth::All };
    let mut found = sample(&shared, depth).await;
    if found
        .as_ref()
        .is_ok_and(|sample| sample.machine.rate.is_none())
    {
        // nobody has asked before
        time::sleep(MOMENT).await;
        found = sample(&shared, depth).await;
    }
    let sample = match found {
        Ok(sample) => sample,
        Err(error) => {
            let why = format!("Internal Error: failed to list pod stats: {error}");
            return (StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
        }
    };
    let node = summary::Node {
        name: &shared.node.config.node_name,
        booted: boot_time(),
    };
    if only {
        return json(&summary::cpu_and_memory(&node, &sample));
    }
    let disks = shared.measuring.disks.of(&shared.node, &sample).await;
    let images = shared.node.images.list().await;
    let images = images
        .map(|images| images.iter().map(|image| image.size).sum())
        .ok();
    let of_node = summary::OfNode {
        room: disks::room(&shared.node).await,
        images,
        interfaces: network::of_node(),
    };
    json(&summary::whole(&node, &sample, &disks, &of_node))
}

fn exposed(text: String) -> Response {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}

pub async fn resource_metrics(State(shared): State<Shared>) -> Response {
    let found = sample(&shared, Depth::Main).await;
    if let Err(error) = &found {
        tracing::warn!(%error, "what pods use is not known");
    }
    exposed(resource::text(found.ok().as_deref()))
}

pub async fn cadvisor_metrics(State(shared): State<Shared>) -> Response {
    let found = sample(&shared, Depth::All).await;
    let sample = match found {
        Ok(sample) => sample,
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
        }
    };
    let disks = shared.measuring.disks.of(&shared.node, &sample).await;
    let room = disks::room(&shared.node).await;
    let seen = cadvisor::Seen {
        sample: &sample,
        disks: &disks,
        room,
        machine: &shared.node.machine,
        interfaces: &network::of_node(),
    };
    exposed(cadvisor::text(&seen))
}

fn boot_time() -> Option<jiff::Timestamp> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = text.split_whitespace().next()?.parse().ok()?;
    let booted = time::now().checked_sub(Duration::try_from_secs_f64(uptime).ok()?);
    booted.ok().map(time::whole_seconds)
}
