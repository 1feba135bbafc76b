//! The pods of this node, as their network tells of them: who sets up a pod's network waits here until its walls stand.
//!
//! Invariant: whoever was told that a pod's network is ready had it behind its walls, or closed; an address that is given back has no walls any more.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    super::{Error, failed, family::IpFamily},
    ended,
    plan::Own,
};

/// For so long a pod's start waits for its walls. After that it starts closed: what it may do is still to be heard of.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

pub(super) enum Request {
    Here {
        uid: String,
        own: Own,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Gone {
        uid: String,
        done: oneshot::Sender<Result<(), Error>>,
    },
}

pub(super) struct Answer {
    pub uid: String,
    pub done: oneshot::Sender<Result<(), Error>>,
}

impl Answer {
    pub fn give(self, answer: Result<(), Error>) {
        if self.done.send(answer).is_err() {
            tracing::debug!(
                uid = self.uid,
                "who waited for the pod's walls waits no more"
            );
        }
    }
}

/// By which a pod network tells of its pods. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Walls {
    tell: mpsc::UnboundedSender<Request>,
    stand: Arc<Standing>,
}

/// The other end: for the task that keeps the walls.
pub struct OwnPods(
    pub(super) Mutex<mpsc::UnboundedReceiver<Request>>,
    Arc<Standing>,
);

/// Of which families the tables are there, a bit each.
#[derive(Debug, Default)]
struct Standing(AtomicU8);

impl Standing {
    fn all(&self, mut families: impl Iterator<Item = IpFamily>) -> bool {
        let there = self.0.load(Ordering::Acquire);
        families.all(|family| there & bit(family) != 0)
    }
}

fn bit(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => 1,
        IpFamily::V6 => 2,
    }
}

impl OwnPods {
    /// The tables of a family are there: who has no walls of its own yet is closed.
    pub(super) fn stand(&self, family: IpFamily) {
        self.1.0.fetch_or(bit(family), Ordering::Release);
    }

    pub(super) fn stands(&self, families: impl Iterator<Item = IpFamily>) -> bool {
        self.1.all(families)
    }
}

impl Walls {
    pub fn new() -> (Self, OwnPods) {
        let (tell, asked) = mpsc::unbounded_channel();
        let stand = Arc::new(Standing::default());
        let walls = Walls {
            tell,
            stand: stand.clone(),
        };
        (walls, OwnPods(Mutex::new(asked), stand))
    }

    /// Puts up the walls of a pod, or finds them. `link` is the node's end of its cable.
    pub async fn raise(&self, uid: &str, ips: Vec<IpAddr>, link: &str) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let families: Vec<_> = ips.iter().map(|ip| IpFamily::of(*ip)).collect();
        let own = Own {
            ips,
            link: Some(link.to_owned()),
        };
        let uid = uid.to_owned();
        let request = Request::Here { uid, own, done };
        self.tell.send(request).map_err(|_| ended())?;
        match tokio::time::timeout(OPEN_WITHIN, answer).await {
            Ok(answer) => answer.map_err(|_| ended())?,
            Err(_) if self.stand.all(families.into_iter()) => Ok(()),
            Err(_) => Err(failed(
                "put up the walls of a pod",
                format!("the node's own are not up after {OPEN_WITHIN:?}"),
            )),
        }
    }

    /// Takes a pod's walls down, before its address is given to another.
    pub async fn raze(&self, uid: &str) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let uid = uid.to_owned();
        if self.tell.send(Request::Gone { uid, done }).is_err() {
            // Whoever keeps the walls next begins with the pods that there are then.
            return Ok(());
        }
        match tokio::time::timeout(OPEN_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(failed(
                "take down the walls of a pod",
                format!("not done after {OPEN_WITHIN:?}"),
            )),
        }
    }
}
