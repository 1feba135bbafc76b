//! `skiff up` as a process of its own: for `up --detach`, and for whoever needs a cluster for a while.
//!
//! Invariant: it is ready when it has written its record, and only its own record counts.

use std::{ffi::OsStr, fs::File, io, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};

use super::folders::Folders;

const LOOK: Duration = Duration::from_millis(10);

/// Whether it goes on when the process that started it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlives {
    Us,
    Nobody,
}

/// Starts it over these folders. What it says is in their log; it is in a group of its own, so that a terminal's Ctrl-C is not for it.
///
/// # Errors
/// The folders cannot be had, or no process can be started.
pub fn start<A: AsRef<OsStr>>(
    folders: &Folders,
    args: impl IntoIterator<Item = A>,
    outlives: Outlives,
) -> anyhow::Result<Child> {
    drop(folders.hold()?);
    folders.remove_record();
    let log = File::create(folders.log())
        .with_context(|| format!("cannot write {}", folders.log().display()))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("skiff")
        .arg("up")
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    if outlives == Outlives::Nobody {
        ends_with_us(&mut command);
    }
    command.spawn().context("cannot start in the background")
}

/// It is interrupted when this process ends, whichever way.
fn ends_with_us(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec it makes two system calls and allocates nothing
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGINT)?;
            match std::os::unix::process::parent_id() == parent {
                true => Ok(()),
                // it died before it was asked for a signal
                false => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            }
        });
    }
}

/// What it has said so far.
pub fn said(folders: &Folders) -> String {
    let said = std::fs::read_to_string(folders.log());
    said.unwrap_or_else(|error| format!("cannot read {}: {error}\n", folders.log().display()))
}

/// Waits until it is ready.
///
/// # Errors
/// It has ended.
pub async fn wait_until_ready(folders: &Folders, child: &mut Child) -> anyhow::Result<()> {
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the cluster did not start ({status})");
        }
        let record = folders.record();
        if record.is_some_and(|record| Some(record.pid) == child.id()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
