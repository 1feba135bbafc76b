//! OpenAPI: version 2 as JSON and as gnostic's protobuf, version 3 by group and version. All come from one model: the kinds' rows give
//! the paths, the schema table the definitions.
//!
//! Invariant: nothing is made before it is asked for, and then once; what is kept are bytes, not the model.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/routes/openapi.go` and kube-openapi's `handler` and `handler3`.

mod custom;
mod definitions;
mod descriptions;
mod enumerations;
mod fixed;
mod gnostic;
mod merge;
mod names;
mod operations;
mod parameters;
mod version3;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::read::Read,
};

use self::definitions::Definitions;
pub use self::fixed::VERSION_FIELDS;
use crate::{
    aggregation::{Known, spec::used},
    groups, negotiate,
};

const JSON: &str = "application/json";
/// What an answer in protobuf is called. Clients ask for it by an older name, too, whose `@` no media type may have: an answer never bears that.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_OLDER: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The media types of version 2: what is asked for, and what the answer is called.
const VERSION2: &[(&str, &str)] = &[
    (JSON, JSON),
    (PROTOBUF_OLDER, PROTOBUF),
    (PROTOBUF, PROTOBUF),
];
/// The same for version 3.
const VERSION3: &[(&str, &str)] = &[(JSON, JSON)];

/// The media type of the answer; `None`: nothing that the client accepts can be given.
fn negotiated(headers: &HeaderMap, offered: &[(&str, &'static str)]) -> Option<&'static str> {
    let accepted = negotiate::first(headers, header::ACCEPT);
    negotiate::clauses(if accepted.is_empty() { "*/*" } else { accepted })
        .iter()
        .find_map(|clause| {
            let fits = |offer: &str| {
                offer
                    .split_once('/')
                    .is_some_and(|(kind, subtype)| clause.takes(kind, subtype))
            };
            offered
                .iter()
                .find(|(offer, _)| fits(offer))
                .map(|(_, media)| *media)
        })
}

/// A document in one encoding, with its tag.
#[derive(Clone)]
pub struct Document {
    pub bytes: Bytes,
    pub tag: String,
}

impl Document {
    fn new(bytes: impl Into<Bytes>) -> Document {
        let bytes = bytes.into();
        let tag = tag_of(&bytes);
        Document { bytes, tag }
    }

    /// One whose tag was told before it was made.
    fn tagged(value: &Value, tag: String) -> Document {
        let bytes = value.to_string().into();
        Document { bytes, tag }
    }
}

fn tag_of(bytes: &[u8]) -> String {
    hex::encode_upper(Sha512::digest(bytes))
}

/// The documents of a server that were asked for. They are those of one registry: when another has taken its place, they are made anew.
#[derive(Default)]
pub struct Documents(Mutex<Option<Made>>);

struct Made {
    of: Arc<Registry>,
    /// The number of the documents of others that are merged into them.
    others: u64,
    /// By what follows `/openapi/`, and the media type.
    documents: HashMap<(String, &'static str), Document>,
}

impl Made {
    /// What of it another registry shows alike: documents of groups whose kinds are the same.
    fn for_registry(mut self, kinds: &Arc<Registry>, known: &Known) -> Made {
        if self.others != known.documents {
            self.others = known.documents;
            self.documents.retain(|(which, _), _| {
                let path = which.strip_prefix("v3/");
                path.is_some_and(|path| known.is_own(kinds, path))
            });
        }
        if Arc::ptr_eq(&self.of, kinds) {
            return self;
        }
        let before = std::mem::replace(&mut self.of, kinds.clone());
        self.documents.retain(|(which, _), _| {
            let of = |kinds: &Registry| {
                let of = group_version(kinds, which.strip_prefix("v3/")?)?;
                let all = kinds.all().iter();
                let of: Vec<*const Kind> = all
                    .filter(|kind| (kind.group, kind.version) == of)
                    .map(Arc::as_ptr)
                    .collect();
                Some(of)
            };
            of(&before).is_some_and(|before| of(kinds) == Some(before))
        });
        self
    }
}

/// What there is under an address.
pub enum Found {
    /// Where the documents of version 3 are.
    Index(Document),
    /// With its media type.
    Document(Document, &'static str),
    /// Nothing that the client accepts can be given.
    NotAcceptable,
    /// No document of version 3 has this name.
    Unknown,
    /// There is nothing of OpenAPI here.
    Nothing,
}

impl Documents {
    /// What stands below `/openapi/` under `which`.
    pub fn find(
        &self,
        kinds: &Arc<Registry>,
        known: &Known,
        which: &str,
        headers: &HeaderMap,
    ) -> Found {
        if which == "v3" {
            return Found::Index(Document::new(index(kinds, known).to_string()));
        }
        let Some(path) = which.strip_prefix("v3/") else {
            return match negotiated(headers, VERSION2) {
                _ if which != "v2" => Found::Nothing,
                None => Found::NotAcceptable,
                Some(media) => {
                    let make = || version2(kinds, known, media);
                    Found::Document(self.get(kinds, known, (which, media), make), media)
                }
            };
        };
        let other = converted(known, path);
        if other.is_none() && !own(kinds).contains(path) {
            return Found::Unknown;
        }
        let Some(media) = negotiated(headers, VERSION3) else {
            return Found::NotAcceptable;
        };
        let document = self.get(kinds, known, (which, media), || match other {
            Some(other) => Document::tagged(&handed_on(other), tag_of_other(other)),
            None => version3_of(kinds, path),
        });
        Found::Document(document, media)
    }

    fn get(
        &self,
        kinds: &Arc<Registry>,
        known: &Known,
        (which, media): (&str, &'static str),
        make: impl FnOnce() -> Document,
    ) -> Document {
        let mut made = self.0.lock();
        let current = made
            .take()
            .map(|made| made.for_registry(kinds, known))
            .unwrap_or_else(|| Made {
                of: kinds.clone(),
                others: known.documents,
                documents: HashMap::new(),
            });
        made.insert(current)
            .documents
            .entry((which.into(), media))
            .or_insert_with(make)
            .clone()
    }
}

/// In whose words a schema is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Two,
    Three,
}

/// The model: an OpenAPI 2 document but for its definitions. `only`: what stands in one document of version 3.
fn model(kinds: &Registry, only: Option<&str>) -> Value {
    let mut paths = Map::new();
    fixed::paths(kinds, &mut paths);
    if let Some(only) = only {
        paths.retain(|path, _| version3::document_of(path) == only);
    }
    let of = only.map(|only| group_version(kinds, only));
    let rows = kinds.all().iter();
    for kind in rows.filter(|kind| of.is_none_or(|of| of == Some((kind.group, kind.version)))) {
        operations::of_kind(kind, &mut paths);
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "1.36"}, "paths": paths,
        "security": [{"BearerToken": []}],
        "securityDefinitions": security()})
}

fn version2(kinds: &Registry, known: &Known, media: &str) -> Document {
    // what is somebody else's is told in their words alone
    let own = |kind: &Kind| known.remote(kind.group, kind.version).is_none();
    let kinds = &kinds.only(own);
    let mut model = model(kinds, None);
    let definitions = Definitions::of(kinds, Version::Two, None).all();
    if let Some(paths) = model.map("paths") {
        model["definitions"] = used(paths, definitions).into();
    }
    for (_, remote) in known.remotes() {
        if let Some(theirs) = &remote.learned.version2 {
            merge::merge(&mut model, theirs);
        }
    }
    parameters::share(&mut model);
    if media == PROTOBUF {
        Document::new(gnostic::document(&model))
    } else {
        Document::new(model.to_string())
    }
}

/// The document of a server behind this one that has none of version 3: made of the older one.
fn converted<'k>(known: &'k Known, path: &str) -> Option<&'k Value> {
    let (group, version) = path.strip_prefix("apis/")?.split_once('/')?;
    let learned = &known.remote(group, version)?.learned;
    (learned.version2.as_deref()).filter(|_| learned.version3.is_empty())
}

/// Such a document, made of the older one, with what all documents say of how to prove who asks.
fn handed_on(part: &Value) -> Value {
    let mut model = part.clone();
    model["securityDefinitions"] = security();
    let definitions = model["definitions"].take();
    version3::document(model, |name| definitions.get(name).cloned())
}

fn security() -> Value {
    json!({"BearerToken": {"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"}})
}

/// `api/v1`, `apis/apps/v1`: the group and version behind such a path.
fn group_version(kinds: &Registry, path: &str) -> Option<(&'static str, &'static str)> {
    let wanted = match path.strip_prefix("apis/") {
        Some(path) => path.split_once('/')?,
        None => ("", path.strip_prefix("api/")?),
    };
    let mut rows = kinds.all().iter();
    rows.find(|kind| (kind.group, kind.version) == wanted)
        .map(|kind| (kind.group, kind.version))
}

fn version3_of(kinds: &Registry, path: &str) -> Document {
    let within = group_version(kinds, path);
    let definitions = Definitions::of(kinds, Version::Three, within);
    let model = model(kinds, Some(path));
    let mut document = version3::document(model, |name| definitions.get(name));
    let mut rows = kinds.all().iter();
    let brought = |kind: &Arc<Kind>| kind.definition().is_some();
    if rows.any(|kind| Some((kind.group, kind.version)) == within && brought(kind)) {
        custom::introduce(&mut document);
    }
    Document::tagged(&document, tag_of_own(kinds, path))
}

/// The documents of version 3 that this server has: one a group and version, and one each of what has another root.
fn own(kinds: &Registry) -> BTreeSet<String> {
    let mut paths = Map::new();
    fixed::paths(kinds, &mut paths);
    let fixed = paths
        .keys()
        .map(|path| version3::document_of(path).to_owned());
    let of_groups = groups::groups(kinds)
        .into_iter()
        .flat_map(|(group, versions)| {
            let document = move |version| format!("apis/{group}/{version}");
            versions.into_iter().map(document)
        });
    fixed.chain(of_groups).collect()
}

/// The tag of a document before it is made: it changes with the program, and with the kinds that are served and the definitions that bring them.
fn tag_of_own(kinds: &Registry, path: &str) -> String {
    const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("CARGO_PKG_NAME"));
    let mut told = Sha512::new_with_prefix(format!("{PROGRAM} {path}\n"));
    let of = group_version(kinds, path);
    let rows = kinds.all().iter();
    for kind in rows.filter(|kind| Some((kind.group, kind.version)) == of) {
        let since = kind.definition().map(|definition| &definition.since);
        told.update(format!("{} {since:?}\n", kind.plural));
    }
    hex::encode_upper(told.finalize())
}

fn tag_of_other(document: &Value) -> String {
    tag_of(document.to_string().as_bytes())
}

/// Where the document of a name is. Its tag stands in the address, so that clients keep it for good.
pub fn address(path: &str, tag: &str) -> String {
    format!("/openapi/v3/{path}?hash={tag}")
}

/// Where the documents of version 3 are.
fn index(kinds: &Registry, known: &Known) -> Value {
    let place = |address: String| json!({"serverRelativeURL": address});
    let own = own(kinds).into_iter();
    let entries = own.filter(|path| known.is_own(kinds, path)).map(|path| {
        let address = address(&path, &tag_of_own(kinds, &path));
        (path, place(address))
    });
    let mut all: Map<String, Value> = entries.collect();
    for (service, remote) in known.remotes() {
        for (path, at) in &remote.learned.version3 {
            all.entry(path).or_insert_with(|| at.clone());
        }
        let path = format!("apis/{}/{}", service.group, service.version);
        if let Some(document) = converted(known, &path) {
            let address = address(&path, &tag_of_other(document));
            all.entry(path).or_insert_with(|| place(address));
        }
    }
    json!({"paths": Value::Object(all)})
}

#[cfg(test)]
mod tests;
