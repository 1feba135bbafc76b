//! The cleaner of legacy tokens: those that were made by themselves (their account names them), that nobody used for a year and that no pod
//! mounts, are marked invalid, and a year later deleted.
//!
//! Invariant: nothing is touched before uses have been tracked for a year, nor what a person made. Follows
//! pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use serde_json::{Value, json};
use skiff_api::machinery::read::Read;
use skiff_podspec::pod::Pod;

use crate::{
    api::{Page, collection},
    clock::after,
    prelude::*,
    runner::every,
    serviceaccount_tokens::{ACCOUNT_NAME, ACCOUNT_UID, TYPE, is_of},
};

const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// The ConfigMap of kube-system in which the server says since when it tracks uses.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

#[derive(Clone)]
struct Controller {
    api: Api,
    reader: Api,
    unused_for: Duration,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
}

/// `legacy-serviceaccount-token-cleaner-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let unused_for = context.options.legacy_token_clean_up_period;
    let controller = Controller {
        api: context.api.clone(),
        reader: context.reader.clone(),
        unused_for,
        secrets: context.informer(),
        accounts: context.informer(),
    };
    let clock = context.clock.clone();
    Ok(Some(Box::pin(every(
        clock.clone(),
        PERIOD,
        context.stop.clone(),
        move || {
            let (controller, now) = (controller.clone(), clock.now());
            async move {
                if let Err(error) = controller.clean(now).await {
                    tracing::warn!(%error, "legacy tokens are not cleaned up");
                }
            }
        },
    ))))
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn label<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.metadata.label(name)
}

/// What is to be done about a token that is out of use.
#[derive(Debug, PartialEq)]
enum Step {
    Leave,
    Mark,
    Delete,
}

/// Whether a secret is old, and neither used nor going away; then it depends on who names it.
fn is_out_of_use(secret: &Secret, kept_from: Timestamp) -> bool {
    let old = secret
        .metadata
        .creation_timestamp
        .as_ref()
        .is_some_and(|made| made.0 < kept_from);
    let unused = match label(secret, LAST_USED) {
        None => true,
        Some(day) => day.parse::<Date>().is_ok_and(|day| day < date(kept_from)),
    };
    secret.type_.as_deref() == Some(TYPE)
        && old
        && unused
        && secret.metadata.deletion_timestamp.is_none()
}

/// The next step for one that is.
fn step(secret: &Secret, kept_from: Timestamp) -> Step {
    match label(secret, INVALID_SINCE).and_then(|day| day.parse::<Date>().ok()) {
        None => Step::Mark,
        Some(day) if day >= date(kept_from) => Step::Leave,
        Some(_) => Step::Delete,
    }
}

/// The secrets that a pod names, wherever it names them.
fn named_in(value: &Value, names: &mut HashSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| named_in(item, names)),
        Value::Object(fields) => {
            for (key, child) in fields {
                let refers = key.ends_with("secretRef") || key.ends_with("SecretRef");
                match key.as_str() {
                    "secretName" => names.extend(child.as_str().map(str::to_string)),
                    "imagePullSecrets" => {
                        let list = value.list(key).iter();
                        names.extend(
                            list.filter_map(|one| one.text_ptr("name"))
                                .map(str::to_string),
                        );
                    }
                    "secret" | "secretKeyRef" => {
                        names.extend(child.text_ptr("name").map(str::to_string))
                    }
                    _ if refers => names.extend(child.text_ptr("name").map(str::to_string)),
                    _ => {}
                }
                named_in(child, names);
            }
        }
        _ => {}
    }
}

impl Controller {
    async fn clean(&self, now: Timestamp) -> Result<(), Error> {
        // a day more: uses were perhaps not tracked from its first hour on
        let since = self
            .tracked_since()
            .await?
            .saturating_add(1.day())
            .to_zoned(TimeZone::UTC)
            .map_err(|error| Error::Failed(error.to_string()))?
            .timestamp();
        if now < after(since, self.unused_for) {
            return Ok(());
        }
        let kept_from = now
            .checked_sub(self.unused_for)
            .map_err(|error| Error::Failed(error.to_string()))?;
        let mut mounted: HashMap<String, HashSet<String>> = HashMap::new();
        for secret in self
            .secrets
            .list()
            .iter()
            .filter(|secret| is_out_of_use(secret, kept_from) && self.made_by_itself(secret))
        {
            let key = Key::of(&secret.metadata);
            if !mounted.contains_key(key.namespace()) {
                mounted.insert(
                    key.namespace().to_string(),
                    self.named_by_pods(key.namespace()).await?,
                );
            }
            if mounted[key.namespace()].contains(key.name()) {
                continue;
            }
            if let Err(error) = self.take(secret, &key, step(secret, kept_from), now).await {
                tracing::warn!(secret = %key, %error, "a legacy token is not cleaned up");
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        secret: &Secret,
        key: &Key,
        step: Step,
        now: Timestamp,
    ) -> Result<(), Error> {
        match step {
            Step::Leave => Ok(()),
            Step::Mark => {
                let patch = json!({"metadata": {"uid": secret.metadata.uid, "labels": {INVALID_SINCE: date(now).to_string()}}});
                self.api
                    .patch(
                        &item::<Secret>(key.namespace(), key.name()),
                        PatchType::Merge,
                        &patch,
                    )
                    .await
                    .map(drop)
            }
            Step::Delete => {
                let unchanged = Delete {
                    resource_version: secret.metadata.resource_version.clone(),
                    ..Delete::default()
                };
                match self.api.delete::<Secret>(key, &unchanged).await {
                    Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
                    other => other,
                }
            }
        }
    }

    async fn tracked_since(&self) -> Result<Date, Error> {
        let map: ConfigMap = self.api.get("kube-system", TRACKING).await?;
        let since = map
            .data
            .as_ref()
            .and_then(|data| data.get("since"))
            .ok_or_else(|| failed!("{TRACKING} does not say since when"))?;
        since
            .parse()
            .map_err(|error| failed!("{TRACKING}: {error}"))
    }

    /// Whether the secret's account names it: those were made with the account, not by a person.
    fn made_by_itself(&self, secret: &Secret) -> bool {
        let annotation = |name: &str| secret.metadata.annotation(name).unwrap_or("");
        let key = Key::new(secret.metadata.namespace(), annotation(ACCOUNT_NAME));
        let Some(account) = self.accounts.get(&key) else {
            return false;
        };
        let same =
            annotation(ACCOUNT_UID).is_empty() || is_of(secret, key.name(), account.metadata.uid());
        same && account
            .secrets
            .iter()
            .flatten()
            .any(|reference| reference.name == secret.metadata.name)
    }

    /// From the server: the cache's pods have lost their environment.
    async fn named_by_pods(&self, namespace: &str) -> Result<HashSet<String>, Error> {
        let path = collection::<Pod>(namespace);
        named_in_list(&path, &self.reader.get_text(&path).await?)
    }
}

/// The secrets that a list of pods names. A list that cannot be read names not none: it is an error.
fn named_in_list(path: &str, list: &str) -> Result<HashSet<String>, Error> {
    let pods: Vec<Value> = Page::of(path, list)?.read(path)?;
    let mut names = HashSet::new();
    pods.iter()
        .for_each(|pod| named_in(pod.at("spec"), &mut names));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_does_not_name_nobody() {
        let named = |list: &str| named_in_list("pods", list).map(|names| names.len()).ok();
        let pod = r#"{"spec": {"volumes": [{"secret": {"secretName": "a"}}]}}"#;
        for (list, count) in [
            (format!(r#"{{"items": [{pod}, {pod}]}}"#), Some(1)),
            (r#"{"items": null}"#.into(), Some(0)),
            (r#"{"items": {"a": 1}}"#.into(), None),
            (r#"{"items": [{"spec": {}}, {]}"#.into(), None),
            ("null".into(), None),
            ("<html>".into(), None),
        ] {
            assert_eq!(named(&list), count, "{list}");
        }
    }

    #[test]
    fn who_is_out_of_use() {
        let kept_from: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let secret = |made: &str, labels: Value| -> Secret {
            serde_json::from_value(
                json!({"type": TYPE, "metadata": {"creationTimestamp": made, "labels": labels}}),
            )
            .unwrap()
        };
        let old = "2025-01-01T00:00:00Z";
        #[rustfmt::skip]
        let cases = [
            (secret(old, json!({})), Some(Step::Mark)),
            (secret("2026-01-02T03:04:05Z", json!({})), None),
            (secret(old, json!({LAST_USED: "2026-01-01"})), Some(Step::Mark)),
            (secret(old, json!({LAST_USED: "2026-01-02"})), None),
            (secret(old, json!({LAST_USED: "lately"})), None),
            (secret(old, json!({INVALID_SINCE: "2026-01-02"})), Some(Step::Leave)),
            (secret(old, json!({INVALID_SINCE: "2026-01-01"})), Some(Step::Delete)),
            (secret(old, json!({INVALID_SINCE: "once"})), Some(Step::Mark)),
            (Secret { type_: Some("Opaque".into()),..secret(old, json!({})) }, None),
        ];
        for (secret, expected) in cases {
            let found = is_out_of_use(&secret, kept_from).then(|| step(&secret, kept_from));
            assert_eq!(found, expected, "{secret:?}");
        }
    }

    #[test]
    fn secrets_that_pods_name() {
        let spec = json!({"imagePullSecrets": [{"name": "pull"}], "serviceAccountName": "no",
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key", "key": "no"}}}], "envFrom": [{"secretRef": {"name": "from"}}]}],
            "volumes": [{"secret": {"secretName": "volume"}}, {"projected": {"sources": [{"secret": {"name": "projected"}}]}},
                {"csi": {"nodePublishSecretRef": {"name": "csi"}}}, {"azureFile": {"secretName": "azure"}}, {"configMap": {"name": "no"}}]});
        let mut names = HashSet::new();
        named_in(&spec, &mut names);
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        assert_eq!(
            names,
            ["azure", "csi", "from", "key", "projected", "pull", "volume"]
        );
    }
}
