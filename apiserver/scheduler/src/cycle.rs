//! The owner of cache and queue: takes pods one after another, finds each a node or room for it, and sends bindings out.
//!
//! Invariant: a pod is counted on its node from the moment of the decision. Follows `pkg/scheduler/schedule_one.go`.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::{core::v1::Namespace, policy::v1::PodDisruptionBudget};
use skiff_podspec::parts::Meta;
use skiff_watching::api::Api;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender},
    task::JoinHandle,
};

use crate::{
    broken::Broken,
    cache::Cache,
    choose::{self, Choice, Failure, Sampling},
    early::Early,
    events::{Recorder, Standing},
    figures::{Attempt, Figures, Outcome},
    framework::{ClusterEvent, View},
    heard::Heard,
    nominator::Nominator,
    options::Options,
    owners::Owners,
    plugins::volume_binding::{Plan, waiting::Waiting},
    pod::PodInfo,
    queue::{Queue, Why},
    volumes::{Store, Volumes},
};

/// Pods decided on between two looks at what changed.
const ROUND: usize = 64;

/// How long a pod waits for its volumes on the node that it was given.
const VOLUMES_DEADLINE: Duration = Duration::from_secs(600);

/// A pod that has its node, and waits there for its claims to be bound.
pub(crate) struct Pending {
    pub pod: Arc<PodInfo>,
    pub node: String,
    pub claims: Waiting,
    pub since: Instant,
}

/// A pod whose binding is under way.
pub(crate) struct Assumed {
    pub pod: Arc<PodInfo>,
    pub attempt: Attempt,
}

pub(crate) struct Scheduler {
    pub api: Api,
    pub options: Options,
    pub tell: UnboundedSender<Heard>,
    pub recorder: Recorder,
    pub cache: Cache,
    pub queue: Queue,
    pub nominator: Nominator,
    pub slots: Arc<Semaphore>,
    sampling: Sampling,
    /// Pods whose bindings are under way.
    pub assumed: HashMap<Arc<str>, Assumed>,
    pub volumes: Volumes,
    pub namespaces: Store<Namespace>,
    pub owners: Owners,
    pub budgets: Store<PodDisruptionBudget>,
    pub pending: HashMap<Arc<str>, Pending>,
    pub early: Early,
    /// What is being written of pods that were given no node: of each one after the other.
    pub reports: HashMap<Arc<str>, JoinHandle<()>>,
}

impl Scheduler {
    pub fn new(api: Api, options: Options, tell: UnboundedSender<Heard>) -> Scheduler {
        let slots = Arc::new(Semaphore::new(options.parallelism.max(1)));
        let queue = Queue::new(options.figures.clone());
        options.figures.of_profile(&options.scheduler_name);
        let recorder = Recorder::new(api.clone(), options.clock.clone(), &options.scheduler_name);
        Scheduler {
            api,
            options,
            tell,
            recorder,
            cache: Cache::default(),
            queue,
            nominator: Nominator::default(),
            slots,
            sampling: Sampling::default(),
            assumed: HashMap::new(),
            volumes: Volumes::default(),
            namespaces: Store::default(),
            owners: Owners::default(),
            budgets: Store::default(),
            pending: HashMap::new(),
            early: Early::default(),
            reports: HashMap::new(),
        }
    }

    pub fn has_active(&self) -> bool {
        self.queue.has_active()
    }

    /// When [`Scheduler::wake`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let late = self
            .pending
            .values()
            .map(|pending| pending.since + VOLUMES_DEADLINE)
            .min();
        let due = [self.queue.next_due(), self.early.next_due(), late];
        due.into_iter().flatten().min()
    }

    pub fn wake(&mut self) {
        let now = Instant::now();
        let late = self
            .pending
            .iter()
            .filter(|(_, pending)| now >= pending.since + VOLUMES_DEADLINE);
        let late: Vec<Arc<str>> = late.map(|(uid, _)| uid.clone()).collect();
        late.iter()
            .for_each(|uid| self.bound(uid, Err(Broken::VolumesLate)));
        self.let_early_go(now);
        self.queue.wake(now);
    }

    /// Takes up pods that came before their claims.
    pub fn let_early_go(&mut self, now: Instant) {
        let free = self.early.let_go(&self.volumes, now);
        free.into_iter().for_each(|pod| self.queue.put(pod));
    }

    pub fn figures(&self) -> &Figures {
        &self.options.figures
    }

    /// Decides on the next pods in line.
    pub fn schedule_some(&mut self) {
        for _ in 0..ROUND {
            let Some(pod) = self.queue.pop() else { break };
            self.schedule(pod);
        }
        self.queue.tell();
    }

    fn schedule(&mut self, pod: Arc<PodInfo>) {
        let attempt = self.queue.attempt(&pod.uid, Instant::now());
        let view = View {
            cache: &self.cache,
            volumes: &self.volumes,
            namespaces: &self.namespaces,
            owners: &self.owners,
            nominator: &self.nominator,
        };
        let now = self.options.clock.now();
        // one pod that the scheduler goes wrong over must not keep all others from their nodes
        let choice = catch_unwind(AssertUnwindSafe(|| {
            choose::choose(view, &pod, &mut self.sampling, &self.budgets, now)
        }));
        let choice = choice.unwrap_or_else(|_| Err(Failure::broken(Broken::Panicked)));
        self.figures().decided(attempt.began.elapsed());
        if choice.as_ref().is_err_and(|failure| failure.searched) {
            self.figures().searched();
        }
        match choice {
            Ok(Choice { node, plan }) => self.assume(pod, node, &plan, attempt),
            Err(failure) => self.failed(pod, failure, attempt),
        }
    }

    fn assume(&mut self, pod: Arc<PodInfo>, node: String, plan: &Plan, attempt: Attempt) {
        self.nominator.remove(&pod.uid);
        self.cache.put_pod(&node, pod.clone());
        let assumed = Assumed {
            pod: pod.clone(),
            attempt,
        };
        self.assumed.insert(pod.uid.clone(), assumed);
        if plan.is_empty() {
            self.bind(pod, node)
        } else {
            self.prepare_volumes(pod, node, plan)
        }
    }

    /// Promises the pod its volumes, asks for them, and lets it wait for them.
    fn prepare_volumes(&mut self, pod: Arc<PodInfo>, node: String, plan: &Plan) {
        for (volume, _) in &plan.bind {
            self.volumes.promise(volume.metadata.name(), &pod.uid);
        }
        self.ask_for_volumes(pod.clone(), &node, plan);
        self.pending.insert(
            pod.uid.clone(),
            Pending {
                pod,
                node,
                claims: Waiting::of(plan),
                since: Instant::now(),
            },
        );
    }

    /// Pods whose claims are bound now go on; those whose claims will not be are tried again.
    pub fn bind_those_with_volumes(&mut self) {
        let (mut done, mut broken) = (Vec::new(), Vec::new());
        for (uid, pending) in &mut self.pending {
            let (name, claims) = (&pending.node, &mut pending.claims);
            match claims.check(name, self.cache.get(name), &self.volumes) {
                Ok(true) => done.push(uid.clone()),
                Ok(false) => {}
                Err(why) => broken.push((uid.clone(), why)),
            }
        }
        for uid in done {
            if let Some(pending) = self.pending.remove(&uid) {
                self.bind(pending.pod, pending.node);
            }
        }
        for (uid, why) in broken {
            self.bound(&uid, Err(Broken::Binding(why)));
        }
    }

    /// The pod fits nowhere: it waits, and those leave that have to.
    fn failed(&mut self, pod: Arc<PodInfo>, failure: Failure, attempt: Attempt) {
        self.queue.tried(&pod.uid, &attempt);
        let outcome = match failure.why {
            Why::Rejected(_) | Why::NoNodes => Outcome::Unschedulable,
            Why::Error => Outcome::Error,
        };
        self.figures().over(&attempt, outcome);
        let victims: Vec<_> = failure
            .victims
            .iter()
            .filter(|victim| !victim.is_deleting())
            .cloned()
            .collect();
        self.queue.wait(
            pod.clone(),
            failure.why,
            !victims.is_empty(),
            Instant::now(),
        );
        match &failure.nominate {
            Some(node) => self.nominator.set(&pod, Some(node)),
            None => self.nominator.heard(&pod),
        }
        if let Some(node) = failure.nominate.clone().filter(|_| !victims.is_empty()) {
            self.preempt(&pod, node, victims);
        }
        let nominated = failure.nominate.as_deref().or(pod.nominated());
        let wanted = Standing::new(failure.reason, &failure.message, nominated.unwrap_or(""));
        let stood = self.queue.says(&pod, wanted);
        self.report(pod, failure, stood);
    }

    /// A binding came back.
    pub fn bound(&mut self, uid: &str, done: Result<(), Broken>) {
        self.volumes.release(uid);
        self.pending.remove(uid);
        let Some(Assumed { pod, attempt }) = self.assumed.remove(uid) else {
            return;
        };
        if let Err(error) = done {
            tracing::debug!(%error, pod = pod.name, "a binding failed");
            if let Some(gone) = self.cache.remove_pod(uid) {
                self.queue.changed(&ClusterEvent::PodDeleted(gone));
            }
            self.failed(pod, Failure::broken(error), attempt);
        }
    }

    /// A pod is gone while its binding was under way: there is nothing to be tried again.
    pub fn forget(&mut self, uid: &str) {
        self.volumes.release(uid);
        if let Some(Pending { pod, .. }) = self.pending.remove(uid) {
            let gone = Failure::broken(Broken::Gone(pod.name.clone()));
            let wanted = Standing::new(gone.reason, &gone.message, "");
            let stood = self.queue.says(&pod, wanted);
            self.report(pod, gone, stood);
        }
        self.assumed.remove(uid);
    }
}
