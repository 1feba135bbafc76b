//! `skiff down`: ends the cluster of a data folder.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cluster,
    command::{Command, Run},
    flags::Flag,
};

const FLAGS: &[Flag] = &[super::up::DATA_DIR];
const PATIENCE: Duration = Duration::from_secs(20);

pub static COMMAND: Command = Command {
    name: "down",
    short: "End the cluster of a data folder",
    long: "Ends a cluster that runs over a data folder, its containers and networks with it. The state stays; the next 'skiff up' brings it back.",
    examples: "skiff down\nskiff down --data-dir /tmp/one",
    flags: &[FLAGS],
    run: Run::Raw(run),
    ..Command::NEW
};

fn run(args: Vec<String>) -> i32 {
    let flags = match cluster::parsed("down", &COMMAND, &args) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    match end(&flags) {
        Ok(text) => {
            println!("{text}");
            0
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    }
}

fn end(flags: &crate::flags::Parsed) -> anyhow::Result<String> {
    let folders = super::up::folders_of(flags)?;
    let shown = folders.data.display();
    let Some(record) = folders.record().filter(|_| folders.is_held()) else {
        return Ok(format!("No cluster runs in {shown}"));
    };
    kill(Pid::from_raw(record.pid as i32), Signal::SIGTERM)
        .map_err(|error| anyhow::anyhow!("cannot signal process {}: {error}", record.pid))?;
    let begun = Instant::now();
    while folders.is_held() || runs(record.pid) {
        if begun.elapsed() > PATIENCE {
            anyhow::bail!(
                "process {} still runs after {} s",
                record.pid,
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(format!("The cluster in {shown} has ended; its state stays"))
}

/// Whether there is a process of that number that has not ended: one that nobody has waited for yet has.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waited_for_has_ended() {
        assert!(runs(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let begun = Instant::now();
        while runs(child.id()) {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(!runs(child.id()));
    }
}
