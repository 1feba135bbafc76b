//! Stands in for the crate of this name, by which `libcontainer` would checkpoint containers with CRIU. Nothing here does: the node agent offers
//! no checkpoints, and the real crate brings protobuf with its code generators into every build (docs/performance.md).
//!
//! Invariant: no [`Criu`] can exist, so what is asked of one cannot happen; [`Criu::new`] says why.

use std::{fmt, os::fd::RawFd};

/// Why there is no CRIU.
#[derive(Debug)]
pub struct CriuError;

impl fmt::Display for CriuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this program is built without support for checkpoints (CRIU)")
    }
}

impl std::error::Error for CriuError {}

/// How CRIU would treat cgroups.
#[derive(Clone, Copy, Debug)]
pub enum CgMode {
    DEFAULT,
}

/// The key of a namespace, as the real crate makes it.
pub fn criu_ns_to_key(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    format!("extRoot{}{rest}NS", first.to_uppercase())
}

/// Has no values.
pub enum Criu {}

macro_rules! never {
    ($($name:ident($($argument:ty),*) $(-> $answer:ty)?;)*) => { $(
        pub fn $name(&mut self, $(_: $argument),*) $(-> $answer)? {
            match *self {}
        }
    )* };
}

impl Criu {
    /// Always fails.
    pub fn new() -> Result<Criu, CriuError> {
        Err(CriuError)
    }

    never! {
        get_criu_version() -> Result<u32, CriuError>;
        dump() -> Result<(), CriuError>;
        add_external(String);
        cgroups_mode(CgMode);
        set_ext_unix_sk(bool);
        set_external_mount(String, String);
        set_file_locks(bool);
        set_images_dir_fd(RawFd);
        set_leave_running(bool);
        set_link_remap(bool);
        set_log_file(String);
        set_log_level(i32);
        set_manage_cgroups(bool);
        set_orphan_pts_master(bool);
        set_pid(i32);
        set_root(String);
        set_shell_job(bool);
        set_tcp_established(bool);
        set_work_dir_fd(RawFd);
    }
}
