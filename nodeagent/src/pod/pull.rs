//! Making sure that a container's image is on the node.
//!
//! Invariant: an image is pulled once at a time for all who wait for it with the same credentials; failures back off per pod and image.
//! Follows `pkg/kubelet/images/image_manager.go`.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Secret};
use parking_lot::Mutex;

use super::{
    backoff::Backoff,
    containers::Waiting,
    credentials, image_volumes,
    names::{self, namespace, spec, uid},
};
use crate::{
    agent::context::Context,
    events::Type,
    image::{self, Credentials, Image, ImageStore, Reference},
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// Why an image is not there: the waiting reason and message, and what the event says.
pub type Failure = Waiting;

#[derive(Default)]
struct Memory {
    backoff: Backoff,
    /// The last pull's error, by back-off key.
    errors: HashMap<String, String>,
}

type Flight = tokio::sync::OnceCell<Result<Image, Arc<image::Error>>>;

/// The node's image puller.
#[derive(Default)]
pub struct Puller {
    memory: Mutex<Memory>,
    /// Pulls that are under way.
    flights: Mutex<HashMap<String, Arc<Flight>>>,
}

/// An image that is wanted.
pub struct Wanted<'a> {
    pub image: &'a str,
    pub policy: Option<&'a str>,
    /// What events are about.
    pub about: ObjectReference,
}

impl<'a> Wanted<'a> {
    /// The image that a container is made of.
    pub fn by(pod: &Pod, container: &'a Container) -> Self {
        let about = names::container_reference(pod, &container.name);
        Self {
            image: container.image.as_deref().unwrap_or_default(),
            policy: container.image_pull_policy.as_deref(),
            about,
        }
    }
}

/// The image, pulled when its policy asks for that.
pub async fn ensure(node: &Context, pod: &Pod, wanted: &Wanted<'_>) -> Result<Image, Failure> {
    let image = wanted.image;
    let shown = GoQuoted(image);
    let policy = wanted.policy.unwrap_or(if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    });
    let event = |type_, reason: &str, message: String| {
        node.events
            .record(wanted.about.clone(), type_, reason, message)
    };
    if let Err(error) = Reference::parse(image) {
        let message = format!("Failed to apply default image tag {shown}: {error}");
        event(Type::Warning, "InspectFailed", message.clone());
        return Err(Waiting::new("InvalidImageName", message));
    }
    if policy != "Always" {
        match node.images.find(image).await {
            Ok(Some(found)) => {
                event(
                    Type::Normal,
                    "Pulled",
                    format!(
                        "Container image {shown} already present on machine and can be accessed by the pod"
                    ),
                );
                return Ok(found);
            }
            Ok(None) if policy == "Never" => {
                let message =
                    format!("Container image {shown} is not present with pull policy of Never");
                event(Type::Warning, "ErrImageNeverPull", message.clone());
                return Err(Waiting::new("ErrImageNeverPull", message));
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("Failed to inspect image {shown}: {error}");
                event(Type::Warning, "InspectFailed", message.clone());
                return Err(Waiting::new("ImageInspectError", message));
            }
        }
    }
    pull(node, pod, wanted).await
}

async fn pull(
    node: &Context,
    pod: &Pod,
    Wanted { image, about, .. }: &Wanted<'_>,
) -> Result<Image, Failure> {
    let shown = GoQuoted(image);
    let event = |type_, reason: &str, message: String| {
        node.events.record(about.clone(), type_, reason, message)
    };
    let key = format!("{}_{image}", uid(pod));
    {
        let memory = node.puller.memory.lock();
        if memory.backoff.waits(&key, time::now()).is_some() {
            let mut message = format!("Back-off pulling image {shown}");
            event(Type::Normal, "BackOff", message.clone());
            if let Some(error) = memory.errors.get(&key) {
                message.push_str(&format!(": {error}"));
            }
            return Err(Waiting::new("ImagePullBackOff", message));
        }
    }
    let secrets = secrets(node, pod).await;
    event(Type::Normal, "Pulling", format!("Pulling image {shown}"));
    let began = time::Instant::now();
    let pulled = node
        .puller
        .fly(&node.images, image, credentials::for_image(&secrets, image))
        .await;
    let handle = node.pods.read().get(uid(pod)).cloned();
    if let Some(handle) = handle {
        handle.startup.pulled(began.elapsed());
    }
    match pulled {
        Ok(pulled) => {
            let took = time::in_go(began.elapsed());
            event(
                Type::Normal,
                "Pulled",
                format!(
                    "Successfully pulled image {shown} in {took} ({took} including waiting). Image size: {} bytes.",
                    pulled.size
                ),
            );
            let mut memory = node.puller.memory.lock();
            memory.backoff.forget(&key);
            memory.errors.remove(&key);
            Ok(pulled)
        }
        Err(error) => {
            let error = words(&error);
            let message = format!("Failed to pull image {shown}: {error}");
            event(Type::Warning, "Failed", message);
            let mut memory = node.puller.memory.lock();
            memory.backoff.next(&key, time::now());
            memory.errors.insert(key, format!("ErrImagePull: {error}"));
            Err(Waiting::new("ErrImagePull", error))
        }
    }
}

impl Puller {
    /// Joins the pull of the same image that is under way, or starts one.
    async fn fly(
        &self,
        images: &Arc<dyn ImageStore>,
        image: &str,
        credentials: Vec<Credentials>,
    ) -> Result<Image, Arc<image::Error>> {
        let key = format!("{image}\0{credentials:?}");
        let flight = self.flights.lock().entry(key.clone()).or_default().clone();
        let result = flight
            .get_or_init(|| async { images.pull(image, &credentials).await.map_err(Arc::new) })
            .await
            .clone();
        let mut flights = self.flights.lock();
        if flights
            .get(&key)
            .is_some_and(|current| Arc::ptr_eq(current, &flight))
        {
            flights.remove(&key);
        }
        result
    }

    /// When the pod may next try one of its images; `None` when it need not wait.
    pub fn retry_at(&self, pod: &Pod) -> Option<jiff::Timestamp> {
        let memory = self.memory.lock();
        images(pod)
            .filter_map(|image| {
                memory
                    .backoff
                    .waits(&format!("{}_{image}", uid(pod)), time::now())
            })
            .min()
    }

    /// Forgets the failures of a pod that is gone.
    pub fn forget(&self, pod: &Pod) {
        let mut memory = self.memory.lock();
        for image in images(pod) {
            let key = format!("{}_{image}", uid(pod));
            memory.backoff.forget(&key);
            memory.errors.remove(&key);
        }
    }
}

/// All that the pod may want.
fn images(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = spec(pod);
    let of_containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .filter_map(|container| container.image.as_deref());
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .filter_map(|container| container.image.as_deref());
    of_containers
        .chain(ephemeral)
        .chain(image_volumes::sources(pod).filter_map(|(_, source)| source.reference.as_deref()))
}

/// The reason alone, where the error would name the image a second time.
fn words(error: &image::Error) -> String {
    match error {
        image::Error::Pull { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// The pull secrets of the pod that can be read; the others are told in an event.
async fn secrets(node: &Context, pod: &Pod) -> Vec<Secret> {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for reference in spec(pod)
        .image_pull_secrets
        .iter()
        .flatten()
        .filter(|reference| !reference.name.is_empty())
    {
        match node.objects.secret(namespace(pod), &reference.name).await {
            Ok(secret) => found.push(secret),
            Err(error) => {
                tracing::debug!(%error, secret = reference.name, "pull secret not read");
                failed.push(reference.name.clone());
            }
        }
    }
    if !failed.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            failed.join(", ")
        );
        let about = names::reference(pod);
        node.events
            .warn(about, "FailedToRetrieveImagePullSecret", message);
    }
    found
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_what_bears_no_other_tag() {
        assert!(is_latest("nginx") && is_latest("reg:5000/nginx:latest") && !is_latest("nginx:1"));
    }
}
