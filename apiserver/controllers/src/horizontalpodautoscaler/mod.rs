//! The horizontal pod autoscaler: as many replicas as what is measured asks for.
//!
//! Invariant: every autoscaler is looked at once a period, the first time one period after it was made; what cannot be measured changes nothing
//! and is told. Follows pkg/controller/podautoscaler/horizontal.go.

mod measured;
mod metric;
mod normalize;
mod replicas;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod why;

use std::collections::HashMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricStatus};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{quantity::Quantity, selector::Selector};
use skiff_podspec::pod::Pod;

use self::{
    measured::Client,
    metric::Asked,
    normalize::{Bounds, Memory, Normalized},
    replicas::{Seen, Timing, Tolerances},
    status::{set, status},
    target::Target,
    why::Why,
};
pub use crate::options::Autoscaling as Options;
use crate::{
    discovery::{Found, discover},
    prelude::*,
};

/// The pods of a namespace.
type PodsOf = Box<dyn Fn(&str) -> Vec<Arc<Pod>> + Send + Sync>;

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    options: Options,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: PodsOf,
    memories: Mutex<HashMap<Key, Memory>>,
    /// The pods that each autoscaler's target last was seen to select.
    selectors: Mutex<HashMap<Key, Selector>>,
}

/// `horizontal-pod-autoscaler-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let pods = context.informer::<Pod>();
    let c = context.wire(
        "horizontalpodautoscaler",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("horizontal-pod-autoscaler"),
            options: context.options.horizontal_pod_autoscaler,
            autoscalers: context.informer(),
            pods: Box::new(move |namespace| pods.in_namespace(namespace)),
            memories: Mutex::default(),
            selectors: Mutex::default(),
        },
    );
    c.on(&c.autoscalers, |c, change, queue| match change {
        Change::Updated { old, new } if old.spec == new.spec => {}
        Change::Deleted(old) => queue.add(Key::of(&old.metadata)),
        Change::Added(new) | Change::Updated { new, .. } => {
            queue.add_after(Key::of(&new.metadata), c.options.sync_period)
        }
    });
    Ok(c.workers())
}

/// What all metrics together ask for.
struct Computed {
    /// `None` when that cannot be told.
    replicas: Option<(i32, String)>,
    statuses: Vec<MetricStatus>,
    error: Option<String>,
}

impl Controller {
    fn tolerances(&self, autoscaler: &HorizontalPodAutoscaler) -> Result<Tolerances, Error> {
        let behavior = autoscaler.spec.behavior.as_ref();
        let of = |rules: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| match rules
            .and_then(|rules| rules.tolerance.as_ref())
        {
            None => Ok(self.options.tolerance),
            Some(given) => given
                .0
                .parse::<Quantity>()
                .map(|q| q.as_f64())
                .map_err(|e| failed!("tolerance {}: {e}", GoQuoted(&given.0))),
        };
        Ok(Tolerances {
            down: of(behavior.and_then(|b| b.scale_down.as_ref()))?,
            up: of(behavior.and_then(|b| b.scale_up.as_ref()))?,
        })
    }

    /// Sets a condition.
    fn say(
        &self,
        autoscaler: &mut HorizontalPodAutoscaler,
        kind: &str,
        state: &str,
        reason: &str,
        message: &str,
    ) {
        set(
            status(autoscaler),
            kind,
            state,
            reason,
            message,
            self.clock.time(),
        );
    }

    /// The target's selector, unless its pods are another autoscaler's, too.
    fn selector(
        &self,
        autoscaler: &mut HorizontalPodAutoscaler,
        key: &Key,
        target: &Target,
    ) -> Result<Selector, Why> {
        let mut refuse = |reason: &'static str, event: String, message: &str| {
            self.recorder.warning(autoscaler, reason, event.clone());
            let reason = if reason == "SelectorRequired" {
                "InvalidSelector"
            } else {
                reason
            };
            self.say(autoscaler, "ScalingActive", "False", reason, message);
            Err(Why(event))
        };
        let text = target.selector();
        if text.is_empty() {
            return refuse(
                "SelectorRequired",
                "selector is required".into(),
                "the HPA target's scale is missing a selector",
            );
        }
        let selector: Selector = match text.parse() {
            Ok(selector) => selector,
            Err(error) => {
                let why = format!(
                    "couldn't convert selector into a corresponding internal selector object: {error}"
                );
                return refuse("InvalidSelector", why.clone(), &why);
            }
        };
        self.selectors.lock().insert(key.clone(), selector.clone());
        let others = self.others(key, &selector);
        if others.len() > 1 {
            let why = format!(
                "pods by selector {text} are controlled by multiple HPAs: [{}]",
                others.join(" ")
            );
            return refuse("AmbiguousSelector", why.clone(), &why);
        }
        Ok(selector)
    }

    /// The autoscalers whose targets select any of the same pods, this one among them.
    fn others(&self, key: &Key, selector: &Selector) -> Vec<String> {
        let selectors = self.selectors.lock();
        let pods = self.selected(key.namespace(), selector);
        let meant = |(other, theirs): &(&Key, &Selector)| {
            other.namespace() == key.namespace()
                && pods
                    .iter()
                    .any(|pod| theirs.matches(&pod.metadata.labels.as_ref()))
        };
        let mut found: Vec<String> = selectors
            .iter()
            .filter(meant)
            .map(|(other, _)| other.to_string())
            .collect();
        found.sort();
        found
    }

    fn selected(&self, namespace: &str, selector: &Selector) -> Vec<Arc<Pod>> {
        (self.pods)(namespace)
            .into_iter()
            .filter(|pod| selector.matches(&pod.metadata.labels.as_ref()))
            .collect()
    }

    /// Asks every metric.
    async fn compute(
        &self,
        autoscaler: &mut HorizontalPodAutoscaler,
        key: &Key,
        target: &Target,
        found: &Found,
    ) -> Result<Computed, Error> {
        let nothing = |statuses, error| Computed {
            replicas: None,
            statuses,
            error: Some(error),
        };
        let selector = match self.selector(autoscaler, key, target) {
            Ok(selector) => selector,
            Err(error) => return Ok(nothing(Vec::new(), error.0)),
        };
        let pods = self.selected(key.namespace(), &selector);
        let seen = Seen {
            current: target.replicas(),
            pods: &pods,
            tolerances: self.tolerances(autoscaler)?,
            timing: Timing {
                cpu_initialization: self.options.cpu_initialization_period,
                initial_readiness: self.options.initial_readiness_delay,
            },
            now: self.clock.now(),
        };
        let (api, resources) = (&self.api, found.resources.as_slice());
        let asked = Asked {
            client: Client { api, resources },
            namespace: key.namespace(),
            selector: &selector,
            seen,
            status_replicas: target.status_replicas(),
        };
        let metrics = autoscaler.spec.metrics.clone().unwrap_or_default();
        let (mut best, mut statuses, mut failed) = (None::<(i32, String)>, Vec::new(), Vec::new());
        for spec in &metrics {
            match asked.compute(spec).await {
                Ok(proposal) => {
                    statuses.push(proposal.status);
                    let most = best.as_ref().map_or(0, |(most, _)| *most);
                    if most == 0 || proposal.replicas > most {
                        best = Some((proposal.replicas, proposal.name));
                    }
                }
                Err(failure) => {
                    self.recorder
                        .warning(autoscaler, failure.reason, failure.why.to_string());
                    statuses.push(MetricStatus::default());
                    failed.push(failure);
                }
            }
        }
        let error = |first: &str| {
            let (bad, all) = (failed.len(), metrics.len());
            format!("invalid metrics ({bad} invalid out of {all}), first error is: {first}")
        };
        // with some unknown, nothing is scaled down
        let current = target.replicas();
        let unsafe_down = best.as_ref().is_none_or(|(most, _)| *most < current);
        if failed.len() >= metrics.len() || !failed.is_empty() && unsafe_down {
            let Some(first) = failed.first() else {
                return Ok(nothing(statuses, error("<nil>")));
            };
            let message = first.condition().message.unwrap_or_default();
            self.say(autoscaler, "ScalingActive", "False", first.reason, &message);
            return Ok(nothing(statuses, error(&first.error)));
        }
        let name = best.as_ref().map_or("", |(_, name)| name);
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        self.say(
            autoscaler,
            "ScalingActive",
            "True",
            "ValidMetricFound",
            &message,
        );
        let error = failed.first().map(|first| error(&first.error));
        Ok(Computed {
            replicas: best,
            statuses,
            error,
        })
    }

    /// Brings what metrics ask for into bounds.
    fn normalize(
        &self,
        autoscaler: &mut HorizontalPodAutoscaler,
        key: &Key,
        bounds: Bounds,
        wanted: i32,
    ) -> i32 {
        let (now, window) = (self.clock.now(), self.options.downscale_stabilization);
        let behavior = autoscaler.spec.behavior.clone();
        let mut memories = self.memories.lock();
        let memory = memories.entry(key.clone()).or_default();
        let Normalized {
            replicas,
            able,
            limited,
        } = match &behavior {
            None => normalize::plainly(memory, bounds, wanted, window, now),
            Some(behavior) => normalize::by_behavior(memory, bounds, wanted, behavior, window, now),
        };
        drop(memories);
        self.say(autoscaler, "AbleToScale", "True", able.0, able.1);
        let (is_limited, why) = limited;
        let state = if is_limited { "True" } else { "False" };
        self.say(autoscaler, "ScalingLimited", state, why.0, why.1);
        replicas
    }

    /// Writes the status if it is another than it was.
    async fn write(
        &self,
        old: &HorizontalPodAutoscaler,
        new: &HorizontalPodAutoscaler,
    ) -> Result<(), Error> {
        if old.status == new.status {
            return Ok(());
        }
        let written = self.api.update_status(new).await;
        written.map(drop).inspect_err(|error| {
            self.recorder
                .warning(new, "FailedUpdateStatus", error.to_string())
        })
    }

    async fn look(&self, key: &Key, old: &HorizontalPodAutoscaler) -> Result<(), Error> {
        let mut new = old.clone();
        let spec = new.spec.clone();
        let reached = async {
            let found = discover(&self.api).await?;
            let reference = &spec.scale_target_ref;
            let target = Target::get(&self.api, &found, key.namespace(), reference).await?;
            Ok::<_, Error>((target, found))
        };
        let (mut target, found) = match reached.await {
            Ok(reached) => reached,
            Err(error) => {
                self.recorder
                    .warning(&new, "FailedGetScale", error.to_string());
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {error}"
                );
                self.say(&mut new, "AbleToScale", "False", "FailedGetScale", &message);
                return self.write(old, &new).await;
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        self.say(
            &mut new,
            "AbleToScale",
            "True",
            "SucceededGetScale",
            message,
        );
        let current = target.replicas();
        self.memories
            .lock()
            .entry(key.clone())
            .or_default()
            .begin(current, self.clock.now());
        let bounds = Bounds {
            current,
            least: spec.min_replicas.unwrap_or(1),
            most: spec.max_replicas,
        };
        let (mut statuses, mut wanted, mut why) = (None, current, String::new());
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.say(
                &mut new,
                "ScalingActive",
                "False",
                "ScalingDisabled",
                message,
            );
        } else if current > bounds.most {
            (wanted, why) = (
                bounds.most,
                "Current number of replicas above Spec.MaxReplicas".into(),
            );
        } else if current < bounds.least {
            (wanted, why) = (
                bounds.least,
                "Current number of replicas below Spec.MinReplicas".into(),
            );
        } else {
            let computed = self.compute(&mut new, key, &target, &found).await?;
            statuses = Some(computed.statuses);
            let Some((asked, metric)) = computed.replicas else {
                status::fill(status(&mut new), current, None, statuses, None);
                self.write(old, &new).await?;
                self.recorder.warning(
                    &new,
                    "FailedComputeMetricsReplicas",
                    computed.error.unwrap_or_default(),
                );
                return Ok(());
            };
            why = if asked > current {
                format!("{metric} above target")
            } else {
                "All metrics below target".into()
            };
            wanted = self.normalize(&mut new, key, bounds, asked);
        }
        if wanted != current && !self.rescale(&mut new, key, &mut target, wanted, &why).await {
            status::fill(status(&mut new), current, None, statuses, None);
            return self.write(old, &new).await;
        }
        status::fill(
            status(&mut new),
            current,
            Some(wanted),
            statuses,
            (wanted != current).then(|| self.clock.time()),
        );
        self.write(old, &new).await
    }

    /// Tells the target how many replicas it is to have; whether that went well.
    async fn rescale(
        &self,
        new: &mut HorizontalPodAutoscaler,
        key: &Key,
        target: &mut Target,
        wanted: i32,
        why: &str,
    ) -> bool {
        let current = target.replicas();
        if let Err(error) = target.set(&self.api, wanted).await {
            let message = format!("New size: {wanted}; reason: {why}; error: {error}");
            self.recorder.warning(new, "FailedRescale", message);
            let message =
                format!("the HPA controller was unable to update the target scale: {error}");
            self.say(new, "AbleToScale", "False", "FailedUpdateScale", &message);
            return false;
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.say(new, "AbleToScale", "True", "SucceededRescale", &message);
        let message = format!("New size: {wanted}; reason: {why}");
        self.recorder.normal(new, "SuccessfulRescale", message);
        let behavior = new.spec.behavior.clone();
        self.memories
            .lock()
            .entry(key.clone())
            .or_default()
            .changed(behavior.as_ref(), current, wanted, self.clock.now());
        true
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "horizontal-pod-autoscaler-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(autoscaler) = self.autoscalers.get(key) else {
            self.memories.lock().remove(key);
            self.selectors.lock().remove(key);
            return Ok(Next::DONE);
        };
        // what fails is looked at again after the same time as what does not
        if let Err(error) = self.look(key, &autoscaler).await {
            tracing::debug!(%key, %error, "cannot scale, will try again");
        }
        Ok(Next::after(self.options.sync_period))
    }
}
