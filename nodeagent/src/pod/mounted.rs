//! The volumes of a pod that are there.

use std::{collections::HashMap, path::PathBuf};

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub path: PathBuf,
    /// Whatever the mount asks for, this volume cannot be written.
    pub read_only: bool,
    /// The volume's root is a plain file, or something else that has no sub-paths.
    pub is_file: bool,
}

impl Mounted {
    pub fn folder(path: PathBuf) -> Self {
        Self {
            path,
            read_only: false,
            is_file: false,
        }
    }
}

/// Where the volumes are, by name.
pub type All = HashMap<String, Mounted>;
