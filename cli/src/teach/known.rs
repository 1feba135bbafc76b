//! What only the server can tell of a failure: which names there are that are like the one that is not.
//! Invariant: nothing is asked but what the user could ask; what fails is not told.

use super::{Mistake, between, nearest};
use crate::client::{Call, query};
use crate::context::Ctx;
use crate::error::Error;
use crate::typed::Read;
use serde_json::{Value, json};

/// As many names are looked at, and no more.
const LOOKED_AT: &str = "500";

/// What the server knows about a failure.
pub async fn notes(ctx: &Ctx, mistake: &Mistake<'_>) -> Vec<String> {
    let notes = match (mistake.error, word_of_type(mistake)) {
        (_, Some(word)) => of_type(ctx, word).await,
        _ if mistake.text.contains("no matches for kind \"") => of_kind(ctx, mistake).await,
        _ => None,
    };
    let named = match mistake.error {
        Error::Status(status) => Some(&**status),
        Error::Many(all) => all.iter().find_map(|error| match error {
            Error::Status(status) if error.is_not_found() => Some(&**status),
            _ => None,
        }),
        _ => None,
    };
    let named = named.filter(|status| status.text("reason") == "NotFound");
    let absent = match (
        named,
        between(&mistake.text, "pods \"", "\" not found in namespace"),
    ) {
        (Some(status), _) => of_name(ctx, status).await,
        (None, Some(name)) => {
            let status = json!({"details": {"kind": "pods", "group": "", "name": name}});
            of_name(ctx, &status).await
        }
        (None, None) => None,
    };
    notes.into_iter().chain(absent).collect()
}

/// The word that means no type.
fn word_of_type<'a>(mistake: &'a Mistake) -> Option<&'a str> {
    between(
        &mistake.text,
        "the server doesn't have a resource type \"",
        "\"",
    )
}

async fn of_type(ctx: &Ctx, word: &str) -> Option<String> {
    let served = ctx.discovery().ok()?.served().await.ok()?;
    let names = served.resources.iter().flat_map(|r| {
        let short = r.short_names.iter().map(String::as_str);
        [r.plural.as_str(), r.singular.as_str()]
            .into_iter()
            .chain(short.filter(|name| name.len() > 3))
    });
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    Some(match nearest(word, names) {
        Some(near) => format!("did you mean {near}?"),
        None => "what is served: skiff api-resources".into(),
    })
}

/// A kind that is not served so: in another version, or one of nearly that name.
async fn of_kind(ctx: &Ctx, mistake: &Mistake<'_>) -> Option<String> {
    let kind = between(&mistake.text, "no matches for kind \"", "\"")?;
    let served = ctx.discovery().ok()?.served().await.ok()?;
    if let Some(same) = served.resources.iter().find(|r| r.kind == kind) {
        return Some(format!(
            "{kind} is served as apiVersion: {}",
            same.api_version()
        ));
    }
    let kinds = served.resources.iter().map(|r| r.kind.as_str());
    let near = nearest(kind, kinds)?;
    Some(format!("did you mean kind: {near}?"))
}

/// An object that is not there: one of nearly that name, or one in another namespace.
async fn of_name(ctx: &Ctx, status: &Value) -> Option<String> {
    let details = status.at("details");
    let (plural, group, name) = (
        details.text("kind"),
        details.text("group"),
        details.text("name"),
    );
    if plural.is_empty() || name.is_empty() {
        return None;
    }
    let client = ctx.client().ok()?;
    let served = ctx.discovery().ok()?.served().await.ok()?;
    let kind = served
        .resources
        .iter()
        .find(|r| r.plural == plural && r.group == group)?;
    let (namespace, _) = ctx.namespace().ok()?;
    let path = kind.collection(Some(&namespace));
    let limit = query(&[("limit", LOOKED_AT)]);
    let list = client
        .json(&Call::get(format!("{path}{limit}")))
        .await
        .ok()?;
    let items = list.list("items").iter();
    let names: Vec<&str> = items.map(|o| o.at("metadata").text("name")).collect();
    if let Some(near) = nearest(name, names.iter().copied()) {
        return Some(format!("did you mean {near}?"));
    }
    // what a deployment or a job made begins with its name
    if let Some(made) = names.iter().find(|n| n.starts_with(&format!("{name}-"))) {
        return Some(format!("did you mean {made}?"));
    }
    if plural == "namespaces" {
        return Some(format!("to make it: skiff create namespace {name}"));
    }
    let rest = format!("what there is: skiff get {plural}");
    if !kind.namespaced {
        return Some(rest);
    }
    let field = format!("metadata.name={name}");
    let path = format!(
        "{}{}",
        kind.collection(None),
        query(&[("fieldSelector", &field)])
    );
    let elsewhere = client.json(&Call::get(path)).await.ok();
    let elsewhere = elsewhere
        .as_ref()
        .and_then(|list| list.list("items").first());
    Some(match elsewhere {
        Some(other) => {
            let other = other.at("metadata").text("namespace");
            format!("there is one in the namespace {other}: -n {other}")
        }
        None => rest,
    })
}
