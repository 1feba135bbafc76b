//! The objects of a collection as one consumer's own stream, without a cache: for those who keep what they see in a form of their own.
//!
//! Invariant: a complete list comes first, and again after a watch that expired; between lists, every change in the server's order.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, collection},
    clock::Clock,
    reflect::{Sink, Source, reflect},
    typed::Kind,
    unreadable::Unreadable,
};

/// What is seen of a collection.
#[derive(Debug)]
pub enum Seen<K> {
    /// All that there is.
    Listed(Vec<K>),
    /// An object was added or changed.
    Applied(K),
    /// An object was deleted; this is its last state.
    Deleted(K),
}

/// Which objects are followed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The namespace; empty for all.
    pub namespace: String,
    /// A field and its value.
    pub field: Option<(&'static str, String)>,
}

/// What was made of an object's text.
pub struct Read<T> {
    pub object: T,
    /// Its resource version, so that nobody has to look for it.
    pub version: Option<String>,
}

struct Teller<T, R> {
    tell: mpsc::UnboundedSender<Seen<T>>,
    read: R,
    listed: Vec<T>,
}

impl<T, R> Teller<T, R> {
    fn say(&self, seen: Seen<T>) {
        if self.tell.send(seen).is_err() {
            tracing::trace!("the receiver is gone and wants to hear no more");
        }
    }
}

impl<T: Send, R: Fn(&str) -> Option<Read<T>> + Send> Sink for Teller<T, R> {
    fn begin(&mut self) {
        self.listed = Vec::new();
    }
    fn listed(&mut self, object: &str) {
        self.listed
            .extend((self.read)(object).map(|read| read.object));
    }
    fn complete(&mut self, _resource_version: &str) {
        let listed = std::mem::take(&mut self.listed);
        self.say(Seen::Listed(listed));
    }
    fn applied(&mut self, object: &str) -> Option<String> {
        let read = (self.read)(object)?;
        self.say(Seen::Applied(read.object));
        read.version
    }
    fn deleted(&mut self, object: &str) -> Option<String> {
        let read = (self.read)(object)?;
        self.say(Seen::Deleted(read.object));
        read.version
    }
    fn reached(&mut self, _resource_version: &str) {}
}

/// Follows what is selected until `stop`; the stream ends then.
pub fn follow<K: Kind>(
    api: &Api,
    clock: &Clock,
    unreadable: &Unreadable,
    selection: Selection,
    stop: &CancellationToken,
) -> mpsc::UnboundedReceiver<Seen<K>> {
    let query = selection
        .field
        .map(|(field, value)| format!("fieldSelector={field}%3D{value}&"))
        .unwrap_or_default();
    let source = Source {
        path: collection::<K>(&selection.namespace),
        query,
        accept: None,
    };
    let unreadable = unreadable.clone();
    let read = move |object: &str| {
        let read = K::decode(object).map_err(|error| {
            unreadable.set_aside(K::api_version(), K::kind(), object, &error);
        });
        let object = read.ok()?;
        let version = object.meta().resource_version.clone();
        Some(Read { object, version })
    };
    follow_text(api, clock, source, read, stop)
}

/// The same of any collection, with what `read` makes of an object's text: nothing of one that cannot be read.
pub fn follow_text<T: Send + 'static>(
    api: &Api,
    clock: &Clock,
    source: Source,
    read: impl Fn(&str) -> Option<Read<T>> + Send + 'static,
    stop: &CancellationToken,
) -> mpsc::UnboundedReceiver<Seen<T>> {
    let (tell, seen) = mpsc::unbounded_channel();
    let sink = Box::new(Teller {
        tell,
        read,
        listed: Vec::new(),
    });
    crate::task::spawn(reflect(
        api.clone(),
        clock.clone(),
        source,
        sink,
        stop.clone(),
    ));
    seen
}
