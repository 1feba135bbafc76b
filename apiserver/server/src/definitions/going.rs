//! The end of a definition: its objects are deleted, and when the last has gone, so does it.
//!
//! Invariant: no object is left behind whose kind nobody knows. Follows `pkg/controller/finalizer/crd_finalizer.go`.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use skiff_api::{
    kinds::{
        Subresource,
        definition::{CLEANUP, is_condition, set},
    },
    machinery::{meta::Meta, read::Read, status::Status, time},
};

use super::RESOURCE;
use crate::{
    following::Following,
    own::Own,
    write::{self, Part, Writer},
};

/// What is not gone then is asked to go again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries when something fails.
const PAUSE: Duration = Duration::from_secs(1);

/// Tries until it is done.
pub async fn to_the_end(writer: &Arc<Writer>, definition: &Value) {
    while let Err(status) = once(writer, definition).await {
        tracing::warn!(
            "the definition {} does not go yet: {}",
            definition.name(),
            status.message
        );
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(writer: &Arc<Writer>, definition: &Value) -> Result<(), Status> {
    let begun = (
        "InstanceDeletionInProgress",
        "CustomResource deletion is in progress",
    );
    tell(writer, definition, "True", begun, false).await?;
    let done = if !is_condition(definition, "Established", "True") {
        ("NeverEstablished", "resource was never established")
    } else if let Err(status) = remove(writer, definition).await {
        let why = format!("could not issue all deletes: {}", status.message);
        tell(
            writer,
            definition,
            "True",
            ("InstanceDeletionFailed", &why),
            false,
        )
        .await?;
        return Err(status);
    } else {
        ("InstanceDeletionCompleted", "removed all instances")
    };
    tell(writer, definition, "False", done, true).await
}

/// Sets the condition, and takes away what keeps the definition when it is over.
async fn tell(
    writer: &Arc<Writer>,
    definition: &Value,
    state: &str,
    words: (&str, &str),
    over: bool,
) -> Result<(), Status> {
    let now = time::seconds(writer.core.now());
    let own = Own::new(writer);
    let (row, part) = (own.row(RESOURCE)?, Part::Sub(Subresource::Status));
    own.change(row, ("", definition.name()), part, &mut |new| {
        let mut status = new.at("status").clone();
        set(&mut status, "Terminating", state, words, &now);
        new["status"] = status;
        if over {
            let rest: Vec<Value> = new
                .finalizers()
                .filter(|finalizer| *finalizer != CLEANUP)
                .map(Value::from)
                .collect();
            match rest.is_empty() {
                true => drop(new.meta_mut().remove("finalizers")),
                false => new.set_meta("finalizers", rest),
            }
        }
    })
    .await
}

/// Deletes all objects, and waits until they are gone.
async fn remove(writer: &Arc<Writer>, definition: &Value) -> Result<(), Status> {
    let names = definition.at("status").at("acceptedNames");
    let resource = format!(
        "{}.{}",
        names.text("plural"),
        definition.at("spec").text("group")
    );
    let store = &writer.core.store;
    let own = Own::new(writer);
    let kind = own.row(&resource)?;
    // that the definition goes was admitted
    let call = own.call().admitted();
    let mut changes = Following::from_now(store, &resource);
    for object in store.snapshot(&resource).range(None, None) {
        let options = write::DeleteOptions::default();
        let (namespace, name) = (&object.key.namespace, &object.key.name);
        match write::delete(&call, kind, namespace, name, &options).await {
            Err(status) if status.code != 404 => return Err(status),
            _ => {}
        }
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while store.snapshot(&resource).range(None, None).next().is_some() {
        match tokio::time::timeout_at(deadline, changes.next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Status::internal(skiff_storage::Error::Closed)),
            Err(_) => {
                return Err(Status::internal_plain(
                    "could not confirm zero CustomResources remaining: timed out waiting for the condition",
                ));
            }
        }
    }
    Ok(())
}
