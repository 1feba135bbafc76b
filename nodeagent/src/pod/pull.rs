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
    image::{self, Credentials, Image, ImageStore},
    time,
};

/// Why an image is not there: the waiting reason and message, and what the event says.
pub type Failure = Waiting;

#[derive(Default)]
struct Memory {
    backoff: Backoff,
    /// The last pull's error, by back-off key.
    errors: HashMap<String, String>,
}

type Flight = tokio::sync::OnceCell<Result<Image, String>>;

/// The node's image puller.
#[derive(Default)]
pub struct Puller {
    memory: Mutex<Memory>,
    /// Pulls that are under way.
    flights: Mutex<HashMap<String, Arc<Flight>>>,
}

fn waiting(reason: &str, message: impl Into<String>) -> Waiting {
    Waiting {
        reason: reason.to_owned(),
        message: message.into(),
    }
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
    let policy = wanted.policy.unwrap_or(if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    });
    let event = |type_, reason: &str, message: String| {
        node.events
            .record(wanted.about.clone(), type_, reason, message)
    };
    if let Err(reason) = check_name(image) {
        let message = format!(
            "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: {reason}"
        );
        event(Type::Warning, "InspectFailed", message.clone());
        return Err(waiting("InvalidImageName", message));
    }
    if policy != "Always" {
        match node.images.find(image).await {
            Ok(Some(found)) => {
                event(
                    Type::Normal,
                    "Pulled",
                    format!(
                        "Container image {image:?} already present on machine and can be accessed by the pod"
                    ),
                );
                return Ok(found);
            }
            Ok(None) if policy == "Never" => {
                let message =
                    format!("Container image {image:?} is not present with pull policy of Never");
                event(Type::Warning, "ErrImageNeverPull", message.clone());
                return Err(waiting("ErrImageNeverPull", message));
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("Failed to inspect image {image:?}: {error}");
                event(Type::Warning, "InspectFailed", message.clone());
                return Err(waiting("ImageInspectError", message));
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
    let event = |type_, reason: &str, message: String| {
        node.events.record(about.clone(), type_, reason, message)
    };
    let key = format!("{}_{image}", uid(pod));
    {
        let memory = node.puller.memory.lock();
        if memory.backoff.waits(&key, time::now()).is_some() {
            let mut message = format!("Back-off pulling image {image:?}");
            event(Type::Normal, "BackOff", message.clone());
            if let Some(error) = memory.errors.get(&key) {
                message.push_str(&format!(": {error}"));
            }
            return Err(waiting("ImagePullBackOff", message));
        }
    }
    let secrets = secrets(node, pod).await;
    event(Type::Normal, "Pulling", format!("Pulling image {image:?}"));
    let began = time::Instant::now();
    let pulled = node
        .puller
        .fly(&node.images, image, credentials::for_image(&secrets, image))
        .await;
    match pulled {
        Ok(pulled) => {
            let took = go_duration(began.elapsed().as_millis());
            event(
                Type::Normal,
                "Pulled",
                format!(
                    "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {} bytes.",
                    pulled.size
                ),
            );
            let mut memory = node.puller.memory.lock();
            memory.backoff.forget(&key);
            memory.errors.remove(&key);
            Ok(pulled)
        }
        Err(error) => {
            event(
                Type::Warning,
                "Failed",
                format!("Failed to pull image {image:?}: {error}"),
            );
            let mut memory = node.puller.memory.lock();
            memory.backoff.next(&key, time::now());
            memory.errors.insert(key, format!("ErrImagePull: {error}"));
            Err(waiting("ErrImagePull", error))
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
    ) -> Result<Image, String> {
        let key = format!("{image}\0{credentials:?}");
        let flight = self.flights.lock().entry(key.clone()).or_default().clone();
        let result = flight
            .get_or_init(|| async {
                images
                    .pull(image, &credentials)
                    .await
                    .map_err(|error| words(&error))
            })
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
        node.events.record(
            names::reference(pod),
            Type::Warning,
            "FailedToRetrieveImagePullSecret",
            message,
        );
    }
    found
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Whether `image` has the form of a reference.
fn check_name(image: &str) -> Result<(), &'static str> {
    const FORMAT: &str = "invalid reference format";
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    if let Some(digest) = digest {
        let valid = digest.split_once(':').is_some_and(|(kind, hex)| {
            !kind.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if !valid {
            return Err(FORMAT);
        }
    }
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = name[slash..].find(':').map_or((name, None), |colon| {
        (&name[..slash + colon], Some(&name[slash + colon + 1..]))
    });
    if tag.is_some_and(|tag| {
        tag.is_empty()
            || tag.len() > 128
            || !tag
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    }) {
        return Err(FORMAT);
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        parts.remove(0);
    }
    if parts
        .iter()
        .any(|part| part.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return Err("invalid reference format: repository name must be lowercase");
    }
    let component = |part: &&str| {
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    if parts.iter().all(component) {
        Ok(())
    } else {
        Err(FORMAT)
    }
}

/// `1.234s`, as Go prints so many milliseconds.
fn go_duration(millis: u128) -> String {
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (millis, minutes) {
        (0, _) => "0s".to_owned(),
        (1..1000, _) => format!("{millis}ms"),
        (_, 0) => format!("{seconds}s"),
        _ => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for good in [
            "nginx",
            "nginx:1.27",
            "docker.io/library/nginx@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "localhost:5000/a/b_c:x",
            "a.b/c",
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "nginx:",
            "a//b",
            "/a",
            "a b",
            "nginx@sha256:xyz",
            ":x",
            "a/-b",
        ] {
            assert_eq!(check_name(bad), Err("invalid reference format"), "{bad}");
        }
        assert_eq!(
            check_name("Nginx"),
            Err("invalid reference format: repository name must be lowercase")
        );
        assert!(is_latest("nginx") && is_latest("reg:5000/nginx:latest") && !is_latest("nginx:1"));
    }

    #[test]
    fn durations() {
        for (millis, text) in [
            (0, "0s"),
            (12, "12ms"),
            (1000, "1s"),
            (1230, "1.23s"),
            (61_500, "1m1.5s"),
        ] {
            assert_eq!(go_duration(millis), text);
        }
    }
}
