//! Discovery: which groups, versions and resources there are, in the legacy and the aggregated form. Made from the rows.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/discovery`.

use std::collections::BTreeMap;

use base64::Engine;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use skiff_api::machinery::read::Read;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::status::Status,
};

use crate::{
    aggregation::{Group, Known, Remote},
    context::{Answer, Context},
    groups::groups,
    negotiate::{self, Accept, Offers},
};

/// `None`: the path is not discovery's.
pub fn serve(ctx: &Context) -> Option<Answer> {
    let path = ctx.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let kinds = &*ctx.kinds;
    let known = ctx.app.aggregation.known();
    let document = match parts.as_slice() {
        ["api"] => aggregated(ctx, &known, true).unwrap_or_else(|| legacy_versions(ctx)),
        ["apis"] => aggregated(ctx, &known, false).unwrap_or_else(|| group_list(kinds, &known)),
        ["api", version] if *version == "v1" => resource_list(kinds, "", version),
        ["apis", group] => {
            let groups = known.groups(kinds);
            let group = groups.iter().find(|of| of.name == *group)?;
            with_kind(group_entry(group), "APIGroup")
        }
        ["apis", group, version] => match groups(kinds).into_iter().find(|(name, _)| name == group)
        {
            Some((_, versions)) if versions.contains(version) => {
                resource_list(kinds, group, version)
            }
            Some(_) if Registry::builtin().has_group(group) => {
                return Some(Err(Status::no_such_path()));
            }
            _ => return None,
        },
        ["api", ..] => return Some(Err(Status::no_such_path())),
        _ => return None,
    };
    Some(answer(ctx, document))
}

fn answer(ctx: &Context, document: Value) -> Answer {
    // the list of groups and a group alone are answered before there are routes, whatever the method
    let has_route = !matches!(
        document.text_ptr("kind"),
        Some("APIGroup" | "APIGroupList" | "APIGroupDiscoveryList")
    );
    if has_route && ctx.info.verb != "get" {
        return Err(Status::method_not_allowed());
    }
    if has_route {
        negotiate::route(&ctx.info, &ctx.headers)?;
    }
    let aggregated = document
        .text_ptr("apiVersion")
        .filter(|version| version.starts_with("apidiscovery"))
        .and_then(|_| negotiate::aggregated(&ctx.headers));
    let accept = match aggregated {
        Some(accept) => accept,
        None => negotiate::accept(&ctx.headers, Offers::PLAIN)?,
    };
    let etag = format!(
        "\"{}\"",
        hex::encode_upper(Sha512::digest(document.to_string()))
    );
    if aggregated.is_some() && ctx.header(header::IF_NONE_MATCH.as_str()) == etag {
        // A cache takes the headers of this answer for those that it kept: the media type must be the aggregated one here, too.
        let media = accept.encoding.media_type();
        let unchanged = ctx.finish(304, media, axum::body::Body::empty());
        return Ok(aggregated_headers(unchanged, &accept, &etag));
    }
    let mut response = ctx.value(200, &accept, &document)?;
    if aggregated.is_some() {
        response = aggregated_headers(response, &accept, &etag);
    }
    Ok(response)
}

fn aggregated_headers(
    mut response: axum::response::Response,
    accept: &Accept,
    etag: &str,
) -> axum::response::Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    let media = accept.encoding.media_type();
    let media = format!("{media};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    if let Ok(media) = HeaderValue::from_str(&media) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn with_kind(mut value: Value, kind: &str) -> Value {
    value["kind"] = kind.into();
    value["apiVersion"] = "v1".into();
    value
}

fn legacy_versions(ctx: &Context) -> Value {
    let address = &ctx.app.external_address;
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

fn group_entry(group: &Group) -> Value {
    let name = &group.name;
    let entry =
        |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let preferred = group.versions.first().map(entry);
    json!({"name": name, "versions": group.versions.iter().map(entry).collect::<Vec<_>>(), "preferredVersion": preferred})
}

fn group_list(kinds: &Registry, known: &Known) -> Value {
    let list: Vec<Value> = known.groups(kinds).iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// The first eight bytes of the hash of `group/version/kind` of what is stored.
fn storage_version_hash(kind: &Kind) -> String {
    let name = match kind.storage_version {
        Some(name) => name.to_string(),
        None => format!("{}/{}/{}", kind.group, kind.version, kind.kind),
    };
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(name)[..8])
}

fn resource_list(kinds: &Registry, group: &str, version: &str) -> Value {
    let mut resources: BTreeMap<String, Value> = BTreeMap::new();
    for kind in kinds
        .all()
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind, "verbs": kind.verbs.names()});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = kind.short_names.clone().into();
        }
        if !kind.categories.is_empty() {
            entry["categories"] = kind.categories.clone().into();
        }
        if kind.is_stored() {
            entry["storageVersionHash"] = storage_version_hash(kind).into();
        }
        resources.insert(kind.plural.into(), entry);
        for (at, sub) in kind.subresources.iter().enumerate() {
            let name = format!("{}/{}", kind.plural, sub.name());
            let (sub_group, sub_version, sub_kind) =
                sub.kind().unwrap_or((kind.group, kind.version, kind.kind));
            let mut entry = json!({"name": name, "singularName": "", "namespaced": kind.namespaced, "kind": sub_kind, "verbs": sub.verbs()});
            if (sub_group, sub_version) != (kind.group, kind.version) {
                entry["group"] = sub_group.into();
                entry["version"] = sub_version.into();
            }
            // those that definitions brought stand as upstream installs them, the others by name
            let place = match kind.flags.untyped {
                true => format!("{}/{at}", kind.plural),
                false => name,
            };
            resources.insert(place, entry);
        }
    }
    let mut list = json!({"kind": "APIResourceList", "groupVersion": skiff_api::kinds::api_version(group, version), "resources": resources.into_values().collect::<Vec<_>>()});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

/// The aggregated document, when the client asks for it.
fn aggregated(ctx: &Context, known: &Known, legacy: bool) -> Option<Value> {
    negotiate::aggregated(&ctx.headers)?;
    let items: Vec<Value> = match legacy {
        true => vec![aggregated_group(&ctx.kinds, known, "", &["v1".to_owned()])],
        false => known
            .groups_by_name(&ctx.kinds)
            .iter()
            .map(|group| aggregated_group(&ctx.kinds, known, &group.name, &group.versions))
            .collect(),
    };
    Some(
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}),
    )
}

fn aggregated_group(kinds: &Registry, known: &Known, group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            if let Some(remote) = known.remote(group, version) {
                return elsewhere(version, remote);
            }
            let rows = kinds
                .all()
                .iter()
                .filter(|kind| kind.group == group && kind.version == *version);
            let mut resources: Vec<Value> = rows.map(|kind| aggregated_resource(kind)).collect();
            resources.sort_by(|a, b| a.text_ptr("resource").cmp(&b.text_ptr("resource")));
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    let mut out = json!({"metadata": metadata, "versions": versions});
    if let Some(metadata) = out["metadata"].as_object_mut() {
        metadata.remove("creationTimestamp");
    }
    out
}

/// What the server behind this one told of a version, and whether it still does.
fn elsewhere(version: &str, remote: &Remote) -> Value {
    let freshness = match remote.learned.current {
        true => "Current",
        false => "Stale",
    };
    let mut told = json!({"version": version, "freshness": freshness});
    if !remote.learned.resources.is_empty() {
        told["resources"] = remote.learned.resources.clone().into();
    }
    told
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response = |group: &str, version: &str, name: &str, own: bool| {
        // a definition's are told in full
        if own && !kind.flags.untyped {
            json!({"group": "", "version": "", "kind": name})
        } else {
            json!({"group": group, "version": version, "kind": name})
        }
    };
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": response(kind.group, kind.version, kind.kind, true),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs.names(),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = kind.short_names.clone().into();
    }
    if !kind.categories.is_empty() {
        entry["categories"] = kind.categories.clone().into();
    }
    let mut subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|sub| {
            let (group, version, name) = sub.kind().unwrap_or((kind.group, kind.version, kind.kind));
            let own = (group, version) == (kind.group, kind.version);
            json!({"subresource": sub.name(), "responseKind": response(group, version, name, own), "verbs": sub.verbs()})
        })
        .collect();
    if !kind.flags.untyped {
        subresources.sort_by(|a, b| a.text_ptr("subresource").cmp(&b.text_ptr("subresource")));
    }
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
