//! A pod's quality-of-service class.
//!
//! Invariant: it never changes, so what the status says goes first. Follows `pkg/apis/core/v1/helper/qos/qos.go`. (The server works it out on
//! untyped values before a pod has a status, with the same outcome.)

use k8s_openapi::api::core::v1::ResourceRequirements;
use skiff_api::machinery::quantity::Quantity;

use crate::{
    containers,
    pod::{AnyPod, AnySpec},
    resources::{Unreadable, get},
    spec,
};

/// The classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    const ALL: [Class; 3] = [Class::Guaranteed, Class::Burstable, Class::BestEffort];

    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Guaranteed => "Guaranteed",
            Class::Burstable => "Burstable",
            Class::BestEffort => "BestEffort",
        }
    }
}

/// The class that the pod's status names, else what follows from its spec.
pub fn class(pod: &impl AnyPod) -> Result<Class, Unreadable> {
    let told = pod
        .its_status()
        .and_then(|status| status.qos_class.as_deref());
    match told.and_then(|told| Class::ALL.into_iter().find(|class| class.name() == told)) {
        Some(class) => Ok(class),
        None => computed(pod),
    }
}

/// What follows from the pod's spec: from the resources of the pod as a whole where it has some, else from all of its containers'.
pub fn computed(pod: &impl AnyPod) -> Result<Class, Unreadable> {
    let spec = spec(pod);
    let mut seen = Seen {
        is_guaranteed: true,
        ..Seen::default()
    };
    match spec.resources() {
        Some(whole) => seen.note(
            Some(whole),
            whole
                .limits
                .as_ref()
                .is_some_and(|limits| !limits.is_empty()),
        )?,
        None => containers::all(spec)
            .try_for_each(|container| seen.note(container.resources.as_ref(), true))?,
    }
    Ok(seen.class())
}

#[derive(Default)]
struct Seen {
    is_guaranteed: bool,
    /// Requests and limits of cpu, and of memory.
    sums: [[Option<Quantity>; 2]; 2],
}

impl Seen {
    fn note(
        &mut self,
        resources: Option<&ResourceRequirements>,
        must_limit: bool,
    ) -> Result<(), Unreadable> {
        for (sums, name) in self.sums.iter_mut().zip(["cpu", "memory"]) {
            let lists = [
                resources.and_then(|r| r.requests.as_ref()),
                resources.and_then(|r| r.limits.as_ref()),
            ];
            for (sum, (is_limit, list)) in sums.iter_mut().zip([false, true].into_iter().zip(lists))
            {
                let amount = get(list, name)?.filter(|amount| amount.sign() > 0);
                self.is_guaranteed &= amount.is_some() || !is_limit || !must_limit;
                match (sum, amount) {
                    (Some(sum), Some(amount)) => sum.add(&amount),
                    (sum, Some(amount)) => *sum = Some(amount),
                    (_, None) => {}
                }
            }
        }
        Ok(())
    }

    fn class(&self) -> Class {
        match () {
            () if self.sums.iter().flatten().all(Option::is_none) => Class::BestEffort,
            () if self.is_guaranteed
                && self.sums.iter().all(|[request, limit]| request == limit) =>
            {
                Class::Guaranteed
            }
            () => Class::Burstable,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(resources: &[Value], whole: Value) -> Pod {
        let containers: Vec<_> = resources
            .iter()
            .map(|resources| json!({"name": "c", "resources": resources}))
            .collect();
        from_value(json!({"spec": {"containers": containers, "resources": whole}})).unwrap()
    }

    #[test]
    fn table() {
        let full = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let none = Value::Null;
        #[rustfmt::skip]
        let cases = [
            (vec![json!({})], none.clone(), Class::BestEffort),
            (vec![full.clone()], none.clone(), Class::Guaranteed),
            (vec![full.clone(), full.clone()], none.clone(), Class::Guaranteed),
            (vec![full.clone(), json!({})], none.clone(), Class::Burstable),
            // what is limited and not asked for is so only where no server has filled it in
            (vec![limits.clone()], none.clone(), Class::Burstable),
            (vec![json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})], none.clone(), Class::Burstable),
            (vec![json!({"requests": {"cpu": "1"}})], none.clone(), Class::Burstable),
            (vec![json!({"requests": {"cpu": "0"}})], none.clone(), Class::BestEffort),
            (vec![json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}})], none, Class::BestEffort),
            (vec![json!({})], full.clone(), Class::Guaranteed),
            (vec![json!({})], json!({"requests": {"cpu": "1"}}), Class::Burstable),
            (vec![full.clone()], json!({}), Class::BestEffort),
            (vec![full], limits, Class::Burstable),
        ];
        for (resources, whole, wanted) in cases {
            let pod = pod(&resources, whole.clone());
            assert_eq!(class(&pod).unwrap(), wanted, "{resources:?} {whole}");
            let untyped = serde_json::to_value(pod).unwrap();
            assert_eq!(
                skiff_api::kinds::rows::core::pod::qos(&untyped),
                wanted.name(),
                "the server's: {resources:?} {whole}"
            );
        }
    }

    #[test]
    fn what_the_status_says_goes_first_and_what_cannot_be_read_is_no_class() {
        let mut bad = pod(&[json!({"limits": {"memory": "much"}})], Value::Null);
        assert_eq!(
            class(&bad).unwrap_err().to_string(),
            "the quantity \"much\" of memory cannot be read"
        );
        bad.status = from_value(json!({"qosClass": "Burstable"})).unwrap();
        assert_eq!(class(&bad), Ok(Class::Burstable));
    }
}
