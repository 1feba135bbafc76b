//! A pod as those hold it who hold many: what pods of one owner have alike is in memory once.
//!
//! Invariant: it is read and written as [`api::Pod`] is, and nothing is lost between the two; of the spec, what differs among the pods of
//! one owner stands beside the part that they share.

use std::{
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use k8s_openapi::{
    Metadata, NamespaceResourceScope, Resource,
    api::core::v1::{self as api, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
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

/// A pod's spec. It can be used like a [`PodSpec`]; whoever is handed one of these as a `&PodSpec` sees what pods share, in which `node_name` and
/// `hostname` are empty: those are asked of the pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    pub node_name: Option<String>,
    pub hostname: Option<String>,
    /// All that is not above.
    pub rest: Shared<PodSpec>,
}

impl From<PodSpec> for Spec {
    fn from(mut spec: PodSpec) -> Self {
        Self {
            node_name: spec.node_name.take(),
            hostname: spec.hostname.take(),
            rest: spec.into(),
        }
    }
}

impl From<Spec> for PodSpec {
    fn from(spec: Spec) -> Self {
        Self {
            node_name: spec.node_name,
            hostname: spec.hostname,
            ..spec.rest.into_inner()
        }
    }
}

impl Deref for Spec {
    type Target = PodSpec;
    fn deref(&self) -> &PodSpec {
        &self.rest
    }
}

impl DerefMut for Spec {
    fn deref_mut(&mut self) -> &mut PodSpec {
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

/// A pod, in whichever of its two forms it is held. What it says of the spec leaves out `node_name` and `hostname`.
pub trait AnyPod {
    fn its_metadata(&self) -> &ObjectMeta;
    fn its_spec(&self) -> Option<&PodSpec>;
    fn its_status(&self) -> Option<&PodStatus>;
}

impl AnyPod for Pod {
    fn its_metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn its_spec(&self) -> Option<&PodSpec> {
        self.spec.as_deref()
    }
    fn its_status(&self) -> Option<&PodStatus> {
        self.status.as_deref()
    }
}

impl AnyPod for api::Pod {
    fn its_metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn its_spec(&self) -> Option<&PodSpec> {
        self.spec.as_ref()
    }
    fn its_status(&self) -> Option<&PodStatus> {
        self.status.as_ref()
    }
}

macro_rules! behind {
    ($($pointer:ty),*) => { $(
        impl<P: AnyPod> AnyPod for $pointer {
            fn its_metadata(&self) -> &ObjectMeta {
                (**self).its_metadata()
            }
            fn its_spec(&self) -> Option<&PodSpec> {
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
    specs: Pool<PodSpec>,
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

impl Part for PodSpec {
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
        let spec = |pod: &Pod| std::ptr::from_ref::<PodSpec>(pod.spec.as_ref().unwrap());
        let status = |pod: &Pod| std::ptr::from_ref::<PodStatus>(pod.status.as_ref().unwrap());
        assert!(spec(&one) == spec(&two) && spec(&one) != spec(&other));
        assert!(status(&one) != status(&two) && status(&one) == status(&other));
    }
}
