//! How many files this process may have open: each connection is one.
//!
//! Invariant: the process takes all that the machine lets it have, and what it starts for pods gets what it was given itself: programs that
//! walk through all possible descriptors would crawl otherwise. Both as Go's runtime does for upstream's programs (`os/rlimit.go`, `syscall/rlimit.go`).

use std::sync::OnceLock;

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
};

static GIVEN: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the limit as far as it goes; where it cannot be raised, it stays.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|given| {
        let (_, most) = *GIVEN.get_or_init(|| given);
        setrlimit(Resource::RLIMIT_NOFILE, most, most)
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// What the process was given, if it has raised it.
pub fn given() -> Option<(rlim_t, rlim_t)> {
    GIVEN.get().copied()
}

/// Gives this process, a child that is about to become another program, what its parent was given.
pub fn restore((soft, hard): (rlim_t, rlim_t)) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt, process::Command};

    use super::*;

    /// In a process of its own: limits are a whole process's.
    #[test]
    fn a_child_has_what_its_parent_was_given() {
        const INNER: &str = "SKIFF_TEST_OPEN_FILES";
        if std::env::var_os(INNER).is_none() {
            let mut inner = Command::new(std::env::current_exe().unwrap());
            inner
                .args([
                    "open_files::tests::a_child_has_what_its_parent_was_given",
                    "--exact",
                    "--nocapture",
                ])
                .env(INNER, "1");
            // SAFETY: one system call before the program starts.
            unsafe { inner.pre_exec(|| Ok(restore((200, 300))?)) };
            assert!(inner.status().unwrap().success());
            return;
        }
        raise();
        raise();
        assert_eq!(
            (getrlimit(Resource::RLIMIT_NOFILE).unwrap(), given()),
            ((300, 300), Some((200, 300)))
        );
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "ulimit -Sn; ulimit -Hn"]);
        let limits = given().unwrap();
        // SAFETY: one system call before the program starts.
        unsafe { shell.pre_exec(move || Ok(restore(limits)?)) };
        assert_eq!(
            String::from_utf8(shell.output().unwrap().stdout).unwrap(),
            "200\n300\n"
        );
    }
}
