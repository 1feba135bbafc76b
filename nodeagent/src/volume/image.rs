//! `image`: what an image holds. It has no place of its own on the node: the runtime mounts it for each container.
//!
//! Follows `pkg/volume/image/image.go`.

use std::path::PathBuf;

use crate::pod::mounted::Mounted;

pub fn set_up() -> Mounted {
    Mounted {
        read_only: true,
        ..Mounted::folder(PathBuf::new())
    }
}
