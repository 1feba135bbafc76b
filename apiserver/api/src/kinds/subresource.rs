//! The subresources that a row may have: their names, verbs and the kinds they speak.

/// Where a kind keeps what its `scale` shows: dotted paths below the object.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Of the wanted count.
    pub spec_replicas: &'static str,
    pub status_replicas: &'static str,
    /// Of the selector: a `LabelSelector` or (replicationcontrollers) a plain map.
    pub selector: &'static str,
}

impl Scale {
    /// The place where all kinds that are built in keep it.
    pub const USUAL: Scale = Scale {
        spec_replicas: "spec.replicas",
        status_replicas: "status.replicas",
        selector: "spec.selector",
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    Status,
    Scale,
    /// namespaces: the list of `spec.finalizers`.
    Finalize,
    /// certificatesigningrequests.
    Approval,
    Binding,
    Eviction,
    EphemeralContainers,
    Resize,
    /// serviceaccounts.
    Token,
    Log,
    Exec,
    Attach,
    PortForward,
    Proxy(Proxied),
}

/// What a proxy leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    Node,
    Pod,
    Service,
}

impl Subresource {
    const ALL: [Subresource; 13] = [
        Subresource::Status,
        Subresource::Scale,
        Subresource::Finalize,
        Subresource::Approval,
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::EphemeralContainers,
        Subresource::Resize,
        Subresource::Token,
        Subresource::Log,
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
    ];

    /// The one of this name, `proxy:` with what it leads to.
    pub(super) fn read(written: &'static str) -> Option<Subresource> {
        match written.strip_prefix("proxy:") {
            Some("node") => Some(Subresource::Proxy(Proxied::Node)),
            Some("pod") => Some(Subresource::Proxy(Proxied::Pod)),
            Some("service") => Some(Subresource::Proxy(Proxied::Service)),
            Some(_) => None,
            None => Subresource::ALL
                .into_iter()
                .find(|sub| sub.name() == written),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Approval => "approval",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Token => "token",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::Proxy(_) => "proxy",
        }
    }

    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Subresource::Status
            | Subresource::Scale
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize => &["get", "patch", "update"],
            Subresource::Finalize => &["update"],
            Subresource::Binding | Subresource::Eviction | Subresource::Token => &["create"],
            Subresource::Log => &["get"],
            Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
                &["create", "get"]
            }
            Subresource::Proxy(_) => &["create", "delete", "get", "patch", "update"],
        }
    }

    /// Its answers are streams of the node's own, in whatever form.
    pub fn connects(self) -> bool {
        matches!(
            self,
            Subresource::Log
                | Subresource::Exec
                | Subresource::Attach
                | Subresource::PortForward
                | Subresource::Proxy(_)
        )
    }

    /// `(group, version, kind)` of what it speaks; `None`: the parent's own kind.
    pub fn kind(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Subresource::Scale => Some(("autoscaling", "v1", "Scale")),
            Subresource::Eviction => Some(("policy", "v1", "Eviction")),
            Subresource::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
            Subresource::Binding => Some(("", "v1", "Binding")),
            Subresource::Exec => Some(("", "v1", "PodExecOptions")),
            Subresource::Attach => Some(("", "v1", "PodAttachOptions")),
            Subresource::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Subresource::Proxy(Proxied::Node) => Some(("", "v1", "NodeProxyOptions")),
            Subresource::Proxy(Proxied::Pod) => Some(("", "v1", "PodProxyOptions")),
            Subresource::Proxy(Proxied::Service) => Some(("", "v1", "ServiceProxyOptions")),
            _ => None,
        }
    }
}
