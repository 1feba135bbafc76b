//! Which nodes serve Ingresses now, and by which addresses: one Lease a node, renewed while its doors are open.
//!
//! Invariant: a node that has ended or was lost is no member any more after [`LIFE`]. The first member by name speaks for all, and looks
//! who is there before it does.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use skiff_watching::{
    Error,
    api::{Api, Delete, Page, PatchType, Wire, collection, item},
    clock::{Clock, after},
};

/// How long a member counts that says nothing.
pub const LIFE: Duration = Duration::from_secs(20);
/// How often a member says that it is there, and looks who else is.
pub const RENEW: Duration = Duration::from_secs(5);

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "skiff.dev/ingress";
/// With commas between them.
const ADDRESSES: &str = "skiff.dev/ingress-addresses";

/// A node among those that serve.
pub struct Member {
    pub api: Api,
    pub clock: Clock,
    pub node: String,
    pub addresses: Vec<IpAddr>,
}

/// Those that serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub addresses: BTreeSet<IpAddr>,
    /// The member that asks speaks for all.
    pub speaks: bool,
}

impl Member {
    fn name(&self) -> String {
        format!("skiff-ingress.{}", self.node)
    }

    /// Says that this node serves.
    pub async fn renew(&self) -> Result<(), Error> {
        let path = item::<Lease>(NAMESPACE, &self.name());
        let now = skiff_api::machinery::time::micros(self.clock.now());
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name(), "labels": {LABEL: "member"}, "annotations": {ADDRESSES: told(&self.addresses)}},
            "spec": {"holderIdentity": self.node, "leaseDurationSeconds": LIFE.as_secs(), "renewTime": now}});
        self.api
            .patch(&path, PatchType::Apply(super::AGENT), &lease)
            .await
            .map(drop)
    }

    /// Says that it does not any more.
    pub async fn leave(&self) -> Result<(), Error> {
        let path = item::<Lease>(NAMESPACE, &self.name());
        self.api.delete_path(&path, &Delete::default()).await
    }

    /// Who serves now.
    pub async fn look(&self) -> Result<Members, Error> {
        let path = format!(
            "{}?labelSelector={LABEL}%3Dmember",
            collection::<Lease>(NAMESPACE)
        );
        let text = self
            .api
            .send(Method::GET, &path, None, None, Vec::new())
            .await?;
        let mut leases = Vec::new();
        for text in Page::of(&path, &text)?.items() {
            let lease = Lease::decode(text).map_err(|source| Error::Decode {
                what: path.clone(),
                source: source.into(),
            })?;
            leases.push(lease);
        }
        Ok(members(&leases, &self.node, self.clock.now()))
    }
}

fn told(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

pub(super) fn members(leases: &[Lease], own: &str, now: jiff::Timestamp) -> Members {
    let mut nodes = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for lease in leases {
        let annotations = lease.metadata.annotations.as_ref();
        let read = |text: &String| text.split(',').map(str::parse).collect();
        let at: Option<Result<Vec<IpAddr>, _>> =
            annotations.and_then(|a| a.get(ADDRESSES)).map(read);
        let spec = lease.spec.as_ref();
        let renewed = spec
            .and_then(|spec| spec.renew_time.as_ref())
            .map(|time| time.0);
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        if let (Some(Ok(at)), Some(renewed), Some(holder)) = (at, renewed, holder)
            && after(renewed, LIFE) > now
        {
            nodes.insert(holder);
            addresses.extend(at);
        }
    }
    Members {
        addresses,
        speaks: nodes.first() == Some(&own),
    }
}
