//! What people are told of gateways, their classes and routes: conditions, addresses, and how many routes have come.
//!
//! Invariant: pure. A condition keeps its time while its status stays; what others have written of a route stays as it is; what is as it should be is not written.
//! Follows `apis/v1` of the Gateway API.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use serde_json::{Value, json};

use super::objects::{
    CONTROLLER, GROUP, Gateway, GatewayClass, HttpRoute, Object, ParentStatus, path,
};

/// What the proxy does of what the API leaves open, by the names that the Gateway API has for it.
const FEATURES: [&str; 18] = [
    "Gateway",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
];

/// A condition as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub kind: &'static str,
    pub is: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Told {
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Told {
            kind,
            is: true,
            reason,
            message: message.into(),
        }
    }

    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Told {
            is: false,
            ..Told::yes(kind, reason, message)
        }
    }
}

/// Something that is to be told of an object.
pub enum Tell {
    Class {
        class: GatewayClass,
        accepted: Told,
    },
    Gateway {
        gateway: Box<Gateway>,
        accepted: Told,
        listeners: Vec<ListenerTold>,
    },
    Route {
        route: Box<HttpRoute>,
        /// By the references to its parents.
        parents: Vec<(Value, [Told; 2])>,
    },
}

/// What is told of a listener.
pub struct ListenerTold {
    pub name: String,
    pub port: u16,
    pub attached: i64,
    pub has_kind: bool,
    pub is_usable: bool,
    pub conditions: [Told; 3],
}

/// What is known when it is told.
pub struct Now<'a> {
    pub time: Timestamp,
    /// Where the nodes are that serve.
    pub addresses: &'a BTreeSet<IpAddr>,
    /// The ports at which somebody listens, and what keeps the others from it.
    pub doors: &'a BTreeMap<u16, Result<(), String>>,
}

impl Now<'_> {
    /// The conditions as they are to be written: others' stay.
    fn conditions(&self, before: &[Condition], meta: &ObjectMeta, told: &[Told]) -> Vec<Condition> {
        let mut all = before.to_vec();
        for one in told {
            let status = if one.is { "True" } else { "False" };
            let known = all.iter().position(|of| of.type_ == one.kind);
            let since = known.map(|at| &all[at]).filter(|of| of.status == status);
            let condition = Condition {
                type_: one.kind.to_owned(),
                status: status.to_owned(),
                reason: one.reason.to_owned(),
                message: one.message.clone(),
                observed_generation: meta.generation,
                last_transition_time: match since {
                    Some(of) => of.last_transition_time.clone(),
                    // as precise as it can be written
                    None => Time(self.second()),
                },
            };
            match known {
                Some(at) => all[at] = condition,
                None => all.push(condition),
            }
        }
        all
    }

    fn second(&self) -> Timestamp {
        Timestamp::from_second(self.time.as_second()).unwrap_or(self.time)
    }

    /// Where and what is to be written of it; nothing where all is told already.
    pub fn patch(&self, tell: &Tell) -> Option<(String, Value)> {
        match tell {
            Tell::Class { class, accepted } => {
                let meta = &class.metadata;
                let told = std::slice::from_ref(accepted);
                let conditions = self.conditions(&class.status.conditions, meta, told);
                let features: Vec<_> = FEATURES.iter().map(|name| json!({"name": name})).collect();
                let is_told = conditions == class.status.conditions
                    && features == class.status.supported_features;
                let status = json!({"conditions": conditions, "supportedFeatures": features});
                (!is_told).then(|| written::<GatewayClass>(meta, status))
            }
            Tell::Gateway {
                gateway,
                accepted,
                listeners,
            } => self.gateway(gateway, accepted, listeners),
            Tell::Route { route, parents } => self.route(route, parents),
        }
    }

    fn gateway(
        &self,
        gateway: &Gateway,
        accepted: &Told,
        listeners: &[ListenerTold],
    ) -> Option<(String, Value)> {
        let (meta, status) = (&gateway.metadata, &gateway.status);
        let programmed = self.programmed(accepted, listeners);
        let conditions = self.conditions(&status.conditions, meta, &[accepted.clone(), programmed]);
        let serves = accepted.is && listeners.iter().any(|of| of.is_usable);
        let addresses = self.addresses.iter().filter(|_| serves);
        let addresses: Vec<_> = addresses.map(ToString::to_string).collect();
        let mut same = conditions == status.conditions
            && addresses
                .iter()
                .eq(status.addresses.iter().map(|of| &of.value))
            && listeners.len() == status.listeners.len();
        let mut told = Vec::new();
        for of in listeners {
            let before = status
                .listeners
                .iter()
                .find(|before| before.name == of.name);
            let had = before.map(|before| before.conditions.as_slice());
            let [accepted, conflicted, resolved] = &of.conditions;
            let mut all = vec![accepted.clone()];
            all.extend([self.open(of), conflicted.clone(), resolved.clone()]);
            let conditions = self.conditions(had.unwrap_or_default(), meta, &all);
            let kinds: Vec<_> = of
                .has_kind
                .then(|| json!({"group": GROUP, "kind": HttpRoute::KIND}))
                .into_iter()
                .collect();
            same &= before.is_some_and(|before| {
                before.conditions == conditions
                    && before.attached_routes == of.attached
                    && before.supported_kinds == kinds
            });
            told.push(
                json!({"name": of.name, "supportedKinds": kinds, "attachedRoutes": of.attached,
                "conditions": conditions}),
            );
        }
        let addresses = addresses
            .iter()
            .map(|ip| json!({"type": "IPAddress", "value": ip}));
        let addresses: Vec<_> = addresses.collect();
        let status = json!({"addresses": addresses, "conditions": conditions, "listeners": told});
        (!same).then(|| written::<Gateway>(meta, status))
    }

    /// Whether a gateway can be reached.
    fn programmed(&self, accepted: &Told, listeners: &[ListenerTold]) -> Told {
        const KIND: &str = "Programmed";
        if !accepted.is {
            return Told::no(KIND, "Invalid", "It is not accepted");
        }
        if !listeners.iter().any(|of| of.is_usable) {
            return Told::no(KIND, "Invalid", "No listener of it can be served");
        }
        if self.addresses.is_empty() {
            return Told::no(KIND, "AddressNotAssigned", "No node serves yet");
        }
        Told::yes(KIND, "Programmed", "Nodes serve it")
    }

    /// Whether somebody listens for a listener.
    fn open(&self, of: &ListenerTold) -> Told {
        const KIND: &str = "Programmed";
        if !of.is_usable {
            return Told::no(KIND, "Invalid", "It cannot be served as it stands");
        }
        match self.doors.get(&of.port) {
            Some(Ok(())) => Told::yes(KIND, "Programmed", "Nodes listen for it"),
            Some(Err(why)) => Told::no(KIND, "PortUnavailable", why.clone()),
            None => Told::no(KIND, "Pending", "Nobody listens for it yet"),
        }
    }

    fn route(&self, route: &HttpRoute, parents: &[(Value, [Told; 2])]) -> Option<(String, Value)> {
        let (meta, before) = (&route.metadata, &route.status.parents);
        let others = before.iter().filter(|of| of.controller_name != CONTROLLER);
        let mut all: Vec<Value> = others.map(ParentStatus::to_value).collect();
        let mut had = before.iter().filter(|of| of.controller_name == CONTROLLER);
        let mut same = had.clone().count() == parents.len();
        for (parent, told) in parents {
            let known = before
                .iter()
                .find(|of| of.controller_name == CONTROLLER && of.parent_ref == *parent);
            let conditions = known.map(|of| of.conditions.as_slice());
            let of = ParentStatus {
                parent_ref: parent.clone(),
                controller_name: CONTROLLER.to_owned(),
                conditions: self.conditions(conditions.unwrap_or_default(), meta, told),
            };
            same &= had.next().is_some_and(|had| {
                had.parent_ref == of.parent_ref && had.conditions == of.conditions
            });
            all.push(of.to_value());
        }
        (!same).then(|| written::<HttpRoute>(meta, json!({"parents": all})))
    }
}

impl ParentStatus {
    fn to_value(&self) -> Value {
        json!({"parentRef": self.parent_ref, "controllerName": self.controller_name, "conditions": self.conditions})
    }
}

/// A status on its way: refused when somebody has written meanwhile, as the next change brings it again.
fn written<O: Object>(meta: &ObjectMeta, status: Value) -> (String, Value) {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let path = format!("{}/{name}/status", path::<O>(namespace));
    let version = &meta.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
    (path, patch)
}
