//! The kinds of the Gateway API, as far as they are read here. They are served once somebody has installed their definitions.
//!
//! Invariant: what these do not name has no effect; `plan` refuses what would change what an object means. Follows `apis/v1` and `apis/v1beta1` of the Gateway API.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// The group of all of them.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// Who serves the classes of this proxy.
pub const CONTROLLER: &str = "skiff.dev/gateway";

/// A kind that is followed.
pub trait Object: for<'de> Deserialize<'de> + Send + 'static {
    const KIND: &'static str;
    const PLURAL: &'static str;
    const VERSION: &'static str = "v1";
}

macro_rules! objects {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name { $($(#[$attribute])* pub $field: $type),* }
        )*
    };
}

objects! {
    GatewayClass { metadata: ObjectMeta, spec: ClassSpec, status: ClassStatus }
    ClassSpec { controller_name: String, parameters_ref: Option<Value> }
    ClassStatus { conditions: Vec<Condition>, supported_features: Vec<Value> }

    Gateway { metadata: ObjectMeta, spec: GatewaySpec, status: GatewayStatus }
    GatewaySpec {
        gateway_class_name: String,
        listeners: Vec<Listener>,
        addresses: Vec<Address>,
        infrastructure: Infrastructure,
        tls: Option<Value>,
    }
    Infrastructure { parameters_ref: Option<Value> }
    Address { r#type: Option<String>, value: String }
    Listener {
        name: String,
        hostname: String,
        port: i32,
        protocol: String,
        tls: Option<ListenerTls>,
        allowed_routes: AllowedRoutes,
    }
    ListenerTls { mode: Option<String>, certificate_refs: Vec<Reference>, options: BTreeMap<String, String> }
    AllowedRoutes { namespaces: RouteNamespaces, kinds: Option<Vec<GroupKind>> }
    RouteNamespaces { from: Option<String>, selector: Option<Value> }
    GroupKind { group: Option<String>, kind: String }
    GatewayStatus { addresses: Vec<Address>, conditions: Vec<Condition>, listeners: Vec<ListenerStatus> }
    ListenerStatus { name: String, supported_kinds: Vec<Value>, attached_routes: i64, conditions: Vec<Condition> }

    HttpRoute { metadata: ObjectMeta, spec: RouteSpec, status: RouteStatus }
    RouteSpec { parent_refs: Vec<ParentRef>, hostnames: Vec<String>, rules: Option<Vec<Rule>> }
    Rule {
        matches: Vec<RouteMatch>,
        filters: Vec<Filter>,
        backend_refs: Vec<BackendRef>,
        timeouts: Timeouts,
        retry: Option<Value>,
        session_persistence: Option<Value>,
    }
    Timeouts { request: Option<String>, backend_request: Option<String> }
    RouteMatch { path: Option<TypedValue>, method: Option<String>, headers: Vec<NamedValue>, query_params: Vec<NamedValue> }
    TypedValue { r#type: Option<String>, value: Option<String> }
    NamedValue { r#type: Option<String>, name: String, value: String }
    Filter {
        r#type: String,
        request_header_modifier: Option<HeaderFilter>,
        response_header_modifier: Option<HeaderFilter>,
        request_redirect: Option<RedirectFilter>,
        url_rewrite: Option<RewriteFilter>,
    }
    HeaderFilter { set: Vec<NamedValue>, add: Vec<NamedValue>, remove: Vec<String> }
    RedirectFilter {
        scheme: Option<String>,
        hostname: Option<String>,
        path: Option<PathModifier>,
        port: Option<u16>,
        status_code: Option<u16>,
    }
    RewriteFilter { hostname: Option<String>, path: Option<PathModifier> }
    PathModifier { r#type: String, replace_full_path: Option<String>, replace_prefix_match: Option<String> }
    BackendRef {
        #[serde(flatten)]
        to: Reference,
        weight: Option<u32>,
        filters: Vec<Filter>,
    }
    RouteStatus { parents: Vec<ParentStatus> }
    ParentStatus { parent_ref: Value, controller_name: String, conditions: Vec<Condition> }

    Reference { group: Option<String>, kind: Option<String>, namespace: Option<String>, name: String, port: Option<i32> }

    ReferenceGrant { metadata: ObjectMeta, spec: GrantSpec }
    GrantSpec { from: Vec<GrantFrom>, to: Vec<GrantTo> }
    GrantFrom { group: String, kind: String, namespace: String }
    GrantTo { group: String, kind: String, name: Option<String> }

    Namespace { metadata: ObjectMeta }
}

/// A reference to a parent, with all that it says, which its status repeats.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Value")]
pub struct ParentRef {
    pub whole: Value,
    pub to: Reference,
    pub section: Option<String>,
}

impl From<Value> for ParentRef {
    fn from(whole: Value) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Read {
            #[serde(flatten)]
            to: Reference,
            section_name: Option<String>,
        }
        // what the definition's schema does not let in names nothing
        let read = Read::deserialize(&whole).unwrap_or_default();
        ParentRef {
            whole,
            to: read.to,
            section: read.section_name,
        }
    }
}

macro_rules! followed {
    ($($name:ident $kind:literal $plural:literal $version:literal;)*) => {
        $(impl Object for $name {
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;
            const VERSION: &'static str = $version;
        })*
    };
}

followed! {
    GatewayClass "GatewayClass" "gatewayclasses" "v1";
    Gateway "Gateway" "gateways" "v1";
    HttpRoute "HTTPRoute" "httproutes" "v1";
    ReferenceGrant "ReferenceGrant" "referencegrants" "v1beta1";
}

/// Where the objects of a kind are: all, or those of a namespace.
pub fn path<O: Object>(namespace: &str) -> String {
    let within = match namespace {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("/apis/{GROUP}/{}{within}/{}", O::VERSION, O::PLURAL)
}
