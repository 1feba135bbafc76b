//! A pod as those hold it who hold many: what pods of one owner have alike is in memory once.
//!
//! Invariant: it is read and written as [`api::Pod`] is, and nothing is lost between the two; of the spec, what differs among the pods of
//! one owner stands beside the part that they share.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock},
};

use k8s_openapi::{
    Metadata, NamespaceResourceScope, Resource,
    api::core::v1::{self as api, PodSpec, PodStatus},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shared::{Part, Pool, Shared};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub metadata: ObjectMeta,
    pub spec: Option<Spec>,
    pub status: Option<Shared<PodStatus>>,
}

/// A pod's spec. What its fields say is all there is to know of it; a [`PodSpec`] it becomes only whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    pub node_name: Option<String>,
    pub hostname: Option<String>,
    /// All that is not above.
    pub rest: Shared<Common>,
}

/// From the fields of a [`PodSpec`] but those that stand in a [`Spec`] itself: the part that pods share, to and from, and how the fields are read
/// whichever of these forms a spec has. A field that is new in a [`PodSpec`] does not compile until it is named.
macro_rules! common {
    ($($field:ident: $type:ty,)*) => {
        /// What pods of one owner have alike in their specs.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Common {
            $(pub $field: $type,)*
        }

        impl From<PodSpec> for Spec {
            fn from(spec: PodSpec) -> Self {
                let PodSpec { node_name, hostname, $($field,)* } = spec;
                let rest = Common { $($field,)* }.into();
                Self { node_name, hostname, rest }
            }
        }

        impl From<Spec> for PodSpec {
            fn from(spec: Spec) -> Self {
                let Spec { node_name, hostname, rest } = spec;
                let Common { $($field,)* } = rest.into_inner();
                Self { node_name, hostname, $($field,)* }
            }
        }

        /// A spec in any of its forms, of a pod or of a template: what pods of one owner have alike in it.
        pub trait AnySpec {
            $(fn $field(&self) -> &$type;)*
        }

        impl AnySpec for Spec {
            $(fn $field(&self) -> &$type {
                &self.rest.$field
            })*
        }

        impl AnySpec for PodSpec {
            $(fn $field(&self) -> &$type {
                &self.$field
            })*
        }
    };
}

common! {
    active_deadline_seconds: Option<i64>,
    affinity: Option<api::Affinity>,
    automount_service_account_token: Option<bool>,
    containers: Vec<api::Container>,
    dns_config: Option<api::PodDNSConfig>,
    dns_policy: Option<String>,
    enable_service_links: Option<bool>,
    ephemeral_containers: Option<Vec<api::EphemeralContainer>>,
    host_aliases: Option<Vec<api::HostAlias>>,
    host_ipc: Option<bool>,
    host_network: Option<bool>,
    host_pid: Option<bool>,
    host_users: Option<bool>,
    hostname_override: Option<String>,
    image_pull_secrets: Option<Vec<api::LocalObjectReference>>,
    init_containers: Option<Vec<api::Container>>,
    node_selector: Option<BTreeMap<String, String>>,
    os: Option<api::PodOS>,
    overhead: Option<BTreeMap<String, Quantity>>,
    preemption_policy: Option<String>,
    priority: Option<i32>,
    priority_class_name: Option<String>,
    readiness_gates: Option<Vec<api::PodReadinessGate>>,
    resource_claims: Option<Vec<api::PodResourceClaim>>,
    resources: Option<api::ResourceRequirements>,
    restart_policy: Option<String>,
    runtime_class_name: Option<String>,
    scheduler_name: Option<String>,
    scheduling_gates: Option<Vec<api::PodSchedulingGate>>,
    scheduling_group: Option<api::PodSchedulingGroup>,
    security_context: Option<api::PodSecurityContext>,
    service_account: Option<String>,
    service_account_name: Option<String>,
    set_hostname_as_fqdn: Option<bool>,
    share_process_namespace: Option<bool>,
    subdomain: Option<String>,
    termination_grace_period_seconds: Option<i64>,
    tolerations: Option<Vec<api::Toleration>>,
    topology_spread_constraints: Option<Vec<api::TopologySpreadConstraint>>,
    volumes: Option<Vec<api::Volume>>,
}

impl Deref for Spec {
    type Target = Common;
    fn deref(&self) -> &Common {
        &self.rest
    }
}

impl DerefMut for Spec {
    fn deref_mut(&mut self) -> &mut Common {
        &mut self.rest
    }
}

impl From<api::Pod> for Pod {
    fn from(pod: api::Pod) -> Self {
        Self {
            metadata: pod.metadata,
            spec: pod.spec.map(Spec::from),
            status: pod.status.map(Shared::from),
        }
    }
}

impl From<Pod> for api::Pod {
    fn from(pod: Pod) -> Self {
        Self {
            metadata: pod.metadata,
            spec: pod.spec.map(PodSpec::from),
            status: pod.status.map(Shared::into_inner),
        }
    }
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        api::Pod::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Pod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        api::Pod::from(self.clone()).serialize(serializer)
    }
}

impl Resource for Pod {
    const API_VERSION: &'static str = api::Pod::API_VERSION;
    const GROUP: &'static str = api::Pod::GROUP;
    const KIND: &'static str = api::Pod::KIND;
    const VERSION: &'static str = api::Pod::VERSION;
    const URL_PATH_SEGMENT: &'static str = api::Pod::URL_PATH_SEGMENT;
    type Scope = NamespaceResourceScope;
}

impl Metadata for Pod {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A pod, in whichever of its two forms it is held.
pub trait AnyPod {
    type Spec: AnySpec;
    fn its_metadata(&self) -> &ObjectMeta;
    /// Every pod has one.
    fn its_spec(&self) -> &Self::Spec;
    fn its_status(&self) -> Option<&PodStatus>;
}

macro_rules! any_pod {
    ($($pod:ty, $spec:ident, $status:ident;)*) => { $(
        impl AnyPod for $pod {
            type Spec = $spec;
            fn its_metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn its_spec(&self) -> &$spec {
                static NONE: LazyLock<$spec> = LazyLock::new($spec::default);
                self.spec.as_ref().unwrap_or(&NONE)
            }
            fn its_status(&self) -> Option<&PodStatus> {
                self.status.$status()
            }
        }
    )* };
}

any_pod! {
    Pod, Spec, as_deref;
    api::Pod, PodSpec, as_ref;
}

macro_rules! behind {
    ($($pointer:ty),*) => { $(
        impl<P: AnyPod> AnyPod for $pointer {
            type Spec = P::Spec;
            fn its_metadata(&self) -> &ObjectMeta {
                (**self).its_metadata()
            }
            fn its_spec(&self) -> &P::Spec {
                (**self).its_spec()
            }
            fn its_status(&self) -> Option<&PodStatus> {
                (**self).its_status()
            }
        }
    )* };
}

behind!(&P, Arc<P>, Box<P>);

/// What pods of one cache have alike.
#[derive(Default)]
pub struct Parts {
    specs: Pool<Common>,
    statuses: Pool<PodStatus>,
}

impl Pod {
    /// Shares what is equal to what it had `before`, or to what another pod has.
    pub fn share(&mut self, parts: &mut Parts, before: Option<&Pod>) {
        if let Some(spec) = &mut self.spec {
            let before = before.and_then(|pod| pod.spec.as_ref());
            parts
                .specs
                .share(&mut spec.rest, before.map(|spec| &spec.rest));
        }
        if let Some(status) = &mut self.status {
            let before = before.and_then(|pod| pod.status.as_ref());
            parts.statuses.share(status, before);
        }
    }
}

impl Part for Common {
    fn tell(&self, hasher: &mut impl Hasher) {
        self.service_account_name.hash(hasher);
        self.node_selector.hash(hasher);
        self.priority.hash(hasher);
        for container in &self.containers {
            (&container.name, &container.image).hash(hasher);
            let resources = container.resources.as_ref();
            for (name, amount) in resources
                .and_then(|all| all.requests.as_ref())
                .into_iter()
                .flatten()
            {
                (name, &amount.0).hash(hasher);
            }
        }
    }
}

impl Part for PodStatus {
    fn tell(&self, hasher: &mut impl Hasher) {
        (&self.phase, &self.pod_ip, &self.host_ip).hash(hasher);
        for condition in self.conditions.iter().flatten() {
            (&condition.type_, &condition.status, &condition.reason).hash(hasher);
            let since = condition.last_transition_time.as_ref();
            since.map(|time| time.0).hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn pod(name: &str, node: Value, image: &str, phase: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "image": image}], "nodeName": node, "hostname": name}, "status": {"phase": phase}})
    }

    #[test]
    fn nothing_is_lost() {
        let text = pod("p", json!("n"), "i", "Running");
        let read: Pod = from_value(text.clone()).unwrap();
        let spec = read.spec.as_ref().unwrap();
        assert_eq!(
            (spec.node_name.as_deref(), spec.hostname.as_deref()),
            (Some("n"), Some("p"))
        );
        assert_eq!(to_value(&read).unwrap(), text);
        assert_eq!(Pod::from(api::Pod::from(read.clone())), read);
        assert_eq!(
            to_value(Pod::default()).unwrap(),
            to_value(api::Pod::default()).unwrap()
        );
    }

    #[test]
    fn pods_that_differ_by_name_and_node_share_the_rest() {
        let mut parts = Parts::default();
        let mut shared = |value: Value, before: Option<&Pod>| {
            let mut pod: Pod = from_value(value.clone()).unwrap();
            pod.share(&mut parts, before);
            assert_eq!(to_value(&pod).unwrap(), value, "it says what it said");
            pod
        };
        let one = shared(pod("one", json!("m"), "i", "Running"), None);
        let two = shared(pod("two", json!("n"), "i", "Pending"), None);
        let other = shared(pod("one", json!("m"), "j", "Running"), Some(&one));
        let spec = |pod: &Pod| std::ptr::from_ref::<Common>(pod.spec.as_ref().unwrap());
        let status = |pod: &Pod| std::ptr::from_ref::<PodStatus>(pod.status.as_ref().unwrap());
        assert!(spec(&one) == spec(&two) && spec(&one) != spec(&other));
        assert!(status(&one) != status(&two) && status(&one) == status(&other));
    }
}
