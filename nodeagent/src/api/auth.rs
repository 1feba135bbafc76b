//! Who may ask the node for what.
//!
//! Invariant: nobody is let in without a certificate of the client authority or a token that the API server vouches for, and only for what the API
//! server's authorizer allows.
//! Follows `pkg/kubelet/server/auth.go` and its delegating authenticator and authorizer.

use std::{collections::HashMap, time::Duration};

use axum::http::Method;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use parking_lot::Mutex;
use skiff_watching::{Error, api::Api};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::time::Instant;

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
    pub uid: String,
}

/// The subject of a client certificate that TLS has verified: its common name and organizations.
pub fn of_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    groups.push("system:authenticated".to_owned());
    (!name.is_empty()).then_some(User {
        name,
        groups,
        uid: String::new(),
    })
}

/// What a request needs to be allowed: the verb, and the subresources of the node any one of which suffices.
pub fn needed(method: &Method, path: &str) -> (&'static str, Vec<&'static str>) {
    let verb = match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "GET" => "get",
        _ => "",
    };
    let below = |prefix: &str| {
        path == prefix
            || path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let subresources = match () {
        () if below("/stats") => vec!["stats"],
        () if below("/metrics") => vec!["metrics"],
        () if below("/logs") => vec!["log"],
        () if below("/checkpoint") => vec!["checkpoint"],
        () if below("/statusz") => vec!["statusz"],
        () if below("/flagz") => vec!["configz"],
        () if below("/configz") => vec!["configz", "proxy"],
        () if below("/pods") || below("/runningpods") => vec!["pods", "proxy"],
        () if below("/healthz") => vec!["healthz", "proxy"],
        () => vec!["proxy"],
    };
    (verb, subresources)
}

pub(super) const ALLOWED_FOR: Duration = Duration::from_secs(300);
pub(super) const DENIED_FOR: Duration = Duration::from_secs(30);
pub(super) const TOKEN_FOR: Duration = Duration::from_secs(120);
const REMEMBERED: usize = 1024;

type Question = (User, &'static str, &'static str);

/// Asks the API server, and remembers its answers for a while.
pub struct Guard {
    api: Api,
    node: String,
    verdicts: Mutex<HashMap<Question, (bool, Instant)>>,
    tokens: Mutex<HashMap<String, (User, Instant)>>,
}

impl Guard {
    pub fn new(api: Api, node: String) -> Self {
        Self {
            api,
            node,
            verdicts: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// Whose token this is; `None` when the API server does not vouch for it.
    pub async fn of_token(&self, token: &str) -> Result<Option<User>, Error> {
        if let Some((user, _)) = self
            .tokens
            .lock()
            .get(token)
            .filter(|(_, until)| *until > Instant::now())
        {
            return Ok(Some(user.clone()));
        }
        let spec = TokenReviewSpec {
            token: token.to_owned(),
            audiences: None,
        };
        let review = TokenReview {
            spec,
            ..Default::default()
        };
        let answer = self.api.create(&review).await?;
        let status = answer
            .status
            .filter(|status| status.authenticated == Some(true));
        let user = status.and_then(|status| status.user).map(|user| User {
            name: user.username.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
        });
        if let Some(user) = &user {
            let mut tokens = self.tokens.lock();
            tokens.retain(|_, (_, until)| *until > Instant::now());
            if tokens.len() < REMEMBERED {
                tokens.insert(token.to_owned(), (user.clone(), Instant::now() + TOKEN_FOR));
            }
        }
        Ok(user)
    }

    /// Whether the user may do this to the node.
    pub async fn allows(&self, user: &User, method: &Method, path: &str) -> Result<bool, Error> {
        if user.groups.iter().any(|group| group == "system:masters") {
            return Ok(true);
        }
        let (verb, subresources) = needed(method, path);
        for subresource in subresources {
            if self.verdict(user, verb, subresource).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn verdict(
        &self,
        user: &User,
        verb: &'static str,
        subresource: &'static str,
    ) -> Result<bool, Error> {
        let question = (user.clone(), verb, subresource);
        if let Some((allowed, _)) = self
            .verdicts
            .lock()
            .get(&question)
            .filter(|(_, until)| *until > Instant::now())
        {
            return Ok(*allowed);
        }
        let attributes = ResourceAttributes {
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(self.node.clone()),
            verb: Some(verb.to_owned()),
            ..Default::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            groups: Some(user.groups.clone()),
            uid: (!user.uid.is_empty()).then(|| user.uid.clone()),
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = SubjectAccessReview {
            spec,
            ..Default::default()
        };
        let answer = self.api.create(&review).await?;
        let allowed = answer
            .status
            .is_some_and(|status| status.allowed && status.denied != Some(true));
        let mut verdicts = self.verdicts.lock();
        if verdicts.len() >= REMEMBERED {
            verdicts.clear();
        }
        verdicts.insert(
            question,
            (
                allowed,
                Instant::now() + if allowed { ALLOWED_FOR } else { DENIED_FOR },
            ),
        );
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let table = [
            ("GET", "/containerLogs/n/p/c", "get", vec!["proxy"]),
            ("POST", "/exec/n/p/c", "create", vec!["proxy"]),
            ("GET", "/stats/summary", "get", vec!["stats"]),
            ("GET", "/statsx", "get", vec!["proxy"]),
            ("GET", "/metrics/resource", "get", vec!["metrics"]),
            ("GET", "/pods", "get", vec!["pods", "proxy"]),
            ("GET", "/runningpods/", "get", vec!["pods", "proxy"]),
            ("GET", "/configz", "get", vec!["configz", "proxy"]),
            ("GET", "/flagz", "get", vec!["configz"]),
            ("HEAD", "/healthz", "", vec!["healthz", "proxy"]),
            ("OPTIONS", "/pods", "", vec!["pods", "proxy"]),
        ];
        for (method, path, verb, subresources) in table {
            assert_eq!(
                needed(&method.parse().unwrap(), path),
                (verb, subresources),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn certificates_name_their_user() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "kube-apiserver");
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "system:masters");
        let certificate = parameters
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap();
        let user = of_certificate(certificate.der()).unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            (
                "kube-apiserver",
                vec![
                    "system:masters".to_owned(),
                    "system:authenticated".to_owned()
                ]
            )
        );
        assert_eq!(of_certificate(b"rubbish"), None);
    }
}
