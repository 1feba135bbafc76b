//! Images as volumes: what of an image is bound into a container.
//!
//! Invariant: pure but for looking images up; an image volume is never writable.
//! Follows `mutateImageMount` of containerd's CRI plugin.

use super::{
    failed,
    state::{ContainerDir, ImageVolume},
};
use crate::{
    image::{self, Store},
    runtime::{ContainerSpec, Error},
};

/// Finds the images, and has the mounts lead to the places where their content will be.
pub fn resolve(
    spec: &mut ContainerSpec,
    dir: &ContainerDir,
    images: &Store,
) -> Result<Vec<ImageVolume>, Error> {
    let mut volumes = Vec::new();
    for (number, mount) in spec.mounts.iter_mut().enumerate() {
        let Some(wanted) = &mount.image else { continue };
        let found = images.rootfs(&wanted.image_id).map_err(|err| match err {
            image::Error::NotFound(_) => Error::NoImage(wanted.image_id.clone()),
            other => failed("use the image", other),
        })?;
        let place = dir.image_volume(number);
        volumes.push(ImageVolume {
            layers: found.layers,
            sub_path: wanted.sub_path.clone(),
            place: place.clone(),
        });
        (mount.host_path, mount.read_only) = (place, true);
    }
    Ok(volumes)
}
