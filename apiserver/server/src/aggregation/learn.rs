//! What a server behind this one tells of itself: its resources, and its documents of OpenAPI.
//!
//! Invariant: resources that could not be asked for are told as such (`freshness: Stale`), never as none; of documents those hold that were read last.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apiserver/handler_discovery.go` and
//! `staging/src/k8s.io/kube-aggregator/pkg/controllers/{openapi,openapiv3}/aggregator`.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode, header};
use serde_json::{Map, Value, json};
use skiff_api::machinery::read::Read;

use super::{
    ask::{AskError, Asking, PATIENCE, Reply},
    known::{Learned, Tags},
    spec,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const JSON: &str = "application/json";
/// For documents that take a server long to make.
const LONG: Duration = Duration::from_secs(60);

#[derive(thiserror::Error, Debug)]
enum LearnError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{url} answered {code}")]
    Code { url: String, code: StatusCode },
    #[error("cannot read what {url} answered: {why}")]
    Read { url: String, why: String },
}

fn read(reply: &Reply) -> Result<Value, LearnError> {
    let wrong = |why: String| LearnError::Read {
        url: reply.url.clone(),
        why,
    };
    let value: Value =
        serde_json::from_slice(&reply.bytes).map_err(|error| wrong(error.to_string()))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(wrong("it is no object".into())),
    }
}

/// Of whom something is learned.
pub struct Subject {
    pub asking: Asking,
    pub group: String,
    pub version: String,
}

/// All that a server that answers tells of a version of a group; `before` is what it told last.
pub async fn learn(of: &Subject, before: &Learned) -> Learned {
    let mut tags = before.tags.clone();
    let (resources, current) = match resources(of, before, &mut tags).await {
        Ok(resources) => (resources, true),
        Err(why) => {
            tracing::warn!("discovery of {}/{}: {why}", of.group, of.version);
            (Vec::new(), false)
        }
    };
    let version3 = version3(of).await.unwrap_or_else(|why| {
        tracing::debug!("OpenAPI 3 of {}/{}: {why}", of.group, of.version);
        before.version3.clone()
    });
    let version2 = version2(of, before, &mut tags).await.unwrap_or_else(|why| {
        tracing::debug!("OpenAPI 2 of {}/{}: {why}", of.group, of.version);
        before.version2.clone()
    });
    Learned {
        resources,
        current,
        version3,
        version2,
        tags,
    }
}

/// What is known when a server does not answer.
pub fn silent(before: &Learned) -> Learned {
    Learned {
        resources: Vec::new(),
        current: false,
        version3: before.version3.clone(),
        version2: before.version2.clone(),
        // its resources are to be told again
        tags: Tags::new(),
    }
}

/// Asks for a document; `None`: it is as it was.
async fn changed(
    of: &Subject,
    (path, accept): (&'static str, &str),
    patience: Duration,
    tags: &mut Tags,
) -> Result<Option<Reply>, LearnError> {
    let mut headers: Vec<(HeaderName, &str)> = vec![(header::ACCEPT, accept)];
    let tag = tags.get(path).cloned();
    headers.extend(tag.as_deref().map(|tag| (header::IF_NONE_MATCH, tag)));
    let reply = of.asking.get(path, &headers, patience).await?;
    if reply.code == StatusCode::NOT_MODIFIED && tag.is_some() {
        return Ok(None);
    }
    match reply
        .headers
        .get(header::ETAG)
        .and_then(|tag| tag.to_str().ok())
    {
        Some(tag) if reply.code == StatusCode::OK => tags.insert(path, tag.to_owned()),
        _ => tags.remove(path),
    };
    Ok(Some(reply))
}

async fn resources(
    of: &Subject,
    before: &Learned,
    tags: &mut Tags,
) -> Result<Vec<Value>, LearnError> {
    let Some(reply) = changed(of, ("/apis", AGGREGATED), PATIENCE, tags).await? else {
        return Ok(before.resources.clone());
    };
    let kind = reply
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    if reply.code == StatusCode::OK && kind.contains("as=APIGroupDiscoveryList") {
        return Ok(of_aggregated(of, &read(&reply)?));
    }
    if reply.code == StatusCode::SERVICE_UNAVAILABLE {
        let (url, code) = (reply.url, reply.code);
        return Err(LearnError::Code { url, code });
    }
    tags.remove("/apis");
    let path = format!("/apis/{}/{}", of.group, of.version);
    let reply = of
        .asking
        .get(&path, &[(header::ACCEPT, JSON)], PATIENCE)
        .await?;
    match reply.code {
        StatusCode::OK => Ok(of_list(of, &read(&reply)?)),
        code => Err(LearnError::Code {
            url: reply.url,
            code,
        }),
    }
}

/// The resources that an aggregated document tells of.
fn of_aggregated(of: &Subject, document: &Value) -> Vec<Value> {
    let mut groups = document.list("items").iter();
    let group = groups.find(|group| group.at("metadata").text("name") == of.group);
    let mut versions = group.into_iter().flat_map(|group| group.list("versions"));
    let version = versions.find(|version| version.text("version") == of.version);
    let mut resources = version.map_or(Vec::new(), |version| version.list("resources").to_vec());
    resources.retain(Value::is_object);
    for resource in &mut resources {
        with_kind(resource);
        let subresources = resource
            .get_mut("subresources")
            .and_then(Value::as_array_mut);
        subresources.into_iter().flatten().for_each(with_kind);
    }
    resources
}

/// Some clients take it for given that a kind is named.
fn with_kind(entry: &mut Value) {
    if entry.some("responseKind").is_none() && entry.is_object() {
        entry["responseKind"] = json!({"group": "", "version": "", "kind": ""});
    }
}

/// The same from an older list of resources.
fn of_list(of: &Subject, list: &Value) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    let kind = |entry: &Value| json!({"group": entry.text("group"), "version": entry.text("version"), "kind": entry.text("kind")});
    let scope = |entry: &Value| match entry.flag("namespaced") {
        true => "Namespaced",
        false => "Cluster",
    };
    let copied = |entry: &Value, names: &[&str], to: &mut Value| {
        for name in names {
            if let Some(value) = entry.some(name) {
                to[*name] = value.clone();
            }
        }
    };
    let place = |resources: &[Value], name: &str| {
        resources
            .iter()
            .position(|resource| resource.text("resource") == name)
    };
    let (main, below): (Vec<&Value>, Vec<&Value>) = list
        .list("resources")
        .iter()
        .partition(|entry| !entry.text("name").contains('/'));
    for entry in main {
        let mut resource = json!({"resource": entry.text("name"), "responseKind": kind(entry), "scope": scope(entry),
            "singularResource": entry.text("singularName")});
        copied(entry, &["verbs", "shortNames", "categories"], &mut resource);
        resources.push(resource);
    }
    for entry in below {
        let Some((name, sub)) = entry.text("name").split_once('/') else {
            continue;
        };
        let at = place(&resources, name).unwrap_or_else(|| {
            resources.push(json!({"resource": name, "scope": scope(entry),
                "responseKind": {"group": of.group, "version": of.version, "kind": ""}}));
            resources.len() - 1
        });
        let mut subresource = json!({"subresource": sub, "responseKind": kind(entry)});
        copied(entry, &["verbs"], &mut subresource);
        match resources[at]
            .get_mut("subresources")
            .and_then(Value::as_array_mut)
        {
            Some(list) => list.push(subresource),
            None => resources[at]["subresources"] = vec![subresource].into(),
        }
    }
    resources
}

/// The documents of OpenAPI 3 that a server has; none where it knows of no such thing.
async fn version3(of: &Subject) -> Result<Map<String, Value>, LearnError> {
    let reply = of
        .asking
        .get("/openapi/v3", &[(header::ACCEPT, JSON)], LONG)
        .await?;
    match reply.code {
        StatusCode::OK => {
            let mut paths = read(&reply)?.map("paths").cloned().unwrap_or_default();
            paths.retain(|_, place| !place.text("serverRelativeURL").is_empty());
            Ok(paths)
        }
        StatusCode::NOT_FOUND => Ok(Map::new()),
        code => Err(LearnError::Code {
            url: reply.url,
            code,
        }),
    }
}

async fn version2(
    of: &Subject,
    before: &Learned,
    tags: &mut Tags,
) -> Result<Option<Arc<Value>>, LearnError> {
    let Some(reply) = changed(of, ("/openapi/v2", JSON), LONG, tags).await? else {
        return Ok(before.version2.clone());
    };
    match reply.code {
        StatusCode::OK => {
            let prefix = format!("/apis/{}/{}/", of.group, of.version);
            let spec = spec::below(read(&reply)?, &prefix);
            // who told the same again has told nothing new
            let same = before.version2.as_ref().filter(|before| ***before == spec);
            Ok(Some(same.cloned().unwrap_or_else(|| Arc::new(spec))))
        }
        StatusCode::NOT_FOUND => Ok(None),
        code => Err(LearnError::Code {
            url: reply.url,
            code,
        }),
    }
}
