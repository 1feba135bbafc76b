//! What the Ingresses of a cluster mean: the routing table, certificates by host, and what is wrong with which Ingress.
//!
//! Invariant: the same objects give the same plan. Of two Ingresses that want one host and path the older has it; what cannot be served as asked
//! is told of and answered with 503, and nothing else is disturbed by it. Follows `staging/src/k8s.io/api/networking/v1/types.go` upstream.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressSpec, IngressTLS,
};

use super::{
    FIXED,
    backend::{self, Services, Wanted},
    certificates::{ByHost, ByListener},
    class, gateway,
    knowledge::{Knowledge, Known},
};
use skiff_ingress::{
    endpoint::Protocol,
    listeners::Listeners,
    proxy::Route,
    table::{HostMatch, PathMatch, Table},
    treatment::Target,
    upstream::{PortOf, Upstreams},
};

use crate::network::view::ObjectName;

/// With `"false"`, hosts that have TLS answer without it, too.
const SSL_REDIRECT: &str = "nginx.ingress.kubernetes.io/ssl-redirect";

/// Something that is wrong with an Ingress.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    pub ingress: ObjectName,
    pub reason: &'static str,
    pub message: String,
}

/// See the module.
#[derive(Default)]
pub struct Plan {
    pub table: Table<Route>,
    pub certificates: ByHost,
    pub problems: BTreeSet<Problem>,
    /// What the table leads to.
    pub used: HashSet<PortOf>,
    /// The services of these, whether they exist or not.
    pub services: HashSet<ObjectName>,
    /// The Ingresses that are served here.
    pub ours: Vec<Known>,
    /// Those that are not, and still say that they are.
    pub left: Vec<Known>,
    /// What is told of the Gateway API's objects, and the ports that they need.
    pub tell: Vec<gateway::status::Tell>,
    pub listeners: Listeners<Arc<Target>>,
    pub of_listeners: HashMap<u16, ByListener>,
    pub doors: BTreeMap<u16, bool>,
    /// There is the kind of gateways' classes.
    pub has_classes: bool,
    /// When the plan will be another though nothing changes: a certificate ends.
    pub next: Option<Timestamp>,
}

/// Makes the plan, and brings what it leads to up to date.
pub fn plan(
    knowledge: &Knowledge,
    services: &Services<'_>,
    upstreams: &Upstreams,
    now: Timestamp,
) -> Plan {
    let classes: Vec<_> = knowledge.classes.values().map(Arc::as_ref).collect();
    let mut plan = Plan::default();
    let (mut ours, others): (Vec<_>, Vec<_>) = knowledge
        .ingresses
        .values()
        .cloned()
        .partition(|known| class::is_ours(&known.ingress, &classes));
    // of equally old ones the first by name, in which order they are already
    ours.sort_by_key(|known| {
        known
            .ingress
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|t| t.0)
    });
    plan.left = others.into_iter().filter(|known| known.told).collect();
    let mut planner = Planner {
        plan,
        knowledge,
        services,
        upstreams,
        now,
        secure: HashSet::new(),
    };
    for known in &ours {
        planner.certificates(&known.ingress);
    }
    for known in &ours {
        planner.rules(&known.ingress);
    }
    // what is about all requests goes before what is about those that are left
    let (some, all): (Vec<_>, Vec<_>) = ours.iter().partition(|known| has_rules(&known.ingress));
    for known in all.iter().chain(&some) {
        planner.default(&known.ingress);
    }
    let mut plan = Plan {
        ours,
        has_classes: knowledge.gateways.has_classes,
        ..planner.plan
    };
    plan.add(gateway::plan(
        &knowledge.gateways,
        &knowledge.certificates,
        services,
        upstreams,
        now,
        &FIXED,
    ));
    plan
}

impl Plan {
    /// Takes up what gateways need.
    fn add(&mut self, of: gateway::Plan) {
        self.used.extend(of.used);
        self.services.extend(of.services);
        self.next = self.next.into_iter().chain(of.next).min();
        self.tell = of.tell;
        self.listeners = of.listeners;
        self.of_listeners = of.certificates;
        self.doors = of.doors;
    }
}

struct Planner<'a> {
    plan: Plan,
    knowledge: &'a Knowledge,
    services: &'a Services<'a>,
    upstreams: &'a Upstreams,
    now: Timestamp,
    /// The hosts that any Ingress wants TLS for.
    secure: HashSet<HostMatch>,
}

fn name_of(ingress: &Ingress) -> ObjectName {
    ObjectName::new(
        ingress.metadata.namespace.clone().unwrap_or_default(),
        ingress.metadata.name.clone().unwrap_or_default(),
    )
}

fn has_rules(ingress: &Ingress) -> bool {
    let spec = ingress.spec.as_ref();
    spec.is_some_and(|spec| spec.rules.iter().flatten().next().is_some())
}

fn hosts(spec: &IngressSpec) -> impl Iterator<Item = HostMatch> {
    let rules = spec.rules.iter().flatten();
    rules.map(|rule| HostMatch::parse(rule.host.as_deref().unwrap_or_default()))
}

/// The hosts of a section about TLS: those of the rules where it names none.
fn hosts_of_tls(tls: &IngressTLS, spec: &IngressSpec) -> Vec<HostMatch> {
    let named: Vec<_> = tls
        .hosts
        .iter()
        .flatten()
        .map(|host| HostMatch::parse(host))
        .collect();
    if named.is_empty() {
        hosts(spec).filter(|host| *host != HostMatch::Any).collect()
    } else {
        named
    }
}

impl Planner<'_> {
    fn problem(&mut self, ingress: &Ingress, reason: &'static str, message: String) {
        self.plan.problems.insert(Problem {
            ingress: name_of(ingress),
            reason,
            message,
        });
    }

    fn certificates(&mut self, ingress: &Ingress) {
        let Some(spec) = &ingress.spec else { return };
        for tls in spec.tls.iter().flatten() {
            let hosts = hosts_of_tls(tls, spec);
            self.secure.extend(hosts.iter().cloned());
            let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
            let Some(secret) = secret else { continue };
            let namespace = ingress.metadata.namespace.clone().unwrap_or_default();
            let secret = ObjectName::new(namespace, secret);
            match self.knowledge.certificates.get(&secret) {
                None => self.problem(
                    ingress,
                    "SecretNotFound",
                    format!("There is no Secret {secret} of type kubernetes.io/tls; its hosts have a certificate that nobody signed"),
                ),
                Some(Err(error)) => self.problem(
                    ingress,
                    "InvalidCertificate",
                    format!("Secret {secret} has no certificate: {error}; its hosts have one that nobody signed"),
                ),
                Some(Ok(certificate)) => {
                    if certificate.not_after < self.now {
                        let message = format!("The certificate in Secret {secret} ended at {}", certificate.not_after);
                        self.problem(ingress, "CertificateExpired", message);
                    } else {
                        let next = self.plan.next.get_or_insert(certificate.not_after);
                        *next = certificate.not_after.min(*next);
                    }
                    for host in hosts {
                        self.plan.certificates.entry(host).or_insert_with(|| certificate.key.clone());
                    }
                }
            }
        }
    }

    fn rules(&mut self, ingress: &Ingress) {
        let Some(spec) = &ingress.spec else { return };
        for rule in spec.rules.iter().flatten() {
            let host = HostMatch::parse(rule.host.as_deref().unwrap_or_default());
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let to = self.route(ingress, &host, &path.backend);
                self.add(ingress, host.clone(), path_of(path), to);
            }
        }
    }

    /// The default backend: for what is left of the Ingress' own hosts, and of all others.
    fn default(&mut self, ingress: &Ingress) {
        let Some(spec) = &ingress.spec else { return };
        let Some(backend) = &spec.default_backend else {
            return;
        };
        for host in hosts(spec).filter(|host| *host != HostMatch::Any) {
            let to = self.route(ingress, &host, backend);
            self.plan.table.add(host, PathMatch::Rest, to);
        }
        let to = self.route(ingress, &HostMatch::Any, backend);
        if has_rules(ingress) {
            self.plan.table.add(HostMatch::Any, PathMatch::Rest, to);
        } else {
            self.add(ingress, HostMatch::Any, PathMatch::Rest, to);
        }
    }

    fn add(&mut self, ingress: &Ingress, host: HostMatch, path: PathMatch, to: Route) {
        if let Some(first) = self.plan.table.taken(&host, &path) {
            if first.of != to.of {
                let what = spoken(&host, &path);
                let message = format!("Ingress {} is older and has {what} already", first.of);
                self.problem(ingress, "Conflict", message);
            }
            return;
        }
        self.plan.table.add(host, path, to);
    }

    fn is_secure(&self, host: &HostMatch) -> bool {
        let above = |name: &str| Some(HostMatch::Wildcard(name.split_once('.')?.1.to_owned()));
        self.secure.contains(host)
            || matches!(host, HostMatch::Exact(name) if above(name).is_some_and(|w| self.secure.contains(&w)))
    }

    fn route(&mut self, ingress: &Ingress, host: &HostMatch, backend: &IngressBackend) -> Route {
        let annotations = ingress.metadata.annotations.as_ref();
        let stays = annotations
            .and_then(|a| a.get(SSL_REDIRECT))
            .is_some_and(|v| v == "false");
        let name = backend.service.as_ref().map(|s| s.name.clone());
        let service = ObjectName::new(
            ingress.metadata.namespace.clone().unwrap_or_default(),
            name.unwrap_or_default(),
        );
        let port = self
            .port(&service, backend)
            .unwrap_or_else(|(reason, message)| {
                self.problem(ingress, reason, message);
                // it has no endpoints
                PortOf {
                    service: service.to_string().into(),
                    port: 0,
                    protocol: Protocol::Http1,
                }
            });
        self.plan.services.insert(service);
        self.plan.used.insert(port.clone());
        Route {
            to: self.upstreams.get(port),
            https_only: !stays && self.is_secure(host),
            of: name_of(ingress).to_string().into(),
        }
    }

    /// The port that a backend names, its endpoints brought up to date; or what is wrong with it.
    fn port(
        &self,
        name: &ObjectName,
        backend: &IngressBackend,
    ) -> Result<PortOf, (&'static str, String)> {
        let wanted = backend.service.as_ref().ok_or_else(|| {
            (
                "UnsupportedBackend",
                "A backend that is no service is not served".to_owned(),
            )
        })?;
        let port = wanted.port.as_ref();
        let named = port.and_then(|port| port.name.as_deref());
        let wanted = match named.filter(|name| !name.is_empty()) {
            Some(name) => Wanted::Name(name),
            None => Wanted::Number(port.and_then(|port| port.number).unwrap_or_default()),
        };
        Ok(backend::port(self.services, self.upstreams, name, wanted)?)
    }
}

fn path_of(path: &HTTPIngressPath) -> PathMatch {
    let text = path.path.as_deref().unwrap_or("/");
    match path.path_type.as_str() {
        "Exact" => PathMatch::Exact(text.to_owned()),
        _ => PathMatch::prefix(text),
    }
}

fn spoken(host: &HostMatch, path: &PathMatch) -> String {
    let host = match host {
        HostMatch::Any => "any host".to_owned(),
        HostMatch::Exact(host) => format!("host {host}"),
        HostMatch::Wildcard(rest) => format!("host *.{rest}"),
    };
    match path {
        PathMatch::Exact(path) => format!("{host} with exactly the path {path}"),
        PathMatch::Prefix(path) if path.is_empty() => format!("{host} with the path /"),
        PathMatch::Prefix(path) => format!("{host} with the path {path}"),
        PathMatch::Rest => format!("{host} by default"),
    }
}

/// The Ingresses of problems that were not told of yet; what is no problem any more is forgotten.
pub fn untold(
    told: &mut HashMap<ObjectName, BTreeSet<Problem>>,
    now: &BTreeSet<Problem>,
) -> Vec<Problem> {
    let new = now.iter().filter(|problem| {
        !told
            .get(&problem.ingress)
            .is_some_and(|before| before.contains(*problem))
    });
    let new = new.cloned().collect();
    told.clear();
    for problem in now {
        told.entry(problem.ingress.clone())
            .or_default()
            .insert(problem.clone());
    }
    new
}
