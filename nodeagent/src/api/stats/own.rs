//! `/metrics` and `/metrics/probes`: what the node counts of itself, and what its volumes hold.
//!
//! Invariant: nothing is measured anew but volumes of claims, of which what is known is good for a minute.
//! Follows `pkg/kubelet/metrics/metrics.go` and `pkg/kubelet/metrics/collectors/volume_stats.go`.

use std::{fmt::Write, sync::Arc};

use axum::{extract::State, response::Response};
use serde_json::json;
use skiff_watching::tally::{family, process};

use super::{Shared, exposed, exposition::labels, sample};
use crate::{
    agent::{context::Context, machine::architecture},
    figures::Present,
    pod::{
        handle::Handle,
        names::{is_terminal, namespace, spec, uid},
    },
    runtime::{ContainerPhase, Depth},
    stats::{Sample, disks::OfVolume},
};

pub async fn metrics(State(shared): State<Shared>) -> Response {
    let node = &shared.node;
    let mut text = node.figures.text(&present(node));
    volumes(&shared, &mut text).await;
    let version = json!({
        "major": "1", "minor": "36", "gitVersion": node.machine.info.kubelet_version, "gitTreeState": "clean",
        "compiler": "rustc", "goVersion": "none", "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    });
    process::text(&mut text, &version);
    exposed(text)
}

pub async fn probes(State(shared): State<Shared>) -> Response {
    exposed(shared.node.figures.probes.text())
}

/// What is the case now, as the pods' tasks last saw it.
fn present(node: &Context) -> Present {
    let mut now = Present {
        node: node.config.node_name.clone(),
        ..Present::default()
    };
    for handle in node.pods.read().values() {
        let state = handle.state.lock();
        let phase = state.status.phase.as_deref();
        if !handle.gone.is_cancelled() {
            now.desired += 1;
            now.active += usize::from(!state.terminal && !phase.is_some_and(is_terminal));
        }
        let mut sandboxes = state.view.sandboxes.iter();
        now.running += usize::from(sandboxes.any(|sandbox| sandbox.ready));
        for container in &state.view.containers {
            now.containers[match container.phase {
                ContainerPhase::Created => 0,
                ContainerPhase::Running => 1,
                ContainerPhase::Exited => 2,
            }] += 1;
        }
    }
    now
}

fn has_claims(handle: &Arc<Handle>) -> bool {
    let pod = handle.pod();
    let mut volumes = spec(&pod).volumes.iter().flatten();
    volumes.any(|volume| volume.persistent_volume_claim.is_some())
}

/// Name, what it is, and the figure.
type Row = (&'static str, &'static str, fn(&OfVolume) -> u64);

const ROWS: [Row; 6] = [
    (
        "kubelet_volume_stats_available_bytes",
        "Bytes that a volume still has room for.",
        |of| of.room.available_bytes,
    ),
    (
        "kubelet_volume_stats_capacity_bytes",
        "Bytes that a volume has room for.",
        |of| of.room.capacity_bytes,
    ),
    (
        "kubelet_volume_stats_inodes",
        "Inodes that a volume has.",
        |of| of.room.inodes,
    ),
    (
        "kubelet_volume_stats_inodes_free",
        "Inodes of it that are free.",
        |of| of.room.inodes_free,
    ),
    (
        "kubelet_volume_stats_inodes_used",
        "Inodes that its files take.",
        |of| of.held.inodes,
    ),
    (
        "kubelet_volume_stats_used_bytes",
        "Bytes that its files take.",
        |of| of.held.bytes,
    ),
];

/// What volumes hold that stand for claims, each claim once.
async fn volumes(shared: &Shared, text: &mut String) {
    if !shared.node.pods.read().values().any(has_claims) {
        return;
    }
    let sample: Arc<Sample> = match sample(shared, Depth::Main).await {
        Ok(sample) => sample,
        Err(error) => return tracing::warn!(%error, "what volumes hold is not known"),
    };
    let disks = shared.measuring.disks.of(&shared.node, &sample).await;
    let mut found = std::collections::BTreeMap::new();
    for pod in &sample.pods {
        let volumes = disks.get(uid(&pod.pod)).map(|of| &of.volumes);
        for volume in volumes.into_iter().flat_map(|all| all.values()) {
            if let Some(claim) = &volume.claim {
                let of = [
                    ("namespace", namespace(&pod.pod)),
                    ("persistentvolumeclaim", claim),
                ];
                found.entry(labels(&of)).or_insert(volume);
            }
        }
    }
    for (name, help, figure) in ROWS.iter().filter(|_| !found.is_empty()) {
        family(text, name, "gauge", help);
        for (labels, of) in &found {
            // a string takes whatever is written to it
            let _ = writeln!(text, "{name}{labels} {}", figure(of));
        }
    }
}
