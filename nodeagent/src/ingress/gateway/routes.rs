//! Which routes come to which listeners, and what the proxy does by them.
//!
//! Invariant: pure. A route with anything that is not supported is served nowhere, and says so; a backend that may not be reached has its share of errors.
//! Follows `apis/v1/httproute_types.go` and `shared_types.go` of the Gateway API.

use std::{collections::BTreeMap, sync::Arc};

use skiff_api::machinery::selector::Selector;
use skiff_ingress::{
    listeners::Match,
    table::HostMatch,
    treatment::{Shares, Target},
    upstream::{PortOf, Upstream, Upstreams},
};

use super::{
    filters::{self, Doing, Unsupported},
    grants::{self, Kind},
    listeners::Judged,
    objects::{
        BackendRef, GROUP, Gateway, HttpRoute, Listener, Object, ParentRef, RouteMatch, Rule,
    },
    status::Told,
    watch::Objects,
};
use crate::{
    ingress::backend::{self, Services, Wanted},
    network::view::ObjectName,
};

/// A gateway of ours, and what its listeners are worth.
pub struct Ours<'a> {
    pub name: &'a ObjectName,
    pub gateway: &'a Gateway,
    pub accepted: Told,
    pub listeners: Vec<Judged>,
}

/// The gateway that a parent reference of a route in `namespace` names, if it is one.
pub fn parent(parent: &ParentRef, namespace: &str) -> Option<ObjectName> {
    let to = &parent.to;
    let group = to.group.as_deref().unwrap_or(GROUP);
    let kind = to.kind.as_deref().unwrap_or(Gateway::KIND);
    let own = to.namespace.as_deref().unwrap_or(namespace);
    ((group, kind) == (GROUP, Gateway::KIND)).then(|| ObjectName::new(own, &to.name))
}

/// The listeners that a route comes to, by their places, with the hosts that it has there; or why to none.
pub fn attach(
    objects: &Objects,
    gateway: &Ours<'_>,
    (name, route): (&ObjectName, &HttpRoute),
    parent: &ParentRef,
) -> Result<Vec<(usize, Vec<HostMatch>)>, Told> {
    let no = |reason, message: &str| Err(Told::no("Accepted", reason, message));
    let listeners = gateway
        .gateway
        .spec
        .listeners
        .iter()
        .zip(&gateway.listeners);
    let meant = |(_, (of, _)): &(usize, (&Listener, &Judged))| {
        parent
            .section
            .as_ref()
            .is_none_or(|section| *section == of.name)
            && parent.to.port.is_none_or(|port| port == of.port)
    };
    let meant: Vec<_> = listeners.enumerate().filter(meant).collect();
    if meant.is_empty() {
        return no("NoMatchingParent", "The gateway has no such listener");
    }
    let allows = |of: &Listener, judged: &Judged| {
        judged.has_kind && lets(objects, of, gateway.name, &name.namespace)
    };
    let allowed: Vec<_> = meant
        .into_iter()
        .filter(|(_, (of, judged))| allows(of, judged))
        .collect();
    if allowed.is_empty() {
        return no(
            "NotAllowedByListeners",
            "No listener lets routes of its namespace and kind come",
        );
    }
    let common = allowed.into_iter().filter_map(|(place, (_, judged))| {
        let hosts = common(&judged.hosts, &route.spec.hostnames);
        (!hosts.is_empty()).then_some((place, hosts))
    });
    let common: Vec<_> = common.collect();
    match common.is_empty() {
        true => no(
            "NoMatchingListenerHostname",
            "No listener has a host of its own",
        ),
        false => Ok(common),
    }
}

fn common(listener: &HostMatch, route: &[String]) -> Vec<HostMatch> {
    match route {
        [] => vec![listener.clone()],
        some => some
            .iter()
            .filter_map(|host| listener.common(&HostMatch::parse(host)))
            .collect(),
    }
}

/// Whether a listener lets routes of a namespace come.
fn lets(objects: &Objects, listener: &Listener, gateway: &ObjectName, namespace: &str) -> bool {
    let from = &listener.allowed_routes.namespaces;
    match from.from.as_deref().unwrap_or("Same") {
        "All" => true,
        "Same" => gateway.namespace == namespace,
        "Selector" => {
            let selector = Selector::from_label_selector(from.selector.as_ref());
            let namespace = objects.namespaces.get(&ObjectName::new("", namespace));
            let none = BTreeMap::new();
            let labels = namespace.map(|of| of.metadata.labels.as_ref().unwrap_or(&none));
            let is_selected = |of: Selector| labels.is_some_and(|labels| of.matches(labels));
            from.selector.is_some() && selector.is_ok_and(is_selected)
        }
        _ => false,
    }
}

/// What a route comes to.
pub struct Read {
    /// In the order of its rules.
    pub rules: Vec<(Match, Arc<Target>)>,
    /// Whether all that it names is there.
    pub resolved: Told,
    pub used: Vec<PortOf>,
    pub services: Vec<ObjectName>,
}

/// What is needed to read routes.
pub struct Reader<'a> {
    pub objects: &'a Objects,
    pub services: &'a Services<'a>,
    pub upstreams: &'a Upstreams,
}

impl Reader<'_> {
    /// Reads a route.
    pub fn read(&self, name: &ObjectName, route: &HttpRoute) -> Result<Read, Unsupported> {
        let mut read = Read {
            rules: Vec::new(),
            resolved: Told::yes("ResolvedRefs", "ResolvedRefs", "All that it names is there"),
            used: Vec::new(),
            services: Vec::new(),
        };
        for rule in route.spec.rules.iter().flatten() {
            self.rule(name, rule, &mut read)?;
        }
        Ok(read)
    }

    fn rule(&self, name: &ObjectName, rule: &Rule, read: &mut Read) -> Result<(), Unsupported> {
        let every = [RouteMatch::default()];
        let matches = match rule.matches.as_slice() {
            [] => &every,
            some => some,
        };
        let mut backends = Vec::new();
        for backend in &rule.backend_refs {
            if !backend.filters.is_empty() {
                return Err(Unsupported::Field("a filter of a single backend".into()));
            }
            let upstream = self.backend(name, backend, read);
            backends.push((backend.weight.unwrap_or(1), upstream));
        }
        for of in matches {
            let of = filters::matched(of)?;
            let target = match filters::doing(rule, &of.paths)? {
                Doing::Redirect(redirect) => Target::Redirect(redirect),
                Doing::Send(treatment) => Target::Send(Shares::new(backends.clone()), treatment),
            };
            read.rules.push((of, Arc::new(target)));
        }
        Ok(())
    }

    /// What a backend leads to, if anywhere.
    fn backend(
        &self,
        route: &ObjectName,
        backend: &BackendRef,
        read: &mut Read,
    ) -> Option<Arc<Upstream>> {
        let found = self.port(route, backend, read);
        match found {
            Ok(port) => {
                read.used.push(port.clone());
                Some(self.upstreams.get(port))
            }
            Err((reason, message)) => {
                read.resolved = Told::no("ResolvedRefs", reason, message);
                None
            }
        }
    }

    fn port(
        &self,
        route: &ObjectName,
        backend: &BackendRef,
        read: &mut Read,
    ) -> Result<PortOf, (&'static str, String)> {
        let to = &backend.to;
        let group = to.group.as_deref().unwrap_or_default();
        let kind = to.kind.as_deref().unwrap_or("Service");
        if (group, kind) != ("", "Service") {
            let message = format!("A {kind} is no Service, and is not served");
            return Err(("InvalidKind", message));
        }
        let namespace = to.namespace.as_deref().unwrap_or(&route.namespace);
        let service = ObjectName::new(namespace, &to.name);
        let (from, kind) = (Kind::of::<HttpRoute>(), Kind { group, kind });
        if namespace != route.namespace
            && !grants::permit(self.objects, (from, &route.namespace), (kind, &service))
        {
            let message = format!("No ReferenceGrant lets it use Service {service}");
            return Err(("RefNotPermitted", message));
        }
        read.services.push(service.clone());
        let wanted = Wanted::Number(to.port.unwrap_or_default());
        backend::port(self.services, self.upstreams, &service, wanted)
            .map_err(|why| ("BackendNotFound", why.to_string()))
    }
}
