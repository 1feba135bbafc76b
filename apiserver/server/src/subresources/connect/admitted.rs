//! Admission of what leads elsewhere: the parameters of a request as the object that they are upstream.
//!
//! Invariant: whoever is asked sees them before anything is reached; what is made of them is not looked at.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go` (ConnectResource, getRequestOptions).

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Subresource, api_version},
    machinery::status::Status,
};

use super::streams;
use crate::{
    admission::{Given, Operation},
    context::Context,
    dial::location::subpath,
    request::Query,
    write::Options,
};

/// Asks the plugins whether a request may be connected.
pub async fn ask(ctx: &Context, kind: &Arc<Kind>, sub: Subresource) -> Result<(), Status> {
    let Some((group, version, name)) = sub.kind() else {
        return Ok(());
    };
    let mut options = parameters(&ctx.query, sub, || subpath(&ctx.info))?;
    options["kind"] = name.into();
    options["apiVersion"] = api_version(group, version).into();
    let call = ctx.call_with(Options::default());
    let at = (ctx.info.namespace.as_str(), ctx.info.name_in_path());
    let mut attributes = call.attributes(kind, sub.name(), Operation::Connect, at);
    attributes.object = Some(options);
    attributes.given = Given::Nothing;
    call.admit(&mut attributes).await?;
    call.check(&attributes).await
}

fn parameters(
    query: &Query,
    sub: Subresource,
    path: impl FnOnce() -> String,
) -> Result<Value, Status> {
    let mut out = json!({});
    match sub {
        Subresource::PortForward => {
            let ports = streams::ports(query)?;
            if !ports.is_empty() {
                out["ports"] = ports.into();
            }
        }
        Subresource::Proxy(_) => {
            let path = path();
            if !path.is_empty() {
                out["path"] = path.into();
            }
        }
        _ => {
            for name in ["stdin", "stdout", "stderr", "tty"] {
                if query.flag(name) {
                    out[name] = true.into();
                }
            }
            let container = query.text("container");
            if !container.is_empty() {
                out["container"] = container.into();
            }
            if sub == Subresource::Exec {
                out["command"] = query.all("command").collect::<Vec<_>>().into();
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use skiff_api::kinds::Proxied;

    use super::*;

    #[test]
    fn parameters_as_objects() {
        for (sub, query, wanted) in [
            (
                Subresource::Exec,
                "stdin=true&stdout=1&tty=false&container=c&command=ls&command=-l",
                json!({"stdin": true, "stdout": true, "container": "c", "command": ["ls", "-l"]}),
            ),
            (Subresource::Attach, "stderr=true", json!({"stderr": true})),
            (
                Subresource::PortForward,
                "ports=80,443&ports=1",
                json!({"ports": [80, 443, 1]}),
            ),
            (
                Subresource::Proxy(Proxied::Pod),
                "a=b",
                json!({"path": "/x"}),
            ),
        ] {
            let query = Query::read(Some(query));
            assert_eq!(parameters(&query, sub, || "/x".into()).unwrap(), wanted);
        }
    }
}
