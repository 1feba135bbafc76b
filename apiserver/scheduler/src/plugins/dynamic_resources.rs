//! Claims of devices. Nobody allocates devices here, so a pod that claims some fits nowhere. Follows `plugins/dynamicresources/dynamicresources.go`
//! for the name and the message.

use skiff_podspec::parts::HasSpec;

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct DynamicResources;

fn claims(pod: &PodInfo) -> bool {
    pod.pod
        .spec()
        .resource_claims
        .as_ref()
        .is_some_and(|claims| !claims.is_empty())
}

impl Plugin<State> for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }

    fn pre_filter(&self, _: View, pod: &PodInfo, _: &mut State) -> First {
        if claims(pod) { First::Any } else { First::Skip }
    }

    fn filter(&self, _: View, _: &State, _: &PodInfo, _: &NodeInfo) -> Result<(), Rejection> {
        Err(Rejection::new("cannot allocate all claims"))
    }

    fn hopes(&self, _: &PodInfo, _: &ClusterEvent) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn a_pod_that_claims_devices_waits() {
        let mut world = World::default();
        world.node("a", json!({}));
        let claims = |claims| pod("p", json!({"spec": {"resourceClaims": claims}}));
        assert_eq!(
            world.tried(
                &DynamicResources,
                &claims(json!([{"name": "gpu", "resourceClaimName": "gpu"}]))
            ),
            ["cannot allocate all claims"]
        );
        assert_eq!(world.tried(&DynamicResources, &claims(json!([]))), [""]);
    }
}
