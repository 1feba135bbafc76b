//! One look at the runtime for all pods: events are gathered, the runtime is listed once, and those concerned are woken.
//!
//! Invariant: a view that `refresh` answers was listed after `refresh` was called.
//! Takes the place of upstream's `pkg/kubelet/pleg`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    figures::Figures,
    outcome,
    pod::view::PodView,
    runtime::{Error, RuntimeEvent, SandboxState, SharedRuntime},
    time,
};

/// Why the runtime cannot be looked at.
#[derive(thiserror::Error, Clone, Debug)]
enum Unseen {
    #[error(transparent)]
    NotListed(Arc<Error>),
    #[error("sandbox {id}: {trouble}")]
    Sandbox { id: String, trouble: String },
    #[error("the node agent stops")]
    Stopping,
}

enum Request {
    Refresh {
        uid: String,
        answer: oneshot::Sender<Result<PodView, Unseen>>,
    },
    Register {
        uid: String,
        wake: Arc<Notify>,
    },
    Forget {
        uid: String,
    },
}

/// Asks the observing task; cheap to clone.
#[derive(Clone)]
pub struct Observer {
    requests: mpsc::UnboundedSender<Request>,
}

impl Observer {
    /// Starts the task.
    pub fn start(runtime: SharedRuntime, figures: Arc<Figures>, stop: CancellationToken) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        let events = runtime.events();
        let pods = Pods {
            figures,
            ..Pods::default()
        };
        skiff_watching::task::spawn(observe(runtime, pods, incoming, events, stop));
        Self { requests }
    }

    /// Wakes `wake` whenever something happens to the pod's containers.
    pub fn register(&self, uid: &str, wake: Arc<Notify>) {
        self.send(Request::Register {
            uid: uid.to_owned(),
            wake,
        });
    }

    pub fn forget(&self, uid: &str) {
        self.send(Request::Forget {
            uid: uid.to_owned(),
        });
    }

    /// What the runtime has of the pod now.
    pub async fn refresh(&self, uid: &str) -> Result<PodView, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Refresh {
            uid: uid.to_owned(),
            answer,
        });
        let seen = answered.await.unwrap_or(Err(Unseen::Stopping));
        seen.map_err(|unseen| Error::Failed {
            what: "list containers".to_owned(),
            reason: unseen.to_string(),
        })
    }

    fn send(&self, request: Request) {
        if self.requests.send(request).is_err() {
            tracing::debug!("request to the observer dropped: the node agent stops");
        }
    }
}

#[derive(Default)]
struct Pods {
    wakes: HashMap<String, Arc<Notify>>,
    /// Which pod a sandbox belongs to, as of the last listing.
    owners: HashMap<String, String>,
    listings: u64,
    figures: Arc<Figures>,
}

async fn observe(
    runtime: SharedRuntime,
    mut pods: Pods,
    mut incoming: mpsc::UnboundedReceiver<Request>,
    mut events: broadcast::Receiver<RuntimeEvent>,
    stop: CancellationToken,
) {
    loop {
        let mut refreshes = Vec::new();
        let mut touched = HashSet::new();
        tokio::select! {
            request = incoming.recv() => match request {
                Some(request) => pods.take(request, &mut refreshes),
                None => return,
            },
            event = events.recv() => match event {
                Ok(event) => _ = touched.insert(sandbox_of(event)),
                Err(broadcast::error::RecvError::Lagged(_)) => pods.wake_all(),
                Err(broadcast::error::RecvError::Closed) => {
                    tracing::warn!("the runtime sends no more events");
                    return serve_without_events(runtime, pods, incoming, stop).await;
                }
            },
            () = stop.cancelled() => return,
        }
        while let Ok(request) = incoming.try_recv() {
            pods.take(request, &mut refreshes);
        }
        while let Ok(event) = events.try_recv() {
            touched.insert(sandbox_of(event));
        }
        pods.wake_owners(&runtime, touched).await;
        answer(&runtime, refreshes, &mut pods).await;
    }
}

async fn serve_without_events(
    runtime: SharedRuntime,
    mut pods: Pods,
    mut incoming: mpsc::UnboundedReceiver<Request>,
    stop: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            request = incoming.recv() => request,
            () = stop.cancelled() => return,
        };
        let Some(request) = request else { return };
        let mut refreshes = Vec::new();
        pods.take(request, &mut refreshes);
        answer(&runtime, refreshes, &mut pods).await;
    }
}

type Refresh = (String, oneshot::Sender<Result<PodView, Unseen>>);

impl Pods {
    fn take(&mut self, request: Request, refreshes: &mut Vec<Refresh>) {
        match request {
            Request::Refresh { uid, answer } => refreshes.push((uid, answer)),
            Request::Register { uid, wake } => _ = self.wakes.insert(uid, wake),
            Request::Forget { uid } => {
                self.wakes.remove(&uid);
                self.owners.retain(|_, owner| *owner != uid);
            }
        }
    }

    fn wake_all(&self) {
        self.wakes.values().for_each(|wake| wake.notify_one());
    }

    async fn wake_owners(&mut self, runtime: &SharedRuntime, sandboxes: HashSet<String>) {
        if sandboxes
            .iter()
            .any(|sandbox| !self.owners.contains_key(sandbox))
            && let Ok(listed) = runtime.list().await
        {
            note_owners(&mut self.owners, &listed);
        }
        let owners: HashSet<&String> = sandboxes
            .iter()
            .filter_map(|sandbox| self.owners.get(sandbox))
            .collect();
        owners
            .into_iter()
            .filter_map(|owner| self.wakes.get(owner))
            .for_each(|wake| wake.notify_one());
    }
}

fn note_owners(owners: &mut HashMap<String, String>, listed: &[SandboxState]) {
    *owners = listed
        .iter()
        .map(|sandbox| (sandbox.id.clone(), sandbox.spec.pod_uid.clone()))
        .collect();
}

async fn answer(runtime: &SharedRuntime, refreshes: Vec<Refresh>, pods: &mut Pods) {
    if refreshes.is_empty() {
        return;
    }
    pods.listings += 1;
    let mut by_pod: HashMap<String, Vec<SandboxState>> = HashMap::new();
    let began = time::Instant::now();
    let listed = runtime.list().await;
    pods.figures.listed(began.elapsed());
    match listed {
        Ok(listed) => {
            note_owners(&mut pods.owners, &listed);
            listed.into_iter().for_each(|sandbox| {
                by_pod
                    .entry(sandbox.spec.pod_uid.clone())
                    .or_default()
                    .push(sandbox)
            });
        }
        Err(error) => {
            let unseen = Unseen::NotListed(Arc::new(error));
            for (_, answer) in refreshes {
                outcome::nobody_may_wait(answer.send(Err(unseen.clone())));
            }
            return;
        }
    }
    for (uid, answer) in refreshes {
        let sandboxes = by_pod.get(&uid).cloned().unwrap_or_default();
        let trouble = sandboxes.iter().find_map(|sandbox| {
            let trouble = sandbox.trouble.clone()?;
            Some(Unseen::Sandbox {
                id: sandbox.id.clone(),
                trouble,
            })
        });
        let seen = trouble.map_or_else(|| Ok(PodView::new(sandboxes, pods.listings)), Err);
        outcome::nobody_may_wait(answer.send(seen));
    }
}

fn sandbox_of(event: RuntimeEvent) -> String {
    match event {
        RuntimeEvent::ContainerStarted { sandbox, .. }
        | RuntimeEvent::ContainerExited { sandbox, .. }
        | RuntimeEvent::SandboxLost { sandbox } => sandbox,
    }
}
