//! ServiceAccount: every pod runs as an account that exists, with its token mounted and its pull secrets.
//!
//! Follows `plugin/pkg/admission/serviceaccount/admission.go`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{meta::Meta, read::Read, status::Status};

use super::plugin::{Attributes, Operation, Plugin, Problem};

const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The seconds that tell the token's issuer to make a long-lived one and to warn where it is used past its hour.
const EXPIRATION: i64 = 3607;
/// How long a pod waits for the account `default` of a namespace that was made a moment ago.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create], "", "pods")
            || attributes.kind.plural == "pods"
                && attributes.kind.group.is_empty()
                && attributes.subresource == "ephemeralcontainers"
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = attributes
            .object
            .as_ref()
            .filter(|_| attributes.operation == Operation::Create)
        else {
            return Ok(());
        };
        if is_mirror(pod) {
            return Ok(());
        }
        let name = account_name(pod).unwrap_or(DEFAULT).to_string();
        let account = account(
            attributes,
            &name,
            if name == DEFAULT {
                PATIENCE
            } else {
                Duration::ZERO
            },
        )
        .await?;
        if let Some(pod) = attributes.object.as_mut() {
            pod["spec"]["serviceAccountName"] = name.as_str().into();
            pod["spec"]["serviceAccount"] = name.into();
            if wants_token(&account, pod) {
                mount_token(pod);
            }
            pull_secrets(&account, pod);
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = &attributes.object else {
            return Ok(());
        };
        if is_mirror(pod) && attributes.operation == Operation::Create {
            return mirror(pod).map_err(|why| attributes.forbidden(why));
        }
        let Some(name) = account_name(pod) else {
            return Err(attributes.forbidden(format_args!(
                "no service account specified for pod {}/{}",
                attributes.namespace,
                pod.name()
            )));
        };
        let account = account(attributes, name, Duration::ZERO).await?;
        if !truthy(
            account["metadata"]["annotations"][ENFORCE]
                .as_str()
                .unwrap_or(""),
        ) {
            return Ok(());
        }
        let ephemeral = attributes.subresource == "ephemeralcontainers";
        allowed_secrets(&account, pod, ephemeral).map_err(|why| attributes.forbidden(why))
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod.at("metadata").at("annotations").get(MIRROR).is_some()
}

/// As Go's `strconv.ParseBool` reads it.
fn truthy(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn account_name(pod: &Value) -> Option<&str> {
    pod.at("spec")
        .text_ptr("serviceAccountName")
        .filter(|name| !name.is_empty())
}

async fn account(
    attributes: &Attributes<'_>,
    name: &str,
    patience: Duration,
) -> Result<Value, Status> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(account) = attributes.look_up("serviceaccounts", attributes.namespace, name)? {
            return Ok(account);
        }
        if tokio::time::Instant::now() >= deadline {
            let namespace = attributes.namespace;
            return Err(attributes.forbidden(format_args!("error looking up service account {namespace}/{name}: serviceaccount {quoted} not found", quoted = GoQuoted(&name))));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the pod says, else what the account says, else yes.
fn wants_token(account: &Value, pod: &Value) -> bool {
    let said = pod
        .at("spec")
        .flag_ptr("automountServiceAccountToken")
        .or(account.flag_ptr("automountServiceAccountToken"));
    said.unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let volumes = pod.at("spec").at("volumes").as_array();
    let existing = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.text_ptr("name"))
        .find(|name| name.starts_with(VOLUME_PREFIX));
    let (name, there) = match existing {
        Some(name) => (name.to_string(), true),
        None => (crate::names::generated(VOLUME_PREFIX), false),
    };
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"]
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            // what is mounted at that place already stays there
            if mounts
                .as_array()
                .is_some_and(|mounts| mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH))
            {
                continue;
            }
            if let Some(mounts) = mounts.as_array_mut() {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
                needed = true;
            }
        }
    }
    if needed && !there {
        let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}});
        if let Some(volumes) = pod["spec"].as_object_mut().and_then(|spec| {
            spec.entry("volumes")
                .or_insert_with(|| json!([]))
                .as_array_mut()
        }) {
            volumes.push(volume);
        }
    }
}

fn pull_secrets(account: &Value, pod: &mut Value) {
    if !pod.at("spec").list("imagePullSecrets").is_empty() {
        return;
    }
    let names: Vec<Value> = account
        .list("imagePullSecrets")
        .iter()
        .map(|secret| json!({"name": secret["name"]}))
        .collect();
    if !names.is_empty() {
        pod["spec"]["imagePullSecrets"] = names.into();
    }
}

/// What a mirror pod may not refer to.
fn mirror(pod: &Value) -> Result<(), Problem> {
    if account_name(pod).is_some() {
        return Err("a mirror pod may not reference service accounts".into());
    }
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let volumes = || pod.at("spec").list("volumes").iter();
    let projections = || volumes().flat_map(|volume| volume.at("projected").list("sources").iter());
    let in_containers = containers(
        pod,
        &["initContainers", "containers", "ephemeralContainers"],
    )
    .any(|(_, c)| secret_names(c).next().is_some());
    let in_volumes = volumes().any(|volume| text(volume.at("secret").at("secretName")))
        || projections().any(|source| source.at("secret").is_object());
    if in_containers || in_volumes || !pod.at("spec").list("imagePullSecrets").is_empty() {
        return Err("a mirror pod may not reference secrets".into());
    }
    if projections().any(|source| source.at("serviceAccountToken").is_object()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections".into());
    }
    Ok(())
}

fn containers<'p>(
    pod: &'p Value,
    lists: &'p [&'p str],
) -> impl Iterator<Item = (&'p str, &'p Value)> {
    lists.iter().flat_map(|list| {
        pod["spec"][*list]
            .as_array()
            .into_iter()
            .flatten()
            .map(move |container| (*list, container))
    })
}

/// The secrets of a container's environment, each with the words that tell where it is named.
fn secret_names(container: &Value) -> impl Iterator<Item = (String, &str)> {
    let single = container.list("env").iter().filter_map(|env| {
        let name = env.at("valueFrom").at("secretKeyRef").text_ptr("name")?;
        Some((format!("envVar {}", env.text("name")), name))
    });
    let whole = container.list("envFrom").iter().filter_map(|from| {
        Some((
            "envFrom".to_string(),
            from.at("secretRef").text_ptr("name")?,
        ))
    });
    single.chain(whole)
}

/// For accounts that say so: a pod refers to no secret that the account does not list.
fn allowed_secrets(account: &Value, pod: &Value, ephemeral: bool) -> Result<(), Problem> {
    let account_name = account.name();
    let listed = |list: &str, name: &str| {
        account[list]
            .as_array()
            .is_some_and(|secrets| secrets.iter().any(|secret| secret.at("name") == name))
    };
    let refused = |place: String| {
        Problem(format!(
            "{place} is not allowed because service account {account_name} does not reference that secret"
        ))
    };
    let check_containers = |list: &str, word: &str| {
        for (_, container) in containers(pod, &[list]) {
            if let Some((place, secret)) =
                secret_names(container).find(|(_, secret)| !listed("secrets", secret))
            {
                let name = container.text("name");
                return Err(refused(format!(
                    "{word} {name} with {place} referencing secret.secretName=\"{secret}\""
                )));
            }
        }
        Ok(())
    };
    if ephemeral {
        return check_containers("ephemeralContainers", "ephemeral container");
    }
    for volume in pod
        .at("spec")
        .list("volumes")
        .iter()
        .filter(|volume| volume.at("secret").is_object())
    {
        let name = volume.at("secret").text("secretName");
        if !listed("secrets", name) {
            return Err(refused(format!("volume with secret.secretName=\"{name}\"")));
        }
    }
    check_containers("initContainers", "init container")?;
    check_containers("containers", "container")?;
    for (index, secret) in pod.at("spec").list("imagePullSecrets").iter().enumerate() {
        let name = secret.text("name");
        if !listed("imagePullSecrets", name) {
            return Err(format!(
                "imagePullSecrets[{index}].name=\"{name}\" is not allowed because service account {account_name} does not reference that imagePullSecret"
            ).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_where_nothing_else_is() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}]}});
        mount_token(&mut pod);
        let volume = pod["spec"]["volumes"][0]["name"]
            .as_str()
            .unwrap()
            .to_string();
        assert!(
            volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5,
            "{volume}"
        );
        assert_eq!(
            pod["spec"]["containers"][0]["volumeMounts"],
            json!([{"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}])
        );
        assert_eq!(
            pod["spec"]["containers"][1]["volumeMounts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn who_says_whether_a_token_is_mounted() {
        for (pod, account, wanted) in [
            (json!(null), json!(null), true),
            (json!(false), json!(true), false),
            (json!(null), json!(false), false),
        ] {
            let pod = json!({"spec": {"automountServiceAccountToken": pod}});
            assert_eq!(
                wants_token(&json!({"automountServiceAccountToken": account}), &pod),
                wanted
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let account = json!({"metadata": {"name": "sa"}, "secrets": [{"name": "yes"}]});
        let env = |secret: &str| json!({"spec": {"containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret}}}]}]}});
        assert_eq!(allowed_secrets(&account, &env("yes"), false), Ok(()));
        assert_eq!(
            allowed_secrets(&account, &env("no"), false).unwrap_err().0,
            "container c with envVar E referencing secret.secretName=\"no\" is not allowed because service account sa does not reference that secret"
        );
        assert!(mirror(&env("no")).is_err());
        assert!(mirror(&json!({"spec": {}})).is_ok());
    }
}
