//! FlowSchemas and PriorityLevelConfigurations as they are stored: what acts follows them, their conditions follow what acts, and those that every
//! cluster has are kept.
//!
//! Invariant: a change acts as soon as the task that follows has seen it, whole; what that task does waits for no write. A mandatory object that is
//! deleted is made again at once, a suggested one within a minute.
//! Follows `pkg/util/flowcontrol/apf_controller.go` of `k8s.io/apiserver` and `pkg/registry/flowcontrol/rest/storage_flowcontrol.go`.

pub mod defaults;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use skiff_api::machinery::{meta::Meta, read::Read, status::Status, time};
use tokio::{sync::Notify, task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    core::Core,
    flowcontrol::{FlowControl, condition},
    following::Following,
    own::Own,
    stored,
    write::Writer,
};

const FLOWS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
/// How often levels lend to each other.
const ADJUSTING: Duration = Duration::from_secs(10);
/// How often all default objects are looked after, and those that could not be.
const KEEPING: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(2);

/// All objects of a resource that can be read.
fn all(core: &Core, resource: &str) -> Vec<Value> {
    let kinds = core.kinds.load();
    let Some(row) = kinds.stored(resource) else {
        return Vec::new();
    };
    let objects = core.store.snapshot(resource).range(None, None);
    let read = objects.filter_map(|object| match stored::decoded(row, &object) {
        Ok(value) => Some(value),
        Err(status) => {
            tracing::error!(key = ?object.key, "it counts for nothing: {}", status.message);
            None
        }
    });
    read.collect()
}

/// What a new cluster has of them; with conditions where something acts upon them.
pub async fn begin(writer: &Arc<Writer>, acts: bool) -> Result<(), Status> {
    defaults::ensure(writer).await?;
    match acts {
        true => conditions(writer).await,
        false => Ok(()),
    }
}

/// What is stored acts from now on.
pub fn configure(control: &FlowControl, core: &Core) {
    control.configure(&all(core, LEVELS), &all(core, FLOWS));
}

/// Lets what is stored act, and levels lend to each other, until the server stops.
/// Answers the tasks that do it, and that keep what has to be there.
pub fn follow(
    control: Arc<FlowControl>,
    writer: &Arc<Writer>,
    stopping: &CancellationToken,
) -> [AbortHandle; 2] {
    let changed = Arc::<Notify>::default();
    let core = writer.core.clone();
    let stop = stopping.clone();
    let told = changed.clone();
    let acts = skiff_watching::task::spawn(async move {
        tokio::select! {
            () = acting(&control, &core, &told) => {}
            () = stop.cancelled() => {}
        }
    });
    let keeps = keep(writer, Some(changed), stopping);
    [acts.abort_handle(), keeps]
}

async fn acting(control: &FlowControl, core: &Core, changed: &Notify) {
    let mut levels = Following::new(&core.store, LEVELS);
    let mut flows = Following::new(&core.store, FLOWS);
    let mut adjusting = tokio::time::interval(ADJUSTING);
    loop {
        let open = tokio::select! {
            some = levels.next() => some.is_some(),
            some = flows.next() => some.is_some(),
            () = control.emptied() => true,
            _ = adjusting.tick() => {
                control.adjust();
                continue;
            }
        };
        if !open {
            return;
        }
        configure(control, core);
        changed.notify_one();
    }
}

/// Keeps default objects and, where something acts upon them, the conditions of all; it is told of changes then.
pub fn keep(
    writer: &Arc<Writer>,
    changed: Option<Arc<Notify>>,
    stopping: &CancellationToken,
) -> AbortHandle {
    let (writer, stopping) = (writer.clone(), stopping.clone());
    let task = skiff_watching::task::spawn(async move {
        tokio::select! {
            () = keeping(&writer, changed.as_deref()) => {}
            () = stopping.cancelled() => {}
        }
    });
    task.abort_handle()
}

async fn keeping(writer: &Arc<Writer>, changed: Option<&Notify>) {
    let mut due = Instant::now() + KEEPING;
    loop {
        let told = async {
            match changed {
                Some(changed) => changed.notified().await,
                None => std::future::pending().await,
            }
        };
        let everything = tokio::select! {
            () = told => false,
            () = tokio::time::sleep_until(due) => true,
        };
        let kept = match everything {
            true => defaults::ensure(writer).await,
            false => defaults::ensure_mandatory(writer).await,
        };
        let conditions = match changed {
            Some(_) => conditions(writer).await,
            None => Ok(()),
        };
        let done = kept.and(conditions);
        if let Err(status) = &done {
            tracing::warn!(
                "cannot look after priority and fairness: {}",
                status.message
            );
            due = Instant::now() + AGAIN;
        } else if everything {
            due = Instant::now() + KEEPING;
        }
    }
}

/// Says of each FlowSchema whether its level is there.
pub async fn conditions(writer: &Arc<Writer>) -> Result<(), Status> {
    let (flows, levels) = (all(&writer.core, FLOWS), all(&writer.core, LEVELS));
    let own = &Own::managing(writer, "api-priority-and-fairness-config-consumer-v1");
    let wanted = flows.iter().filter_map(|flow| {
        let condition = condition(flow, &levels);
        (!says(flow, &condition)).then_some((flow.name(), condition))
    });
    let writes = wanted.map(|(name, condition)| async move {
        let told = |live: &Value| says(live, &condition);
        let mut status = json!({"conditions": [&condition]});
        status["conditions"][0]["lastTransitionTime"] = time::seconds(own.writer.core.now()).into();
        match own.apply_status(FLOWS, name, &status, &told).await {
            // it has gone
            Err(status) if status.code == 404 => Ok(()),
            done => done,
        }
    });
    join_all(writes).await.into_iter().collect()
}

/// The object has this condition already.
fn says(flow: &Value, condition: &Value) -> bool {
    let conditions = flow.at("status").list("conditions");
    let mut same = conditions
        .iter()
        .filter(|of| of.text("type") == condition.text("type"));
    same.any(|of| {
        ["status", "reason", "message"]
            .iter()
            .all(|name| of.text(name) == condition.text(name))
    })
}
