//! The tokens controller: a secret of type `kubernetes.io/service-account-token` gets its account's token, the authority's certificate and the
//! namespace, and goes with its account; an account forgets secrets that are gone.
//!
//! Invariant: a token is made for the account that is there, by uid; a secret whose account is not there is deleted, unless its uid says that it is
//! another one by now. Follows pkg/controller/serviceaccount/tokens_controller.go.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{options::TokenSigner, prelude::*};

pub const TYPE: &str = "kubernetes.io/service-account-token";
pub const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

struct Controller {
    api: Api,
    sign: TokenSigner,
    root_ca: Vec<u8>,
    accounts: Informer<ServiceAccount>,
    secrets: Informer<Secret>,
}

/// What is looked at. It bears what a deleted object was, because it cannot be looked up any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    Account {
        key: Key,
        uid: String,
    },
    Secret {
        key: Key,
        uid: String,
        account: String,
        account_uid: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Account { key, .. } => write!(f, "serviceaccount {key}"),
            Subject::Secret { key, .. } => write!(f, "secret {key}"),
        }
    }
}

fn uid(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}

fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> &'a str {
    meta.annotations
        .as_ref()
        .and_then(|all| all.get(name))
        .map_or("", String::as_str)
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE)
}

/// Whether the secret is that account's, by name and, where it says so, by uid.
pub fn is_of(secret: &Secret, name: &str, account_uid: &str) -> bool {
    let said = annotation(&secret.metadata, ACCOUNT_UID);
    is_token(secret)
        && annotation(&secret.metadata, ACCOUNT_NAME) == name
        && (said.is_empty() || said == account_uid)
}

/// `serviceaccount-token-controller`; has nothing to do without a key to sign with.
pub fn start(context: &Context) -> Result<Work, Error> {
    let Some(sign) = context.options.token_signer.clone() else {
        return Ok(None);
    };
    let c = context.wire(
        "serviceaccount_tokens_service",
        Controller {
            api: context.api.clone(),
            sign,
            root_ca: context
                .options
                .root_ca_pem
                .clone()
                .unwrap_or_default()
                .into_bytes(),
            accounts: context.informer(),
            secrets: context.informer(),
        },
    );
    c.on(&c.accounts, |_, change, queue| {
        let meta = &change.object().metadata;
        queue.add(Subject::Account {
            key: Key::of(meta),
            uid: uid(meta),
        });
    });
    c.on(&c.secrets, |_, change, queue| {
        let (secret, meta) = (change.object(), &change.object().metadata);
        if is_token(secret) {
            queue.add(Subject::Secret {
                key: Key::of(meta),
                uid: uid(meta),
                account: annotation(meta, ACCOUNT_NAME).to_string(),
                account_uid: annotation(meta, ACCOUNT_UID).to_string(),
            });
        }
    });
    Ok(c.workers())
}

impl Controller {
    fn known_account(
        &self,
        namespace: &str,
        name: &str,
        wanted_uid: &str,
    ) -> Option<Arc<ServiceAccount>> {
        self.accounts
            .get(&Key::new(namespace, name))
            .filter(|account| wanted_uid.is_empty() || uid(&account.metadata) == wanted_uid)
    }

    /// From the cache, else from the server: a secret may have come before its account was seen.
    async fn account(
        &self,
        namespace: &str,
        name: &str,
        wanted_uid: &str,
    ) -> Result<Option<Arc<ServiceAccount>>, Error> {
        if let Some(account) = self.known_account(namespace, name, wanted_uid) {
            return Ok(Some(account));
        }
        let live = unless_gone(self.api.get::<ServiceAccount>(namespace, name).await)?;
        Ok(live
            .filter(|account| wanted_uid.is_empty() || uid(&account.metadata) == wanted_uid)
            .map(Arc::new))
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), Error> {
        match self.api.delete::<Secret>(key, &Delete::of_uid(uid)).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other,
        }
    }

    /// The account is gone: so are its tokens.
    async fn account_gone(&self, key: &Key, account_uid: &str) -> Result<(), Error> {
        let secrets = self.secrets.in_namespace(key.namespace());
        let own = secrets
            .iter()
            .filter(|secret| is_of(secret, key.name(), account_uid));
        let deletions = own.map(|secret| async {
            self.delete(&Key::of(&secret.metadata), &uid(&secret.metadata))
                .await
        });
        Error::collect(
            futures::future::join_all(deletions)
                .await
                .into_iter()
                .filter_map(Result::err)
                .collect(),
        )
    }

    /// Gives a secret what it lacks.
    async fn fill(
        &self,
        account: &ServiceAccount,
        key: &Key,
        secret_uid: &str,
    ) -> Result<(), Error> {
        // the cache keeps no secret's data
        let Some(mut secret) =
            unless_gone(self.api.get::<Secret>(key.namespace(), key.name()).await)?
        else {
            return Ok(());
        };
        if uid(&secret.metadata) != secret_uid || !is_token(&secret) {
            return Ok(());
        }
        if !complete(&mut secret, account, &self.root_ca, &self.sign)? {
            return Ok(());
        }
        match self.api.update(&secret).await {
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// The secret is gone: its account does not name it any more.
    async fn secret_gone(&self, key: &Key, account: &str, account_uid: &str) -> Result<(), Error> {
        if self
            .known_account(key.namespace(), account, account_uid)
            .is_none()
        {
            return Ok(());
        }
        let Some(mut live) = unless_gone(
            self.api
                .get::<ServiceAccount>(key.namespace(), account)
                .await,
        )?
        else {
            return Ok(());
        };
        let names = |account: &ServiceAccount| {
            account
                .secrets
                .iter()
                .flatten()
                .any(|reference| reference.name.as_deref() == Some(key.name()))
        };
        if !account_uid.is_empty() && uid(&live.metadata) != account_uid || !names(&live) {
            return Ok(());
        }
        if let Some(secrets) = &mut live.secrets {
            secrets.retain(|reference| reference.name.as_deref() != Some(key.name()));
        }
        unless_gone(self.api.update(&live).await).map(drop)
    }
}

/// Adds what a token's secret lacks; false when it lacks nothing.
fn complete(
    secret: &mut Secret,
    account: &ServiceAccount,
    root_ca: &[u8],
    sign: &TokenSigner,
) -> Result<bool, Error> {
    let (namespace, name) = (
        secret.metadata.namespace.clone().unwrap_or_default(),
        secret.metadata.name.clone().unwrap_or_default(),
    );
    let data = secret.data.get_or_insert_with(BTreeMap::new);
    let lacks = |data: &BTreeMap<String, ByteString>, key: &str| {
        data.get(key).is_none_or(|value| value.0.is_empty())
    };
    let ca = !root_ca.is_empty() && data.get("ca.crt").is_none_or(|value| value.0 != root_ca);
    let (lacks_namespace, lacks_token) = (lacks(data, "namespace"), lacks(data, "token"));
    if !ca && !lacks_namespace && !lacks_token {
        return Ok(false);
    }
    if ca {
        data.insert("ca.crt".into(), ByteString(root_ca.to_vec()));
    }
    if lacks_namespace {
        data.insert("namespace".into(), ByteString(namespace.into_bytes()));
    }
    if lacks_token {
        let token = sign(&account.metadata, &name)
            .map_err(|why| failed!("cannot make the token of secret {name}: {why}"))?;
        data.insert("token".into(), ByteString(token.into_bytes()));
    }
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(
        ACCOUNT_NAME.into(),
        account.metadata.name.clone().unwrap_or_default(),
    );
    annotations.insert(ACCOUNT_UID.into(), uid(&account.metadata));
    Ok(true)
}

impl Reconcile<Subject> for Controller {
    const NAME: &'static str = "serviceaccount-token-controller";

    async fn reconcile(&self, subject: &Subject) -> Result<Next, Error> {
        match subject {
            Subject::Account { key, uid: wanted } => {
                if self
                    .known_account(key.namespace(), key.name(), wanted)
                    .is_none()
                {
                    self.account_gone(key, wanted).await?;
                }
            }
            Subject::Secret {
                key,
                uid: wanted,
                account,
                account_uid,
            } => {
                if self
                    .secrets
                    .get(key)
                    .is_none_or(|secret| uid(&secret.metadata) != *wanted)
                {
                    self.secret_gone(key, account, account_uid).await?;
                } else {
                    match self.account(key.namespace(), account, account_uid).await? {
                        None => self.delete(key, wanted).await?,
                        Some(account) => self.fill(&account, key, wanted).await?,
                    }
                }
            }
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(data: serde_json::Value, annotations: serde_json::Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "annotations": annotations}, "type": TYPE, "data": data})).unwrap()
    }

    #[test]
    fn whose_a_secret_is() {
        let named = |uid: &str| secret(json!({}), json!({ACCOUNT_NAME: "a", ACCOUNT_UID: uid}));
        assert!(is_of(&named("u"), "a", "u") && is_of(&named(""), "a", "u"));
        assert!(!is_of(&named("v"), "a", "u") && !is_of(&named("u"), "b", "u"));
        let other = Secret {
            type_: Some("Opaque".into()),
            ..named("u")
        };
        assert!(!is_of(&other, "a", "u"));
    }

    #[test]
    fn what_a_secret_lacks() {
        let sign: TokenSigner = Arc::new(|account, secret| {
            Ok(format!(
                "token of {} in {secret}",
                account.uid.as_deref().unwrap_or("")
            ))
        });
        let account: ServiceAccount = serde_json::from_value(
            json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}}),
        )
        .unwrap();
        let text = |secret: &Secret, key: &str| {
            String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
        };
        let mut bare = secret(json!({}), json!({ACCOUNT_NAME: "a"}));
        assert!(complete(&mut bare, &account, b"ca", &sign).unwrap());
        assert_eq!(
            (
                text(&bare, "token"),
                text(&bare, "ca.crt"),
                text(&bare, "namespace")
            ),
            ("token of u in s".into(), "ca".into(), "n".into())
        );
        assert_eq!(annotation(&bare.metadata, ACCOUNT_UID), "u");
        assert!(
            !complete(&mut bare, &account, b"ca", &sign).unwrap(),
            "nothing is lacking now"
        );
        assert!(complete(&mut bare, &account, b"another ca", &sign).unwrap());
        assert_eq!(
            (text(&bare, "token"), text(&bare, "ca.crt")),
            ("token of u in s".into(), "another ca".into()),
            "a token stays"
        );
        let refuses: TokenSigner = Arc::new(|_, _| Err("no key".into()));
        assert!(complete(&mut secret(json!({}), json!({})), &account, b"", &refuses).is_err());
    }
}
