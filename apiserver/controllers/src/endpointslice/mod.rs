//! The EndpointSlice controller: for each service with a selector, its pods' addresses in slices of at most a hundred.
//!
//! Invariant: an endpoint is in exactly one slice; a change touches as few slices as it can. Follows
//! pkg/controller/endpointslice/endpointslice_controller.go and k8s.io/endpointslice/reconciler.go.

mod desired;
mod plan;
pub mod ports;
mod topology;
mod zones;

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use skiff_podspec::pod::Pod;

use self::{plan::Plan, topology::Hinted};
use crate::{
    prelude::*,
    service_pods::{self, TRIGGER_TIME, TriggerTimes},
};

/// The name by which this controller knows its own slices.
pub const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
/// The label that names a slice's manager.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The label that names a slice's service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

struct Controller {
    api: Api,
    recorder: Recorder,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Fresh<EndpointSlice>,
    times: TriggerTimes,
    own: Mutex<HashMap<Key, String>>,
    hinted: Mutex<Hinted>,
}

/// `endpointslice-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "endpoint_slice",
        Controller {
            api: context.api.clone(),
            recorder: context.recorder("endpoint-slice-controller"),
            services: context.informer(),
            pods: context.informer(),
            nodes: context.informer(),
            slices: context.fresh(),
            times: TriggerTimes::default(),
            own: Mutex::default(),
            hinted: Mutex::default(),
        },
    );
    c.each(&c.services);
    c.on(&c.pods, |c, change, queue| {
        service_pods::wake(change, &c.services, queue)
    });
    c.on(&c.nodes, |c, change, queue| {
        let unbalanced = c.unbalanced_by(change).into_iter();
        unbalanced.for_each(|service| queue.add(service));
    });
    c.on(&c.slices, |c, change, queue| {
        c.meddled_with(change)
            .into_iter()
            .for_each(|service| queue.add(service));
    });
    Ok(c.workers())
}

/// The service that a slice belongs to.
pub fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace(), name))
}

/// Whether the manager of this name made the slice.
pub fn is_managed_by(slice: &EndpointSlice, manager: &str) -> bool {
    slice.metadata.label(MANAGED_BY_LABEL) == Some(manager)
}

impl Controller {
    /// The shares of all zones.
    fn shares(&self) -> topology::Shares {
        let nodes = self.nodes.list();
        topology::shares(nodes.iter().map(|node| &**node))
    }

    /// The services whose hints no longer fit after a node has changed.
    fn unbalanced_by(&self, change: &Change<Node>) -> Vec<Key> {
        let matters = match change {
            Change::Updated { old, new } => topology::matters(old, new),
            Change::Added(_) | Change::Deleted(_) => true,
        };
        let hinted = self.hinted.lock();
        if !matters || hinted.is_empty() {
            return Vec::new();
        }
        hinted.overloaded(&self.shares())
    }

    /// Makes the hints of one family's slices by the shares of zones, or notes that there are none to make; gives what there is to tell of it.
    fn hint(
        &self,
        key: &Key,
        shares: Option<&topology::Shares>,
        (family, part): (&str, &mut Plan),
        existing: &[Arc<EndpointSlice>],
    ) -> Option<topology::Told> {
        let outcome = shares.map(|shares| {
            let staying = part.staying(existing);
            topology::hint(shares, part, &staying)
        });
        self.hinted.lock().note(key, family, outcome)
    }

    /// The service of a slice of ours that someone else changed or deleted.
    fn meddled_with(&self, change: &Change<EndpointSlice>) -> Option<Key> {
        let slice = match change {
            Change::Updated { old, new }
                if is_managed_by(old, MANAGED_BY) && !is_managed_by(new, MANAGED_BY) =>
            {
                old
            }
            Change::Updated { new, .. } | Change::Added(new) => new,
            Change::Deleted(old) => old,
        };
        if !is_managed_by(slice, MANAGED_BY) {
            return None;
        }
        let key = Key::of(&slice.metadata);
        let mut own = self.own.lock();
        let ours = match change {
            Change::Deleted(_) => own.remove(&key).is_none(),
            _ => own.get(&key) == slice.metadata.resource_version.as_ref(),
        };
        if ours { None } else { service_of(slice) }
    }

    fn note(&self, service: &Key, slice: &EndpointSlice) {
        let version = slice.metadata.resource_version.clone().unwrap_or_default();
        self.slices.note(service, &slice.metadata);
        self.own.lock().insert(Key::of(&slice.metadata), version);
    }

    async fn carry_out(&self, key: &Key, service: &Service, plan: Plan) -> Result<(), Error> {
        let describe = |verb: &str, what: &str, e: &Error| {
            failed!("failed to {verb} {what} for Service {key}: {e}")
        };
        if service.metadata.deletion_timestamp.is_none() {
            for slice in plan.create {
                match self.api.create(&slice).await {
                    Ok(written) => self.note(key, &written),
                    Err(e) if e.is_namespace_terminating() => return Ok(()),
                    Err(e) => return Err(describe("create", "EndpointSlice", &e)),
                }
            }
        }
        for slice in plan.update {
            let name = slice.metadata.name.clone().unwrap_or_default();
            let written = self
                .api
                .update(&slice)
                .await
                .map_err(|e| describe("update", &format!("{name} EndpointSlice"), &e))?;
            self.note(key, &written);
        }
        for slice in plan.delete {
            let slice = Key::of(&slice.metadata);
            self.own.lock().remove(&slice);
            self.api
                .remove::<EndpointSlice>(&slice)
                .await
                .map_err(|e| describe("delete", &format!("{} EndpointSlice", slice.name()), &e))?;
        }
        Ok(())
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "endpointslice-controller";
    const RETRY: Retry = Retry::from(Duration::from_secs(1));

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.slices.catch_up(key).await;
        let Some(service) = self.services.get(key) else {
            self.times.forget(key);
            self.hinted.lock().forget(key);
            return Ok(Next::DONE);
        };
        if !service_pods::has_selector(&service) {
            return Ok(Next::DONE);
        }
        let selected = service_pods::pods_of(&service, &self.pods);
        let mut existing = self.slices.in_group(key.name());
        let mine = |slice: &EndpointSlice| {
            slice.metadata.namespace.as_deref() == Some(key.namespace())
                && is_managed_by(slice, MANAGED_BY)
        };
        existing.retain(|slice| mine(slice) && slice.metadata.deletion_timestamp.is_none());
        let time = self.times.next(key, &service, &selected);
        let shares = zones::asks_for_hints(&service).then(|| self.shares());
        let mut told = Vec::new();
        let (mut plan, missing) = plan::of_service(
            &service,
            &selected,
            &self.nodes,
            &existing,
            |family, part, existing| {
                told.extend(self.hint(key, shares.as_ref(), (family, part), existing));
            },
        );
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            plan::annotate(slice, TRIGGER_TIME, time.map(|t| t.to_string()));
        }
        let next = Next::DONE.resting(selected.len());
        let outcome = self.carry_out(key, &service, plan).await;
        for told in told {
            self.recorder
                .event(&*service, told.kind, told.reason, told.message);
        }
        let outcome =
            outcome.and_then(|()| missing.map_or(Ok(()), |text| Err(Error::Failed(text))));
        if let Err(error) = outcome {
            if !error.is_not_found() {
                let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
                self.recorder
                    .warning(&*service, "FailedToUpdateEndpointSlices", message);
            }
            return Err(error);
        }
        Ok(next)
    }
}
