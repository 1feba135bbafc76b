//! `exec`, `attach` and `portforward`: which node, which container, with which parameters.
//!
//! Invariant: they change what runs, so they need the right to `create`, whatever the method of the request: a WebSocket begins with a GET.
//! Follows `pkg/registry/core/pod/rest/{subresources,authorize}.go` and `pkg/registry/core/pod/strategy.go` (streamLocation, streamParams).

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::{gonum, meta::Meta, read::Read, status::Status},
};

use super::{live::live, node};
use crate::dial::location::{Location, query_escaped};
use crate::{auth, context::Context, request::Query};

pub async fn location(
    ctx: &Context,
    kind: &Arc<Kind>,
    sub: Subresource,
) -> Result<Location, Status> {
    let query = parameters(ctx, sub)?;
    ensure_create(ctx).await?;
    let (namespace, name) = (ctx.info.namespace.as_str(), ctx.info.name_in_path());
    let pod = live(ctx, kind, namespace, name)?;
    let path = match sub {
        Subresource::PortForward => format!("/portForward/{namespace}/{name}"),
        Subresource::Exec => format!(
            "/exec/{namespace}/{name}/{}",
            container(&pod, ctx.query.text("container"))?
        ),
        _ => format!(
            "/attach/{namespace}/{name}/{}",
            container(&pod, ctx.query.text("container"))?
        ),
    };
    match pod.at("spec").text("nodeName") {
        "" => Err(Status::bad_request(format!(
            "pod {name} does not have a host assigned"
        ))),
        host => node::location(ctx, host, path, query),
    }
}

async fn ensure_create(ctx: &Context) -> Result<(), Status> {
    if ctx.info.verb == "create" {
        return Ok(());
    }
    let asked = auth::Attributes {
        verb: "create".into(),
        ..ctx.asked.clone()
    };
    let verdict = ctx.app.core.authorizers.decide(&asked).await;
    match verdict.allowed() {
        true => Ok(()),
        false => Err(Status::forbidden(
            &ctx.info.group,
            &ctx.info.resource,
            &ctx.info.name,
            verdict.reason(),
        )),
    }
}

/// All containers' names in upstream's order.
fn names(pod: &Value) -> Vec<&str> {
    let of = |field: &str| {
        pod["spec"][field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| container.text_ptr("name"))
    };
    of("initContainers")
        .chain(of("containers"))
        .chain(of("ephemeralContainers"))
        .collect()
}

/// The container that a request means: the one that it names, else the only one.
pub fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let refused = |why: String| Err(Status::bad_request(why));
    let name = pod.name();
    if !asked.is_empty() {
        return match names(pod).contains(&asked) {
            true => Ok(asked.to_owned()),
            false => refused(format!("container {asked} is not valid for pod {name}")),
        };
    }
    match pod.at("spec").list("containers") {
        [] => refused(format!("a container name must be specified for pod {name}")),
        [one] => Ok(one.text("name").to_owned()),
        _ => refused(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names(pod).join(" ")
        )),
    }
}

/// The ports that a request wants forwarded.
pub fn ports(query: &Query) -> Result<Vec<i64>, Status> {
    let ports = query.all("ports").flat_map(|text| text.split(','));
    ports
        .map(|text| gonum::uint16(text).map(i64::from))
        .collect::<Result<_, _>>()
        .map_err(|why| Status::bad_request(format!("cannot convert to []int32: {why}")))
}

/// The parameters as a node's API names them.
fn parameters(ctx: &Context, sub: Subresource) -> Result<String, Status> {
    let query = &ctx.query;
    let mut out: Vec<String> = Vec::new();
    if let Subresource::PortForward = sub {
        out.extend(ports(query)?.iter().map(|port| format!("port={port}")));
        return Ok(out.join("&"));
    }
    for (key, name) in [
        ("stdin", "input"),
        ("stdout", "output"),
        ("stderr", "error"),
        ("tty", "tty"),
    ] {
        if query.flag(key) {
            out.push(format!("{name}=1"));
        }
    }
    if let Subresource::Exec = sub {
        out.extend(
            query
                .all("command")
                .map(|word| format!("command={}", query_escaped(word))),
        );
    }
    Ok(out.join("&"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}],
            "ephemeralContainers": [{"name": "e"}]}});
        assert_eq!(container(&pod, "e").unwrap(), "e");
        assert_eq!(
            container(&pod, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [i a b e]"
        );
        assert_eq!(
            container(&pod, "x").unwrap_err().message,
            "container x is not valid for pod p"
        );
        let one = json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "").unwrap(), "a");
    }
}
