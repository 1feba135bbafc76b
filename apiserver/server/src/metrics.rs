//! `/metrics` in Prometheus' text form: requests by verb, resource and code, and how long they took; watches and what they are sent; who was let in;
//! what is in flight; what the store holds and how long writes take; what the process uses.
//!
//! Invariant: who counts waits for nobody who reads but for a moment, and what clients send cannot make the process grow (`labels.rs`). A path that nothing
//! serves is counted nowhere, a request that was refused for what it would be counts under its row.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`, and the `metrics.go` of `.../filters`, `.../authorization` and `.../storage/etcd3`.

mod labels;
mod requests;
mod sent;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::kinds::Kind;
use skiff_watching::tally::{Counter, Histogram, Part, family, process, single};

use crate::{
    admission::Chain,
    aggregation::Known,
    audit::Audit,
    auth::{Decision, Verdict},
    core::Core,
    flowcontrol::Places,
};

use requests::Requests;
use sent::Sent;

pub use labels::Labels;
pub use requests::Answered;

/// Upper ends of the times that fast things take, in seconds: who asks, and may they.
const SHORT: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384,
];
/// Those of how long certificates are still good: half an hour to a year.
const LIVES: &[f64] = &[
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    43200.0,
    86400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];
/// Those of the bytes of events.
const SIZES: &[f64] = &[
    1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0,
];

/// What watchers of a resource were sent.
pub struct Events {
    sizes: Histogram,
}

impl Events {
    pub fn sent(&self, bytes: usize) {
        self.sizes.observe(bytes as f64);
    }
}

/// How often something came out so, and how long it took.
struct Outcomes<const N: usize> {
    names: [&'static str; N],
    times: [Histogram; N],
    counts: [Counter; N],
}

impl<const N: usize> Outcomes<N> {
    fn new(names: [&'static str; N]) -> Self {
        Outcomes {
            names,
            times: names.map(|_| Histogram::new(SHORT)),
            counts: names.map(|_| Counter::default()),
        }
    }

    fn count(&self, outcome: &str, took: Duration) {
        let place = self.names.iter().position(|name| *name == outcome);
        if let Some(at) = place {
            self.counts[at].add(1);
            self.times[at].observe(took.as_secs_f64());
        }
    }

    fn text(&self, text: &mut String, counted: [&str; 2], timed: [&str; 2]) {
        family(text, counted[0], "counter", counted[1]);
        for (name, count) in self.names.iter().zip(&self.counts) {
            if count.get() > 0 {
                *text += &format!("{}{{result=\"{name}\"}} {}\n", counted[0], count.get());
            }
        }
        family(text, timed[0], "histogram", timed[1]);
        for ((name, count), times) in self.names.iter().zip(&self.counts).zip(&self.times) {
            if count.get() > 0 {
                times.text(timed[0], &format!("result=\"{name}\""), text);
            }
        }
    }
}

/// Names that are told as they are; whoever has another is `other`, or `email_id` where it looks like an address.
const USERS: [&str; 6] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "email_id",
    "other",
];

fn user(name: &str) -> usize {
    let known = USERS[..4].iter().position(|known| *known == name);
    known.unwrap_or(if name.contains('@') { 4 } else { 5 })
}

/// Watches that are going on, by what they are counted under.
type Running = Arc<Mutex<BTreeMap<Labels, u64>>>;

/// One of them. Its end is its drop.
pub struct LongRunning {
    of: Running,
    labels: Labels,
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        if let Some(count) = self.of.lock().get_mut(&self.labels) {
            *count -= 1;
        }
    }
}

/// What has been counted since the start.
pub struct Metrics {
    requests: Arc<Requests>,
    /// What was ended to protect the server: too many requests at once, or one that took too long.
    terminations: Mutex<HashMap<(Labels, u16), u64>>,
    running: Running,
    events: Mutex<BTreeMap<[&'static str; 3], Arc<Events>>>,
    authentications: Outcomes<2>,
    users: [Counter; USERS.len()],
    /// How long the certificates that clients show are still good.
    certificates: Histogram,
    authorizations: Outcomes<4>,
    /// Connections that came to nothing.
    pub handshakes_failed: Counter,
    /// What else counts in this cluster: controllers' queues, and the scheduler.
    parts: Mutex<Vec<Arc<dyn Part>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Arc::default(),
            terminations: Mutex::default(),
            running: Running::default(),
            events: Mutex::default(),
            authentications: Outcomes::new(["success", "failure"]),
            users: Default::default(),
            certificates: Histogram::new(LIVES),
            authorizations: Outcomes::new(["allowed", "denied", "no-opinion", "error"]),
            handshakes_failed: Counter::default(),
            parts: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Tells from now on what this part counts, too.
    pub fn tell_of(&self, part: Arc<dyn Part>) {
        self.parts.lock().push(part);
    }

    pub fn count(&self, labels: Labels, answered: &Answered) {
        self.requests.count(labels, answered);
    }

    /// The body of an answer of which nobody knows how long it will be: counted while it is sent, where it is one that is read.
    pub fn while_sent(&self, labels: Labels, body: Body) -> Body {
        match labels.reads() {
            true => Body::new(Sent::new(body, self.requests.clone(), labels)),
            false => body,
        }
    }

    pub fn terminated(&self, labels: Labels, code: u16) {
        *self.terminations.lock().entry((labels, code)).or_default() += 1;
    }

    /// A watch begins; `None`: it is none.
    pub fn begins(&self, labels: Labels) -> Option<LongRunning> {
        if labels.verb != "WATCH" {
            return None;
        }
        *self.running.lock().entry(labels).or_default() += 1;
        Some(LongRunning {
            of: self.running.clone(),
            labels,
        })
    }

    /// Where a watch counts what it sends.
    pub fn events(&self, kind: &Kind) -> Arc<Events> {
        let key = [kind.group, kind.plural, kind.version];
        let mut events = self.events.lock();
        let of = events.entry(key).or_insert_with(|| {
            let sizes = Histogram::new(SIZES);
            Arc::new(Events { sizes })
        });
        of.clone()
    }

    /// Somebody was asked who it is, and said it.
    pub fn authenticated(&self, name: Option<&str>, took: Duration) {
        match name {
            Some(name) => {
                self.authentications.count("success", took);
                self.users[user(name)].add(1);
            }
            None => self.authentications.count("failure", took),
        }
    }

    /// Somebody is who a certificate says, which is good for so many seconds.
    pub fn certified(&self, seconds: i64) {
        self.certificates.observe(seconds.max(0) as f64);
    }

    pub fn authorized(&self, verdict: &Verdict, took: Duration) {
        let outcome = match &verdict.decision {
            Decision::Allow(_) => "allowed",
            _ if verdict.error().is_some() => "error",
            Decision::Deny(_) => "denied",
            Decision::NoOpinion(_) => "no-opinion",
        };
        self.authorizations.count(outcome, took);
    }
}

/// Parts that count for themselves.
pub struct Others<'a> {
    pub places: &'a Places,
    pub core: &'a Core,
    pub admission: &'a Chain,
    pub audit: Option<&'a Audit>,
    pub known: &'a Known,
}

impl Metrics {
    /// All metrics in Prometheus' text form.
    pub fn text(&self, others: &Others, version: &Value) -> String {
        let mut text = String::new();
        self.of_requests(&mut text);
        self.of_watches(&mut text);
        of_places(&mut text, others.places);
        self.of_access(&mut text);
        others.admission.metrics(&mut text);
        if let Some(audit) = others.audit {
            let (name, help) = (
                "apiserver_audit_event_total",
                "Events that were told to those who audit.",
            );
            single(&mut text, name, "counter", help, audit.told.get());
        }
        of_others(&mut text, others.known);
        of_store(&mut text, others.core);
        for part in &*self.parts.lock() {
            part.tell(&mut text);
        }
        process::text(&mut text, version);
        text
    }

    fn of_requests(&self, text: &mut String) {
        self.requests.text(text);
        let name = "apiserver_request_terminations_total";
        let help = "Requests that were not answered: there were too many, or their time was over.";
        family(text, name, "counter", help);
        let terminations: BTreeMap<_, _> = self.terminations.lock().clone().into_iter().collect();
        for ((labels, code), count) in terminations {
            let labels = labels.text(&format!("code=\"{code}\","), false);
            *text += &format!("{name}{{{labels}}} {count}\n");
        }
    }

    fn of_watches(&self, text: &mut String) {
        let mut name = "apiserver_longrunning_requests";
        family(text, name, "gauge", "Watches that are going on.");
        let mut going: BTreeMap<String, u64> = BTreeMap::new();
        for (labels, count) in &*self.running.lock() {
            *going.entry(labels.text("", false)).or_default() += count;
        }
        for (labels, count) in going {
            *text += &format!("{name}{{{labels}}} {count}\n");
        }
        name = "apiserver_watch_events_total";
        family(text, name, "counter", "Events that watchers were sent.");
        let events = self.events.lock().clone();
        let labels = |[group, resource, version]: [&str; 3]| {
            format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"")
        };
        for (of, events) in &events {
            *text += &format!("{name}{{{}}} {}\n", labels(*of), events.sizes.count());
        }
        name = "apiserver_watch_events_sizes";
        family(
            text,
            name,
            "histogram",
            "Bytes of the events that watchers were sent.",
        );
        for (of, events) in &events {
            events.sizes.text(name, &labels(*of), text);
        }
    }

    fn of_access(&self, text: &mut String) {
        self.authentications.text(
            text,
            [
                "authentication_attempts",
                "Requests whose senders were asked for.",
            ],
            [
                "authentication_duration_seconds",
                "Seconds until it was known who sent a request.",
            ],
        );
        let name = "authenticated_user_requests";
        family(
            text,
            name,
            "counter",
            "Requests of whom it was known who sent them.",
        );
        for (user, count) in USERS.iter().zip(&self.users) {
            if count.get() > 0 {
                *text += &format!("{name}{{username=\"{user}\"}} {}\n", count.get());
            }
        }
        let name = "apiserver_client_certificate_expiration_seconds";
        let help = "Seconds that the certificates of clients are still good for.";
        family(text, name, "histogram", help);
        self.certificates.text(name, "", text);
        self.authorizations.text(
            text,
            [
                "authorization_attempts_total",
                "Requests of which it was decided whether they may be.",
            ],
            [
                "authorization_duration_seconds",
                "Seconds until that was decided.",
            ],
        );
        let (name, help) = (
            "apiserver_tls_handshake_errors_total",
            "Connections whose handshake failed.",
        );
        single(text, name, "counter", help, self.handshakes_failed.get());
    }
}

fn of_places(text: &mut String, places: &Places) {
    let mut name = "apiserver_current_inflight_requests";
    let help = "Number of requests that are being answered, per request kind.";
    family(text, name, "gauge", help);
    let current = places.current();
    for (kind, count, _) in current {
        *text += &format!("{name}{{request_kind=\"{kind}\"}} {count}\n");
    }
    if let Some(fair) = places.fair() {
        name = "apiserver_current_inqueue_requests";
        let help = "Number of requests that wait in queues, per request kind.";
        family(text, name, "gauge", help);
        for (kind, _, count) in current {
            *text += &format!("{name}{{request_kind=\"{kind}\"}} {count}\n");
        }
        *text += &fair.metrics();
    }
}

/// Which groups that somebody else serves cannot be asked for.
fn of_others(text: &mut String, known: &Known) {
    let name = "aggregator_unavailable_apiservice";
    let help = "Whether an APIService is unavailable.";
    family(text, name, "gauge", help);
    for (service, available) in known.availability() {
        let unavailable = u8::from(!available);
        *text += &format!("{name}{{name=\"{service}\"}} {unavailable}\n");
    }
}

fn of_store(text: &mut String, core: &Core) {
    let store = &core.store;
    let counts: Vec<_> = (store.resources().into_iter())
        .map(|resource| {
            let count = store.snapshot(&resource).len(None);
            (resource, count)
        })
        .collect();
    let mut name = "apiserver_resource_objects";
    family(text, name, "gauge", "Objects stored, by resource.");
    for (resource, count) in &counts {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        *text += &format!("{name}{{group=\"{group}\",resource=\"{plural}\"}} {count}\n");
    }
    name = "apiserver_storage_objects";
    family(text, name, "gauge", "The same under its older name.");
    for (resource, count) in &counts {
        *text += &format!("{name}{{resource=\"{resource}\"}} {count}\n");
    }
    name = "etcd_request_duration_seconds";
    family(
        text,
        name,
        "histogram",
        "Seconds that a write took until it was on disk.",
    );
    core.commits.text(name, text);
    name = "etcd_revision";
    single(
        text,
        name,
        "gauge",
        "Newest revision of the store.",
        store.revision(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_few() {
        for (name, told) in [
            ("admin", "admin"),
            ("kubelet", "kubelet"),
            ("eve@example.com", "email_id"),
            ("system:serviceaccount:a:b", "other"),
        ] {
            assert_eq!(USERS[user(name)], told);
        }
    }
}
