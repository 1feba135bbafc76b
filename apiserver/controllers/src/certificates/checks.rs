//! What each of Kubernetes' own signers demands of a request.
//!
//! Invariant: the order of the checks and their texts are upstream's, because the first that fails is shown. Follows
//! pkg/apis/certificates/helpers.go and pkg/controller/certificates/signer/signer.go.

use std::collections::BTreeSet;

use super::{CLIENT, KUBELET_CLIENT, LEGACY, SERVING, request::Request};

const NODES_GROUP: &str = "system:nodes";
/// What a node's user name begins with.
pub const NODE_PREFIX: &str = "system:node:";
const SIGNATURE: &str = "digital signature";
const ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

/// Why a signer does not sign a request, in the words that the request's condition shows.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Whether `signer` may sign the request: `None` when it is not one of Kubernetes' own.
pub fn check(signer: &str, request: &Request, usages: &[String]) -> Option<Result<(), Refused>> {
    match signer {
        SERVING => Some(serving(request, usages)),
        KUBELET_CLIENT => Some(kubelet_client(request, usages)),
        CLIENT => Some(client_usages(usages)),
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

fn first(checks: &[(bool, &str)]) -> Result<(), Refused> {
    checks
        .iter()
        .find(|(fails, _)| *fails)
        .map_or(Ok(()), |(_, why)| Err(Refused((*why).to_string())))
}

fn organization(request: &Request) -> (bool, &'static str) {
    (
        request.organizations != [NODES_GROUP],
        "subject organization is not system:nodes",
    )
}

fn common_name(request: &Request) -> (bool, &'static str) {
    (
        !request.common_name.starts_with(NODE_PREFIX),
        "subject common name does not begin with system:node:",
    )
}

/// The usages are these three, or without key encipherment, which only RSA keys need.
fn exact_usages(usages: &[String], auth: &str) -> Result<(), Refused> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::from([SIGNATURE, auth]);
    if given == wanted {
        return Ok(());
    }
    wanted.insert(ENCIPHERMENT);
    if given == wanted {
        return Ok(());
    }
    let wanted = wanted.into_iter().collect::<Vec<_>>().join(" ");
    Err(Refused(format!("usages did not match [{wanted}]")))
}

/// A certificate that a kubelet serves with.
fn serving(request: &Request, usages: &[String]) -> Result<(), Refused> {
    first(&[
        organization(request),
        (
            request.dns.is_empty() && request.ips.is_empty(),
            "DNS or IP subjectAltName is required",
        ),
        (
            !request.emails.is_empty(),
            "Email subjectAltNames are not allowed",
        ),
        (
            !request.uris.is_empty(),
            "URI subjectAltNames are not allowed",
        ),
    ])?;
    exact_usages(usages, SERVER_AUTH)?;
    first(&[common_name(request)])
}

/// A certificate that a kubelet shows to the API server.
fn kubelet_client(request: &Request, usages: &[String]) -> Result<(), Refused> {
    first(&[
        organization(request),
        (
            !request.dns.is_empty(),
            "DNS subjectAltNames are not allowed",
        ),
        (
            !request.emails.is_empty(),
            "Email subjectAltNames are not allowed",
        ),
        (
            !request.ips.is_empty(),
            "IP subjectAltNames are not allowed",
        ),
        (
            !request.uris.is_empty(),
            "URI subjectAltNames are not allowed",
        ),
        common_name(request),
    ])?;
    exact_usages(usages, CLIENT_AUTH)
}

/// A certificate of any client of the API server.
fn client_usages(usages: &[String]) -> Result<(), Refused> {
    if let Some(usage) = usages
        .iter()
        .find(|usage| ![SIGNATURE, ENCIPHERMENT, CLIENT_AUTH].contains(&usage.as_str()))
    {
        return Err(Refused(format!(
            "invalid usage for client certificate: {usage}"
        )));
    }
    if !usages.iter().any(|usage| usage == CLIENT_AUTH) {
        let why = format!("missing required usage for client certificate: {CLIENT_AUTH}");
        return Err(Refused(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(text: &str) -> Vec<String> {
        text.split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(Into::into)
            .collect()
    }

    fn node() -> Request {
        Request {
            common_name: "system:node:n".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        }
    }

    fn dns() -> Request {
        Request {
            dns: vec!["n".into()],
            ..node()
        }
    }

    #[test]
    fn signers_checks() {
        let (client, server) = (KUBELET_CLIENT, SERVING);
        let (c3, s3) = (
            "client auth, digital signature, key encipherment",
            "server auth, digital signature, key encipherment",
        );
        let ip = || Request {
            ips: vec!["10.0.0.1".parse().unwrap()],
            ..node()
        };
        let email = |base: Request| Request {
            emails: vec!["a@b".into()],
            ..base
        };
        let uri = |base: Request| Request {
            uris: vec!["a:b".into()],
            ..base
        };
        let named = |base: Request| Request {
            common_name: "n".into(),
            ..base
        };
        let of = |base: Request, organizations: &[&str]| Request {
            organizations: organizations.iter().map(|s| (*s).into()).collect(),
            ..base
        };
        let no_organization = "subject organization is not system:nodes";
        let no_name = "subject common name does not begin with system:node:";
        #[rustfmt::skip]
        let cases = [
            (client, node(), c3, ""),
            (client, node(), "client auth, digital signature", ""),
            (client, node(), "client auth, client auth, digital signature", ""),
            (client, node(), "client auth", "usages did not match [client auth digital signature key encipherment]"),
            (client, node(), s3, "usages did not match [client auth digital signature key encipherment]"),
            (client, of(node(), &[]), c3, no_organization),
            (client, of(node(), &["system:nodes", "system:masters"]), c3, no_organization),
            (client, dns(), c3, "DNS subjectAltNames are not allowed"),
            (client, email(node()), c3, "Email subjectAltNames are not allowed"),
            (client, ip(), c3, "IP subjectAltNames are not allowed"),
            (client, uri(node()), c3, "URI subjectAltNames are not allowed"),
            (client, named(node()), "", no_name),
            (server, dns(), s3, ""),
            (server, ip(), "server auth, digital signature", ""),
            (server, node(), s3, "DNS or IP subjectAltName is required"),
            (server, of(node(), &["x"]), s3, no_organization),
            (server, email(dns()), s3, "Email subjectAltNames are not allowed"),
            (server, uri(dns()), s3, "URI subjectAltNames are not allowed"),
            (server, named(dns()), c3, "usages did not match [digital signature key encipherment server auth]"),
            (server, named(dns()), s3, no_name),
            (CLIENT, dns(), "client auth", ""),
            (CLIENT, node(), c3, ""),
            (CLIENT, node(), "client auth, server auth", "invalid usage for client certificate: server auth"),
            (CLIENT, node(), "digital signature", "missing required usage for client certificate: client auth"),
            (LEGACY, uri(dns()), "code signing", ""),
        ];
        for (signer, request, usage, expected) in cases {
            let found = check(signer, &request, &usages(usage))
                .unwrap()
                .map_or_else(|refused| refused.to_string(), |()| String::new());
            assert_eq!(found, expected, "{signer} {request:?} {usage}");
        }
        assert!(check("example.com/mine", &node(), &[]).is_none());
    }
}
