//! Whether the server and its parts are well, check by check.
//!
//! Invariant: a check says what is so now: whether the store takes writes, whether a task still runs, whether what was to be made at the start is made. It
//! has upstream's name where upstream has a part that does the same.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/healthz/healthz.go`.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use parking_lot::Mutex;
use skiff_api::machinery::quote::GoQuoted;
use skiff_storage::Store;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// What is asked: whether to send requests here (`Ready`), or whether to leave the server running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    Health,
    Live,
    Ready,
}

impl Endpoint {
    pub const ALL: [Endpoint; 3] = [Endpoint::Health, Endpoint::Live, Endpoint::Ready];

    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Health => "healthz",
            Endpoint::Live => "livez",
            Endpoint::Ready => "readyz",
        }
    }
}

/// Why something is not well; who may read it is shown it.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwell {
    #[error("the store takes no writes")]
    Store,
    #[error("it is not made yet")]
    Pending,
    #[error("the task has ended")]
    Ended,
    #[error("process is shutting down")]
    Stopping,
}

enum What {
    /// That somebody answers.
    Answer,
    Store,
    /// What is made once when the server starts.
    Made(bool),
    Task(AbortHandle),
    Stopping,
}

struct Check {
    name: &'static str,
    what: What,
}

/// The checks of a server. Parts add theirs when they begin.
pub struct Health {
    store: Arc<dyn Store>,
    stopping: CancellationToken,
    parts: Mutex<Vec<Check>>,
    /// How often each check was well, and was not, where it was asked for.
    asked: Mutex<BTreeMap<(&'static str, Endpoint), [u64; 2]>>,
}

/// What was found of all checks of an endpoint.
pub struct Report {
    /// A line a check.
    pub lines: String,
    pub well: bool,
}

impl Health {
    pub fn new(store: Arc<dyn Store>, stopping: CancellationToken) -> Health {
        Health {
            store,
            stopping,
            parts: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Things that have to be made before the server is well.
    pub fn pending(&self, names: &[&'static str]) {
        let what = |name: &&'static str| Check {
            name,
            what: What::Made(false),
        };
        self.parts.lock().extend(names.iter().map(what));
    }

    /// All that were pending are made.
    pub fn made(&self) {
        for check in &mut *self.parts.lock() {
            if let What::Made(made) = &mut check.what {
                *made = true;
            }
        }
    }

    /// A task that has to run as long as the server does.
    pub fn runs(&self, name: &'static str, task: AbortHandle) {
        let what = What::Task(task);
        self.parts.lock().push(Check { name, what });
    }

    fn of(&self, what: &What) -> Result<(), Unwell> {
        let stopping = self.stopping.is_cancelled();
        match what {
            What::Store if !self.store.takes_writes() && !stopping => Err(Unwell::Store),
            What::Made(false) => Err(Unwell::Pending),
            // tasks end when they are told to
            What::Task(task) if task.is_finished() && !stopping => Err(Unwell::Ended),
            What::Stopping if stopping => Err(Unwell::Stopping),
            _ => Ok(()),
        }
    }

    /// Each check of an endpoint with what it says, in order.
    fn checks(&self, endpoint: Endpoint) -> Vec<(&'static str, Result<(), Unwell>)> {
        let mut found = vec![("ping", Ok(())), ("log", self.of(&What::Answer))];
        found.push(("etcd", self.of(&What::Store)));
        if endpoint == Endpoint::Ready {
            found.push(("etcd-readiness", self.of(&What::Store)));
        }
        let parts = self.parts.lock();
        found.extend(parts.iter().map(|part| (part.name, self.of(&part.what))));
        if endpoint == Endpoint::Ready {
            found.push(("shutdown", self.of(&What::Stopping)));
        }
        // a part may be several tasks
        let mut one_each: Vec<(&str, Result<(), Unwell>)> = Vec::new();
        for (name, result) in found {
            match one_each.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = known.and(result),
                None => one_each.push((name, result)),
            }
        }
        one_each
    }

    pub fn names(&self, endpoint: Endpoint) -> impl Iterator<Item = &'static str> {
        self.checks(endpoint).into_iter().map(|(name, _)| name)
    }

    /// One check alone; `None`: there is no such check.
    pub fn one(&self, endpoint: Endpoint, name: &str) -> Option<Result<(), Unwell>> {
        let mut checks = self.checks(endpoint).into_iter();
        checks
            .find(|(known, _)| *known == name)
            .map(|(_, result)| result)
    }

    /// All checks of an endpoint but those that are excluded.
    pub fn report(&self, endpoint: Endpoint, excluded: &[&str]) -> Report {
        let (mut lines, mut failed) = (String::new(), Vec::new());
        let mut unknown: Vec<&str> = excluded.to_vec();
        let mut asked = self.asked.lock();
        for (name, result) in self.checks(endpoint) {
            if excluded.contains(&name) {
                unknown.retain(|one| *one != name);
                lines += &format!("[+]{name} excluded: ok\n");
                continue;
            }
            let [well, unwell] = asked.entry((name, endpoint)).or_default();
            match result {
                Ok(()) => {
                    *well += 1;
                    lines += &format!("[+]{name} ok\n");
                }
                Err(why) => {
                    *unwell += 1;
                    lines += &format!("[-]{name} failed: reason withheld\n");
                    failed.push(format!("{name}: {why}"));
                }
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let quoted: Vec<String> = unknown
                .iter()
                .map(|name| format!("{name}", name = GoQuoted(&name)))
                .collect();
            let names = quoted.join(",");
            lines +=
                &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
        }
        if !failed.is_empty() {
            tracing::warn!("{} check failed: {}", endpoint.name(), failed.join(", "));
        }
        Report {
            lines,
            well: failed.is_empty(),
        }
    }

    /// What `/metrics/slis` tells: what each check says now, and what those who asked were told.
    pub fn metrics(&self) -> String {
        let mut text = String::from(
            "# HELP kubernetes_healthcheck What a check says now.\n# TYPE kubernetes_healthcheck gauge\n",
        );
        // a string takes whatever is written to it
        for endpoint in Endpoint::ALL {
            for (name, result) in self.checks(endpoint) {
                let (kind, well) = (endpoint.name(), u8::from(result.is_ok()));
                let _ = writeln!(
                    text,
                    "kubernetes_healthcheck{{name={name:?},type={kind:?}}} {well}"
                );
            }
        }
        text += "# HELP kubernetes_healthchecks_total What those who asked were told of a check.\n# TYPE kubernetes_healthchecks_total counter\n";
        for ((name, endpoint), [well, unwell]) in &*self.asked.lock() {
            for (status, count) in [("error", unwell), ("success", well)] {
                if *count > 0 {
                    let kind = endpoint.name();
                    let _ = writeln!(
                        text,
                        "kubernetes_healthchecks_total{{name={name:?},status={status:?},type={kind:?}}} {count}"
                    );
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use skiff_storage::{Options, memory};

    use super::*;

    fn health() -> (Health, CancellationToken) {
        let store = Arc::new(memory::open(Options::default()).unwrap());
        let stopping = CancellationToken::new();
        (Health::new(store, stopping.clone()), stopping)
    }

    #[tokio::test]
    async fn a_task_that_ended_is_told_of_until_the_server_stops() {
        let (health, stopping) = health();
        let task = tokio::spawn(std::future::pending::<()>());
        health.runs("poststarthook/a", task.abort_handle());
        assert_eq!(health.one(Endpoint::Live, "poststarthook/a"), Some(Ok(())));
        assert!(health.report(Endpoint::Live, &[]).well);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let ended = Some(Err(Unwell::Ended));
        assert_eq!(health.one(Endpoint::Live, "poststarthook/a"), ended);
        let report = health.report(Endpoint::Live, &[]);
        assert!(!report.well);
        assert_eq!(
            report.lines,
            "[+]ping ok\n[+]log ok\n[+]etcd ok\n[-]poststarthook/a failed: reason withheld\n"
        );
        assert!(health.report(Endpoint::Live, &["poststarthook/a"]).well);
        let metrics = health.metrics();
        for line in [
            r#"kubernetes_healthcheck{name="poststarthook/a",type="livez"} 0"#,
            r#"kubernetes_healthchecks_total{name="poststarthook/a",status="error",type="livez"} 1"#,
            r#"kubernetes_healthchecks_total{name="poststarthook/a",status="success",type="livez"} 1"#,
            r#"kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 3"#,
        ] {
            assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
        }
        stopping.cancel();
        assert!(health.report(Endpoint::Live, &[]).well);
        assert_eq!(
            health.one(Endpoint::Ready, "shutdown"),
            Some(Err(Unwell::Stopping))
        );
    }

    #[tokio::test]
    async fn what_is_to_be_made_and_the_store_are_told_of() {
        let (health, _) = health();
        health.pending(&["poststarthook/rbac/bootstrap-roles"]);
        let one = |name| health.one(Endpoint::Ready, name);
        assert_eq!(
            one("poststarthook/rbac/bootstrap-roles"),
            Some(Err(Unwell::Pending))
        );
        health.made();
        assert!(health.report(Endpoint::Ready, &[]).well);
        health.store.close().await;
        for name in ["etcd", "etcd-readiness"] {
            assert_eq!(one(name), Some(Err(Unwell::Store)), "{name}");
        }
        assert_eq!(one("nothing"), None);
        assert_eq!(health.one(Endpoint::Live, "shutdown"), None);
    }

    #[test]
    fn what_cannot_be_excluded_is_warned_of() {
        let (health, _) = health();
        let report = health.report(Endpoint::Live, &["nothing", "etcd", "b"]);
        assert_eq!(
            report.lines,
            "[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"b\",\"nothing\"\n"
        );
    }
}
