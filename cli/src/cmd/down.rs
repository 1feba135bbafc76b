//! `skiff down`: ends the cluster of a data folder.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::up::DataDir;
use crate::{
    cluster::{self, folders::Folders, left},
    command::{Command, raw},
    flags::Line,
};

const PATIENCE: Duration = Duration::from_secs(20);

pub static COMMAND: Command = Command {
    name: "down",
    short: "End the cluster of a data folder",
    long: "Ends a cluster that runs over a data folder, its containers and networks with it, and takes away what one has left whose process died. The state stays; the next 'skiff up' brings it back.",
    examples: "skiff down\nskiff down --data-dir /tmp/one",
    run: raw!(run: DataDir),
    ..Command::NEW
};

fn run(data: DataDir, line: Line) -> i32 {
    cluster::run_alone("down", &line, async move {
        println!("{}", end(&data).await?);
        Ok(())
    })
}

async fn end(data: &DataDir) -> anyhow::Result<String> {
    let folders = data.folders()?;
    let shown = folders.data.display();
    let ran = match folders.holder() {
        Some(pid) => end_process(&folders, pid).await.map(|()| true)?,
        None => false,
    };
    if left::is_left(&folders) {
        clear(&folders).await?;
        return Ok(format!(
            "The cluster in {shown} had broken off; what it left has been taken away, its state stays"
        ));
    }
    Ok(match ran {
        true => format!("The cluster in {shown} has ended; its state stays"),
        false => format!("No cluster runs in {shown}"),
    })
}

/// Ends the process that holds the folders.
async fn end_process(folders: &Folders, pid: u32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM)
        .map_err(|error| anyhow::anyhow!("cannot signal process {pid}: {error}"))?;
    let begun = Instant::now();
    while folders.is_held() || runs(pid) {
        if begun.elapsed() > PATIENCE {
            anyhow::bail!("process {pid} still runs after {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Ends what a process left that died before it had done so itself. A data folder that is gone is gone again after it.
async fn clear(folders: &Folders) -> anyhow::Result<()> {
    let had_data = folders.data.exists();
    let held = folders.hold()?;
    left::clear(folders).await?;
    drop(held);
    if !had_data {
        std::fs::remove_dir_all(&folders.data)?;
    }
    Ok(())
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
