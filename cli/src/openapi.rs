//! The server's OpenAPI v3 documents.
//! Invariant: one document a group version, asked for when it is needed.
//! Behaviour follows `staging/src/k8s.io/client-go/openapi`.

use crate::client::Call;
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::typed::Read;
use serde_json::Value;

/// The document of a group version.
///
/// # Errors
/// A group version that has none.
pub async fn document(ctx: &Ctx, group: &str, version: &str) -> Result<Value> {
    let client = ctx.client()?;
    let index = client.json(&Call::get("/openapi/v3")).await?;
    let name = if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    };
    let path = index
        .at("paths")
        .at(&name)
        .text_ptr("serverRelativeURL")
        .ok_or_else(|| Error::msg(format!("couldn't find resource for \"{group}/{version}\"")))?;
    client.json(&Call::get(path)).await
}

/// The schema of a kind.
pub fn schema<'a>(
    document: &'a Value,
    group: &str,
    version: &str,
    kind: &str,
) -> Option<&'a Value> {
    let is = |s: &&Value| {
        let all = s.at("x-kubernetes-group-version-kind").as_array();
        all.is_some_and(|l| {
            l.iter().any(|g| {
                g.text("group") == group && *g.at("version") == version && *g.at("kind") == kind
            })
        })
    };
    document.at("components").map("schemas")?.values().find(is)
}

/// What a `$ref` refers to; the schema itself if it is none.
pub fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.text_ptr("$ref").and_then(|r| r.rsplit('/').next()) {
        Some(name) => document.at("components").at("schemas").at(name),
        None => schema,
    }
}
