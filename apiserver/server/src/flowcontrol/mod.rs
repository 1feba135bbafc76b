//! API priority and fairness: which place a request has among all that are answered at once.
//!
//! The seam is [`Places`]: by schemas and levels ([`FlowControl`]), or by two plain counters where that is turned off. Where to look:
//! `rules.rs` and `schema.rs` who matches, `configuration.rs` what objects come to, `level.rs` a level at work, `seats.rs` who has its seats or waits,
//! `queues.rs` fair queuing, `shuffle.rs` hands of queues, `shares.rs` and `demand.rs` lending, `estimate.rs` and `watchers.rs` how many seats, `dropped.rs` how long to stay away, `text.rs` and `dump.rs`
//! what is shown. The objects are followed, and kept, by `crate::fairness`.
//!
//! Invariant: a request has one place, which goes back when its answer has been sent or was given up; a watch has one until it has told what there was.
//! What this process asks of itself needs none.
//! Follows `pkg/server/filters/priority-and-fairness.go` and `pkg/util/flowcontrol` of `k8s.io/apiserver`.

mod configuration;
mod demand;
mod dropped;
mod dump;
mod estimate;
mod figures;
mod held;
mod level;
mod queues;
mod rules;
mod schema;
mod seats;
mod shares;
mod shuffle;
#[cfg(test)]
mod tests;
mod text;
mod watchers;
mod work;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::body::Body;
use http::{HeaderMap, Response};
use parking_lot::Mutex;
use serde_json::Value;
use skiff_storage::Store;
use tokio::sync::Notify;

use configuration::Configuration;
pub use configuration::condition;
use held::Watched;
use level::Full;
use schema::Told;
use seats::{Coming, Seats};
use watchers::Watchers;

use crate::{
    auth::User,
    limits::{
        deadline,
        inflight::{self, InFlight, Limits},
    },
    request::{Query, RequestInfo},
};

/// Who gets a place.
pub enum Places {
    Counted(InFlight),
    Fair(Arc<FlowControl>),
}

/// A request that asks for a place.
pub struct Asks<'a> {
    pub user: &'a Arc<User>,
    pub info: &'a Arc<RequestInfo>,
    pub query: &'a Query,
    /// Until when it may wait for one.
    pub until: Instant,
}

/// A request's place; dropped, it is free again.
#[derive(Default)]
pub enum Place {
    /// It needs none.
    #[default]
    Free,
    Counted(inflight::Place),
    Seats(Seats),
    Watch(Watched),
}

/// There is no place.
pub struct Refused {
    /// Seconds to stay away.
    pub after: u64,
    told: Option<Told>,
}

impl Places {
    pub async fn enter(&self, asks: &Asks<'_>) -> Result<Place, Refused> {
        let long = deadline::long_running(asks.info);
        match self {
            Places::Counted(_) if long => Ok(Place::Free),
            Places::Counted(counted) => counted
                .enter(asks.info, asks.user)
                .map(Place::Counted)
                .ok_or(Refused {
                    after: 1,
                    told: None,
                }),
            Places::Fair(_) if long && asks.info.verb != "watch" => Ok(Place::Free),
            Places::Fair(fair) => fair.enter(asks).await,
        }
    }

    /// How many are being answered, and how many wait, by what upstream calls their kind.
    pub fn current(&self) -> [(&'static str, usize, usize); 2] {
        match self {
            Places::Counted(counted) => counted.current().map(|(kind, count)| (kind, count, 0)),
            Places::Fair(fair) => fair.current(),
        }
    }

    pub fn fair(&self) -> Option<&Arc<FlowControl>> {
        match self {
            Places::Counted(_) => None,
            Places::Fair(fair) => Some(fair),
        }
    }
}

impl Refused {
    pub fn mark(&self, headers: &mut HeaderMap) {
        if let Some(told) = &self.told {
            told.mark(headers);
        }
    }
}

impl Place {
    /// Tells in the answer how its request was taken, and keeps the place until the answer has been sent.
    pub fn until_sent(self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        match self {
            Place::Free => response,
            Place::Counted(place) => held::until_sent(place, response),
            Place::Seats(seats) => {
                seats.schema.told.mark(headers);
                held::until_sent(seats, response)
            }
            Place::Watch(watched) => {
                watched.told().mark(headers);
                watched.until_told(response)
            }
        }
    }
}

/// Why there can be no flow control.
#[derive(thiserror::Error, Debug)]
#[error(
    "invalid configuration: MaxRequestsInFlight={} and MaxMutatingRequestsInFlight={}; they must add up to something positive",
    .0.reading, .0.mutating
)]
pub struct NoSeats(Limits);

/// Schemas, levels and their requests.
pub struct FlowControl {
    seats: usize,
    acts: ArcSwap<Configuration>,
    /// One at a time makes another configuration of the one that acts.
    changing: Mutex<()>,
    store: Arc<dyn Store>,
    watchers: Arc<Watchers>,
    emptied: Arc<Notify>,
}

impl FlowControl {
    /// With the seats of both limits, and the mandatory objects alone.
    pub fn new(limits: Limits, store: Arc<dyn Store>) -> Result<FlowControl, NoSeats> {
        let seats = limits.reading.saturating_add(limits.mutating);
        if seats == 0 {
            return Err(NoSeats(limits));
        }
        let emptied = Arc::<Notify>::default();
        let first = Configuration::of(&[], &[], seats, None, &emptied, Instant::now());
        Ok(FlowControl {
            seats,
            acts: ArcSwap::from_pointee(first),
            changing: Mutex::default(),
            store,
            watchers: Arc::default(),
            emptied,
        })
    }

    /// These objects act from now on.
    pub fn configure(&self, levels: &[Value], schemas: &[Value]) {
        let _alone = self.changing.lock();
        let before = self.acts.load();
        let next = Configuration::of(
            levels,
            schemas,
            self.seats,
            Some(&before),
            &self.emptied,
            Instant::now(),
        );
        self.acts.store(Arc::new(next));
    }

    /// Levels lend and borrow by what they needed since the last time.
    pub fn adjust(&self) {
        let _alone = self.changing.lock();
        let next = self.acts.load().adjusted(Instant::now());
        self.acts.store(Arc::new(next));
    }

    /// A level that is no longer wanted has answered its last request.
    pub async fn emptied(&self) {
        self.emptied.notified().await;
    }

    async fn enter(&self, asks: &Asks<'_>) -> Result<Place, Refused> {
        let schema = self.acts.load().find(asks.user, asks.info).clone();
        let (work, watchers) = estimate::estimate(
            asks.info,
            asks.query,
            &schema.level,
            &*self.store,
            &self.watchers,
        );
        let coming = Coming {
            user: asks.user,
            info: asks.info,
            work,
            watchers,
            until: asks.until,
        };
        let told = |Full(after)| Refused {
            after,
            told: Some(schema.told.clone()),
        };
        let seats = seats::enter(schema.clone(), coming).await.map_err(told)?;
        if asks.info.verb != "watch" {
            return Ok(Place::Seats(seats));
        }
        let watcher = self.watchers.begin(asks.info, asks.query);
        let all = estimate::tells_all(asks.query);
        Ok(Place::Watch(Watched::new(seats, watcher, all)))
    }

    fn current(&self) -> [(&'static str, usize, usize); 2] {
        let mut counts = [("mutating", 0, 0), ("readOnly", 0, 0)];
        for of in self.acts.load().levels.values() {
            let state = of.level.state();
            let kind = |info: &RequestInfo| usize::from(!inflight::is_mutating(info));
            for (request, _) in state.queues.all_executing() {
                if let Some(request) = request {
                    counts[kind(&request.info)].1 += 1;
                }
            }
            for (request, _) in state.queues.all_waiting() {
                counts[kind(&request.info)].2 += 1;
            }
        }
        counts
    }
}

/// How long a request may wait that is due then: a quarter of its time, and never more than a minute.
pub fn patience(received: Instant, due: Option<Instant>, longest: Duration) -> Instant {
    const MOST: Duration = Duration::from_secs(60);
    let time = due.map_or(longest, |due| due.saturating_duration_since(received));
    received + (time / 4).min(MOST)
}
