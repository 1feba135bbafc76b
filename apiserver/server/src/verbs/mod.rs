//! The verbs, ONE file each, for all kinds. This file finds the row and the verb of a request.
//!
//! To add a verb: a file with `pub async fn serve(ctx: &Context, kind: &Arc<Kind>, …) -> Answer` (`get.rs` is the shortest that reads, `create.rs`
//! the shortest that writes), its `mod` line, its arm in `route`, and its name where rows say what they can (`Verbs` in skiff-api). It goes
//! in this order: `negotiate::accept` (may the answer be made?), `body::read`, the parameters (`ctx.call("…Options")` makes a write's), the work
//! (`write::…` for what changes objects, a snapshot of the store for what reads them), and `respond::…` for the answer. Which method and path
//! mean the verb is `request.rs`; a subresource is an arm in `subresource` and a file in `subresources/`.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/installer.go` for what is routed where.

mod create;
mod delete;
mod get;
mod list;
mod list_options;
mod measured;
pub mod patch;
mod selection;
mod update;
mod watch;
mod watch_socket;

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use skiff_api::{
    kinds::{Kind, Registry, Source, Subresource},
    machinery::status::Status,
};

use crate::{
    context::{Answer, Context},
    negotiate,
    request::Astray,
    reviews, subresources,
    write::Part,
};

/// Answers a request for a resource.
pub async fn serve(
    ctx: Box<Context>,
    parts: Parts,
    body: Body,
) -> Result<axum::response::Response, (Box<Context>, Status)> {
    let answer = route(&ctx, parts, body).await;
    answer.map_err(|status| (ctx, status))
}

async fn route(ctx: &Context, mut parts: Parts, body: Body) -> Answer {
    let info = &ctx.info;
    if let Some(astray) = info.astray {
        return nothing_there(ctx, astray == Astray::Within);
    }
    let Some(kind) = ctx.kinds.find(&info.group, &info.version, &info.resource) else {
        return nothing_there(ctx, Registry::builtin().has_group(&info.group));
    };
    if !well_placed(ctx, kind) {
        return nothing_there(ctx, !kind.flags.untyped);
    }
    if kind.namespaced
        && info.namespace.is_empty()
        && !matches!(info.verb.as_str(), "list" | "watch")
    {
        // of all namespaces together there are lists, and where there are none, there is nothing
        return match kind.verbs.has("list") && !kind.flags.untyped {
            true => Err(Status::method_not_allowed()),
            false => nothing_there(ctx, !kind.flags.untyped),
        };
    }
    // of what is there and takes the verb, or, of custom objects, whatever becomes of the request
    let tell_of_its_age = |untyped: bool| {
        if kind.flags.untyped == untyped
            && let Some(warning) = kind.flags.deprecation
        {
            ctx.warn(warning);
            ctx.trail.note("k8s.io/deprecated", "true");
        }
    };
    tell_of_its_age(true);
    // nothing is looked for below what is only asked, nor in all namespaces together
    let is_asked = matches!(kind.flags.source, Source::Answered(_));
    if is_asked && !(info.name.is_empty() && kind.namespaced != info.namespace.is_empty()) {
        return nothing_there(ctx, true);
    }
    if !info.subresource.is_empty() {
        let sub = kind
            .subresource(&info.subresource)
            .filter(|sub| info.rest.is_empty() || matches!(sub, Subresource::Proxy(_)))
            .ok_or_else(|| no_such_part(kind, &info.name))?;
        // what is proxied may be asked for its options: the one method without a verb
        let options = matches!(sub, Subresource::Proxy(_)) && parts.method == http::Method::OPTIONS;
        // nor is a HEAD a GET, but for what is proxied
        let misread =
            info.verb == "get" && !reads(kind, &parts) && !matches!(sub, Subresource::Proxy(_));
        if !options && (misread || !sub.verbs().contains(&info.verb.as_str())) {
            return Err(match kind.flags.untyped {
                true => Status::method_not_supported(kind.group, kind.plural, &info.verb),
                false => Status::method_not_allowed(),
            });
        }
        if !sub.connects() && !kind.flags.untyped {
            negotiate::route(&ctx.info, &ctx.headers)?;
        }
        tell_of_its_age(false);
        return Box::pin(subresource(ctx, kind, sub, parts, body)).await;
    }
    // what `/watch/` in a path says of the verb, or a HEAD, is no GET
    if matches!(info.verb.as_str(), "get" | "list" | "watch") && !reads(kind, &parts) {
        return Err(Status::method_not_allowed());
    }
    let unnamed = info.name.is_empty() && matches!(info.verb.as_str(), "update" | "patch");
    if kind.flags.untyped {
        if unnamed {
            return patch::without_name(ctx, kind);
        }
        if !kind.verbs.has(&info.verb) {
            let refused = Status::method_not_supported(kind.group, kind.plural, &info.verb);
            return Err(refused);
        }
    }
    if unnamed
        || !kind.verbs.has(&info.verb)
        // a custom object may be posted to any name; its own counts
        || info.verb == "create" && !info.name.is_empty() && !kind.flags.untyped
        || info.verb == "deletecollection" && !kind.verbs.has("deletecollection")
    {
        return Err(Status::method_not_allowed());
    }
    if !kind.flags.untyped {
        negotiate::route(&ctx.info, &ctx.headers)?;
    }
    tell_of_its_age(false);
    if let Source::Answered(review) = kind.flags.source {
        return Box::pin(reviews::serve(ctx, kind, review, body)).await;
    }
    match info.verb.as_str() {
        "get" => get::serve(ctx, kind).await,
        "list" => list::serve(ctx, kind).await,
        "watch" if watch_socket::is_asked_for(&parts) => {
            let watch = watch::serve(ctx, kind).await?;
            watch_socket::switched(ctx, &mut parts, watch)
        }
        "watch" => watch::serve(ctx, kind).await,
        // boxed: what a write needs is much, and a read is not to carry it along
        _ => Box::pin(write(ctx, kind, body)).await,
    }
}

/// A request that asks for what is there. Custom objects are asked by HEAD, too.
fn reads(kind: &Kind, parts: &Parts) -> bool {
    parts.method == http::Method::GET || kind.flags.untyped && parts.method == http::Method::HEAD
}

async fn write(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    match ctx.info.verb.as_str() {
        "create" => create::serve(ctx, kind, body).await,
        "update" => update::serve(ctx, kind, Part::Whole, body).await,
        "patch" => patch::serve(ctx, kind, Part::Whole, body).await,
        "delete" => delete::serve(ctx, kind, body).await,
        "deletecollection" => delete::collection(ctx, kind, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Nothing is served at a path. Of groups that are built in a Status says so; others are asked for where nobody answers in upstream.
fn nothing_there(ctx: &Context, is_known: bool) -> Answer {
    match is_known {
        true => Err(Status::no_such_path()),
        false => Ok(ctx.text(404, "404 page not found\n")),
    }
}

/// A kind that was brought along has no such subresource: upstream's words are those for an object that is not there.
fn no_such_part(kind: &Kind, name: &str) -> Status {
    match kind.flags.untyped {
        true => Status::not_found(kind.group, kind.plural, name),
        false => Status::no_such_path(),
    }
}

/// Namespaced resources are written within a namespace and cluster-scoped ones outside.
fn well_placed(ctx: &Context, kind: &Kind) -> bool {
    let info = &ctx.info;
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    if !kind.namespaced {
        return !in_namespace;
    }
    in_namespace
        || info.path.contains("/watch/")
        || info.name_in_path().is_empty() && matches!(info.verb.as_str(), "list" | "watch" | "")
        || info.name_in_path().is_empty() && !matches!(info.verb.as_str(), "get")
}

async fn subresource(
    ctx: &Context,
    kind: &Arc<Kind>,
    sub: Subresource,
    parts: Parts,
    body: Body,
) -> Answer {
    match sub {
        Subresource::Status
        | Subresource::Approval
        | Subresource::EphemeralContainers
        | Subresource::Resize => match ctx.info.verb.as_str() {
            "get" => get::serve(ctx, kind).await,
            "update" => update::serve(ctx, kind, Part::Sub(sub), body).await,
            _ => patch::serve(ctx, kind, Part::Sub(sub), body).await,
        },
        Subresource::Finalize => update::serve(ctx, kind, Part::Sub(sub), body).await,
        Subresource::Scale => subresources::scale::serve(ctx, kind, body).await,
        Subresource::Binding => subresources::binding::serve(ctx, kind, body).await,
        Subresource::Eviction => subresources::eviction::serve(ctx, kind, body).await,
        Subresource::Token => subresources::token::serve(ctx, kind, body).await,
        Subresource::Log
        | Subresource::Exec
        | Subresource::Attach
        | Subresource::PortForward
        | Subresource::Proxy(_) => subresources::connect::serve(ctx, kind, sub, parts, body).await,
    }
}
