//! What is known of the Gateway API's objects: nothing until their kinds are defined, and again once they are not.
//!
//! Invariant: a kind is followed while its definition is there; what was known of it goes with it. An object that cannot be read is told of in the log and left out.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use skiff_watching::{
    api::Api,
    clock::Clock,
    follow::{Read, Seen, follow_text},
    reflect::Source,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::objects::{
    GROUP, Gateway, GatewayClass, HttpRoute, Namespace, Object, ReferenceGrant, path,
};
use crate::network::view::ObjectName;

/// Metadata alone, of lists and of watches.
const METADATA: (&str, &str) = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
);

/// All that is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// There is the kind of classes.
    pub has_classes: bool,
    pub classes: BTreeMap<ObjectName, GatewayClass>,
    pub gateways: BTreeMap<ObjectName, Gateway>,
    pub routes: BTreeMap<ObjectName, HttpRoute>,
    pub grants: BTreeMap<ObjectName, ReferenceGrant>,
    /// While there are gateways' kinds.
    pub namespaces: BTreeMap<ObjectName, Namespace>,
}

/// Something that was seen.
pub enum Change {
    /// Whether there is the kind of classes.
    Kinds(bool),
    Classes(Seen<GatewayClass>),
    Gateways(Seen<Gateway>),
    Routes(Seen<HttpRoute>),
    Grants(Seen<ReferenceGrant>),
    Namespaces(Seen<Namespace>),
}

/// An object of which no more than its metadata is known.
#[derive(Deserialize)]
struct Named {
    metadata: ObjectMeta,
}

pub fn name_of(meta: &ObjectMeta) -> ObjectName {
    ObjectName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

impl Objects {
    /// Takes a change up.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Kinds(there) => self.has_classes = there,
            Change::Classes(seen) => apply(seen, &mut self.classes, |o| &o.metadata),
            Change::Gateways(seen) => apply(seen, &mut self.gateways, |o| &o.metadata),
            Change::Routes(seen) => apply(seen, &mut self.routes, |o| &o.metadata),
            Change::Grants(seen) => apply(seen, &mut self.grants, |o| &o.metadata),
            Change::Namespaces(seen) => apply(seen, &mut self.namespaces, |o| &o.metadata),
        }
    }
}

fn apply<O>(seen: Seen<O>, to: &mut BTreeMap<ObjectName, O>, meta: impl Fn(&O) -> &ObjectMeta) {
    let named = |object: O| (name_of(meta(&object)), object);
    match seen {
        Seen::Listed(all) => *to = all.into_iter().map(named).collect(),
        Seen::Applied(object) => to.extend([named(object)]),
        Seen::Deleted(object) => drop(to.remove(&name_of(meta(&object)))),
    }
}

fn read<O: for<'de> Deserialize<'de>>(
    kind: &'static str,
) -> impl Fn(&str) -> Option<Read<O>> + Send {
    move |text| match serde_json::from_str(text) {
        // the version is looked for in the text: these change seldom
        Ok(object) => Some(Read {
            object,
            version: None,
        }),
        Err(error) => {
            tracing::warn!(kind, %error, "an object is left out, it cannot be read");
            None
        }
    }
}

/// Follows kinds as they come and go.
struct Follower<'a> {
    api: &'a Api,
    clock: &'a Clock,
    tell: mpsc::UnboundedSender<Change>,
    /// Which are followed now.
    now: HashMap<String, DropGuard>,
    stop: &'a CancellationToken,
}

impl Follower<'_> {
    fn follow<O: for<'de> Deserialize<'de> + Send + 'static>(
        &self,
        (kind, path): (&'static str, String),
        accept: Option<(&'static str, &'static str)>,
        change: impl Fn(Seen<O>) -> Change + Send + 'static,
        stop: &CancellationToken,
    ) {
        let source = Source {
            path,
            query: String::new(),
            accept,
        };
        let mut seen = follow_text(self.api, self.clock, source, read::<O>(kind), stop);
        let (tell, stop) = (self.tell.clone(), self.stop.clone());
        skiff_watching::task::spawn(async move {
            while let Some(one) = seen.recv().await {
                if tell.send(change(one)).is_err() {
                    return;
                }
            }
            // its definition is gone, and with it all of its objects
            if !stop.is_cancelled() && tell.send(change(Seen::Listed(Vec::new()))).is_err() {
                tracing::trace!(kind, "nobody wants to hear that it is gone");
            }
        });
    }

    fn kind<O: Object>(
        &self,
        change: impl Fn(Seen<O>) -> Change + Send + 'static,
        stop: &CancellationToken,
    ) {
        self.follow((O::KIND, path::<O>("")), None, change, stop);
    }

    fn begin(&mut self, plural: &str) {
        if self.now.contains_key(plural) {
            return;
        }
        let stop = self.stop.child_token();
        match plural {
            GatewayClass::PLURAL => self.kind(Change::Classes, &stop),
            Gateway::PLURAL => {
                self.kind(Change::Gateways, &stop);
                let namespaces = ("Namespace", "/api/v1/namespaces".to_owned());
                self.follow(namespaces, Some(METADATA), Change::Namespaces, &stop);
            }
            HttpRoute::PLURAL => self.kind(Change::Routes, &stop),
            ReferenceGrant::PLURAL => self.kind(Change::Grants, &stop),
            _ => return,
        }
        self.now.insert(plural.to_owned(), stop.drop_guard());
    }
}

/// The kind that a definition of the group defines, by its plural.
fn defined(meta: &ObjectMeta) -> Option<&str> {
    let (plural, group) = meta.name.as_deref()?.split_once('.')?;
    (group == GROUP).then_some(plural)
}

/// What happens to the objects until `stop`.
pub fn changes(
    api: &Api,
    clock: &Clock,
    stop: &CancellationToken,
) -> mpsc::UnboundedReceiver<Change> {
    let (tell, changes) = mpsc::unbounded_channel();
    let (api, clock, stop) = (api.clone(), clock.clone(), stop.clone());
    skiff_watching::task::spawn(async move {
        let source = Source {
            path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".into(),
            query: String::new(),
            accept: Some(METADATA),
        };
        let read = read::<Named>("CustomResourceDefinition");
        let mut definitions = follow_text(&api, &clock, source, read, &stop);
        let mut follower = Follower {
            api: &api,
            clock: &clock,
            tell,
            now: HashMap::new(),
            stop: &stop,
        };
        let mut had_classes = false;
        while let Some(seen) = definitions.recv().await {
            match seen {
                Seen::Listed(all) => {
                    let there: Vec<_> = all.iter().filter_map(|of| defined(&of.metadata)).collect();
                    follower
                        .now
                        .retain(|plural, _| there.contains(&plural.as_str()));
                    there.into_iter().for_each(|plural| follower.begin(plural));
                }
                Seen::Applied(of) => {
                    if let Some(plural) = defined(&of.metadata) {
                        follower.begin(plural);
                    }
                }
                Seen::Deleted(of) => {
                    if let Some(plural) = defined(&of.metadata) {
                        follower.now.remove(plural);
                    }
                }
            }
            let has_classes = follower.now.contains_key(GatewayClass::PLURAL);
            let changed = std::mem::replace(&mut had_classes, has_classes) != has_classes;
            if changed && follower.tell.send(Change::Kinds(has_classes)).is_err() {
                return;
            }
        }
    });
    changes
}
