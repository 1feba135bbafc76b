//! The networks of services: each is marked as ready, and goes only when no address of it is left without one.
//!
//! Invariant: a network goes ten seconds after it was deleted at the earliest, so that whoever gives out addresses knows by then. Follows
//! pkg/controller/servicecidrs/servicecidrs_controller.go.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{IPAddress, ServiceCIDR},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;
use skiff_api::machinery::names::ip::is_for_services;

use crate::{clock::since, prelude::*};

const NAME: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
const GRACE: Duration = Duration::from_secs(10);

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    cidrs: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
}

/// `service-cidr-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "ipaddresses",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder(NAME),
            cidrs: context.informer(),
            addresses: context.informer(),
        },
    );
    c.each(&c.cidrs);
    c.on(&c.cidrs, |c, change, queue| {
        let cidr = change.object();
        let overlaps = |other: &Arc<ServiceCIDR>| {
            nets(other).any(|a| nets(cidr).any(|b| a.contains(&b) || b.contains(&a)))
        };
        if !matches!(change, Change::Updated { .. }) {
            // another may be free to go now, or not any more
            wake(queue, c.cidrs.list().into_iter().filter(overlaps));
        }
    });
    c.on(&c.addresses, |c, change, queue| {
        let known = address(&change.object().metadata);
        if let Some(address) = known.filter(|_| !matches!(change, Change::Updated { .. })) {
            let holds = |cidr: &Arc<ServiceCIDR>| nets(cidr).any(|net| net.contains(&address));
            wake(queue, c.cidrs.list().into_iter().filter(holds));
        }
    });
    Ok(c.workers())
}

fn nets(cidr: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    cidr.spec()
        .cidrs
        .as_ref()
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
}

/// The address that an object stands for, if it is the API server's.
fn address(meta: &ObjectMeta) -> Option<IpAddr> {
    let (label, manager) = MANAGED_BY;
    meta.labels
        .as_ref()?
        .get(label)
        .filter(|value| *value == manager)?;
    meta.name.as_deref()?.parse().ok()
}

/// Whether every address in use is in one of the other networks, too.
fn may_go(
    cidr: &ServiceCIDR,
    all: &[Arc<ServiceCIDR>],
    addresses: impl Iterator<Item = IpAddr>,
) -> bool {
    let others = || {
        all.iter()
            .filter(|other| other.metadata.name != cidr.metadata.name)
            .flat_map(|other| nets(other))
    };
    let has_parents = nets(cidr).all(|net| others().any(|other| other.contains(&net)));
    has_parents
        || addresses
            .filter(|address| nets(cidr).any(|net| gives(&net, address)))
            .all(|address| others().any(|other| gives(&other, &address)))
}

/// The address may be given from this network.
fn gives(net: &IpNet, address: &IpAddr) -> bool {
    net.contains(address) && is_for_services(*address, net.network(), net.broadcast())
}

impl Controller {
    async fn set_condition(
        &self,
        cidr: &ServiceCIDR,
        status: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let told = cidr
            .status()
            .conditions
            .as_ref()
            .into_iter()
            .flatten()
            .find(|c| c.type_ == "Ready");
        if told.is_some_and(|c| (&*c.status, &*c.reason, &*c.message) == (status, reason, message))
        {
            return Ok(());
        }
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": self.clock.time()});
        let apply = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": cidr.metadata.name},
            "status": {"conditions": [condition]}});
        let key = Key::of(&cidr.metadata);
        self.api
            .amend_status::<ServiceCIDR>(&key, PatchType::Apply(NAME), &apply)
            .await
            .map(drop)
    }

    async fn change_finalizers(&self, cidr: &ServiceCIDR, has: bool) -> Result<(), Error> {
        if cidr.metadata.has_finalizer(FINALIZER) == has {
            return Ok(());
        }
        let field = if has {
            "finalizers"
        } else {
            "$deleteFromPrimitiveList/finalizers"
        };
        let patch = json!({"metadata": {field: [FINALIZER]}});
        self.api
            .amend::<ServiceCIDR>(&Key::of(&cidr.metadata), PatchType::Strategic, &patch)
            .await
            .map(drop)
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = NAME;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(cidr) = self.cidrs.get(key) else {
            return Ok(Next::DONE);
        };
        if let Some(deleted) = &cidr.metadata.deletion_timestamp {
            if !may_go(
                &cidr,
                &self.cidrs.list(),
                self.addresses
                    .list()
                    .iter()
                    .filter_map(|address_object| address(&address_object.metadata)),
            ) {
                let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
                self.set_condition(&cidr, "False", "Terminating", message)
                    .await?;
                return Ok(Next::DONE);
            }
            let passed = since(self.clock.now(), deleted.0);
            if passed < GRACE {
                return Ok(Next::after(GRACE - passed));
            }
            self.change_finalizers(&cidr, false).await?;
            return Ok(Next::DONE);
        }
        self.change_finalizers(&cidr, true).await?;
        if let Err(error) = self
            .set_condition(&cidr, "True", "", "Kubernetes Service CIDR is ready")
            .await
        {
            self.recorder.warning(
                &*cidr,
                "KubernetesServiceCIDRError",
                "The ServiceCIDR Status can not be set to Ready=True",
            );
            return Err(error);
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_goes_when_others_have_its_addresses() {
        let cidr = |name: &str, nets: &[&str]| -> Arc<ServiceCIDR> {
            Arc::new(
                serde_json::from_value(
                    json!({"metadata": {"name": name}, "spec": {"cidrs": nets}}),
                )
                .unwrap(),
            )
        };
        let used = || {
            ["10.0.0.1", "10.0.0.255", "10.0.1.1", "fd00::1"]
                .into_iter()
                .map(|text| text.parse().unwrap())
        };
        let (whole, low, far) = (
            cidr("whole", &["10.0.0.0/16"]),
            cidr("low", &["10.0.0.0/24"]),
            cidr("far", &["10.9.0.0/24"]),
        );
        for (one, all, expected) in [
            (&whole, vec![&whole], false),
            (&whole, vec![&whole, &low], false),
            (&low, vec![&whole, &low], true),
            (&low, vec![&low, &far], false),
            (&far, vec![&low, &far], true),
            // a network's last address is none that it gives
            (
                &whole,
                vec![&whole, &low, &cidr("next", &["10.0.1.0/24"])],
                false,
            ),
            (&whole, vec![&whole, &cidr("both", &["10.0.0.0/23"])], true),
            (&whole, vec![&whole, &cidr("same", &["10.0.0.0/16"])], true),
        ] {
            let all: Vec<_> = all.into_iter().cloned().collect();
            assert_eq!(
                may_go(one, &all, used()),
                expected,
                "{:?} of {}",
                one.metadata.name,
                all.len()
            );
        }
    }
}
