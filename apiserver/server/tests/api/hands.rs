//! A clock that a test moves by hand.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use skiff_watching::clock::{Clock, Now, SystemClock, TimeSource, after, whole_seconds};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Hands(Arc<watch::Sender<Timestamp>>);

impl Hands {
    /// It stands at the present.
    pub fn new() -> Hands {
        let (now, _) = watch::channel(whole_seconds(SystemClock.now()));
        Hands(Arc::new(now))
    }

    pub fn clock(&self) -> Clock {
        Clock::from_source(self.clone())
    }

    pub fn advance(&self, seconds: u64) {
        let by = Duration::from_secs(seconds);
        self.0.send_modify(|now| *now = after(*now, by));
    }
}

impl Now for Hands {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
}

impl TimeSource for Hands {
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let mut seen = self.0.subscribe();
        Box::pin(async move {
            if seen.wait_for(|now| *now >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
