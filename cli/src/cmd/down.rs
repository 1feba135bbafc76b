//! `skiff down`: ends the cluster of a data folder.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::up::DataDir;
use crate::{
    cluster,
    command::{Command, raw},
    flags::Line,
};

const PATIENCE: Duration = Duration::from_secs(20);

pub static COMMAND: Command = Command {
    name: "down",
    short: "End the cluster of a data folder",
    long: "Ends a cluster that runs over a data folder, its containers and networks with it. The state stays; the next 'skiff up' brings it back.",
    examples: "skiff down\nskiff down --data-dir /tmp/one",
    run: raw!(run: DataDir),
    ..Command::NEW
};

fn run(data: DataDir, line: Line) -> i32 {
    cluster::run_alone("down", &line, async move {
        println!("{}", end(&data)?);
        Ok(())
    })
}

fn end(data: &DataDir) -> anyhow::Result<String> {
    let folders = data.folders()?;
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
