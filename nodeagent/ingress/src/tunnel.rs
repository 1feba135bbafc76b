//! Connections that became something else than HTTP, such as WebSockets: bytes in both directions until both sides have ended.
//!
//! Invariant: it outlives the tables, and counts among the endpoint's open requests until its end.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skiff_watching::outcome;

use super::{access::Line, endpoint::Open};

/// Joins the two, once both have changed.
pub fn join(client: OnUpgrade, endpoint: OnUpgrade, open: Open, line: Option<Line>) {
    skiff_watching::task::spawn(async move {
        let (client, endpoint) = match tokio::try_join!(client, endpoint) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
        };
        let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
        let passed = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await;
        if let (Ok((_, down)), Some(mut line)) = (&passed, line) {
            line.add(usize::try_from(*down).unwrap_or(usize::MAX));
        }
        outcome::may_be_broken_off(passed);
        drop(open);
    });
}
