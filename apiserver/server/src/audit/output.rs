//! Who is told: the log and the webhook, at once or in batches, and what is left out of events that are too large.
//!
//! Invariant: an event that cannot be handed on is told of in the server's own log; only the mode `blocking-strict` refuses a request for it.
//! Follows `plugin/pkg/audit/{buffered,truncate}` of apiserver.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    event::{Event, Level},
    log::Log,
    options::{Batch, Truncate},
    webhook::Webhook,
};

/// How long events that wait have when the server stops.
const LINGER: Duration = Duration::from_secs(5);

pub enum To {
    Log { log: Log, legacy: bool },
    Webhook(Webhook),
}

impl To {
    fn name(&self) -> &'static str {
        match self {
            To::Log { .. } => "log",
            To::Webhook(_) => "webhook",
        }
    }

    /// An event as it is handed on here.
    fn text(&self, event: &Event) -> Vec<u8> {
        let mut line = match self {
            To::Log { legacy: true, .. } => event.legacy().into_bytes(),
            To::Log { .. } => event.json(true),
            To::Webhook(_) => return event.json(false),
        };
        line.push(b'\n');
        line
    }

    fn failed(&self, events: usize, why: &dyn std::fmt::Display) {
        tracing::error!(
            "Error in audit plugin '{}' affecting {events} audit events: {why}",
            self.name()
        );
    }

    fn write(&self, log: &Log, lines: &[Vec<u8>]) -> bool {
        let mut all = true;
        for line in lines {
            if let Err(error) = log.write(line) {
                self.failed(1, &error);
                all = false;
            }
        }
        all
    }

    async fn send(&self, texts: Vec<Vec<u8>>) -> bool {
        match self {
            To::Log { log, .. } => self.write(log, &texts),
            To::Webhook(webhook) => match webhook.send(&texts).await {
                Ok(()) => true,
                Err(error) => {
                    self.failed(texts.len(), &error);
                    false
                }
            },
        }
    }
}

/// What came of handing on an event.
pub enum Taken {
    Now(bool),
    Later(BoxFuture<'static, bool>),
}

pub struct Output {
    to: Arc<To>,
    truncate: Option<usize>,
    strict: bool,
    batches: Option<Batches>,
}

impl Output {
    /// Within a tokio runtime where events are handed on in batches.
    pub fn new(to: To, batch: &Batch, truncate: &Truncate) -> Output {
        let to = Arc::new(to);
        Output {
            truncate: truncate
                .enabled
                .then(|| usize::try_from(truncate.max_event_size).unwrap_or(usize::MAX)),
            strict: batch.mode == "blocking-strict",
            batches: (batch.mode == "batch").then(|| Batches::start(to.clone(), batch)),
            to,
        }
    }

    pub fn take(&self, event: &Event) -> Taken {
        let Some(event) = self.cut(event) else {
            self.to
                .failed(1, &"event is too large even after truncating");
            return Taken::Now(true);
        };
        let text = self.to.text(&event);
        if let Some(batches) = &self.batches {
            if !batches.add(text) {
                self.to.failed(1, &"audit buffer queue blocked");
            }
            return Taken::Now(true);
        }
        if let To::Log { log, .. } = &*self.to {
            return Taken::Now(self.to.write(log, &[text]) || !self.strict);
        }
        let (to, strict) = (self.to.clone(), self.strict);
        Taken::Later(Box::pin(
            async move { to.send(vec![text]).await || !strict },
        ))
    }

    /// An event without its objects where it is too large with them; `None`: it is too large without them, too.
    fn cut<'e>(&self, event: &'e Event) -> Option<Cow<'e, Event>> {
        let most = self.truncate.unwrap_or(usize::MAX);
        // as upstream measures it: a line of JSON
        let fits = |event: &Event| event.json(true).len() < most;
        if most == usize::MAX || fits(event) {
            return Some(Cow::Borrowed(event));
        }
        if event.level < Level::Request {
            return None;
        }
        let mut cut = Event {
            request_object: None,
            response_object: None,
            ..event.clone()
        };
        let truncated = ("audit.k8s.io/truncated".into(), "true".into());
        cut.annotations.extend([truncated]);
        fits(&cut).then_some(Cow::Owned(cut))
    }

    /// Waits, for a bounded time, until what was taken is handed on.
    pub async fn close(&self) {
        if let Some(batches) = &self.batches {
            batches.close(&self.to).await;
        }
    }
}

/// Events that wait to be handed on together.
struct Batches {
    waiting: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Batches {
    fn start(to: Arc<To>, batch: &Batch) -> Batches {
        let number = |given: i64| usize::try_from(given).unwrap_or(1).max(1);
        let (sender, waiting) = mpsc::channel(number(batch.buffer_size));
        let run = run(
            to,
            waiting,
            number(batch.max_size),
            batch.max_wait,
            batch.throttle.then(|| Throttle::new(batch)),
        );
        Batches {
            waiting: Mutex::new(Some(sender)),
            task: Mutex::new(Some(skiff_watching::task::spawn(run))),
        }
    }

    /// False: there is no room.
    fn add(&self, text: Vec<u8>) -> bool {
        let waiting = self.waiting.lock();
        waiting
            .as_ref()
            .is_some_and(|waiting| waiting.try_send(text).is_ok())
    }

    async fn close(&self, to: &To) {
        drop(self.waiting.lock().take());
        let task = self.task.lock().take();
        if let Some(task) = task
            && tokio::time::timeout(LINGER, task).await.is_err()
        {
            to.failed(0, &"the server stopped before all events were handed on");
        }
    }
}

/// Hands on batches until nobody adds to them any more.
async fn run(
    to: Arc<To>,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    most: usize,
    wait: Duration,
    mut throttle: Option<Throttle>,
) {
    let mut sending = tokio::task::JoinSet::new();
    loop {
        let mut texts = Vec::new();
        let until = Instant::now() + wait;
        let open = loop {
            let next = match texts.is_empty() || most == 1 {
                true => waiting.recv().await,
                false => match tokio::time::timeout_at(until, waiting.recv()).await {
                    Ok(next) => next,
                    Err(_) => break true,
                },
            };
            match next {
                None => break false,
                Some(text) => texts.push(text),
            }
            if texts.len() >= most {
                break true;
            }
        };
        if !texts.is_empty() {
            if let Some(throttle) = &mut throttle {
                throttle.pass().await;
            }
            match &*to {
                // in their order
                To::Log { .. } => {
                    to.send(texts).await;
                }
                To::Webhook(_) => {
                    let to = to.clone();
                    let send = async move { to.send(texts).await };
                    sending.spawn(skiff_watching::task::boxed(send));
                    while sending.try_join_next().is_some() {}
                }
            }
        }
        if !open {
            break;
        }
    }
    while sending.join_next().await.is_some() {}
}

/// So many batches a second, and some more at once after a rest.
struct Throttle {
    rate: f64,
    most: f64,
    left: f64,
    since: Instant,
}

impl Throttle {
    fn new(batch: &Batch) -> Throttle {
        let most = batch.throttle_burst as f64;
        Throttle {
            rate: batch.throttle_qps,
            most,
            left: most,
            since: Instant::now(),
        }
    }

    async fn pass(&mut self) {
        let now = Instant::now();
        let gained = (now - self.since).as_secs_f64() * self.rate;
        self.left = (self.left + gained).min(self.most) - 1.0;
        self.since = now;
        if self.left < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-self.left / self.rate)).await;
        }
    }
}
