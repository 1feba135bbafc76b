//! What a client says of a watch besides what it selects: where it begins, and how long it lasts.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/apis/meta/internalversion/validation` and `.../endpoints/handlers/get.go`.

use std::time::Duration;

use rand::RngExt;
use skiff_api::machinery::{
    field::{Errors, Path},
    status::Status,
};

use crate::{context::Context, respond};

/// No clock can be asked to wait for longer: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The parameters of a watch.
pub struct Options {
    pub from: Start,
    pub bookmarks: bool,
    pub initial_end: bool,
    pub timeout: Duration,
    /// What there is must be as new as this.
    pub at_least: u64,
}

pub enum Start {
    /// Everything there is as ADDED, then what comes.
    State,
    /// Only what comes after the newest revision.
    Now,
    After(u64),
}

/// The only match that a watch may ask for.
const NOT_OLDER: &str = "NotOlderThan";

impl Options {
    /// # Errors
    /// 400 or 422 with what is wrong with them.
    pub fn of(ctx: &Context) -> Result<Options, Status> {
        let query = &ctx.query;
        let version = query.text("resourceVersion");
        let mut matching = query.text("resourceVersionMatch");
        let mut initial = query
            .get("sendInitialEvents")
            .map(|_| query.flag("sendInitialEvents"));
        if initial.is_none() && matching.is_empty() && matches!(version, "" | "0") {
            // a watch of what there is, as it was asked for before there were initial events
            initial = Some(true);
            matching = NOT_OLDER;
        }
        let bookmarks = query.flag("allowWatchBookmarks");
        let mut errors = Errors::default();
        let path = Path::new("resourceVersionMatch");
        if initial.is_some() && matching != NOT_OLDER {
            errors.forbidden(
                &path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        if !matching.is_empty() {
            if initial.is_none() {
                errors.forbidden(
                &path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
            }
            if matching != NOT_OLDER {
                errors.not_supported(&path, matching, &[NOT_OLDER]);
            }
            if !query.text("continue").is_empty() {
                errors.forbidden(
                    &path,
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors));
        }
        let revision = match version {
            "" | "0" => 0,
            text => respond::revision(text)?,
        };
        let from = match initial {
            Some(true) => Start::State,
            Some(false) if revision == 0 => Start::Now,
            Some(false) => Start::After(revision),
            None if revision == 0 => Start::State,
            None => Start::After(revision),
        };
        query.integer("limit")?;
        // upstream spreads the ends of watches between 30 and 60 minutes
        let timeout = match query.integer("timeoutSeconds")? {
            None | Some(0) => Duration::from_secs(rand::rng().random_range(1800..3600)),
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST),
        };
        Ok(Options {
            from,
            bookmarks,
            initial_end: initial == Some(true) && bookmarks,
            timeout,
            at_least: if initial == Some(true) { revision } else { 0 },
        })
    }
}
