//! The expander of claims: no kind of volume is expanded by the control plane itself, so it says who is waited for.
//!
//! Invariant: a claim is looked at when it is seen first and when it asks for more or has got more. Follows
//! pkg/controller/volume/expand/expand_controller.go.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::decide;
use crate::prelude::*;
use skiff_api::machinery::quote::GoQuoted;

struct Controller {
    recorder: Recorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

/// `persistentvolume-expander-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "volume_expand",
        Controller {
            recorder: context.recorder("volume_expand"),
            claims: context.informer(),
            volumes: context.informer(),
        },
    );
    c.each_if(&c.claims, matters);
    Ok(c.some_workers(1))
}

/// A claim that is bound is looked at when it is seen first, when it asks for more and when it has got more; what cannot be read is told of by looking.
fn matters(change: &Change<PersistentVolumeClaim>) -> bool {
    let grown = |old, new| {
        let more = decide::request(new)? > decide::request(old)?;
        Ok::<_, Error>(more || decide::size(new)? > decide::size(old)?)
    };
    let matters = match change {
        Change::Added(_) => true,
        Change::Updated { old, new } => grown(old, new).unwrap_or(true),
        Change::Deleted(_) => false,
    };
    matters && change.object().status().phase.as_deref() == Some("Bound")
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "persistentvolume-expander-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(key) else {
            return Ok(Next::DONE);
        };
        let volume = claim.spec().volume_name.as_deref().unwrap_or("");
        let volume = self.volumes.get(&Key::cluster(volume)).ok_or_else(|| {
            failed!(
                "the volume {volume} of {key} is not known",
                volume = GoQuoted(&volume)
            )
        })?;
        let bound_to = volume.spec().claim_ref.as_ref();
        if bound_to
            .is_none_or(|r| r.namespace != claim.metadata.namespace || r.uid != claim.metadata.uid)
        {
            return Err(failed!(
                "persistent Volume is not bound to PVC being updated : {key}"
            ));
        }
        if decide::request(&claim)? > decide::size(&claim)? {
            self.recorder.normal(
                &*claim,
                "ExternalExpanding",
                "waiting for an external controller to expand this PVC",
            );
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn claim(asked: &str, got: &str, phase: &str) -> Arc<PersistentVolumeClaim> {
        let claim = json!({
            "metadata": {"name": "c"},
            "spec": {"resources": {"requests": {"storage": asked}}},
            "status": {"phase": phase, "capacity": {"storage": got}},
        });
        Arc::new(serde_json::from_value(claim).unwrap())
    }

    #[test]
    fn which_changes_of_a_claim_matter() {
        let old = || claim("1Gi", "1Gi", "Bound");
        for (what, new, expected) in [
            ("nothing", old(), false),
            ("asks for more", claim("2Gi", "1Gi", "Bound"), true),
            ("asks for less", claim("1Mi", "1Gi", "Bound"), false),
            ("has more", claim("1Gi", "2Gi", "Bound"), true),
            ("is lost", claim("2Gi", "1Gi", "Lost"), false),
            (
                "what it asks cannot be read",
                claim("much", "1Gi", "Bound"),
                true,
            ),
            (
                "what it has cannot be read",
                claim("1Gi", "much", "Bound"),
                true,
            ),
        ] {
            let change = Change::Updated { old: old(), new };
            assert_eq!(matters(&change), expected, "{what}");
        }
        assert!(matters(&Change::Added(old())));
        assert!(!matters(&Change::Deleted(old())));
    }
}
