//! Whose the shop's namespace is. The demo that made it plays in it, and says in it that it still does.
//!
//! Invariant: what no demo made is never deleted, nor what another demo plays in.

use std::{convert::Infallible, sync::OnceLock, time::Duration};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use serde_json::{Value, json};
use skiff_watching::api::{Api, Delete, PatchType};
use tokio_util::sync::CancellationToken;

use super::stage::NAMESPACE;
use crate::{print::age::now, typed::Read};

/// The label of what a demo made, and its value.
const DEMO: (&str, &str) = ("skiff.dev/demo", "black-friday");
/// The annotation that tells one run from another.
const RUN: &str = "skiff.dev/demo-run";
/// The annotation that says when the demo that plays last said so.
const PLAYS: &str = "skiff.dev/demo-plays";
/// So often it is said, and whoever has not for so long is gone.
const RENEW: Duration = Duration::from_secs(5);
const SILENT: SignedDuration = SignedDuration::from_secs(30);
/// So long it is waited for a namespace to be gone.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// How often what is in the way is cleared away, before it is given up.
const TRIES: usize = 3;

/// See the module.
pub struct Claim {
    api: Api,
    run: String,
    /// Of the namespace, once this run has made it.
    uid: OnceLock<String>,
}

fn path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}")
}

impl Claim {
    pub fn new(api: &Api) -> Claim {
        let run: u64 = rand::rng().random();
        Claim {
            api: api.clone(),
            run: format!("{run:016x}"),
            uid: OnceLock::new(),
        }
    }

    /// Makes the namespace. One that an earlier demo left is deleted first.
    ///
    /// # Errors
    /// One is there that is not for this to delete.
    pub async fn take(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            match self.api.post("/api/v1/namespaces", &self.namespace()).await {
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error).with_context(|| format!("POST {}", path())),
                Ok(text) => {
                    let made: Value = serde_json::from_str(&text)?;
                    let uid = made.at("metadata").text("uid").to_owned();
                    self.uid.get_or_init(|| uid);
                    return Ok(());
                }
            }
            let Some(found) = self.look().await? else {
                continue;
            };
            may_go(&found, now())?;
            self.delete(&found).await?;
            tokio::select! {
                gone = self.wait_until_gone(&found) => gone?,
                () = stop.cancelled() => return Ok(()),
            }
        }
        bail!("the namespace {NAMESPACE} comes again as soon as it is deleted")
    }

    /// Whether this run has made the namespace.
    pub fn is_taken(&self) -> bool {
        self.uid.get().is_some()
    }

    fn namespace(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {DEMO.0: DEMO.1},
            "annotations": {RUN: self.run, PLAYS: now().to_string()}}})
    }

    /// Says again and again that this run plays.
    pub async fn hold(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.say(json!(now().to_string())).await {
                tracing::debug!(%error, "it is not known that the demo plays");
            }
        }
    }

    async fn say(&self, plays: Value) -> anyhow::Result<()> {
        let Some(uid) = self.uid.get() else {
            return Ok(());
        };
        // another namespace of that name is not ours to write to
        let patch = json!({"metadata": {"uid": uid, "annotations": {PLAYS: plays}}});
        let said = self.api.patch(&path(), PatchType::Merge, &patch).await;
        said.map(drop).with_context(|| format!("PATCH {}", path()))
    }

    /// Nobody plays in the namespace any more, and it stays.
    pub async fn leave(&self) -> anyhow::Result<()> {
        self.say(Value::Null).await
    }

    /// Deletes the namespace, if this run made it, with all that is in it, and waits until it is gone.
    pub async fn clear(&self) -> anyhow::Result<()> {
        // it is asked for: one may have been made whose answer never came
        match self.look().await? {
            Some(found) if annotation(&found, RUN) == self.run => {
                self.delete(&found).await?;
                self.wait_until_gone(&found).await
            }
            _ => Ok(()),
        }
    }

    async fn look(&self) -> anyhow::Result<Option<Value>> {
        match self.api.get_path(&path()).await {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some).with_context(|| format!("GET {}", path())),
        }
    }

    async fn delete(&self, found: &Value) -> anyhow::Result<()> {
        let metadata = found.at("metadata");
        if !metadata.text("deletionTimestamp").is_empty() {
            return Ok(());
        }
        let options = Delete::of_uid(metadata.text("uid"));
        match self.api.delete_path(&path(), &options).await {
            // it is going already, or is another by now, which is seen by whoever waits
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            deleted => deleted.with_context(|| format!("DELETE {}", path())),
        }
    }

    async fn wait_until_gone(&self, found: &Value) -> anyhow::Result<()> {
        let uid = found.at("metadata").text("uid");
        let gone = async {
            while let Some(there) = self.look().await?
                && there.at("metadata").text("uid") == uid
            {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        let limit = format!("the namespace {NAMESPACE} is not gone after {PATIENCE:?}");
        tokio::time::timeout(PATIENCE, gone).await.context(limit)?
    }
}

fn annotation<'a>(found: &'a Value, name: &str) -> &'a str {
    found.at("metadata").at("annotations").text(name)
}

/// Whether a namespace was left by a demo, and none plays in it.
fn may_go(found: &Value, now: Timestamp) -> anyhow::Result<()> {
    if found.at("metadata").at("labels").text(DEMO.0) != DEMO.1 {
        bail!("the namespace {NAMESPACE} is there already and is not the demo's");
    }
    let plays = annotation(found, PLAYS);
    // one that cannot be read was said by somebody, at some time
    let silent = plays.is_empty()
        || plays
            .parse::<Timestamp>()
            .is_ok_and(|said| now.duration_since(said) > SILENT);
    if !silent {
        bail!("another demo plays in the namespace {NAMESPACE}; wait until its day is over");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_left_is_deleted() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let found = |label: &str, plays: Value| json!({"metadata": {"name": NAMESPACE, "labels": {DEMO.0: label}, "annotations": {PLAYS: plays}}});
        let said = |time: &str| found(DEMO.1, json!(time));
        for (found, wanted) in [
            (found(DEMO.1, Value::Null), ""),
            (said("2026-11-27T11:59:00Z"), ""),
            (said("2026-11-27T11:59:45.123Z"), "another demo plays"),
            // another machine's clock
            (said("2026-11-27T12:00:30Z"), "another demo plays"),
            (said("yesterday"), "another demo plays"),
            (found("other", Value::Null), "is not the demo's"),
            (
                json!({"metadata": {"name": NAMESPACE}}),
                "is not the demo's",
            ),
        ] {
            let why =
                may_go(&found, now).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(why.is_empty(), wanted.is_empty(), "{found}: {why}");
            assert!(why.contains(wanted), "{found}: {why}");
        }
    }
}
