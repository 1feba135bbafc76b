//! A pod that has its node waits there for its claims to be bound: whether they are, and why they will not be.
//!
//! Invariant: what was asked for is judged only once it was seen, as the caches may be older than what was written. Follows `checkBindings` of
//! `plugins/volumebinding/binder.go`.

use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::storage::SELECTED_NODE;

use super::{Plan, is_bound, reaches, volume_name};
use crate::{
    node::NodeInfo,
    volumes::{Name, Volumes, name_of},
};

/// A claim that the pod waits for.
struct Awaited {
    claim: Name,
    /// The volume that it was promised; none where one is to be made.
    volume: Option<String>,
    /// Whether what was written for it has come back.
    seen: bool,
}

/// All claims that a pod waits for.
pub struct Waiting(Vec<Awaited>);

impl Waiting {
    /// For what the plan asks.
    pub fn of(plan: &Plan) -> Self {
        let bind = plan.bind.iter().map(|(volume, claim)| Awaited {
            claim: name_of(&claim.metadata),
            volume: volume.metadata.name.clone(),
            seen: false,
        });
        let provision = plan.provision.iter().map(|claim| Awaited {
            claim: name_of(&claim.metadata),
            volume: None,
            seen: false,
        });
        Self(bind.chain(provision).collect())
    }

    /// Whether all are bound; what it says keeps the pod from its node.
    pub fn check(
        &mut self,
        name: &str,
        node: Option<&NodeInfo>,
        known: &Volumes,
    ) -> Result<bool, String> {
        let Some(node) = node else {
            let name = GoQuoted(&name);
            return Err(format!("failed to get node {name}: node {name} not found"));
        };
        for awaited in &mut self.0 {
            let bound = match awaited.volume.clone() {
                Some(volume) => awaited.check_promised(&volume, node, known)?,
                None => awaited.check_made(node, known)?,
            };
            if !bound {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Awaited {
    fn no_claim(&self, what: &str) -> String {
        let (namespace, name) = &self.claim;
        let claim = format!("{namespace}/{name}");
        format!(
            "failed to check {what}: persistentvolumeclaims {} not found",
            GoQuoted(&claim)
        )
    }

    fn check_promised(
        &mut self,
        volume_name: &str,
        node: &NodeInfo,
        known: &Volumes,
    ) -> Result<bool, String> {
        let name = GoQuoted(&volume_name);
        let Some(volume) = known.volumes.get("", volume_name) else {
            return Err(format!(
                "failed to check binding: persistentvolumes {name} not found"
            ));
        };
        let Some(claim) = known.claims.get(&self.claim.0, &self.claim.1) else {
            return Err(self.no_claim("binding"));
        };
        let reference = volume.spec().claim_ref.as_ref();
        let is_promised =
            reference.is_some_and(|of| of.uid.as_deref().is_some_and(|u| !u.is_empty()));
        self.seen |= is_promised;
        if !self.seen {
            return Ok(false);
        }
        if !reaches(volume, node) {
            return Err(wrong_node(volume_name, node));
        }
        if !is_promised {
            return Err(format!("ClaimRef got reset for pv {name}"));
        }
        Ok(is_bound(claim))
    }

    fn check_made(&mut self, node: &NodeInfo, known: &Volumes) -> Result<bool, String> {
        let Some(claim) = known.claims.get(&self.claim.0, &self.claim.1) else {
            return Err(self.no_claim("provisioning pvc"));
        };
        let is_asked = claim.metadata.annotation(SELECTED_NODE) == Some(node.name.as_str());
        self.seen |= is_asked;
        if !self.seen {
            return Ok(false);
        }
        let name = GoQuoted(&self.claim.1);
        if claim.metadata.annotations.is_none() {
            return Err(format!("selectedNode annotation reset for PVC {name}"));
        }
        if !is_asked {
            return Err(format!("provisioning failed for PVC {name}"));
        }
        if !volume_name(claim).is_empty() {
            match known.volumes.get("", volume_name(claim)) {
                // not heard of yet
                None => return Ok(false),
                Some(volume) if !reaches(volume, node) => {
                    return Err(wrong_node(volume_name(claim), node));
                }
                Some(_) => {}
            }
        }
        Ok(is_bound(claim))
    }
}

fn wrong_node(volume: &str, node: &NodeInfo) -> String {
    format!(
        "pv {} node affinity doesn't match node {}: no matching NodeSelectorTerms",
        GoQuoted(&volume),
        GoQuoted(&node.name)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use skiff_podspec::storage::BIND_COMPLETED;

    use super::{
        super::tests::{claim, known},
        *,
    };
    use crate::cache::Cache;

    fn asked(node: &str, rest: Value) -> Value {
        let mut asked = claim(
            "made",
            json!({"metadata": {"annotations": {SELECTED_NODE: node}}}),
        );
        skiff_api::machinery::patch::merge::apply(&mut asked, rest, false).unwrap();
        asked
    }

    fn volume(uid: &str, host: &str) -> Value {
        let terms =
            json!([{"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]}]);
        json!({"metadata": {"name": "v"}, "spec": {"claimRef": {"name": "c", "namespace": "ns", "uid": uid},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}})
    }

    fn bound() -> Value {
        json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": "v"}})
    }

    /// What is said of the claim at the last of these moments.
    fn told(volume_name: Option<&str>, moments: &[(Vec<Value>, Vec<Value>)]) -> String {
        let mut cache = Cache::default();
        let node = json!({"metadata": {"name": "n", "labels": {"host": "n"}}});
        cache.put_node(Arc::new(serde_json::from_value(node).unwrap()));
        let mut waiting = Waiting(vec![Awaited {
            claim: ("ns".into(), "c".into()),
            volume: volume_name.map(Into::into),
            seen: false,
        }]);
        let told = moments.iter().map(|(claims, volumes)| {
            match waiting.check("n", cache.nodes().next(), &known(claims, volumes)) {
                Ok(bound) => if bound { "bound" } else { "waits" }.to_string(),
                Err(why) => why,
            }
        });
        told.last().unwrap()
    }

    #[test]
    fn a_volume_that_is_to_be_made() {
        let before = || (vec![claim("made", json!({}))], vec![]);
        let asked = |node: &str, rest| (vec![asked(node, rest)], vec![]);
        let on = |host: &str| {
            let mut moment = asked("n", bound());
            moment.1.push(volume("cu", host));
            moment
        };
        for (moments, expected) in [
            (vec![before()], "waits"),
            (vec![asked("n", json!({}))], "waits"),
            (vec![asked("n", bound())], "waits"),
            (vec![on("n")], "bound"),
            (
                vec![on("m")],
                "pv \"v\" node affinity doesn't match node \"n\": no matching NodeSelectorTerms",
            ),
            (
                vec![(vec![], vec![])],
                "failed to check provisioning pvc: persistentvolumeclaims \"ns/c\" not found",
            ),
            (
                vec![asked("n", json!({})), before()],
                "provisioning failed for PVC \"c\"",
            ),
            (
                vec![
                    asked("n", json!({})),
                    asked("n", json!({"metadata": {"annotations": null}})),
                ],
                "selectedNode annotation reset for PVC \"c\"",
            ),
        ] {
            assert_eq!(told(None, &moments), expected);
        }
    }

    #[test]
    fn a_volume_that_was_promised() {
        let at = |uid: &str, host: &str, rest| (vec![claim("late", rest)], vec![volume(uid, host)]);
        for (moments, expected) in [
            (vec![at("", "n", json!({}))], "waits"),
            (vec![at("cu", "n", json!({}))], "waits"),
            (vec![at("cu", "n", bound())], "bound"),
            (
                vec![at("cu", "n", json!({})), at("", "n", json!({}))],
                "ClaimRef got reset for pv \"v\"",
            ),
            (
                vec![at("cu", "m", json!({}))],
                "pv \"v\" node affinity doesn't match node \"n\": no matching NodeSelectorTerms",
            ),
            (
                vec![(vec![], vec![volume("cu", "n")])],
                "failed to check binding: persistentvolumeclaims \"ns/c\" not found",
            ),
            (
                vec![(vec![claim("late", json!({}))], vec![])],
                "failed to check binding: persistentvolumes \"v\" not found",
            ),
        ] {
            assert_eq!(told(Some("v"), &moments), expected);
        }
    }

    #[test]
    fn a_node_that_went() {
        let told = Waiting(vec![]).check("n", None, &Volumes::default());
        let expected = "failed to get node \"n\": node \"n\" not found";
        assert_eq!(told.unwrap_err(), expected);
    }
}
