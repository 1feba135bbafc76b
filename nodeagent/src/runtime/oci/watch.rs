//! Passes on what shims tell, one task a sandbox, and notices when a shim is gone.
//!
//! Invariant: a sandbox whose shim died unasked is settled first, and then reported once as lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::UnixStream;

use super::{
    Inner, client,
    protocol::{Event, Reply, Request},
};
use crate::runtime::{Error, RuntimeEvent};

/// How long a shim that does not answer is given to die.
const DYING: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Begins to listen to a shim that was just started; nothing that happens from now on is missed.
pub async fn begin(inner: &Arc<Inner>, sandbox: &str) -> Result<(), Error> {
    let connection = subscribe(inner, sandbox).await?;
    skiff_watching::task::spawn(watch(
        Arc::clone(inner),
        sandbox.to_owned(),
        Some(connection),
    ));
    Ok(())
}

/// Begins to listen to a shim that a former agent started, if it lives.
pub fn spawn(inner: &Arc<Inner>, sandbox: String) {
    skiff_watching::task::spawn(watch(Arc::clone(inner), sandbox, None));
}

async fn watch(inner: Arc<Inner>, sandbox: String, mut connection: Option<UnixStream>) {
    loop {
        if let Some(connection) = connection.take() {
            listen(&inner, &sandbox, &connection).await;
        }
        // A dying process closes its connections before it is dead.
        let deadline = Instant::now() + DYING;
        while inner.alive(&sandbox) && Instant::now() < deadline {
            connection = subscribe(&inner, &sandbox).await.ok();
            if connection.is_some() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        if connection.is_none() {
            return ended(&inner, &sandbox);
        }
    }
}

async fn subscribe(inner: &Inner, sandbox: &str) -> Result<UnixStream, Error> {
    let connection = client::ask(&inner.dir(sandbox), &Request::Events).await?;
    client::next(&connection).await?;
    Ok(connection)
}

async fn listen(inner: &Inner, sandbox: &str, connection: &UnixStream) {
    while let Ok((reply, _)) = client::next(connection).await {
        let Reply::Event { container, event } = reply else {
            continue;
        };
        let sandbox = sandbox.to_owned();
        inner.tell(match event {
            Event::Started => RuntimeEvent::ContainerStarted { sandbox, container },
            Event::Exited => RuntimeEvent::ContainerExited { sandbox, container },
        });
    }
}

fn ended(inner: &Inner, sandbox: &str) {
    if inner.stopping.lock().contains(sandbox) {
        return;
    }
    let Ok(record) = inner.sandbox(sandbox) else {
        return;
    };
    if let Err(err) = inner.settle(&record) {
        tracing::warn!(sandbox, %err, "a lost sandbox could not be settled");
    }
    inner.tell(RuntimeEvent::SandboxLost {
        sandbox: sandbox.to_owned(),
    });
}
