//! What people are told: the addresses in the status of Ingresses, what becomes of gateways and routes, and events about what is wrong with Ingresses.
//!
//! Invariant: of several nodes one speaks. Addresses are those at which somebody listens now; they go again when the Ingress is another's. A problem
//! is told of once, and again when it comes back. Follows `staging/src/k8s.io/api/networking/v1/types.go` upstream.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use serde_json::{Value, json};
use skiff_watching::{
    Error,
    api::{Kind, PatchType, item},
    events::{EventType, Recorder},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    doors,
    gateway::{
        self,
        objects::{self, Object},
        status::Now,
    },
    members::{LIFE, Member, Members, RENEW},
    plan::{Plan, Problem, untold},
};
use crate::{network::view::ObjectName, outcome};

/// Who has just begun looks around more often, as others begin at the same time.
const FIRST_ROUNDS: (u32, Duration) = (10, Duration::from_secs(1));
/// How long leaving may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Speaks for the nodes, if it is this one's turn, until `stop`.
pub async fn run(
    member: Member,
    recorder: Recorder,
    (mut plans, mut doors): (watch::Receiver<Arc<Plan>>, watch::Receiver<doors::State>),
    stop: CancellationToken,
) {
    let mut members = Members::default();
    let mut told = HashMap::new();
    let mut class = Class::default();
    let mut rounds = 0;
    let mut due = tokio::time::Instant::now();
    loop {
        if tokio::time::Instant::now() >= due {
            members = seen(&member, members).await;
            let pause = if rounds < FIRST_ROUNDS.0 {
                FIRST_ROUNDS.1
            } else {
                RENEW
            };
            due = tokio::time::Instant::now() + pause;
            rounds += 1;
        }
        let plan = plans.borrow_and_update().clone();
        let open = doors.borrow_and_update().clone();
        let now = |members: &Members| wanted(&plan, &members.addresses, &open, member.clock.now());
        if members.speaks && !now(&members).is_empty() {
            // others may have come since it was looked, who would be contradicted
            members = heard(member.look().await, members);
        }
        if members.speaks {
            write(&member, now(&members)).await;
            complain(&recorder, &plan, &mut told);
            class.make(&member, &plan).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = plans.changed() => if changed.is_err() { break },
            changed = doors.changed() => if changed.is_err() { break },
            () = stop.cancelled() => break,
        }
    }
    match tokio::time::timeout(FAREWELL, member.leave()).await {
        Ok(left) => outcome::is_a_favour("say that this node serves no Ingress any more", left),
        Err(_) => tracing::debug!(
            "the others will see within {} s that this node has left",
            LIFE.as_secs()
        ),
    }
}

/// Who serves; what was known before stands where nobody can be asked.
async fn seen(member: &Member, before: Members) -> Members {
    let looked = match member.renew().await {
        Ok(()) => member.look().await,
        Err(error) => Err(error),
    };
    heard(looked, before)
}

/// Who does not know who else serves does not speak.
fn heard(looked: Result<Members, Error>, before: Members) -> Members {
    looked.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell that this node serves Ingresses");
        Members {
            speaks: false,
            ..before
        }
    })
}

/// Every status that is to be written, by the object's path: Ingresses of another class have no addresses.
fn wanted(
    plan: &Plan,
    addresses: &BTreeSet<IpAddr>,
    doors: &doors::State,
    time: Timestamp,
) -> Vec<(String, Value)> {
    static NONE: BTreeSet<IpAddr> = BTreeSet::new();
    let ours = plan.ours.iter().map(|known| (known, addresses));
    let left = plan.left.iter().map(|known| (known, &NONE));
    let ingresses = ours.chain(left).filter_map(|(known, addresses)| {
        let meta = known.ingress.meta();
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        let path = item::<Ingress>(namespace.unwrap_or_default(), name.unwrap_or_default());
        Some((path + "/status", patch(&known.ingress, addresses)?))
    });
    let now = Now {
        time,
        addresses,
        doors,
    };
    let gateways = plan.tell.iter().filter_map(|tell| now.patch(tell));
    ingresses.chain(gateways).collect()
}

async fn write(member: &Member, wanted: Vec<(String, Value)>) {
    for (path, patch) in wanted {
        match member.api.patch(&path, PatchType::Merge, &patch).await {
            Ok(_) => {}
            Err(Error::Refused(status)) if status.code == 404 => {}
            // what changed meanwhile brings a plan of its own
            Err(Error::Refused(status)) if status.code == 409 => {}
            Err(error) => tracing::warn!(%error, path, "a status was not told"),
        }
    }
}

/// The class of gateways, which is made once its kind is known: whoever takes it away has no other one until the kind is defined anew, or the proxy begins.
#[derive(Default)]
struct Class {
    made: bool,
}

impl Class {
    async fn make(&mut self, member: &Member, plan: &Plan) {
        if !plan.has_classes {
            self.made = false;
        }
        if self.made || !plan.has_classes {
            return;
        }
        let class = json!({"apiVersion": format!("{}/v1", objects::GROUP), "kind": objects::GatewayClass::KIND,
            "metadata": {"name": gateway::CLASS}, "spec": {"controllerName": objects::CONTROLLER}});
        match member
            .api
            .post(&objects::path::<objects::GatewayClass>(""), &class)
            .await
        {
            Ok(_) => self.made = true,
            Err(error) if error.is_already_exists() => self.made = true,
            Err(error) => tracing::debug!(%error, "the class of gateways was not made"),
        }
    }
}

/// Tells of problems that were not told of yet.
fn complain(recorder: &Recorder, plan: &Plan, told: &mut HashMap<ObjectName, BTreeSet<Problem>>) {
    let by_name: HashMap<_, _> = plan
        .ours
        .iter()
        .map(|known| {
            let meta = known.ingress.meta();
            (
                (meta.namespace.as_deref(), meta.name.as_deref()),
                &known.ingress,
            )
        })
        .collect();
    for problem in untold(told, &plan.problems) {
        let Problem {
            ingress,
            reason,
            message,
        } = problem;
        let name = (
            Some(ingress.namespace.as_str()),
            Some(ingress.name.as_str()),
        );
        if let Some(ingress) = by_name.get(&name) {
            recorder.event(ingress.as_ref(), EventType::Warning, reason, message);
        }
    }
}

/// What brings the status to these addresses; none where it says so.
pub(super) fn patch(ingress: &Ingress, addresses: &BTreeSet<IpAddr>) -> Option<Value> {
    let status = ingress
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let now = status
        .and_then(|balancer| balancer.ingress.as_deref())
        .unwrap_or_default();
    let wanted: Vec<_> = addresses
        .iter()
        .map(|ip| IngressLoadBalancerIngress {
            ip: Some(ip.to_string()),
            ..Default::default()
        })
        .collect();
    (now != wanted).then(|| {
        let addresses = addresses.iter().map(|ip| json!({"ip": ip.to_string()}));
        let addresses: Vec<_> = addresses.collect();
        json!({"status": {"loadBalancer": {"ingress": addresses}}})
    })
}
