//! The garbage collector: deletes what has lost all its owners, and carries out foreground and orphaning deletions, for all resources
//! that the server has, custom ones included.
//!
//! Invariant: nothing is deleted before its owner's absence was confirmed by the server. Follows
//! pkg/controller/garbagecollector/garbagecollector.go.

mod graph;
mod monitors;

use std::time::Duration;

use futures::future::{join, join_all};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::json;

use self::{
    graph::{Action, FOREGROUND, Graph, Identity, Node, ORPHAN, Todo, decide},
    monitors::Monitors,
};
use crate::{discovery::ApiResource, prelude::*};
use skiff_api::machinery::quote::GoQuoted;

const NAME: &str = "garbage-collector-controller";
const WORKERS: usize = 20;
/// When an owner that is there is looked for again, if no watch has shown it by then.
const UNSEEN: Duration = Duration::from_secs(30);

/// What the monitors and the workers share.
struct Shared {
    graph: Mutex<Graph>,
    delete: Arc<Queue<String>>,
    orphan: Arc<Queue<String>>,
    recorder: Recorder,
}

impl Shared {
    fn graph(&self) -> parking_lot::MutexGuard<'_, Graph> {
        self.graph.lock()
    }

    fn enqueue(&self, todo: Todo) {
        todo.delete.into_iter().for_each(|uid| self.delete.add(uid));
        todo.orphan.into_iter().for_each(|uid| self.orphan.add(uid));
        for (object, owner) in todo.misplaced {
            let message = format!(
                "ownerRef {owner} does not exist in namespace {}",
                GoQuoted(&object.namespace)
            );
            let about = ObjectReference {
                api_version: Some(object.api_version.to_string()),
                kind: Some(object.kind.to_string()),
                namespace: Some(object.namespace.to_string()),
                name: Some(object.name.to_string()),
                uid: Some(object.uid.to_string()),
                ..ObjectReference::default()
            };
            self.recorder.about(
                about,
                EventType::Warning,
                "OwnerRefInvalidNamespace",
                message,
            );
        }
    }

    /// A watch showed it gone.
    fn removed(&self, uid: &str) {
        let todo = self.graph().remove(uid);
        self.enqueue(todo);
    }

    /// The server knows nothing of it.
    fn lost(&self, identity: &Identity) {
        let todo = self.graph().lost(identity);
        self.enqueue(todo);
    }
}

struct Collector {
    api: Api,
    shared: Arc<Shared>,
    monitors: Arc<Monitors>,
}

/// Lets dependents go.
struct Orphaner(Arc<Collector>);

/// `garbage-collector-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let (delete, orphan) = (
        context.queue::<String>("garbage_collector_attempt_to_delete"),
        context.queue::<String>("garbage_collector_attempt_to_orphan"),
    );
    let shared = Arc::new(Shared {
        graph: Mutex::default(),
        delete: delete.clone(),
        orphan: orphan.clone(),
        recorder: context.recorder(NAME),
    });
    let monitors = Arc::new(Monitors::new(context, shared.clone()));
    let collector = Arc::new(Collector {
        api: context.api.clone(),
        shared,
        monitors: monitors.clone(),
    });
    let deleting = context.some_workers(WORKERS, collector.clone(), delete);
    let orphaning = context.some_workers(WORKERS / 4, Arc::new(Orphaner(collector)), orphan);
    Ok(Some(Box::pin(async move {
        let watching = skiff_watching::task::spawn(monitors.clone().run());
        if monitors.synced().await {
            join(deleting, orphaning).await;
        }
        if let Err(error) = watching.await {
            tracing::error!(%error, "the garbage collector's monitors ended badly");
        }
    })))
}

/// What a reference leads to.
enum Owner {
    Solid,
    Dangling,
    Waiting,
}

impl Collector {
    /// What discovery knows of a kind.
    fn resource(&self, api_version: &str, kind: &str) -> Result<ApiResource, Error> {
        self.monitors
            .resource(api_version, kind)
            .ok_or_else(|| failed!("unable to get REST mapping for {api_version}/{kind}."))
    }

    fn path(&self, identity: &Identity) -> Result<String, Error> {
        Ok(self
            .resource(&identity.api_version, &identity.kind)?
            .item(&identity.namespace, &identity.name))
    }

    async fn live(&self, identity: &Identity) -> Result<Option<ObjectMeta>, Error> {
        let meta = unless_gone(self.api.get_metadata(&self.path(identity)?).await)?;
        Ok(meta.filter(|meta| meta.uid.as_deref() == Some(&*identity.uid)))
    }

    /// Looks a reference up: in the graph if its owner was seen, else at the server. None if it can lead nowhere.
    async fn look_up(
        &self,
        node: &Node,
        reference: &OwnerReference,
    ) -> Result<Option<Owner>, Error> {
        if self
            .shared
            .graph()
            .is_absent(reference, &node.identity.namespace)
        {
            return Ok(Some(Owner::Dangling));
        }
        let resource = self.resource(&reference.api_version, &reference.kind)?;
        if resource.namespaced && node.identity.namespace.is_empty() {
            // a cluster-scoped object cannot be owned from within a namespace: never collected for that
            return Ok(None);
        }
        let identity = Identity::meant(
            reference,
            if resource.namespaced {
                &node.identity.namespace
            } else {
                ""
            },
        );
        {
            let graph = self.shared.graph();
            // a watch shows objects in the version that their group prefers
            let here = Identity {
                api_version: resource.api_version().into(),
                ..identity.clone()
            };
            if let Some(seen) = graph
                .get(&reference.uid)
                .filter(|seen| !seen.is_virtual && seen.identity == here)
            {
                return Ok(Some(if seen.deleted && seen.deleting_dependents {
                    Owner::Waiting
                } else {
                    Owner::Solid
                }));
            }
        }
        let Some(owner) = self.live(&identity).await? else {
            self.shared.graph().note_absent(identity);
            return Ok(Some(Owner::Dangling));
        };
        let waits = owner.deletion_timestamp.is_some()
            && owner.finalizers.iter().flatten().any(|f| f == FOREGROUND);
        Ok(Some(if waits { Owner::Waiting } else { Owner::Solid }))
    }

    async fn collect(&self, node: &Node) -> Result<(), Error> {
        let resource = self.resource(&node.identity.api_version, &node.identity.kind)?;
        if resource.namespaced && node.identity.namespace.is_empty() {
            // so far only a cluster-scoped object means it, which says not where it is
            return Ok(());
        }
        let Some(live) = self.live(&node.identity).await? else {
            let namespace = if resource.namespaced {
                node.identity.namespace.clone()
            } else {
                "".into()
            };
            self.shared.lost(&Identity {
                namespace,
                ..node.identity.clone()
            });
            return Ok(());
        };
        if node.deleting_dependents {
            return self.finish_foreground(node).await;
        }
        let references = live.owner_references.clone().unwrap_or_default();
        if references.is_empty() {
            return Ok(());
        }
        let (mut solid, mut dangling, mut waiting) = (0, Vec::new(), Vec::new());
        for reference in &references {
            match self.look_up(node, reference).await? {
                None => return Ok(()),
                Some(Owner::Solid) => solid += 1,
                Some(Owner::Dangling) => dangling.push(reference.uid.clone()),
                Some(Owner::Waiting) => waiting.push(reference.uid.clone()),
            }
        }
        let finalizers = live.finalizers.clone().unwrap_or_default();
        match decide(
            solid,
            dangling,
            waiting,
            !node.dependents.is_empty(),
            &finalizers,
        ) {
            Action::Keep => Ok(()),
            Action::Forget(uids) => self.forget_owners(node, &live, &uids).await,
            Action::DeleteForeground => {
                let live = self.break_cycle(node, live).await?;
                self.delete(node, &live, "Foreground").await
            }
            Action::Delete(policy) => self.delete(node, &live, policy).await,
        }
    }

    async fn delete(
        &self,
        node: &Node,
        live: &ObjectMeta,
        policy: &'static str,
    ) -> Result<(), Error> {
        let options = Delete {
            propagation: Some(policy),
            uid: Some(node.identity.uid.to_string()),
            resource_version: live.resource_version.clone(),
            ..Delete::default()
        };
        match self
            .api
            .delete_path(&self.path(&node.identity)?, &options)
            .await
        {
            Err(e) if e.is_not_found() => {
                self.shared.lost(&node.identity);
                Ok(())
            }
            other => other,
        }
    }

    /// An owner that waits for its dependents: done when none blocks, else those are looked at.
    async fn finish_foreground(&self, node: &Node) -> Result<(), Error> {
        let blocking: Vec<(String, bool)> = self
            .shared
            .graph()
            .blocking(&node.identity.uid)
            .iter()
            .map(|n| (n.identity.uid.to_string(), n.deleting_dependents))
            .collect();
        if blocking.is_empty() {
            return self.remove_finalizer(&node.identity, FOREGROUND).await;
        }
        blocking
            .into_iter()
            .filter(|(_, deleting)| !deleting)
            .for_each(|(uid, _)| self.shared.delete.add(uid));
        Ok(())
    }

    /// Owners that wait for each other in a circle: this one stops blocking.
    async fn break_cycle(&self, node: &Node, live: ObjectMeta) -> Result<ObjectMeta, Error> {
        let circle = self
            .shared
            .graph()
            .dependents(&node.identity.uid)
            .iter()
            .any(|dependent| dependent.deleting_dependents);
        if !circle {
            return Ok(live);
        }
        let mut references = live.owner_references.clone().unwrap_or_default();
        references
            .iter_mut()
            .for_each(|r| r.block_owner_deletion = Some(false));
        let patch = json!({"metadata": {"resourceVersion": live.resource_version, "uid": live.uid, "ownerReferences": references}});
        self.api
            .patch(&self.path(&node.identity)?, PatchType::Merge, &patch)
            .await
    }

    async fn forget_owners(
        &self,
        node: &Node,
        live: &ObjectMeta,
        uids: &[String],
    ) -> Result<(), Error> {
        let mut left = live.owner_references.clone().unwrap_or_default();
        left.retain(|r| !uids.contains(&r.uid));
        let left = if left.is_empty() {
            serde_json::Value::Null
        } else {
            json!(left)
        };
        let patch = json!({"metadata": {"resourceVersion": live.resource_version, "uid": live.uid, "ownerReferences": left}});
        unless_gone(
            self.api
                .patch(&self.path(&node.identity)?, PatchType::Merge, &patch)
                .await,
        )
        .map(drop)
    }

    async fn remove_finalizer(&self, identity: &Identity, finalizer: &str) -> Result<(), Error> {
        for attempt in 0.. {
            let Some(live) = self.live(identity).await? else {
                return Ok(());
            };
            let mut left = live.finalizers.clone().unwrap_or_default();
            let before = left.len();
            left.retain(|f| f != finalizer);
            if left.len() == before {
                return Ok(());
            }
            let patch = json!({"metadata": {"resourceVersion": live.resource_version, "uid": live.uid, "finalizers": left}});
            match self
                .api
                .patch(&self.path(identity)?, PatchType::Merge, &patch)
                .await
            {
                Err(e) if e.is_conflict() && attempt < 5 => {}
                other => return unless_gone(other).map(drop),
            }
        }
        Ok(())
    }
}

impl Reconcile<String> for Collector {
    const NAME: &'static str = NAME;

    async fn reconcile(&self, uid: &String) -> Result<Next, Error> {
        let Some(node) = self.shared.graph().get(uid).cloned() else {
            return Ok(Next::DONE);
        };
        if node.deleted && !node.deleting_dependents {
            return Ok(Next::DONE);
        }
        if !node.is_virtual && node.owners.is_empty() && !node.deleting_dependents {
            return Ok(Next::DONE);
        }
        self.collect(&node).await?;
        // its watch may have missed it: then it would stay here for ever
        let unseen = self
            .shared
            .graph()
            .get(uid)
            .filter(|node| node.is_virtual)
            .map(|node| node.identity.clone());
        let unseen = unseen.is_some_and(|owner| {
            self.resource(&owner.api_version, &owner.kind)
                .is_ok_and(|r| r.namespaced != owner.namespace.is_empty())
        });
        Ok(Next::maybe_after(unseen.then_some(UNSEEN)))
    }
}

impl Reconcile<String> for Orphaner {
    const NAME: &'static str = NAME;

    async fn reconcile(&self, uid: &String) -> Result<Next, Error> {
        let (owner, dependents): (Identity, Vec<Node>) = {
            let graph = self.0.shared.graph();
            let Some(owner) = graph.get(uid) else {
                return Ok(Next::DONE);
            };
            (
                owner.identity.clone(),
                graph.dependents(uid).into_iter().cloned().collect(),
            )
        };
        let let_go = |dependent: Node| async move {
            let Some(live) = self.0.live(&dependent.identity).await? else {
                return Ok(());
            };
            self.0
                .forget_owners(&dependent, &live, std::slice::from_ref(uid))
                .await
        };
        let results = join_all(dependents.into_iter().map(let_go)).await;
        Error::collect(results.into_iter().filter_map(Result::err).collect())?;
        self.0.remove_finalizer(&owner, ORPHAN).await?;
        Ok(Next::DONE)
    }
}
