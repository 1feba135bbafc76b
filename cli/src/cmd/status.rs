//! `skiff status`: what runs in a data folder.

use crate::{
    cluster,
    command::{Command, Run},
    flags::Flag,
};

const FLAGS: &[Flag] = &[super::up::DATA_DIR];

pub static COMMAND: Command = Command {
    name: "status",
    short: "Show the cluster of a data folder",
    long: "Shows whether a cluster runs over a data folder, where it answers and which nodes it has. Exit status 1 when none runs.",
    examples: "skiff status\nskiff status --data-dir /tmp/one",
    flags: &[FLAGS],
    run: Run::Raw(run),
    ..Command::NEW
};

fn run(args: Vec<String>) -> i32 {
    let flags = match cluster::parsed("status", &COMMAND, &args) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    let folders = match super::up::folders_of(&flags) {
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
                "Kubeconfig:  {} (context \"skiff\")",
                record.kubeconfig.display()
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
            1
        }
    }
}
