//! Uses of tokens that are kept in secrets: since when they are tracked, and the day of the last one, as a label of the secret.
//!
//! Invariant: a secret is written once a day at the most for being used, and no request waits for it.
//! Follows `pkg/serviceaccount/legacy.go` (patchSecretWithLastUsedDate) and `pkg/controlplane/controller/legacytokentracking`.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;
use skiff_api::machinery::{
    meta::{Meta, child_mut},
    read::Read,
    status::Status,
};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::authenticate::service_account::{LAST_USED, Used},
    own::Own,
    write::{Part, Writer},
};

const MAP: &str = "kube-apiserver-legacy-service-account-token-tracking";
const NAMESPACE: &str = "kube-system";

fn today(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

/// Says since when uses are tracked, unless that is said already.
pub async fn track(own: &Own) -> Result<(), Status> {
    let day = today(own.writer.core.now()).to_string();
    let map = json!({"metadata": {"name": MAP, "namespace": NAMESPACE}, "data": {"since": day}});
    let found = own.stored(own.row("configmaps")?, NAMESPACE, MAP)?;
    let since = found.as_ref().map(|map| map.at("data").text("since"));
    match since {
        None => own.ensure("configmaps", map).await,
        Some(day) if day.parse::<Date>().is_ok() => Ok(()),
        Some(_) => own.put("configmaps", map).await,
    }
}

/// Labels secrets whose tokens are used, one after the other, until nobody tells of any.
pub async fn label(writer: Arc<Writer>, mut used: Receiver<Used>, stopping: CancellationToken) {
    loop {
        let told = tokio::select! {
            told = used.recv() => told,
            () = stopping.cancelled() => None,
        };
        let Some(told) = told else { return };
        if let Err(status) = note(&Own::new(&writer), &told).await {
            let (at, why) = (format!("{}/{}", told.namespace, told.name), status.message);
            tracing::error!(
                "Failed to label legacy service account token {at} with last-used date: {why}"
            );
        }
    }
}

async fn note(own: &Own, told: &Used) -> Result<(), Status> {
    let (row, at) = (
        own.row("secrets")?,
        (told.namespace.as_str(), told.name.as_str()),
    );
    let day = today(own.writer.core.now()).to_string();
    // many requests come with a token before the first of them has led to a label, and what is gone needs none
    let Some(live) = own.stored(row, at.0, at.1)? else {
        return Ok(());
    };
    if live.label(LAST_USED) == Some(&day) {
        return Ok(());
    }
    own.change(row, at, Part::Whole, &mut |live| {
        if live.uid() == told.uid {
            child_mut(&mut live["metadata"], "labels").insert(LAST_USED.into(), day.clone().into());
        }
    })
    .await
}
