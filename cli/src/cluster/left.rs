//! What a cluster leaves on the machine when its process dies before it has ended it: containers, which run on, namespaces, interfaces, tables, mounts.
//!
//! Invariant: it is found by the data folder's name alone, even where that folder is gone, and nothing but what is below the cluster's own folders, or bears
//! its name, is taken away. Whoever clears holds the data folder.

use anyhow::Context;
use skiff_nodeagent::{
    machine, mounts,
    network::{cluster, ns::Namespace},
};

use super::folders::Folders;

/// The folder of nodes' network namespaces, beside the folders of the nodes.
const NAMESPACES: &str = "netns";

/// Whether a cluster of nodes on this machine has left anything. One that joined another's is none: its containers are to run on.
pub fn is_left(folders: &Folders) -> bool {
    cluster::is_there(&folders.run())
}

/// Ends and takes away all of it; what pods stored and images stay.
///
/// # Errors
/// The first thing that could not be taken away; the others are all the same.
pub async fn clear(folders: &Folders) -> anyhow::Result<()> {
    let mut first = Ok(());
    let mut note = |done: anyhow::Result<()>| {
        if first.is_ok() {
            first = done;
        }
    };
    for name in nodes(folders)? {
        let (run, data) = (folders.run().join(&name), folders.node(&name));
        let containers = machine::oci_config(&run, &data, &folders.cgroup(&name));
        let ended = machine::end_containers(containers, &folders.images()).await;
        note(ended.with_context(|| format!("cannot end the containers of {name}")));
    }
    let host = Namespace::current()?;
    let network = cluster::clear(&host, &folders.run(), &folders.instance).await;
    note(network.context("cannot take the cluster's network away"));
    note(take_away(folders));
    folders.remove_record();
    first
}

/// The nodes that have a folder of their own among those of what runs.
fn nodes(folders: &Folders) -> anyhow::Result<Vec<String>> {
    let run = folders.run();
    let entries = std::fs::read_dir(&run).with_context(|| format!("cannot read {}", run.display()));
    let mut names = Vec::new();
    for entry in entries? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name != NAMESPACES {
            names.push(name);
        }
    }
    Ok(names)
}

/// Takes away mounts, and the folder of what runs.
///
/// # Errors
/// Something is still mounted below it; the next start clears it.
pub fn take_away(folders: &Folders) -> anyhow::Result<()> {
    let run = folders.run();
    for folder in [folders.data.join("nodes"), run.clone()] {
        mounts::unmount_below(&folder)?;
    }
    match std::fs::remove_dir_all(&run) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("cannot remove {}", run.display())),
    }
}
