//! The Lease in kube-system by which an API server is known: made anew when it starts, renewed while it runs, deleted when it stops; and the end of Leases that
//! servers left which no longer run.
//!
//! Invariant: one machine's server has one Lease, whatever it is started for; whose time is over goes, whoever wrote it.
//! Follows `pkg/controlplane/apiserver/server.go`, `apiserver/pkg/server/config.go` (the name), `component-helpers/apimachinery/lease` and
//! `pkg/controlplane/controller/apiserverleasegc`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use data_encoding::BASE32_NOPAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skiff_api::machinery::{meta::child_mut, read::Read, status::Status, time};
use tokio_util::sync::CancellationToken;

use crate::{
    own::Own,
    stored,
    write::{Part, Writer},
};

const RENEWED: Duration = Duration::from_secs(10);
const COLLECTED: Duration = Duration::from_secs(3600);
/// How long a Lease that nobody renews is good for, in seconds.
const LASTS: i64 = 3600;
const NAMESPACE: &str = "kube-system";
const LEASES: &str = "leases.coordination.k8s.io";
/// What says of a Lease that it is an API server's, and of which kind of them.
const IDENTITY: (&str, &str) = ("apiserver.kubernetes.io/identity", "kube-apiserver");

/// The name of a server on this host.
fn name_of(host: &str) -> String {
    let mut hash = Sha256::new();
    for part in [host, IDENTITY.1] {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        hash.update(length.to_be_bytes());
        hash.update(part);
    }
    let digits = BASE32_NOPAD.encode(&hash.finalize()[..16]);
    format!("apiserver-{}", digits.to_ascii_lowercase())
}

/// A server's Lease.
pub struct Identity {
    name: String,
    holder: String,
    host: String,
    /// Where other servers reach it.
    address: Option<SocketAddr>,
}

impl Identity {
    fn of(host: String, address: Option<SocketAddr>) -> Identity {
        let name = name_of(&host);
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Identity {
            holder: format!("{name}_{id}"),
            name,
            host,
            address,
        }
    }

    /// What a Lease of it says besides who holds it, which stays.
    fn mark(&self, lease: &mut Value, now: Timestamp) {
        let metadata = child_mut(lease, "metadata");
        let mut put = |map: &str, key: &str, value: String| {
            metadata.entry(map).or_insert_with(|| json!({}))[key] = value.into();
        };
        put("labels", IDENTITY.0, IDENTITY.1.into());
        put("labels", "kubernetes.io/hostname", self.host.clone());
        if let Some(address) = self.address {
            let key = "kubernetes.io/peer-advertise-address";
            put("annotations", key, address.to_string());
        }
        let spec = child_mut(lease, "spec");
        spec.insert("leaseDurationSeconds".into(), LASTS.into());
        spec.insert("renewTime".into(), time::micros(now).into());
    }

    /// Renews it, or makes it.
    async fn renew(&self, own: &Own) -> Result<(), Status> {
        let now = own.writer.core.clock.now();
        let row = own.row(LEASES)?;
        if own.stored(row, NAMESPACE, &self.name)?.is_some() {
            let at = (NAMESPACE, self.name.as_str());
            let mark = &mut |lease: &mut Value| self.mark(lease, now);
            return own.change(row, at, Part::Whole, mark).await;
        }
        let mut lease = json!({
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {"holderIdentity": self.holder}
        });
        self.mark(&mut lease, now);
        own.ensure(LEASES, lease).await
    }

    async fn delete(&self, own: &Own) -> Result<(), Status> {
        own.delete(LEASES, NAMESPACE, &self.name).await
    }
}

fn tell(done: Result<(), Status>) {
    if let Err(status) = done {
        tracing::error!("the Lease of this server: {}", status.message);
    }
}

/// Makes the Lease of a server on this host, of which others hear at `address`.
pub async fn begin(writer: &Arc<Writer>, host: String, address: Option<SocketAddr>) -> Identity {
    let identity = Identity::of(host, address);
    let own = Own::new(writer);
    // who looks for servers is not to be sent to one that was here before
    tell(identity.delete(&own).await);
    tell(identity.renew(&own).await);
    identity
}

/// Keeps it until `stopping`.
pub async fn keep(writer: Arc<Writer>, identity: Identity, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = writer.core.clock.sleep(RENEWED) => {}
            () = stopping.cancelled() => break,
        }
        tell(identity.renew(&Own::new(&writer)).await);
    }
    // the store may be closed by now; then the next start sees to it
    if let Err(status) = identity.delete(&Own::new(&writer)).await {
        tracing::debug!("the Lease of this server stays: {}", status.message);
    }
}

/// Whether nobody renews a Lease any more, or it cannot be told.
fn is_over(lease: &Value, now: Timestamp) -> bool {
    let spec = lease.at("spec");
    let lasts = spec.int_ptr("leaseDurationSeconds");
    let renewed = spec.text_ptr("renewTime").map(time::parse);
    match (lasts, renewed) {
        (Some(lasts), Some(Ok(renewed))) => renewed + SignedDuration::from_secs(lasts) < now,
        _ => true,
    }
}

async fn collect(own: &Own) -> Result<(), Status> {
    let row = own.row(LEASES)?;
    let core = &own.writer.core;
    let leases = core.store.snapshot(&stored::resource_of(row));
    for object in leases.range(Some(NAMESPACE), None) {
        if object.attributes().label(IDENTITY.0) != Some(IDENTITY.1) {
            continue;
        }
        if is_over(&stored::decoded(row, &object)?, core.clock.now()) {
            own.delete(LEASES, NAMESPACE, &object.key.name).await?;
        }
    }
    Ok(())
}

/// Removes the Leases of servers that are no more, now and every hour.
pub async fn collect_garbage(writer: Arc<Writer>, stopping: CancellationToken) {
    loop {
        tell(collect(&Own::new(&writer)).await);
        tokio::select! {
            () = writer.core.clock.sleep(COLLECTED) => {}
            () = stopping.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        let name = name_of("a");
        assert_eq!(name.len(), "apiserver-".len() + 26);
        assert_ne!(name, name_of("b"));
        // as a server of upstream's is called on a host of that name
        assert_eq!(name_of("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
    }

    #[test]
    fn leases_that_are_over() {
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
        for (spec, over) in [
            (
                json!({"leaseDurationSeconds": 3600, "renewTime": "2026-01-01T01:00:00.000000Z"}),
                false,
            ),
            (
                json!({"leaseDurationSeconds": 3599, "renewTime": "2026-01-01T01:00:00.000000Z"}),
                true,
            ),
            (json!({"renewTime": "2026-01-01T02:00:00.000000Z"}), true),
            (json!({"leaseDurationSeconds": 3600}), true),
        ] {
            assert_eq!(is_over(&json!({"spec": spec}), now), over, "{spec}");
        }
    }
}
