//! Uses of tokens that are kept in secrets: since when they are tracked, and the day of the last one, as a label of the secret.
//!
//! Invariant: a secret is written once a day at the most for being used, and no request waits for it.
//! Follows `pkg/serviceaccount/legacy.go` (patchSecretWithLastUsedDate) and `pkg/controlplane/controller/legacytokentracking`.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;
use skiff_api::machinery::{meta::Meta, status::Status};
use skiff_watching::api::{Api, PatchType};
use tokio::sync::mpsc::Receiver;

use crate::{
    app::App,
    auth::{
        User,
        authenticate::service_account::{LAST_USED, Used},
    },
    bootstrap,
    context::Context,
    start::client,
    stored,
};

const MAP: &str = "kube-apiserver-legacy-service-account-token-tracking";
const NAMESPACE: &str = "kube-system";

fn today(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

/// Says since when uses are tracked, unless that is said already.
pub async fn track(ctx: &Context) -> Result<(), Status> {
    let row = ctx
        .kinds
        .find("", "v1", "configmaps")
        .ok_or_else(Status::no_such_path)?;
    let map = json!({"metadata": {"name": MAP, "namespace": NAMESPACE}, "data": {"since": today(ctx.app.clock.now()).to_string()}});
    match ctx.app.store.get(&stored::key_of(row, NAMESPACE, MAP)) {
        None => bootstrap::ensure(ctx, "", "v1", "configmaps", NAMESPACE, map).await,
        Some(object)
            if stored::decoded(row, &object)?["data"]["since"]
                .as_str()
                .is_some_and(|day| day.parse::<Date>().is_ok()) =>
        {
            Ok(())
        }
        Some(_) => bootstrap::put(ctx, "", "v1", "configmaps", NAMESPACE, map).await,
    }
}

/// Labels secrets whose tokens are used, one after the other, until nobody tells of any.
pub async fn label(app: Arc<App>, mut used: Receiver<Used>) {
    let api = Api::new(
        client(
            &app,
            User::new(
                "system:apiserver",
                &["system:masters", "system:authenticated"],
            ),
        ),
        "kube-apiserver",
    );
    let stopping = app.stopping.clone();
    loop {
        let told = tokio::select! {
            told = used.recv() => told,
            () = stopping.cancelled() => None,
        };
        let Some(Used {
            namespace,
            name,
            uid,
        }) = told
        else {
            return;
        };
        let day = today(app.clock.now()).to_string();
        let kinds = app.kinds.load_full();
        let Some(row) = kinds.find("", "v1", "secrets") else {
            return;
        };
        let live = app
            .store
            .get(&stored::key_of(row, &namespace, &name))
            .and_then(|object| stored::decoded(row, &object).ok());
        // many requests come with a token before the first of them has led to a label
        if live.is_none_or(|secret| secret.label(LAST_USED) == Some(&day)) {
            continue;
        }
        let patch = json!({"metadata": {"uid": uid, "labels": {LAST_USED: day}}});
        if let Err(error) = api
            .patch(
                &format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
                PatchType::Merge,
                &patch,
            )
            .await
        {
            tracing::error!(%error, "Failed to label legacy service account token {namespace}/{name} with last-used date");
        }
    }
}
