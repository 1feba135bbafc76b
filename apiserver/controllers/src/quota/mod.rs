//! The resource quota controller: counts what a namespace uses of its quotas.
//!
//! Invariant: what goes is noticed at once, what comes is counted by admission; every five minutes all is counted anew. Follows
//! pkg/controller/resourcequota/resource_quota_controller.go.

pub mod usage;

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use k8s_openapi::{
    api::core::v1::{
        PersistentVolumeClaim, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service,
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_podspec::pod::Pod;

use self::usage::{Usage, add, amounts, number};
use crate::{api::Page, discovery::discover, pods, prelude::*};

const RESYNC: Duration = Duration::from_secs(300);
/// After a change all is counted once more: what admission let in meanwhile may not have been seen yet.
const SETTLE: Duration = Duration::from_secs(1);
/// Names that count objects without saying `count/`.
const PLAIN: [(&str, &str); 5] = [
    ("configmaps", "configmaps"),
    ("secrets", "secrets"),
    ("replicationcontrollers", "replicationcontrollers"),
    ("resourcequotas", "resourcequotas"),
    ("endpoints", "endpoints"),
];

struct Controller {
    api: Api,
    clock: Clock,
    quotas: Fresh<ResourceQuota>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    services: Informer<Service>,
}

/// `resourcequota-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "resourcequota_primary",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            quotas: context.fresh(),
            pods: context.informer(),
            claims: context.informer(),
            services: context.informer(),
        },
    );
    c.each_if(
        &c.quotas,
        |change| !matches!(change, Change::Updated { old, new } if old.spec == new.spec),
    );
    c.on(&c.pods, |c, change, queue| match change {
        Change::Added(_) => {}
        Change::Updated { old, new } if pods::is_finished(old) == pods::is_finished(new) => {}
        _ => c.wake(queue, change.object().metadata.namespace()),
    });
    c.on(&c.claims, |c, change, queue| {
        if !matches!(change, Change::Added(_)) {
            c.wake(queue, change.object().metadata.namespace());
        }
    });
    c.on(&c.services, |c, change, queue| match change {
        Change::Added(_) => {}
        Change::Updated { old, new } if usage::of_service(old) == usage::of_service(new) => {}
        _ => c.wake(queue, change.object().metadata.namespace()),
    });
    // other kinds are counted through the metadata that the garbage collector watches, where it runs
    let (controller, queue) = c.parts();
    context.informers.on_deletion(Box::new(move |namespace| {
        controller.wake(&queue, namespace)
    }));
    Ok(c.workers())
}

impl Controller {
    /// Wakes the quotas of a namespace, a moment later: deletions come in flocks.
    fn wake(&self, queue: &Queue<Key>, namespace: &str) {
        for quota in self.quotas.in_namespace(namespace) {
            queue.add_after(Key::of(&quota.metadata), Duration::from_millis(10));
        }
    }

    fn of_pods(
        &self,
        quota: &ResourceQuotaSpec,
        namespace: &str,
        total: &mut Usage,
    ) -> Result<(), Error> {
        let (scopes, now) = (usage::scopes(quota), self.clock.now());
        for pod in self.pods.in_namespace(namespace) {
            if usage::pod_in_scopes(&pod, &scopes)? {
                add(total, &usage::of_pod(&pod, now)?);
            }
        }
        Ok(())
    }

    fn of_claims(
        &self,
        quota: &ResourceQuotaSpec,
        namespace: &str,
        total: &mut Usage,
    ) -> Result<(), Error> {
        let scopes = usage::scopes(quota);
        for claim in self.claims.in_namespace(namespace) {
            if scopes
                .iter()
                .all(|scope| usage::claim_in_scope(&claim, scope))
            {
                add(total, &usage::of_claim(&claim)?);
            }
        }
        Ok(())
    }

    /// How many objects of `resource.group` there are.
    async fn count(&self, namespace: &str, name: &str) -> Result<Option<usize>, Error> {
        let (resource, group) = name.split_once('.').unwrap_or((name, ""));
        let found = discover(&self.api).await?;
        let Some(resource) = found.resources.iter().find(|r| {
            r.resource == resource && r.group == group && r.namespaced && r.supports(&["list"])
        }) else {
            return Ok(None);
        };
        let accept =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let path = resource.path(namespace);
        let text = self
            .api
            .send(Method::GET, &path, None, Some(accept), Vec::new())
            .await?;
        Ok(Some(Page::of(&path, &text)?.items().count()))
    }

    /// What the namespace uses of each resource that the quota limits.
    async fn used(
        &self,
        quota: &ResourceQuotaSpec,
        namespace: &str,
        hard: &Usage,
    ) -> Result<Usage, Error> {
        let mut total = Usage::new();
        self.of_pods(quota, namespace, &mut total)?;
        self.of_claims(quota, namespace, &mut total)?;
        let scoped = !usage::scopes(quota).is_empty();
        if !scoped {
            self.services
                .in_namespace(namespace)
                .iter()
                .for_each(|service| add(&mut total, &usage::of_service(service)));
        }
        let mut used = Usage::new();
        for name in hard.keys() {
            let plain = PLAIN
                .iter()
                .find(|(plain, _)| plain == name)
                .map(|(_, resource)| *resource);
            let counted = name
                .strip_prefix("count/")
                .or(plain)
                .filter(|_| !total.contains_key(name) && !scoped);
            let amount = match counted {
                Some(resource)
                    if !matches!(resource, "pods" | "persistentvolumeclaims" | "services") =>
                {
                    self.count(namespace, resource)
                        .await?
                        .map(|count| number(i64::try_from(count).unwrap_or(i64::MAX)))
                }
                _ => None,
            };
            used.insert(
                name.clone(),
                amount
                    .or_else(|| total.get(name).cloned())
                    .unwrap_or_else(|| number(0)),
            );
        }
        Ok(used)
    }
}

fn written(usage: &Usage) -> BTreeMap<String, ApiQuantity> {
    usage
        .iter()
        .map(|(name, amount)| (name.clone(), ApiQuantity(amount.to_string())))
        .collect()
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "resourcequota-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.quotas.catch_up(key).await;
        let Some(quota) = self.quotas.get(key) else {
            return Ok(Next::DONE);
        };
        let spec = quota.spec.clone().unwrap_or_default();
        let hard = amounts(spec.hard.as_ref())?;
        let used = self.used(&spec, key.namespace(), &hard).await?;
        let old = quota.status.clone().unwrap_or_default();
        let same = old.hard.is_some()
            && amounts(old.hard.as_ref())? == hard
            && old.used.is_some()
            && amounts(old.used.as_ref())? == used;
        if !same {
            let status = ResourceQuotaStatus {
                hard: spec.hard.clone(),
                used: Some(written(&used)),
            };
            let update = ResourceQuota {
                status: Some(status),
                ..(*quota).clone()
            };
            let done = self.api.update_status(&update).await?;
            self.quotas.note(key, &done.metadata);
            return Ok(Next::after(SETTLE));
        }
        Ok(Next::after(RESYNC))
    }
}
