//! Clusters of one host take turns from looking which addresses are free until they have theirs: of several that begin at once, two would take the same.
//!
//! Invariant: a turn ends with its process, however that ends, and leaves nothing. The mark is a socket's abstract name, which each network namespace has its own of.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    time::{Duration, Instant},
};

use super::super::{Error, failed, ns::Namespace};

const NAME: &str = "skiff-nodes-network";
/// A turn takes some milliseconds.
const LOOK: Duration = Duration::from_millis(5);
/// For how long others may have theirs before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The turn of whoever holds it; it ends when this is dropped.
#[must_use]
pub struct Turn {
    _name: UnixListener,
}

/// Waits for a turn among the clusters of this host.
pub async fn wait(host: &Namespace) -> Result<Turn, Error> {
    let begun = Instant::now();
    loop {
        let taken = || UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME)?);
        match host.call(taken).await? {
            Ok(socket) => return Ok(Turn { _name: socket }),
            Err(e) if e.kind() == ErrorKind::AddrInUse && begun.elapsed() < PATIENCE => {}
            Err(e) => return Err(failed("wait for other clusters that begin", e)),
        }
        tokio::time::sleep(LOOK).await;
    }
}
