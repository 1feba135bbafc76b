//! Whether the server of an APIService can be used, and what its condition says of that.
//!
//! Invariant: a condition is written when it says something else than before.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{
        Subresource,
        definition::{find, set},
    },
    machinery::{meta::Meta, read::Read, status::Status, time},
};

use super::{
    RESOURCE,
    ask::{AskError, Asking},
    backing::Backing,
    known::{Learned, Service},
    learn::{self, Subject},
};
use crate::{
    core::Core,
    dial::Transports,
    own::Own,
    write::{Part, Writer},
};

const AVAILABLE: &str = "Available";
/// So many connections are tried: a service may have endpoints that answer beside some that do not.
const TRIES: usize = 5;

/// What the condition is to say.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub state: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    fn of(state: &'static str, reason: &'static str, message: impl Into<String>) -> Verdict {
        Verdict {
            state,
            reason,
            message: message.into(),
        }
    }
}

/// What was found out.
pub struct Report {
    /// Name and turn of the APIService.
    pub of: (String, u64),
    pub verdict: Verdict,
    pub learned: Learned,
    /// It is to be looked at again soon, though nothing may tell that it has changed.
    pub retries: bool,
}

/// Looks at the server of an APIService, and asks it for what it tells of itself when it answers.
pub async fn look(
    of: (String, u64),
    core: Arc<Core>,
    transports: Arc<Transports>,
    service: Arc<Service>,
) -> Report {
    let (mut before, mut subject) = (Arc::<Learned>::default(), None);
    let verdict = match &service.remote {
        None => Verdict::of("True", "Local", "Local APIServices are always available"),
        Some(remote) => {
            before = remote.learned.clone();
            let found = Backing::read(&core, &remote.backend);
            match (found, &remote.server) {
                (Err(status), _) => {
                    let (name, namespace) = (&remote.backend.name, &remote.backend.namespace);
                    let why = format!(
                        "service/{name} in {namespace} cannot be checked due to: {}",
                        status.message,
                        namespace = GoQuoted(&namespace)
                    );
                    Verdict::of("Unknown", "ServiceAccessError", why)
                }
                (Ok(found), server) => match (found.missing(&remote.backend), server) {
                    (Some((reason, why)), _) => Verdict::of("False", reason, why),
                    (None, Err(why)) => Verdict::of("False", "FailedDiscoveryCheck", why.as_str()),
                    (None, Ok(server)) => {
                        let subject = subject.insert(Subject {
                            asking: Asking {
                                core,
                                transports,
                                backend: remote.backend.clone(),
                                server: server.clone(),
                            },
                            group: service.group.clone(),
                            version: service.version.clone(),
                        });
                        match probe(subject).await {
                            Ok(()) => Verdict::of("True", "Passed", "all checks passed"),
                            Err(why) => {
                                Verdict::of("False", "FailedDiscoveryCheck", why.to_string())
                            }
                        }
                    }
                },
            }
        }
    };
    let learned = match &subject {
        Some(subject) if verdict.state == "True" => learn::learn(subject, &before).await,
        _ => learn::silent(&before),
    };
    let unsure = verdict.reason == "FailedDiscoveryCheck" || verdict.state == "Unknown";
    Report {
        retries: unsure || verdict.state == "True" && !learned.current,
        of,
        verdict,
        learned,
    }
}

/// One answer is enough.
async fn probe(subject: &Subject) -> Result<(), AskError> {
    let path = match subject.group.as_str() {
        "" => format!("/api/{}", subject.version),
        group => format!("/apis/{group}/{}", subject.version),
    };
    let Err(first) = subject.asking.probe(&path).await else {
        return Ok(());
    };
    let others = (1..TRIES).map(|_| Box::pin(subject.asking.probe(&path)));
    match futures::future::select_ok(others).await {
        Ok(_) => Ok(()),
        Err(_) => Err(first),
    }
}

/// Writes the condition of an APIService, unless it says that already, or the APIService is another by now.
pub async fn tell(
    writer: &Arc<Writer>,
    (name, uid): (&str, &str),
    verdict: &Verdict,
) -> Result<(), Status> {
    let own = Own::new(writer);
    let row = own.row(RESOURCE)?;
    let said = |live: &Value| {
        let condition = find(live.at("status"), AVAILABLE);
        live.uid() != uid
            || condition.is_some_and(|condition| {
                condition.text("status") == verdict.state
                    && condition.text("reason") == verdict.reason
                    && condition.text("message") == verdict.message
            })
    };
    if own.stored(row, "", name)?.is_none_or(|live| said(&live)) {
        return Ok(());
    }
    let now = time::seconds(writer.core.now());
    let part = Part::Sub(Subresource::Status);
    own.change(row, ("", name), part, &mut |new| {
        if said(new) {
            return;
        }
        let words = (verdict.reason, verdict.message.as_str());
        let mut status = match new.some("status") {
            Some(status) => status.clone(),
            None => Value::Object(Default::default()),
        };
        set(&mut status, AVAILABLE, verdict.state, words, &now);
        new["status"] = status;
    })
    .await
}
