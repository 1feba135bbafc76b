//! Owner references: who controls what, and the taking in and letting go of dependents by label.
//!
//! Invariant: nothing is taken from another controller; a controller that is being deleted takes nothing in; before the first taking in
//! the controller is read from the server once more. Follows pkg/controller/controller_ref_manager.go.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use crate::prelude::*;

/// The reference of a dependent to its controller.
pub fn controller_ref<K: Kind>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version().into(),
        kind: K::kind().into(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The controlling owner of an object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true))
}

/// Whether `owner` controls an object.
pub fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|r| Some(&r.uid) == owner.uid.as_ref())
}

/// What is to become of a possible dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours, and stays so.
    Keep,
    /// It is none of our business.
    Ignore,
    /// It is nobody's, and fits.
    Adopt,
    /// It is ours, and does not fit any more.
    Release,
}

/// Decides about one possible dependent of `owner`.
pub fn claim(owner: &ObjectMeta, dependent: &ObjectMeta, fits: bool) -> Claim {
    let owner_deleted = owner.deletion_timestamp.is_some();
    match controller_of(dependent) {
        Some(r) if Some(&r.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if fits => Claim::Keep,
        Some(_) if owner_deleted => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_deleted || !fits || dependent.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Claims all that is `owner`'s among `candidates`: keeps, adopts, releases. Gives those that are its own afterwards.
pub async fn claim_all<O: Kind, K: Kind>(
    api: &Api,
    owner: &O,
    candidates: Vec<Arc<K>>,
    fits: impl Fn(&K) -> bool,
) -> Result<Vec<Arc<K>>, Error> {
    claim_all_held(api, owner, candidates, fits, None).await
}

/// The same, of what bears a finalizer for as long as it is the owner's.
pub async fn claim_all_held<O: Kind, K: Kind>(
    api: &Api,
    owner: &O,
    candidates: Vec<Arc<K>>,
    fits: impl Fn(&K) -> bool,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>, Error> {
    let mut mine = Vec::with_capacity(candidates.len());
    let (mut adopt, mut release) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match claim(owner.meta(), candidate.meta(), fits(&candidate)) {
            Claim::Keep => mine.push(candidate),
            Claim::Ignore => {}
            Claim::Adopt => adopt.push(candidate),
            Claim::Release => release.push(candidate),
        }
    }
    let mut errors = Vec::new();
    if !adopt.is_empty() {
        recheck(api, owner).await?;
        let results = join_all(adopt.iter().map(|c| adopt_one(api, owner, &**c, finalizer))).await;
        for (candidate, result) in adopt.into_iter().zip(results) {
            match result {
                Ok(()) => mine.push(candidate),
                Err(e) if e.is_not_found() => {}
                Err(e) => errors.push(e),
            }
        }
    }
    let results = join_all(
        release
            .iter()
            .map(|c| release_one(api, owner, &**c, finalizer)),
    )
    .await;
    errors.extend(results.into_iter().filter_map(Result::err));
    Error::collect(errors)?;
    Ok(mine)
}

/// Reads the owner from the server: one that is gone or going must not adopt.
async fn recheck<O: Kind>(api: &Api, owner: &O) -> Result<(), Error> {
    let meta = owner.meta();
    let (key, path) = (Key::of(meta), item::<O>(meta.namespace(), meta.name()));
    let fresh = api.get_metadata(&path).await?;
    if fresh.uid != meta.uid {
        let (kind, was, is) = (O::kind(), meta.uid(), fresh.uid());
        return Err(failed!(
            "original {kind} {key} is gone: got uid {is}, wanted {was}"
        ));
    }
    match fresh.deletion_timestamp {
        Some(at) => Err(failed!("{key} has just been deleted at {}", at.0)),
        None => Ok(()),
    }
}

async fn adopt_one<O: Kind, K: Kind>(
    api: &Api,
    owner: &O,
    dependent: &K,
    finalizer: Option<&str>,
) -> Result<(), Error> {
    let meta = dependent.meta();
    let mut patch =
        json!({"metadata": {"ownerReferences": [controller_ref(owner)], "uid": meta.uid}});
    if let Some(finalizer) = finalizer {
        patch["metadata"]["finalizers"] = json!([finalizer]);
    }
    let path = item::<K>(meta.namespace(), meta.name());
    api.patch(&path, PatchType::Strategic, &patch)
        .await
        .map(drop)
}

async fn release_one<O: Kind, K: Kind>(
    api: &Api,
    owner: &O,
    dependent: &K,
    finalizer: Option<&str>,
) -> Result<(), Error> {
    let meta = dependent.meta();
    let mut patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.meta().uid}], "uid": meta.uid}});
    if let Some(finalizer) = finalizer {
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
    }
    match api
        .amend::<K>(&Key::of(meta), PatchType::Strategic, &patch)
        .await
    {
        // another object of the same name by now: nothing to let go of
        Err(e) if e.is_invalid() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn claims() {
        let owner = |deleted: bool| ObjectMeta {
            uid: Some("me".into()),
            deletion_timestamp: deleted.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..Default::default()
        };
        let dependent = |controller: Option<&str>, deleted: bool| ObjectMeta {
            owner_references: controller.map(|uid| {
                vec![OwnerReference {
                    uid: uid.into(),
                    controller: Some(true),
                    ..Default::default()
                }]
            }),
            deletion_timestamp: deleted.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..Default::default()
        };
        for (controller, fits, owner_deleted, deleted, expected) in [
            (Some("me"), true, false, false, Claim::Keep),
            (Some("me"), true, true, true, Claim::Keep),
            (Some("me"), false, false, false, Claim::Release),
            (Some("me"), false, true, false, Claim::Ignore),
            (Some("you"), true, false, false, Claim::Ignore),
            (None, true, false, false, Claim::Adopt),
            (None, true, true, false, Claim::Ignore),
            (None, true, false, true, Claim::Ignore),
            (None, false, false, false, Claim::Ignore),
        ] {
            assert_eq!(
                claim(&owner(owner_deleted), &dependent(controller, deleted), fits),
                expected,
                "{controller:?} {fits} {owner_deleted} {deleted}"
            );
        }
    }
}
