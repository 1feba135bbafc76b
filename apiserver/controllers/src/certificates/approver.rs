//! Approves what nodes may ask for: client certificates by SubjectAccessReview, and, beyond upstream, serving certificates of their own names.
//!
//! Invariant: a request that is not recognized, or whose requester is not allowed, is left alone for an administrator. Follows
//! pkg/controller/certificates/approver/sarapprove.go; the serving certificates are ours (docs/differences.md).

use std::net::IpAddr;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::CertificateSigningRequest,
    core::v1::{Node, Service},
};

use super::{
    APPROVED, CLIENT, DENIED, KUBELET_CLIENT, SERVING,
    checks::{self, NODE_PREFIX},
    condition, has, is_issued,
    request::Request,
    with_condition,
};
use crate::prelude::*;
use skiff_api::machinery::quote::GoQuoted;

/// The permissions by which client certificates are approved, in order: for the requester itself, and for any node.
const PERMISSIONS: [(&str, &str); 2] = [
    (
        "selfnodeclient",
        "Auto approving self kubelet client certificate after SubjectAccessReview.",
    ),
    (
        "nodeclient",
        "Auto approving kubelet client certificate after SubjectAccessReview.",
    ),
];
/// The permission by which one of a node's own is approved who serves Ingresses there.
const INGRESS_PERMISSION: [(&str, &str); 1] = [(
    "selfingressclient",
    "Auto approving ingress client certificate after SubjectAccessReview.",
)];
/// The group of those who serve Ingresses; each is called so, with its node's name.
const INGRESS: &str = "skiff:ingress";
const SERVING_MESSAGE: &str = "Auto approving kubelet serving certificate of the node's own names.";

struct Controller {
    api: Api,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    services: Informer<Service>,
}

/// `certificatesigningrequest-approving-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "certificate",
        Controller {
            api: context.api.clone(),
            requests: context.informer(),
            nodes: context.informer(),
            services: context.informer(),
        },
    );
    // a request may come before its node says where it is
    c.each_there(&c.requests);
    c.on(&c.nodes, |c, change, queue| {
        let moved = match change {
            Change::Added(_) => true,
            Change::Updated { old, new } => !addresses(old).eq(addresses(new)),
            Change::Deleted(_) => false,
        };
        let user = format!("{NODE_PREFIX}{}", change.object().metadata.name());
        let waiting = |request: &Arc<CertificateSigningRequest>| {
            request.spec.username.as_deref() == Some(&user)
                && request.spec.signer_name == SERVING
                && !is_decided(request)
        };
        if moved {
            wake(queue, c.requests.list().into_iter().filter(waiting));
        }
    });
    Ok(c.workers())
}

/// Approved, denied, or signed already.
fn is_decided(request: &CertificateSigningRequest) -> bool {
    is_issued(request) || has(request, APPROVED) || has(request, DENIED)
}

fn passes(request: &CertificateSigningRequest, signer: &str, parsed: &Request) -> bool {
    let usages = request.spec.usages.as_deref().unwrap_or(&[]);
    request.spec.signer_name == signer
        && matches!(checks::check(signer, parsed, usages), Some(Ok(())))
}

/// Whether a node asks for the one on it who serves Ingresses.
fn is_ingress(request: &CertificateSigningRequest, parsed: &Request) -> bool {
    let user = request.spec.username.as_deref().unwrap_or_default();
    user.strip_prefix(NODE_PREFIX)
        .is_some_and(|node| !node.is_empty() && parsed.common_name == format!("{INGRESS}:{node}"))
        && parsed.organizations == [INGRESS]
        && is_of_node(request)
        && passes(request, CLIENT, parsed)
}

/// Which of [`PERMISSIONS`], or whether [`INGRESS_PERMISSION`], a request may be approved by.
fn recognized(
    request: &CertificateSigningRequest,
    parsed: &Request,
) -> &'static [(&'static str, &'static str)] {
    if is_ingress(request, parsed) {
        return &INGRESS_PERMISSION;
    }
    let own = request.spec.username.as_deref() == Some(parsed.common_name.as_str());
    match (passes(request, KUBELET_CLIENT, parsed), own) {
        (false, _) => &[],
        (true, true) => &PERMISSIONS,
        (true, false) => &PERMISSIONS[1..],
    }
}

/// Names and addresses that a node's status tells.
fn addresses(node: &Node) -> impl Iterator<Item = (&str, &str)> {
    node.status()
        .addresses
        .iter()
        .flatten()
        .map(|address| (address.type_.as_str(), address.address.as_str()))
}

fn name(node: &Node) -> &str {
    node.metadata.name()
}

/// The types of a node's addresses that are names.
const NAMES: [&str; 3] = ["Hostname", "InternalDNS", "ExternalDNS"];

/// Names by which services and the API server itself are known: no node is called so.
fn is_service_name(dns: &str) -> bool {
    let dns = dns.trim_end_matches('.').to_ascii_lowercase();
    dns == "kubernetes"
        || dns.starts_with("kubernetes.")
        || dns.ends_with(".svc")
        || dns.contains(".svc.")
        || dns.contains('*')
}

/// Whether all names are the requesting node's own, by its Node object, and nobody else's: what another node or a service is reached by is not.
fn only_own_names(
    node_name: &str,
    parsed: &Request,
    nodes: &[Arc<Node>],
    services: &[Arc<Service>],
) -> bool {
    let (own, others): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| name(node) == node_name);
    let told = |kinds: &[&str], text: &str| {
        own.iter()
            .flat_map(|node| addresses(node))
            .any(|(type_, address)| kinds.contains(&type_) && address == text)
    };
    let is_others = |text: &str| {
        others
            .iter()
            .any(|node| name(node) == text || addresses(node).any(|(_, address)| address == text))
    };
    let is_ip = |text: &str, ip: &IpAddr| text.parse::<IpAddr>().is_ok_and(|other| other == *ip);
    let has_ip = |nodes: &[&Arc<Node>], ip: &IpAddr| {
        nodes
            .iter()
            .flat_map(|node| addresses(node))
            .any(|(_, address)| is_ip(address, ip))
    };
    let is_service_ip = |ip: &IpAddr| {
        let specs = services.iter().filter_map(|service| service.spec.as_ref());
        specs
            .flat_map(|spec| spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip))
            .any(|text| is_ip(text, ip))
    };
    let dns_ok = |dns: &String| {
        (dns == node_name || told(&NAMES, dns)) && !is_others(dns) && !is_service_name(dns)
    };
    let ip_ok = |ip: &IpAddr| {
        has_ip(&own, ip)
            && !has_ip(&others, ip)
            && !is_service_ip(ip)
            && !ip.is_unspecified()
            && !ip.is_multicast()
    };
    !own.is_empty() && parsed.dns.iter().all(dns_ok) && parsed.ips.iter().all(ip_ok)
}

/// Whether whoever asks is in the group of nodes.
fn is_of_node(request: &CertificateSigningRequest) -> bool {
    let mut groups = request.spec.groups.iter().flatten();
    groups.any(|group| group == "system:nodes")
}

/// The node that asks for a serving certificate for itself.
fn serving_node<'a>(request: &'a CertificateSigningRequest, parsed: &Request) -> Option<&'a str> {
    let user = request.spec.username.as_deref()?;
    let node = user
        .strip_prefix(NODE_PREFIX)
        .filter(|node| !node.is_empty())?;
    (is_of_node(request) && user == parsed.common_name && passes(request, SERVING, parsed))
        .then_some(node)
}

impl Controller {
    async fn is_allowed(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
    ) -> Result<bool, Error> {
        let text = |text: &str| Some(text.to_string());
        let attributes = ResourceAttributes {
            group: text("certificates.k8s.io"),
            resource: text("certificatesigningrequests"),
            verb: text("create"),
            subresource: text(subresource),
            version: text("*"),
            ..Default::default()
        };
        let (user, uid, groups, extra) = (
            request.spec.username.clone(),
            request.spec.uid.clone(),
            request.spec.groups.clone(),
            request.spec.extra.clone(),
        );
        let spec = SubjectAccessReviewSpec {
            user,
            uid,
            groups,
            extra,
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let answer = self
            .api
            .create(&SubjectAccessReview {
                spec,
                ..Default::default()
            })
            .await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn approve(
        &self,
        request: &CertificateSigningRequest,
        message: &str,
    ) -> Result<Next, Error> {
        let new = with_condition(
            request,
            condition(APPROVED, "AutoApproved", message.to_string()),
        );
        let path = item::<CertificateSigningRequest>("", request.metadata.name()) + "/approval";
        self.api.put(&path, &new).await?;
        Ok(Next::DONE)
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "certificatesigningrequest-approving-controller";
    const RETRY: Retry = super::RETRY;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else {
            return Ok(Next::DONE);
        };
        if is_decided(&request) {
            return Ok(Next::DONE);
        }
        let parsed = Request::parse(&request.spec.request.0)
            .map_err(|error| failed!("unable to parse csr {}: {error}", GoQuoted(&key.name())))?;
        if let Some(node) = serving_node(&request, &parsed) {
            return match only_own_names(node, &parsed, &self.nodes.list(), &self.services.list()) {
                true => self.approve(&request, SERVING_MESSAGE).await,
                false => Ok(Next::DONE),
            };
        }
        let permissions = recognized(&request, &parsed);
        for (permission, message) in permissions {
            if self.is_allowed(&request, permission).await? {
                return self.approve(&request, message).await;
            }
        }
        if permissions.is_empty() {
            return Ok(Next::DONE);
        }
        let tried: Vec<_> = permissions
            .iter()
            .map(|(permission, _)| *permission)
            .collect();
        Err(failed!(
            "recognized csr {} as [{}] but subject access review was not approved",
            GoQuoted(&key.name()),
            tried.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequestSpec};
    use serde_json::json;

    use super::{super::request::tests::pem, *};

    fn request(
        signer: &str,
        user: &str,
        usage: &str,
        pem: Vec<u8>,
    ) -> (CertificateSigningRequest, Request) {
        let parsed = Request::parse(&pem).unwrap();
        let spec = CertificateSigningRequestSpec {
            signer_name: signer.into(),
            username: Some(user.into()),
            groups: Some(vec!["system:nodes".into(), "system:authenticated".into()]),
            usages: Some(vec![usage.into(), "digital signature".into()]),
            request: ByteString(pem),
            ..Default::default()
        };
        (
            CertificateSigningRequest {
                spec,
                ..Default::default()
            },
            parsed,
        )
    }

    #[test]
    fn client_certificates() {
        let nodes: &[&str] = &["system:nodes"];
        #[rustfmt::skip]
        let cases = [
            (KUBELET_CLIENT, "system:node:n", nodes, &["selfnodeclient", "nodeclient"][..]),
            (KUBELET_CLIENT, "system:bootstrap:abcdef", nodes, &["nodeclient"]),
            (KUBELET_CLIENT, "system:node:n", &["system:masters"], &[]),
            ("kubernetes.io/kube-apiserver-client", "system:node:n", nodes, &[]),
        ];
        for (signer, user, organizations, expected) in cases {
            let (request, parsed) = request(
                signer,
                user,
                "client auth",
                pem("system:node:n", organizations, &[]),
            );
            let found: Vec<_> = recognized(&request, &parsed)
                .iter()
                .map(|(permission, _)| *permission)
                .collect();
            assert_eq!(found, expected, "{signer} {user}");
        }
    }

    #[test]
    fn certificates_of_those_who_serve_ingresses() {
        let (n, client) = ("system:node:n", "kubernetes.io/kube-apiserver-client");
        let group: &[&str] = &["skiff:ingress"];
        for (signer, user, name, groups, usage, expected) in [
            (client, n, "skiff:ingress:n", group, "client auth", true),
            (client, n, "skiff:ingress:m", group, "client auth", false),
            (client, n, "skiff:ingress:", group, "client auth", false),
            (
                client,
                "system:node:",
                "skiff:ingress:",
                group,
                "client auth",
                false,
            ),
            (
                client,
                "jane",
                "skiff:ingress:n",
                group,
                "client auth",
                false,
            ),
            (client, n, "kubernetes-admin", group, "client auth", false),
            (
                client,
                n,
                "skiff:ingress:n",
                &["system:masters"],
                "client auth",
                false,
            ),
            (
                client,
                n,
                "skiff:ingress:n",
                &["skiff:ingress", "system:masters"],
                "client auth",
                false,
            ),
            (client, n, "skiff:ingress:n", &[], "client auth", false),
            (client, n, "skiff:ingress:n", group, "server auth", false),
            (SERVING, n, "skiff:ingress:n", group, "client auth", false),
            (
                KUBELET_CLIENT,
                n,
                "skiff:ingress:n",
                group,
                "client auth",
                false,
            ),
        ] {
            let (mut request, parsed) = request(signer, user, usage, pem(name, groups, &[]));
            let found = recognized(&request, &parsed);
            assert_eq!(
                found == INGRESS_PERMISSION,
                expected,
                "{signer} {user} {name} {groups:?}"
            );
            request.spec.groups = None;
            assert!(recognized(&request, &parsed).is_empty());
        }
    }

    #[test]
    fn serving_certificates() {
        let node = |name: &str, host: &str, ip: &str| {
            let addresses = json!([{"type": "Hostname", "address": host}, {"type": "InternalIP", "address": ip}]);
            Arc::new(
                serde_json::from_value::<Node>(
                    json!({"metadata": {"name": name}, "status": {"addresses": addresses}}),
                )
                .unwrap(),
            )
        };
        let nodes = [
            node("n", "n.example", "10.0.0.1"),
            node("m", "m.example", "10.0.0.2"),
            node("liar", "m", "10.0.0.3"),
            node("kubernetes", "x", "10.0.0.4"),
        ];
        let services = [Arc::new(
            serde_json::from_value::<Service>(
                json!({"spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}}),
            )
            .unwrap(),
        )];
        let (n, liar) = ("system:node:n", "system:node:liar");
        for (user, common_name, sans, expected) in [
            (n, n, &["dns:n", "ip:10.0.0.1"][..], true),
            (n, n, &["dns:n.example"], true),
            (n, n, &["ip:10.0.0.9"], false),
            (n, n, &["ip:127.0.0.1"], false),
            (n, n, &["dns:n", "ip:10.0.0.1", "ip:10.0.0.9"], false),
            (n, n, &["dns:m"], false),
            (n, n, &["dns:other.example"], false),
            (n, n, &["dns:n", "ip:10.0.0.2"], false),
            (n, n, &["dns:n", "ip:10.96.0.1"], false),
            (n, n, &["dns:n", "ip:0.0.0.0"], false),
            (n, n, &["dns:n", "uri:spiffe://n"], false),
            (liar, liar, &["dns:liar"], true),
            (liar, liar, &["dns:m"], false),
            (
                "system:node:kubernetes",
                "system:node:kubernetes",
                &["dns:kubernetes"],
                false,
            ),
            (
                "system:node:new",
                "system:node:new",
                &["dns:new", "ip:10.0.0.7"],
                false,
            ),
            ("system:node:new", "system:node:new", &["dns:new"], false),
            (n, "system:node:m", &["dns:n"], false),
            ("jane", n, &["dns:n"], false),
        ] {
            let (request, parsed) = request(
                SERVING,
                user,
                "server auth",
                pem(common_name, &["system:nodes"], sans),
            );
            let found = serving_node(&request, &parsed)
                .is_some_and(|node| only_own_names(node, &parsed, &nodes, &services));
            assert_eq!(found, expected, "{user} {common_name} {sans:?}");
        }
        let (mut request, parsed) = request(
            SERVING,
            n,
            "server auth",
            pem(n, &["system:nodes"], &["dns:n"]),
        );
        request.spec.groups = None;
        assert_eq!(serving_node(&request, &parsed), None);
    }
}
