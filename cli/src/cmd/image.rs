//! `skiff image load|list|rm`: the images that real nodes of this machine share.
//! Invariant: containers that run from an image go on when it is removed.
//! The list is one table of three columns, which the widths of `format!` align; a library for tables would make it longer.

use skiff_nodeagent::image::{ImageStore, Loaded, Store};

use super::up::DataDir;
use crate::{
    cluster,
    command::{Command, raw},
    flags::Line,
};

static LOAD: Command = Command {
    name: "load",
    usage: "ARCHIVE...",
    short: "Load images from OCI or docker archives",
    long: "Loads images from archives as 'docker save' and 'skopeo copy oci-archive:' write them, plain or compressed.",
    examples: "skiff image load web.tar",
    run: raw!(load: DataDir),
    ..Command::NEW
};
static LIST: Command = Command {
    name: "list",
    aliases: &["ls"],
    short: "List the images",
    long: "Lists the images that the nodes of this machine have.",
    examples: "skiff image list",
    run: raw!(list: DataDir),
    ..Command::NEW
};
static REMOVE: Command = Command {
    name: "rm",
    usage: "IMAGE...",
    short: "Remove images",
    long: "Removes images by name. Containers that run from them go on.",
    examples: "skiff image rm docker.io/library/nginx:latest",
    run: raw!(remove: DataDir),
    ..Command::NEW
};

pub static COMMAND: Command = Command {
    name: "image",
    short: "Load, list and remove images of this machine's nodes",
    long: "Manages the images that the real nodes of this machine share.",
    subcommands: &[&LOAD, &LIST, &REMOVE],
    ..Command::NEW
};

/// Opens the store and runs.
fn with<F, R>(data: DataDir, work: F) -> i32
where
    F: FnOnce(Store) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    cluster::run(async move { work(Store::open(data.folders()?.images())?).await })
}

fn load(data: DataDir, line: Line) -> i32 {
    with(data, |store| async move {
        let files = line.args;
        anyhow::ensure!(!files.is_empty(), "name at least one archive");
        for file in files {
            for loaded in store.load(std::path::Path::new(&file)).await? {
                lines_of(&loaded).for_each(|line| println!("{line}"));
            }
        }
        Ok(())
    })
}

/// The names that the archive gives the image, or its id when it gives none.
fn lines_of(loaded: &Loaded) -> impl Iterator<Item = &String> {
    let id = loaded.names.is_empty().then_some(&loaded.image.id);
    loaded.names.iter().chain(id)
}

fn list(data: DataDir, _: Line) -> i32 {
    with(data, |store| async move {
        println!("{:<56} {:<14} SIZE", "IMAGE", "ID");
        for image in store.list().await? {
            let id: String = image
                .id
                .trim_start_matches("sha256:")
                .chars()
                .take(12)
                .collect();
            let names = if image.tags.is_empty() {
                &image.digests
            } else {
                &image.tags
            };
            for name in names {
                println!("{name:<56} {id:<14} {:.1} MB", image.size as f64 / 1e6);
            }
        }
        Ok(())
    })
}

fn remove(data: DataDir, line: Line) -> i32 {
    with(data, |store| async move {
        let names = line.args;
        anyhow::ensure!(!names.is_empty(), "name at least one image");
        for name in names {
            store.remove(&name).await?;
            println!("removed {name}");
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use skiff_nodeagent::image::Image;

    use super::*;

    #[test]
    fn what_is_loaded_is_named_as_its_archive_names_it() {
        let lines = |names: &[&str]| {
            let loaded = Loaded {
                image: Image {
                    id: "sha256:abc".to_owned(),
                    tags: vec!["docker.io/library/older:1".to_owned()],
                    digests: Vec::new(),
                    size: 1,
                    user: String::new(),
                },
                names: names.iter().map(ToString::to_string).collect(),
            };
            lines_of(&loaded).cloned().collect::<Vec<_>>()
        };
        assert_eq!(lines(&["a:1", "b:2"]), ["a:1", "b:2"]);
        assert_eq!(lines(&[]), ["sha256:abc"]);
    }
}
