//! Image volumes: the images that a container mounts are on the node before it is made.
//!
//! Invariant: what keeps an image away is told of each container that mounts it, as for the container's own image.
//! Follows `getImageVolumes` and `toKubeContainerImageVolumes` in `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::pull;
use crate::{
    agent::context::Context,
    image::Image,
    pod::{containers::Waiting, images::image_sources, names},
};

/// The images, by volume.
pub type Images = HashMap<String, Image>;

/// Pulls what the container mounts, as each volume's policy says. The last failure is the container's waiting state.
pub async fn ensure(node: &Context, pod: &Pod, container: &Container) -> Result<Images, Waiting> {
    let mut images = Images::new();
    let mut failure = None;
    for (name, source) in image_sources(pod).filter(|(name, _)| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.name == *name)
    }) {
        let wanted = pull::Wanted {
            image: source.reference.as_deref().unwrap_or_default(),
            policy: source.pull_policy.as_deref(),
            about: names::reference(pod),
        };
        match pull::ensure(node, pod, &wanted).await {
            Ok(image) => _ = images.insert(name.to_owned(), image),
            Err(waiting) => {
                let about = names::container_reference(pod, &container.name);
                node.events
                    .warn(about, "Failed", format!("Error: {}", waiting.reason));
                failure = Some(waiting);
            }
        }
    }
    failure.map_or(Ok(images), Err)
}
