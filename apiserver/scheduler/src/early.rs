//! Pods that came before the claims that they name: what is made one after the other may be heard of the other way round, since each kind is
//! watched by itself.
//!
//! Invariant: a pod is held once, for a moment; then it is tried whether its claims are there or not. Upstream has no such thing, as there the
//! claim is heard of long before the pod is taken up.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{plugins::volume_binding::claim_names, pod::PodInfo, volumes::Volumes};

/// How long a pod is held.
const MOMENT: Duration = Duration::from_millis(50);

/// Pods that are held, and until when.
#[derive(Default)]
pub struct Early(HashMap<Arc<str>, (Arc<PodInfo>, Instant)>);

/// Whether a claim that the pod names is not known. One that is made for it comes after it in any case.
fn lacks_claims(pod: &PodInfo, known: &Volumes) -> bool {
    let mut named = claim_names(pod).filter(|(_, is_own)| !is_own);
    named.any(|(name, _)| known.claims.get(&pod.namespace, &name).is_none())
}

impl Early {
    /// Holds a pod that is not known yet (`is_new`), or is held already, if a claim of it is not known; true when it did.
    pub fn hold(
        &mut self,
        pod: &Arc<PodInfo>,
        is_new: bool,
        known: &Volumes,
        now: Instant,
    ) -> bool {
        let until = match self.0.remove(&pod.uid) {
            Some((_, until)) => until,
            None if is_new => now + MOMENT,
            None => return false,
        };
        let holds = lacks_claims(pod, known);
        if holds {
            self.0.insert(pod.uid.clone(), (pod.clone(), until));
        }
        holds
    }

    /// The pod is gone, or has its node.
    pub fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// Takes those out whose claims are there now, or whose moment is over.
    pub fn let_go(&mut self, known: &Volumes, now: Instant) -> Vec<Arc<PodInfo>> {
        let held = self.0.values();
        let free = held.filter(|(pod, until)| *until <= now || !lacks_claims(pod, known));
        let free: Vec<_> = free.map(|(pod, _)| pod.clone()).collect();
        free.iter().for_each(|pod| self.remove(&pod.uid));
        free
    }

    /// When the next moment is over.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn a_pod_waits_a_moment_for_claims_that_are_not_heard_of_yet() {
        let claims = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        let own = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]);
        let of = |volumes| pod("p", json!({"spec": {"volumes": volumes}}));
        let (mut world, mut early, now) = (World::default(), Early::default(), Instant::now());
        assert!(!early.hold(&of(json!([])), true, &world.volumes, now));
        assert!(!early.hold(&of(own), true, &world.volumes, now));
        // one that was tried already
        assert!(!early.hold(&of(claims.clone()), false, &world.volumes, now));
        let late = of(claims);
        assert!(early.hold(&late, true, &world.volumes, now));
        assert_eq!(early.next_due(), Some(now + MOMENT));
        assert!(early.let_go(&world.volumes, now).is_empty());
        // a change of the pod makes it wait no longer
        let soon = now + MOMENT / 2;
        assert!(early.hold(&late, false, &world.volumes, soon));
        assert_eq!(early.next_due(), Some(now + MOMENT));
        assert_eq!(early.let_go(&world.volumes, now + MOMENT).len(), 1);
        assert_eq!(early.next_due(), None);
        // the claim comes
        assert!(early.hold(&late, true, &world.volumes, now));
        world.claim("c", json!({}));
        assert_eq!(early.let_go(&world.volumes, now).len(), 1);
        assert!(!early.hold(&late, true, &world.volumes, now));
        // the pod goes
        let mut early = Early::default();
        assert!(early.hold(&late, true, &World::default().volumes, now));
        early.remove(&late.uid);
        assert_eq!(early.next_due(), None);
    }
}
