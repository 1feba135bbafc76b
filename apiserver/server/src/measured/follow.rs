//! Asks the nodes what they use, each of them again and again.
//!
//! Invariant: so many are asked at once and no more; one that does not answer costs nobody else anything, and is asked less often. While somebody
//! else serves the group, nobody is asked. Follows `pkg/scraper/scraper.go` of sigs.k8s.io/metrics-server.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use skiff_api::machinery::status::Status;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{GROUP, Measured, Reading, VERSION, text};
use crate::{
    aggregation::Aggregation,
    auth::Change,
    core::Core,
    dial::{
        Connection, DialError, Transports,
        location::{Location, Scheme, Via},
        node,
    },
    following::Following,
    stored,
};

const NODES: &str = "nodes";
const PATH: &str = "/metrics/resource";
/// So many nodes are asked at the same time.
const AT_ONCE: usize = 32;
/// A node has so long to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A node that does not answer is asked so seldom at most.
const SELDOM: Duration = Duration::from_secs(60);
/// Of the largest node: a thousand pods tell about a megabyte.
const LARGEST: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("{}", .0.message)]
    Node(Status),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("it answered {0}")]
    Code(StatusCode),
    #[error("the answer broke off: {0}")]
    Body(String),
    #[error(transparent)]
    Unread(#[from] text::Unread),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

impl From<Status> for ScrapeError {
    fn from(status: Status) -> ScrapeError {
        ScrapeError::Node(status)
    }
}

/// How a node is asked.
struct Node {
    due: Instant,
    /// It is being asked.
    running: bool,
    /// How often in a row it did not answer.
    failures: u32,
    /// A connection that can be asked again.
    connection: Option<Connection>,
}

/// What came of asking one.
struct Report {
    node: Arc<str>,
    result: Result<Reading, ScrapeError>,
    connection: Option<Connection>,
}

/// The task that asks.
pub struct Follower {
    pub core: Arc<Core>,
    pub transports: Arc<Transports>,
    pub aggregation: Arc<Aggregation>,
    pub measured: Arc<Measured>,
}

impl Follower {
    /// Asks until the server stops.
    pub async fn run(self, stopping: CancellationToken) {
        let mut following = Following::new(&self.core.store, NODES);
        let mut nodes: HashMap<Arc<str>, Node> = HashMap::new();
        let mut asked: JoinSet<Report> = JoinSet::new();
        loop {
            self.begin(&mut nodes, &mut asked);
            let waiting = nodes.values().filter(|node| !node.running);
            let due = waiting.map(|node| node.due).min();
            let due = due.filter(|_| asked.len() < AT_ONCE);
            tokio::select! {
                changes = following.next() => match changes {
                    Some(changes) => self.note(&mut nodes, changes),
                    None => return,
                },
                Some(report) = asked.join_next() => match report {
                    Ok(report) => self.settle(&mut nodes, report),
                    Err(error) => tracing::error!(%error, "a question to a node broke off"),
                },
                () = until(due) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    fn note(&self, nodes: &mut HashMap<Arc<str>, Node>, changes: Vec<Change>) {
        let fresh = || Node {
            due: Instant::now(),
            running: false,
            failures: 0,
            connection: None,
        };
        for change in changes {
            match change {
                Change::All(objects) => {
                    let mut before = std::mem::take(nodes);
                    for object in objects {
                        let name: Arc<str> = (*object.key.name).into();
                        let node = before.remove(&name).unwrap_or_else(fresh);
                        nodes.insert(name, node);
                    }
                    before.keys().for_each(|gone| self.measured.forget(gone));
                }
                Change::Put(object) => {
                    let node = nodes.entry((*object.key.name).into());
                    let node = node.or_insert_with(fresh);
                    if node.failures > 0 {
                        // something has happened to it: it may be back
                        node.due = Instant::now();
                    }
                }
                Change::Removed(object) => {
                    nodes.remove(&*object.key.name);
                    self.measured.forget(&object.key.name);
                }
            }
        }
    }

    /// Asks those whose time has come.
    fn begin(&self, nodes: &mut HashMap<Arc<str>, Node>, asked: &mut JoinSet<Report>) {
        let now = Instant::now();
        let theirs = self.aggregation.delegating();
        if theirs.is_some_and(|known| known.remote(GROUP, VERSION).is_some()) {
            self.measured.forget_all();
            let later = now + self.measured.every();
            nodes
                .values_mut()
                .for_each(|node| node.due = node.due.max(later));
            return;
        }
        let due = nodes
            .iter_mut()
            .filter(|(_, node)| !node.running && node.due <= now);
        for (name, node) in due.take(AT_ONCE.saturating_sub(asked.len())) {
            if let Some(source) = self.measured.source(name) {
                // it is part of this process, and neither fails nor keeps anybody waiting
                node.due = now + self.measured.every();
                self.measured.take(name, source(), now);
                continue;
            }
            node.running = true;
            let (core, transports) = (self.core.clone(), self.transports.clone());
            let (name, mut connection) = (name.clone(), node.connection.take());
            asked.spawn(async move {
                let ask = ask(&core, &transports, &name, &mut connection);
                let result = match tokio::time::timeout(PATIENCE, ask).await {
                    Ok(result) => result,
                    Err(_) => Err(ScrapeError::Late),
                };
                Report {
                    connection: connection.filter(|_| result.is_ok()),
                    node: name,
                    result,
                }
            });
        }
    }

    fn settle(&self, nodes: &mut HashMap<Arc<str>, Node>, report: Report) {
        let Some(node) = nodes.get_mut(&report.node) else {
            return;
        };
        let (now, every) = (Instant::now(), self.measured.every());
        (node.running, node.connection) = (false, report.connection);
        match report.result {
            Ok(reading) => {
                (node.failures, node.due) = (0, now + every);
                self.measured.take(&report.node, reading, now);
            }
            Err(error) => {
                node.failures += 1;
                let pause = every.saturating_mul(1 << node.failures.min(5));
                node.due = now + pause.min(SELDOM.max(every));
                tracing::debug!(%error, node = %report.node, "what the node uses is not known");
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Asks one node; over the connection that it was asked by before, if that still stands.
async fn ask(
    core: &Core,
    transports: &Transports,
    name: &str,
    connection: &mut Option<Connection>,
) -> Result<Reading, ScrapeError> {
    let location = location(core, name)?;
    let request = |location: &Location| {
        Request::get(location.target())
            .header(header::HOST, location.authority())
            .body(Body::empty())
    };
    let reused = match connection {
        Some(kept) => kept.send(&location, request(&location)?).await.ok(),
        None => None,
    };
    let answer = match reused {
        Some(answer) => answer,
        None => {
            let made = connection.insert(transports.connect(&location).await?);
            made.send(&location, request(&location)?).await?
        }
    };
    if answer.status() != StatusCode::OK {
        return Err(ScrapeError::Code(answer.status()));
    }
    let read = Limited::new(answer.into_body(), LARGEST).collect().await;
    let bytes = read
        .map_err(|error| ScrapeError::Body(error.to_string()))?
        .to_bytes();
    let said = std::str::from_utf8(&bytes).map_err(|error| ScrapeError::Body(error.to_string()))?;
    Ok(text::read(said, core.now())?)
}

fn location(core: &Core, name: &str) -> Result<Location, ScrapeError> {
    let key = skiff_storage::Key {
        resource: NODES.into(),
        namespace: "".into(),
        name: name.into(),
    };
    let object = core
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found("", NODES, name))?;
    let (host, port) = node::address(&stored::value(&object)?)?;
    Ok(Location {
        scheme: Scheme::Https,
        host,
        port,
        path: PATH.to_owned(),
        query: String::new(),
        via: Via::Node,
    })
}
