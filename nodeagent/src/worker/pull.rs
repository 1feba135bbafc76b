//! Making sure that a container's image is on the node.
//!
//! Invariant: each thing that is done or fails is told in an event, in upstream's words.
//! Follows `pkg/kubelet/images/image_manager.go`.

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Secret};

use crate::{
    agent::{context::Context, puller},
    events::Type,
    image::{self, Image, Reference},
    pod::{
        containers::Waiting,
        credentials,
        names::{self, namespace, spec, uid},
    },
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// Why an image is not there: the waiting reason and message, and what the event says.
pub type Failure = Waiting;

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
    let key = puller::key(pod, image);
    if let Some(last) = node.puller.held_back(&key) {
        let mut message = format!("Back-off pulling image {shown}");
        event(Type::Normal, "BackOff", message.clone());
        if let Some(error) = last {
            message.push_str(&format!(": {error}"));
        }
        return Err(Waiting::new("ImagePullBackOff", message));
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
            node.puller.forget_failure(&key);
            Ok(pulled)
        }
        Err(error) => {
            let error = words(&error);
            let message = format!("Failed to pull image {shown}: {error}");
            event(Type::Warning, "Failed", message);
            node.puller
                .note_failure(&key, format!("ErrImagePull: {error}"));
            Err(Waiting::new("ErrImagePull", error))
        }
    }
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
