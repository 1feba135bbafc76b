//! Writes of those who do not mind that the object is gone meanwhile: what is to be changed or deleted may have been deleted by others.
//!
//! Invariant: gone is only what the server says is gone; every other failure is told. Follows the callers of `apierrors.IsNotFound` in
//! pkg/controller.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::{
    api::{Api, Delete, Kind, PatchType, item},
    error::{Error, unless_gone},
    key::Key,
};

impl Api {
    /// Changes an object that may be gone: then `None`, else its metadata as it is now.
    pub async fn amend<K: Kind>(
        &self,
        key: &Key,
        how: PatchType,
        patch: &Value,
    ) -> Result<Option<ObjectMeta>, Error> {
        let path = item::<K>(key.namespace(), key.name());
        unless_gone(self.patch(&path, how, patch).await)
    }

    /// The same of its status.
    pub async fn amend_status<K: Kind>(
        &self,
        key: &Key,
        how: PatchType,
        patch: &Value,
    ) -> Result<Option<ObjectMeta>, Error> {
        let path = item::<K>(key.namespace(), key.name()) + "/status";
        unless_gone(self.patch(&path, how, patch).await)
    }

    /// Deletes an object that may be gone.
    pub async fn remove<K: Kind>(&self, key: &Key) -> Result<(), Error> {
        unless_gone(self.delete::<K>(key, &Delete::default()).await).map(drop)
    }
}
