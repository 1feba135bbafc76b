//! The namespace controller: empties a namespace that is being deleted, and lets it go.
//!
//! Invariant: pods go first, and nothing else is touched while any is left, also one that outstays its time; the finalizer goes only when a
//! list of every kind came back empty. What is left is what the server says, not what a cache says. Unlike upstream, which waits five seconds for other API servers to notice, it starts at once. Follows
//! pkg/controller/namespace/namespace_controller.go and deletion/namespaced_resources_deleter.go.

mod conditions;

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;
use skiff_podspec::pod::Pod;

use self::conditions::Remaining;
use crate::{
    api::{Page, collection},
    clock::since,
    discovery::{ApiResource, Found, discover},
    prelude::*,
};

/// How long is waited for finalizers, for want of a better guess.
const FINALIZER_PATIENCE: u64 = 15;
/// Deletions come in flocks.
const SETTLE: Duration = Duration::from_millis(50);
const OURS: &str = "kubernetes";

struct Controller {
    api: Api,
    clock: Clock,
    namespaces: Informer<Namespace>,
    pods: Informer<Pod>,
}

/// `namespace-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "namespace",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            namespaces: context.informer(),
            pods: context.informer(),
        },
    );
    let is_ending = |change: &Change<Namespace>| {
        !matches!(change, Change::Deleted(_)) && change.object().metadata.is_deleting()
    };
    c.each_if(&c.namespaces, is_ending);
    c.on(&c.pods, |c, change, queue| {
        let key = Key::cluster(change.object().metadata.namespace());
        if matches!(change, Change::Deleted(_)) && c.is_ending(&key) {
            queue.add(key);
        }
    });
    // what its finalizers let go of: it need not wait for the next look
    let (controller, queue) = c.parts();
    context.informers.on_deletion(Box::new(move |namespace| {
        let key = Key::cluster(namespace);
        if controller.is_ending(&key) {
            queue.add_after(key, SETTLE);
        }
    }));
    Ok(c.some_workers(10))
}

fn finalizers(namespace: &Namespace) -> &[String] {
    namespace.spec().finalizers.as_deref().unwrap_or(&[])
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "namespace-controller";
    // what holds a namespace may be a server that was away for a while
    const RETRY: Retry = Retry {
        longest: Duration::from_secs(60),
        ..Retry::DEFAULT
    };

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if self
            .namespaces
            .get(key)
            .is_none_or(|ns| ns.metadata.deletion_timestamp.is_none() || finalizers(&ns).is_empty())
        {
            return Ok(Next::DONE);
        }
        let Some(mut namespace) = unless_gone(self.api.get::<Namespace>("", key.name()).await)?
        else {
            return Ok(Next::DONE);
        };
        if namespace.metadata.deletion_timestamp.is_none() || finalizers(&namespace).is_empty() {
            return Ok(Next::DONE);
        }
        if namespace.status().phase.as_deref() != Some("Terminating") {
            namespace.status.get_or_insert_default().phase = Some("Terminating".into());
            let Some(written) = unless_gone(self.api.update_status(&namespace).await)? else {
                return Ok(Next::DONE);
            };
            namespace = written;
        }
        if let Some(wait) = self.empty(&mut namespace).await? {
            return Ok(Next::after(wait));
        }
        self.finalize(namespace).await?;
        Ok(Next::DONE)
    }
}

/// What is left of one resource after its deletion was asked for.
#[derive(Default)]
struct Left {
    items: Vec<ObjectMeta>,
    patience: u64,
    /// Nothing explains why there are still some.
    unexpected: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ItemMeta,
}

#[derive(Deserialize)]
struct ItemMeta {
    name: String,
    #[serde(default)]
    finalizers: Vec<String>,
}

/// A pod, as far as it says how long its end takes.
#[derive(Deserialize)]
struct Running {
    #[serde(default)]
    spec: RunningSpec,
    #[serde(default)]
    status: RunningStatus,
}

#[derive(Default, Deserialize)]
struct RunningSpec {
    #[serde(default, rename = "terminationGracePeriodSeconds")]
    grace: Option<i64>,
}

#[derive(Default, Deserialize)]
struct RunningStatus {
    #[serde(default)]
    phase: String,
}

impl Controller {
    fn is_ending(&self, key: &Key) -> bool {
        self.namespaces
            .get(key)
            .is_some_and(|ns| ns.metadata.is_deleting())
    }

    /// Deletes all content. `None` when nothing is left, else how long to wait before looking again.
    async fn empty(&self, namespace: &mut Namespace) -> Result<Option<Duration>, Error> {
        let found = match discover(&self.api).await {
            Ok(found) => found,
            Err(error) => Found {
                resources: Vec::new(),
                failed: vec![error.to_string()],
            },
        };
        let mut remaining = Remaining {
            discovery: found.failed.clone(),
            ..Remaining::default()
        };
        let mut patience = 0;
        let deletable =
            |r: &&ApiResource| r.namespaced && r.supports(&["delete"]) && !r.resource.contains('/');
        let (pods, others): (Vec<_>, Vec<_>) = found
            .resources
            .iter()
            .filter(deletable)
            .partition(|r| r.group.is_empty() && r.resource == "pods");
        for resource in pods {
            self.empty_resource(resource, namespace, &mut remaining, &mut patience)
                .await;
            for error in &mut remaining.errors {
                *error = format!(
                    "failed to delete pods for namespace: {}, err: {error}",
                    namespace.metadata.name()
                );
            }
        }
        if remaining.counts.is_empty() {
            for resource in others {
                self.empty_resource(resource, namespace, &mut remaining, &mut patience)
                    .await;
            }
        } else {
            remaining.only_pods = true;
        }
        if conditions::update(
            namespace.status.get_or_insert_default(),
            &remaining,
            self.clock.time(),
        ) && let Some(written) = unless_gone(self.api.update_status(namespace).await)?
        {
            *namespace = written;
        }
        if !remaining.errors.is_empty() || !remaining.discovery.is_empty() {
            return Err(Error::Failed(
                remaining
                    .discovery
                    .into_iter()
                    .chain(remaining.errors)
                    .collect::<Vec<_>>()
                    .join(", "),
            ));
        }
        Ok((patience > 0).then(|| Duration::from_secs(patience / 2 + 1)))
    }

    async fn empty_resource(
        &self,
        resource: &ApiResource,
        namespace: &Namespace,
        remaining: &mut Remaining,
        patience: &mut u64,
    ) {
        match self.delete_all(resource, namespace).await {
            Ok(left) => {
                *patience = left.patience.max(*patience);
                remaining.errors.extend(left.unexpected);
                if !left.items.is_empty() {
                    remaining.counts.insert(
                        format!("{}.{}", resource.resource, resource.group),
                        left.items.len(),
                    );
                }
                for finalizer in left
                    .items
                    .iter()
                    .flat_map(|meta| meta.finalizers.iter().flatten())
                {
                    *remaining.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
                }
            }
            Err(error) => remaining.errors.push(error.to_string()),
        }
    }

    async fn list(
        &self,
        resource: &ApiResource,
        namespace: &str,
    ) -> Result<Vec<ObjectMeta>, Error> {
        if !resource.supports(&["list"]) {
            return Ok(Vec::new());
        }
        let accept =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let path = resource.path(namespace);
        let text = match self
            .api
            .send(Method::GET, &path, None, Some(accept), Vec::new())
            .await
        {
            Err(e) if e.is_not_found() || e.is_method_not_supported() => return Ok(Vec::new()),
            other => other?,
        };
        let items = Page::of(&path, &text)?.read(&path)?;
        let meta = |item: Item| ObjectMeta {
            name: Some(item.metadata.name),
            finalizers: Some(item.metadata.finalizers),
            ..Default::default()
        };
        Ok(items.into_iter().map(meta).collect())
    }

    /// Deletes all objects of a resource, and tells what is still there.
    async fn delete_all(
        &self,
        resource: &ApiResource,
        namespace: &Namespace,
    ) -> Result<Left, Error> {
        let name = namespace.metadata.name();
        let before = self.list(resource, name).await?;
        if before.is_empty() {
            return Ok(Left::default());
        }
        let grace = if resource.group.is_empty() && resource.resource == "pods" {
            self.grace(namespace).await?
        } else {
            0
        };
        let background = Delete {
            propagation: Some("Background"),
            ..Delete::default()
        };
        let gone = |e: &Error| e.is_not_found() || e.is_method_not_supported();
        let collected = resource.supports(&["deletecollection"])
            && match self
                .api
                .delete_path(&resource.path(name), &background)
                .await
            {
                Err(e) if gone(&e) => false,
                other => other.map(|()| true)?,
            };
        for meta in before.iter().filter(|_| !collected) {
            let path = resource.item(name, meta.name());
            match self.api.delete_path(&path, &background).await {
                Err(e) if gone(&e) => {}
                other => other?,
            }
        }
        let items = self.list(resource, name).await?;
        let held = items
            .iter()
            .any(|meta| meta.finalizers.as_ref().is_some_and(|f| !f.is_empty()));
        if items.is_empty() {
            return Ok(Left::default());
        }
        let mut left = Left {
            items,
            patience: grace,
            unexpected: None,
        };
        if grace == 0 && held {
            left.patience = FINALIZER_PATIENCE;
        } else if grace == 0 {
            let (group, version, resource) =
                (&resource.group, &resource.version, &resource.resource);
            left.unexpected = Some(format!(
                "unexpected items still remain in namespace: {name} for gvr: {group}/{version}, Resource={resource}"
            ));
        }
        Ok(left)
    }

    /// How many seconds the namespace's pods may take to end; 0 once that time has passed since the namespace's deletion.
    async fn grace(&self, namespace: &Namespace) -> Result<u64, Error> {
        let path = collection::<Pod>(namespace.metadata.name());
        let running: Vec<Running> =
            Page::of(&path, &self.api.get_text(&path).await?)?.read(&path)?;
        let grace = running
            .iter()
            .filter(|pod| !["Succeeded", "Failed"].contains(&&*pod.status.phase))
            .filter_map(|pod| pod.spec.grace)
            .max();
        let grace = grace
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(0);
        let passed = namespace
            .metadata
            .deletion_timestamp
            .as_ref()
            .map_or(Duration::ZERO, |at| since(self.clock.now(), at.0));
        Ok(if passed >= Duration::from_secs(grace) {
            0
        } else {
            grace
        })
    }

    /// Takes our finalizer away; with the last one the namespace is gone.
    async fn finalize(&self, mut namespace: Namespace) -> Result<(), Error> {
        let name = namespace.metadata.name().to_string();
        loop {
            namespace
                .spec
                .get_or_insert_default()
                .finalizers
                .get_or_insert_default()
                .retain(|f| f != OURS);
            match self
                .api
                .put(&(item::<Namespace>("", &name) + "/finalize"), &namespace)
                .await
            {
                Err(e) if e.is_conflict() => {
                    let Some(fresh) = unless_gone(self.api.get::<Namespace>("", &name).await)?
                    else {
                        return Ok(());
                    };
                    if fresh.metadata.uid != namespace.metadata.uid {
                        return Err(Error::Failed(
                            "namespace uid has changed across retries".into(),
                        ));
                    }
                    namespace = fresh;
                }
                other => return unless_gone(other).map(drop),
            }
        }
    }
}

/// Counts by name, sorted.
type Counts = BTreeMap<String, usize>;
