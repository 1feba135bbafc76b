//! `skiff status`: what runs in a data folder.
//! Invariant: the exit status is 1 when nothing runs there.
//! It is five labelled lines, which need no table; no library draws them.

use super::up::DataDir;
use crate::{
    cluster::{self, left},
    command::{Command, raw},
    flags::Line,
};

pub static COMMAND: Command = Command {
    name: "status",
    short: "Show the cluster of a data folder",
    long: "Shows whether a cluster runs over a data folder, where it answers and which nodes it has. Exit status 1 when none runs.",
    examples: "skiff status\nskiff status --data-dir /tmp/one",
    run: raw!(run: DataDir),
    ..Command::NEW
};

fn run(data: DataDir, line: Line) -> i32 {
    if !cluster::takes_no_arguments("status", &line) {
        return 1;
    }
    let folders = match data.folders() {
        Ok(folders) => folders,
        Err(error) => {
            eprintln!("error: {error:#}");
            return 1;
        }
    };
    match folders.record().filter(|_| folders.is_held()) {
        Some(record) => {
            println!("Running (process {}) since {}", record.pid, record.started);
            println!("Server:      {}", record.server);
            println!(
                "Kubeconfig:  {} (context {:?})",
                record.kubeconfig.display(),
                record.context
            );
            println!(
                "Nodes:       {}{}",
                record.nodes.join(", "),
                if record.simulated { " (simulated)" } else { "" }
            );
            if let Some(url) = record.url {
                println!("Shop:        {url}");
            }
            0
        }
        None if folders.is_held() => {
            println!("Starting in {}", folders.data.display());
            0
        }
        None => {
            println!("No cluster runs in {}", folders.data.display());
            if left::is_left(&folders) {
                println!(
                    "One that broke off has left containers or networks: `skiff up` takes them up again, `skiff down` ends them"
                );
            }
            1
        }
    }
}
