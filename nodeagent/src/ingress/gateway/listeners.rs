//! What each listener of a gateway is worth: whether it can be served, by which port and certificates, for which hosts.
//!
//! Invariant: pure. Of gateways that want the same the older has it. What is not known how to serve is not served in another way.
//! Follows what `apis/v1/gateway_types.go` of the Gateway API says of listeners and their conditions.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use skiff_ingress::table::HostMatch;

use super::{
    grants::{self, Kind},
    objects::{Gateway, GroupKind, HttpRoute, Listener, ListenerTls, Object, Reference},
    status::Told,
    watch::Objects,
};
use crate::{ingress::certificates::Kept, network::view::ObjectName};

/// A listener that was looked at.
pub struct Judged {
    pub name: String,
    pub port: u16,
    pub tls: bool,
    pub hosts: HostMatch,
    pub accepted: Told,
    pub resolved: Told,
    pub conflicted: Told,
    /// Routes of HTTP may come to it.
    pub has_kind: bool,
    pub certificates: Vec<Arc<CertifiedKey>>,
    /// How many routes have come to it.
    pub attached: i64,
}

impl Judged {
    /// Whether anybody can be served by it.
    pub fn is_usable(&self) -> bool {
        self.accepted.is && !self.conflicted.is && (!self.tls || !self.certificates.is_empty())
    }
}

/// Who has which ports, and which hosts there.
pub struct Ports {
    taken: BTreeMap<u16, (bool, HashSet<HostMatch>)>,
}

impl Ports {
    /// These are open in any case, with or without TLS.
    pub fn new(open: &[(u16, bool)]) -> Self {
        let open = open
            .iter()
            .map(|(port, tls)| (*port, (*tls, HashSet::new())));
        Ports {
            taken: open.collect(),
        }
    }

    /// Gives the hosts at a port to who asks, or tells why not.
    fn take(
        &mut self,
        port: u16,
        tls: bool,
        hosts: &HostMatch,
    ) -> Result<(), (&'static str, String)> {
        let (has, of) = self
            .taken
            .entry(port)
            .or_insert_with(|| (tls, HashSet::new()));
        if *has != tls {
            let message = format!("Port {port} is served with another protocol");
            return Err(("ProtocolConflict", message));
        }
        if !of.insert(hosts.clone()) {
            let message = format!("An older listener has the same hosts at port {port}");
            return Err(("HostnameConflict", message));
        }
        Ok(())
    }
}

/// What is known while listeners are looked at.
pub struct Judge<'a> {
    pub certificates: &'a Kept,
    pub objects: &'a Objects,
    pub now: Timestamp,
    pub ports: Ports,
    /// When the first of the certificates in use ends.
    pub next: Option<Timestamp>,
}

impl Judge<'_> {
    /// Looks at a listener of a gateway in `namespace`.
    pub fn listener(&mut self, gateway: &Gateway, namespace: &str, of: &Listener) -> Judged {
        let (tls, accepted) = protocol(gateway, of);
        let port = u16::try_from(of.port).unwrap_or_default();
        let hosts = HostMatch::parse(&of.hostname);
        let conflict = match accepted.is {
            true => self.ports.take(port, tls, &hosts).err(),
            false => None,
        };
        let conflicted = match conflict {
            None => Told::no(
                "Conflicted",
                "NoConflicts",
                "Nobody else has its port and hosts",
            ),
            Some((reason, message)) => Told::yes("Conflicted", reason, message),
        };
        let (has_kind, kinds) = kinds(of);
        let (certificates, secrets) = match &of.tls {
            Some(config) if tls && accepted.is => self.certificates(config, namespace),
            _ => (Vec::new(), None),
        };
        let resolved = kinds.or(secrets).unwrap_or_else(|| {
            Told::yes("ResolvedRefs", "ResolvedRefs", "All that it names is there")
        });
        Judged {
            name: of.name.clone(),
            port,
            tls,
            hosts,
            accepted,
            resolved,
            conflicted,
            has_kind,
            certificates,
            attached: 0,
        }
    }

    /// The certificates that can be shown, and what is wrong with the others.
    fn certificates(
        &mut self,
        config: &ListenerTls,
        namespace: &str,
    ) -> (Vec<Arc<CertifiedKey>>, Option<Told>) {
        let (mut found, mut wrong) = (Vec::new(), None);
        for reference in &config.certificate_refs {
            match self.certificate(reference, namespace) {
                Ok(key) => found.push(key),
                Err((reason, message)) => {
                    wrong = Some(Told::no("ResolvedRefs", reason, message));
                }
            }
        }
        if config.certificate_refs.is_empty() {
            let message = "It names no Secret with a certificate";
            wrong = Some(Told::no("ResolvedRefs", "InvalidCertificateRef", message));
        }
        (found, wrong)
    }

    fn certificate(
        &mut self,
        reference: &Reference,
        namespace: &str,
    ) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
        const INVALID: &str = "InvalidCertificateRef";
        let group = reference.group.as_deref().unwrap_or_default();
        let kind = reference.kind.as_deref().unwrap_or("Secret");
        if (group, kind) != ("", "Secret") {
            let message = format!("A {kind} is no Secret, and has no certificate");
            return Err((INVALID, message));
        }
        let own = reference.namespace.as_deref().unwrap_or(namespace);
        let secret = ObjectName::new(own, &reference.name);
        let to = Kind { group, kind };
        let from = Kind::of::<Gateway>();
        if own != namespace && !grants::permit(self.objects, (from, namespace), (to, &secret)) {
            let message = format!("No ReferenceGrant lets it use Secret {secret}");
            return Err(("RefNotPermitted", message));
        }
        match self.certificates.get(&secret) {
            None => Err((
                INVALID,
                format!("There is no Secret {secret} of type kubernetes.io/tls"),
            )),
            Some(Err(error)) => Err((
                INVALID,
                format!("Secret {secret} has no certificate: {error}"),
            )),
            Some(Ok(certificate)) => {
                if certificate.not_after >= self.now {
                    let next = self.next.get_or_insert(certificate.not_after);
                    *next = certificate.not_after.min(*next);
                }
                Ok(certificate.key.clone())
            }
        }
    }
}

/// Whether there is TLS, and whether the listener can be served at all.
fn protocol(gateway: &Gateway, of: &Listener) -> (bool, Told) {
    let no = |reason, message: String| Told::no("Accepted", reason, message);
    let yes = || Told::yes("Accepted", "Accepted", "It can be served");
    let tls = match of.protocol.as_str() {
        "HTTP" => return (false, yes()),
        "HTTPS" => of.tls.as_ref(),
        other => {
            let message = format!("Listeners of the protocol {other} are not served");
            return (false, no("UnsupportedProtocol", message));
        }
    };
    let mode = tls.and_then(|tls| tls.mode.as_deref());
    let options = tls.is_some_and(|tls| !tls.options.is_empty());
    let clients = gateway
        .spec
        .tls
        .as_ref()
        .is_some_and(|tls| tls.get("frontend").is_some());
    let told = match mode.unwrap_or("Terminate") {
        // who is to show a certificate must not come in without
        _ if clients => no(
            "UnsupportedValue",
            "Certificates of clients cannot be asked for".into(),
        ),
        _ if options => no("UnsupportedValue", "There are no options of TLS".into()),
        "Terminate" => yes(),
        mode => no(
            "UnsupportedValue",
            format!("TLS of the mode {mode} is not served"),
        ),
    };
    (true, told)
}

/// Whether routes of HTTP may come, and what is wrong with the kinds that it names.
fn kinds(of: &Listener) -> (bool, Option<Told>) {
    let Some(kinds) = of.allowed_routes.kinds.as_ref().filter(|k| !k.is_empty()) else {
        return (true, None);
    };
    let is_known = |of: &GroupKind| {
        let group = of.group.as_deref().unwrap_or(super::objects::GROUP);
        (group, of.kind.as_str()) == (super::objects::GROUP, HttpRoute::KIND)
    };
    let wrong = kinds.iter().find(|of| !is_known(of)).map(|of| {
        let message = format!("Routes of the kind {} are not served by it", of.kind);
        Told::no("ResolvedRefs", "InvalidRouteKinds", message)
    });
    (kinds.iter().any(is_known), wrong)
}
