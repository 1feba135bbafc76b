//! Places that outlive the handler: until an answer's body is sent, or a watch has told what there was.
//!
//! Follows what upstream does by not returning from a handler, and its watch initialization signals.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use http_body::Body as _;
use tokio::sync::oneshot;

use super::{schema::Told, seats::Seats, watchers::Watcher};
use crate::limits::held::{Held, Until};

/// An answer of no more than this is handed over in one piece.
const PIECE: u64 = 64 * 1024;
/// A watch whose client does not take what there is has its seats no longer than this.
const TELLING: Duration = Duration::from_secs(60);

/// Keeps what is held until the answer has been sent: not at all for what is handed over in one piece, with the stream for what is not.
pub fn until_sent<T: Send + Unpin + 'static>(held: T, response: Response<Body>) -> Response<Body> {
    let size = response.body().size_hint().exact();
    if size.is_some_and(|size| size <= PIECE) {
        return response;
    }
    response.map(|body| Body::new(Held::new(body, held, Until::Ended)))
}

/// A watch's seats, and its being counted.
pub struct Watched {
    seats: Seats,
    watcher: Option<Watcher>,
    /// It begins with all that there is.
    all: bool,
}

impl Watched {
    pub fn new(seats: Seats, watcher: Option<Watcher>, all: bool) -> Watched {
        Watched {
            seats,
            watcher,
            all,
        }
    }

    pub fn told(&self) -> &Told {
        &self.seats.schema.told
    }

    /// Keeps the seats until the stream has nothing to tell for the first time, and the watch counted until it ends.
    pub fn until_told(self, response: Response<Body>) -> Response<Body> {
        let (seats, watcher) = (self.seats, self.watcher);
        if response.body().size_hint().exact().is_some() {
            // it is no stream but a refusal
            return response;
        }
        let telling = self.all.then(|| {
            let (telling, told) = oneshot::channel::<()>();
            skiff_watching::task::spawn(async move {
                // it has told, has ended, or its time is over
                if tokio::time::timeout(TELLING, told).await.is_err() {
                    tracing::debug!("a watch is not taken");
                }
                drop(seats);
            });
            telling
        });
        let response = match telling {
            Some(telling) => {
                response.map(|body| Body::new(Held::new(body, telling, Until::Paused)))
            }
            None => response,
        };
        match watcher {
            Some(watcher) => {
                response.map(|body| Body::new(Held::new(body, watcher, Until::Dropped)))
            }
            None => response,
        }
    }
}
