//! `pods/log`: a container's output, as text or over a WebSocket.
//!
//! Invariant: the node is asked with parameters that were read and checked, and with nothing else of the client's request.
//! Follows `pkg/registry/core/pod/rest/log.go`, `pkg/registry/core/pod/strategy.go` (LogLocation), `ValidatePodLogOptions`,
//! `staging/src/k8s.io/apiserver/pkg/registry/generic/rest/{streamer,response_checker}.go` and
//! `staging/src/k8s.io/streaming/pkg/httpstream/wsstream`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{
        FromRequestParts,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        read::Read,
        status::{Details, Status},
        time,
    },
};

use super::{live::live, node, onward, streams::container, upgrade::is_upgrade};
use crate::dial::location::{Location, Via, query_escaped};
use crate::{
    context::{Answer, Context},
    negotiate::{self, Offers},
    request::Query,
};

/// How much of a node's refusal is read.
const LONGEST_REFUSAL: usize = 50_000;
/// What the route says that it makes.
const PRODUCED: &[&str] = &[
    "text/plain",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// The protocols that a WebSocket may speak, and whether their messages are bytes.
const PROTOCOLS: [(&str, bool); 3] = [
    ("", true),
    ("binary.k8s.io", true),
    ("base64.binary.k8s.io", false),
];

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, mut parts: Parts) -> Answer {
    negotiate::route_of(&ctx.headers, PRODUCED)?;
    // refusals are objects: that the route makes text is not asked here
    negotiate::accept(&ctx.headers, Offers::PLAIN)?;
    let name = ctx.info.name_in_path();
    let query = parameters(&ctx.query, name)?;
    let pod = live(ctx, kind, &ctx.info.namespace, name)?;
    let container = container(&pod, ctx.query.text("container"))?;
    let host = pod.at("spec").text("nodeName");
    if host.is_empty() {
        // nothing ran yet, and nothing was said
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let mut location = node::location(
        ctx,
        host,
        format!("/containerLogs/{}/{name}/{container}", pod.namespace()),
        query,
    )?;
    if ctx.query.flag("insecureSkipTLSVerifyBackend") {
        location.via = Via::UnverifiedNode;
    }
    let answer = ask(ctx, &location, name).await?;
    if is_websocket(&parts) {
        return over_websocket(ctx, &mut parts, answer).await;
    }
    let mut response = answer.map(Body::new);
    let headers = std::mem::take(response.headers_mut());
    for kept in [header::CONTENT_LENGTH, header::DATE] {
        if let Some(value) = headers.get(&kept) {
            response.headers_mut().insert(kept, value.clone());
        }
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

/// The parameters as a node's API names them, checked.
fn parameters(query: &Query, name: &str) -> Result<String, Status> {
    let mut out: Vec<(&str, String)> = Vec::new();
    for key in ["follow", "previous", "timestamps"] {
        if query.flag(key) {
            out.push((key, "true".into()));
        }
    }
    let mut errors = Errors::default();
    let since_time = query
        .get("sinceTime")
        .filter(|text| !text.is_empty())
        .map(time::parse)
        .transpose()
        .map_err(Status::bad_request)?;
    for (key, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let Some(number) = query.integer(key)? else {
            continue;
        };
        if key == "sinceSeconds" && since_time.is_some() {
            errors.forbidden(
                &Path::NAMELESS,
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            );
        } else if number < least {
            errors.invalid(&Path::new(key), number, why);
        }
        out.push((key, number.to_string()));
    }
    if query.get("stream").is_some() {
        // one of a container's streams alone is upstream's alpha, which is off
        errors.forbidden(&Path::new("stream"), "may not be specified");
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", name, &errors));
    }
    out.extend(since_time.map(|at| ("sinceTime", time::seconds(at))));
    out.push(("stream", "All".into()));
    Ok(out
        .iter()
        .map(|(key, value)| format!("{key}={}", query_escaped(value)))
        .collect::<Vec<_>>()
        .join("&"))
}

/// Asks the node; what it refuses is told in the server's words.
async fn ask(ctx: &Context, location: &Location, name: &str) -> Result<Response<Incoming>, Status> {
    let request = onward::request(&Method::GET, location, Default::default(), Body::empty())?;
    let failed = |why: String| {
        Status::internal_plain(format!(
            "Get \"{}://{}{}\": {why}",
            location.scheme.text(),
            location.authority(),
            location.target()
        ))
    };
    let answer = ctx
        .app
        .transports
        .send(location, request)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    if (200..=206).contains(&status.as_u16()) {
        return Ok(answer);
    }
    if status.is_redirection() {
        return Err(failed("redirects forbidden".into()));
    }
    let text = Limited::new(answer.into_body(), LONGEST_REFUSAL)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    Err(refusal(status, &String::from_utf8_lossy(&text), name))
}

/// `NewGenericServerResponse` of apimachinery, for `pods/log` and without a verb.
fn refusal(status: StatusCode, text: &str, name: &str) -> Status {
    let code = status.as_u16();
    let (reason, message) = match code {
        400 => return Status::bad_request(text),
        500 => return Status::internal(text),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
        403 => ("Forbidden", text.to_owned()),
        404 => ("NotFound", "the server could not find the requested resource".to_owned()),
        405 => ("MethodNotAllowed", text.to_owned()),
        406 => ("NotAcceptable", text.to_owned()),
        409 => ("Conflict", "the server reported a conflict".to_owned()),
        415 => ("UnsupportedMediaType", text.to_owned()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_owned()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_owned()),
        504 => ("Timeout", "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned()),
        429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later".to_owned()),
        code if code >= 500 => ("InternalError", format!("an error on the server ({text}) has prevented the request from succeeding", text = GoQuoted(&text))),
        code => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    let mut status = Status::new(code, reason, format!("{message} ( pods/log {name})"));
    status.details = Some(Details {
        name: name.into(),
        kind: "pods/log".into(),
        ..Details::default()
    });
    status
}

fn is_websocket(parts: &Parts) -> bool {
    is_upgrade(&parts.headers)
        && parts
            .headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The first of the client's protocols that is spoken here.
fn protocol(parts: &Parts) -> Option<(&'static str, bool)> {
    let given = parts
        .headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut wanted: Vec<&str> = given
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if wanted.is_empty() {
        wanted.push("");
    }
    wanted
        .into_iter()
        .find_map(|name| PROTOCOLS.iter().find(|(known, _)| *known == name).copied())
}

async fn over_websocket(ctx: &Context, parts: &mut Parts, answer: Response<Incoming>) -> Answer {
    let mut forbidden = Response::new(Body::empty());
    *forbidden.status_mut() = StatusCode::FORBIDDEN;
    let Some((name, bytes)) = protocol(parts) else {
        return Ok(forbidden);
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(error) => return Err(Status::bad_request(error.body_text())),
    };
    let upgrade = if name.is_empty() {
        upgrade
    } else {
        upgrade.protocols([name])
    };
    let stopping = ctx.app.stopping.clone();
    Ok(upgrade.on_upgrade(move |socket| async move {
        tokio::select! {
            () = copy(socket, answer.into_body(), bytes) => {}
            () = stopping.cancelled() => {}
        }
    }))
}

/// An empty message first, then what the container said; what the client says is ignored until it goes.
async fn copy(socket: WebSocket, body: Incoming, bytes: bool) {
    let (mut to_client, mut from_client) = futures::StreamExt::split(socket);
    let message = |piece: Bytes| {
        if bytes {
            Message::Binary(piece)
        } else {
            Message::Text(STANDARD.encode(piece).into())
        }
    };
    let sending = async {
        use futures::SinkExt;
        let mut pieces = Body::new(body).into_data_stream();
        let mut next = Some(Bytes::new());
        while let Some(piece) = next {
            if to_client.send(message(piece)).await.is_err() {
                return;
            }
            next = pieces.next().await.and_then(Result::ok);
        }
        // whoever has gone needs no farewell
        let _ = to_client.close().await;
    };
    let receiving = async { while let Some(Ok(_)) = from_client.next().await {} };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_checked() {
        let read = |query: &str| parameters(&Query::read(Some(query)), "p");
        for (query, expected) in [
            ("", "stream=All"),
            (
                "follow=true&previous=false&tailLines=5",
                "follow=true&tailLines=5&stream=All",
            ),
            (
                "sinceTime=2026-01-02T05:04:05%2B02:00",
                "sinceTime=2026-01-02T03%3A04%3A05Z&stream=All",
            ),
            (
                "limitBytes=9223372036854775807&sinceSeconds=1&container=x",
                "limitBytes=9223372036854775807&sinceSeconds=1&stream=All",
            ),
        ] {
            assert_eq!(read(query).unwrap(), expected, "{query}");
        }
        for (query, code, message) in [
            (
                "tailLines=x",
                400,
                r#"strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            (
                "tailLines=-1",
                422,
                r#"PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"#,
            ),
            (
                "limitBytes=0",
                422,
                r#"PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0"#,
            ),
            (
                "sinceSeconds=0",
                422,
                r#"PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0"#,
            ),
            (
                "stream=All&sinceSeconds=1&sinceTime=2026-01-02T05:04:05Z",
                422,
                r#"PodLogOptions "p" is invalid: [[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified, stream: Forbidden: may not be specified]"#,
            ),
        ] {
            let refused = read(query).unwrap_err();
            assert_eq!(
                (refused.code, refused.message.as_str()),
                (code, message),
                "{query}"
            );
        }
    }

    #[test]
    fn a_nodes_refusals() {
        assert_eq!(
            refusal(StatusCode::BAD_REQUEST, "not now", "p").message,
            "not now"
        );
        assert_eq!(
            refusal(StatusCode::NOT_FOUND, "x", "p").message,
            "the server could not find the requested resource ( pods/log p)"
        );
        assert_eq!(
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "x", "p").message,
            "Internal error occurred: x"
        );
    }
}
