//! The images that a pod names.

use k8s_openapi::api::core::v1::{ImageVolumeSource, Pod};

use super::names::spec;

/// All images that the pod may want.
pub fn images(pod: &Pod) -> impl Iterator<Item = &str> {
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
        .chain(image_sources(pod).filter_map(|(_, source)| source.reference.as_deref()))
}

/// The pod's image volumes by name.
pub fn image_sources(pod: &Pod) -> impl Iterator<Item = (&str, &ImageVolumeSource)> {
    spec(pod)
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| Some((volume.name.as_str(), volume.image.as_ref()?)))
}
