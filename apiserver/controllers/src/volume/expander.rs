//! The expander of claims: no kind of volume is expanded by the control plane itself, so it says who is waited for.
//!
//! Invariant: a claim is looked at when it is seen first and when it asks for more or has got more. Follows
//! pkg/controller/volume/expand/expand_controller.go.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use skiff_api::machinery::quantity::Quantity;

use crate::{
    error::Error,
    events::Recorder,
    informer::{Change, Informer},
    key::Key,
    list::Work,
    runner::{Context, Next, Reconcile},
};

struct Controller {
    recorder: Recorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

/// `persistentvolume-expander-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        recorder: context.recorder("volume_expand"),
        claims: context.informer(),
        volumes: context.informer(),
    });
    let q = queue.clone();
    controller.claims.subscribe(move |change| {
        let grown = match change {
            Change::Added(_) => true,
            Change::Updated { old, new } => wanted(new) > wanted(old) || had(new) > had(old),
            Change::Deleted(_) => false,
        };
        let claim = change.object();
        if grown && claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound") {
            q.add(Key::of(&claim.metadata));
        }
    });
    Ok(Some(context.some_workers(1, controller, queue)))
}

/// What the claim asks for; nothing if it does not say, or not as a quantity.
fn wanted(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    claim
        .spec
        .as_ref()?
        .resources
        .as_ref()?
        .requests
        .as_ref()?
        .get("storage")?
        .0
        .parse()
        .ok()
}

fn had(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    claim
        .status
        .as_ref()?
        .capacity
        .as_ref()?
        .get("storage")?
        .0
        .parse()
        .ok()
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "persistentvolume-expander-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(key) else {
            return Ok(Next::DONE);
        };
        let volume = claim
            .spec
            .as_ref()
            .and_then(|s| s.volume_name.as_deref())
            .unwrap_or("");
        let volume = self
            .volumes
            .get(&Key::cluster(volume))
            .ok_or_else(|| Error::Failed(format!("the volume {volume:?} of {key} is not known")))?;
        let bound_to = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        if bound_to
            .is_none_or(|r| r.namespace != claim.metadata.namespace || r.uid != claim.metadata.uid)
        {
            return Err(Error::Failed(format!(
                "persistent Volume is not bound to PVC being updated : {key}"
            )));
        }
        if wanted(&claim) > had(&claim) {
            self.recorder.normal(
                &*claim,
                "ExternalExpanding",
                "waiting for an external controller to expand this PVC",
            );
        }
        Ok(Next::DONE)
    }
}
