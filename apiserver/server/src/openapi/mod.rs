//! OpenAPI: version 2 as JSON and as gnostic's protobuf, version 3 by group and version. All come from one model: the kinds' rows give
//! the paths, the schema table the definitions.
//!
//! Invariant: nothing is made before it is asked for, and then once; what is kept are bytes, not the model.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/routes/openapi.go` and kube-openapi's `handler` and `handler3`.

mod custom;
mod definitions;
mod descriptions;
mod gnostic;
mod merge;
mod names;
mod operations;
mod version3;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use skiff_api::kinds::{Kind, Registry};

use self::definitions::Definitions;
use crate::{aggregation::Known, groups, negotiate};

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
        let tag = hex::encode_upper(Sha256::digest(&bytes));
        Document { bytes, tag }
    }
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
    Document(Document, &'static str),
    /// Nothing that the client accepts can be given.
    NotAcceptable,
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
        let which = which.trim_end_matches('/');
        if which == "v3" {
            return Found::Document(Document::new(index(kinds, known).to_string()), JSON);
        }
        let path = which.strip_prefix("v3/");
        let other = path.and_then(|path| converted(known, path));
        let of = path.and_then(|path| group_version(kinds, path));
        let offered = match of {
            _ if other.is_some() => VERSION3,
            Some(_) => VERSION3,
            None if which == "v2" => VERSION2,
            None => return Found::Nothing,
        };
        let Some(media) = negotiated(headers, offered) else {
            return Found::NotAcceptable;
        };
        let document = self.get(kinds, known, (which, media), || match (other, of) {
            (Some(other), _) => Document::new(handed_on(other).to_string()),
            (None, Some(of)) => version3_of(kinds, of),
            (None, None) => version2(kinds, known, media),
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

/// The model: an OpenAPI 2 document but for its definitions. `only`: the paths of one group and version.
fn model(kinds: &Registry, only: Option<(&str, &str)>) -> Value {
    let mut paths = Map::new();
    for kind in kinds
        .all()
        .iter()
        .filter(|kind| only.is_none_or(|wanted| wanted == (kind.group, kind.version)))
    {
        operations::of_kind(kind, &mut paths);
    }
    operations::of_discovery(kinds, only, &mut paths);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": paths,
        "security": [{"BearerToken": []}],
        "securityDefinitions": security()})
}

fn version2(kinds: &Registry, known: &Known, media: &str) -> Document {
    let mut model = model(kinds, None);
    model["definitions"] = Definitions::of(kinds, Version::Two).all();
    for (_, remote) in known.remotes() {
        if let Some(theirs) = &remote.learned.version2 {
            merge::merge(&mut model, theirs);
        }
    }
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
    if path == "api/v1" {
        return Some(("", "v1"));
    }
    let (group, version) = path.strip_prefix("apis/")?.split_once('/')?;
    let (group, versions) = groups::groups(kinds)
        .into_iter()
        .find(|(name, _)| *name == group)?;
    versions
        .into_iter()
        .find(|known| *known == version)
        .map(|version| (group, version))
}

fn version3_of(kinds: &Registry, group_version: (&str, &str)) -> Document {
    let definitions = Definitions::of(kinds, Version::Three);
    let model = model(kinds, Some(group_version));
    Document::new(version3::document(model, |name| definitions.get(name)).to_string())
}

/// Where the documents of version 3 are. Their tag stands in the address, so that clients keep them for good.
fn index(kinds: &Registry, known: &Known) -> Value {
    // documents change with the program, and with the definitions that bring kinds
    const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("CARGO_PKG_NAME"));
    let tag = |path: &str| {
        let mut told = Sha256::new_with_prefix(PROGRAM);
        let of = path
            .strip_prefix("apis/")
            .and_then(|path| path.split_once('/'));
        for kind in kinds
            .all()
            .iter()
            .filter(|kind| Some((kind.group, kind.version)) == of)
        {
            if let Some(definition) = kind.definition() {
                told.update(format!("{} {}\n", kind.plural, definition.since));
            }
        }
        hex::encode_upper(told.finalize())
    };
    let mut paths = vec!["api/v1".to_string()];
    for (group, versions) in groups::groups(kinds) {
        paths.extend(
            versions
                .iter()
                .map(|version| format!("apis/{group}/{version}")),
        );
    }
    let place = |address: String| json!({"serverRelativeURL": address});
    paths.retain(|path| known.is_own(kinds, path));
    let entries = paths.into_iter().map(|path| {
        let address = format!("/openapi/v3/{path}?hash={}", tag(&path));
        (path, place(address))
    });
    let mut all: Map<String, Value> = entries.collect();
    for (service, remote) in known.remotes() {
        for (path, at) in &remote.learned.version3 {
            all.entry(path).or_insert_with(|| at.clone());
        }
        let path = format!("apis/{}/{}", service.group, service.version);
        if let Some(document) = converted(known, &path) {
            let tag = hex::encode_upper(Sha256::digest(document.to_string()));
            let address = format!("/openapi/v3/{path}?hash={tag}");
            all.entry(path).or_insert_with(|| place(address));
        }
    }
    json!({"paths": Value::Object(all)})
}

#[cfg(test)]
mod tests;
