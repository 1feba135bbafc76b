//! `skiff image load|list|rm`: the images that real nodes of this machine share.

use skiff_nodeagent::image::{ImageStore, Store};

use crate::{
    cluster::{self, folders::Folders},
    command::{Command, Run},
    flags::{self, Flag},
};

const FLAGS: &[Flag] = &[super::up::DATA_DIR];

static LOAD: Command = Command {
    name: "load",
    usage: "ARCHIVE...",
    short: "Load images from OCI or docker archives",
    long: "Loads images from archives as 'docker save' and 'skopeo copy oci-archive:' write them, plain or compressed.",
    examples: "skiff image load web.tar",
    flags: &[FLAGS],
    run: Run::Raw(load),
    ..Command::NEW
};
static LIST: Command = Command {
    name: "list",
    aliases: &["ls"],
    short: "List the images",
    long: "Lists the images that the nodes of this machine have.",
    examples: "skiff image list",
    flags: &[FLAGS],
    run: Run::Raw(list),
    ..Command::NEW
};
static REMOVE: Command = Command {
    name: "rm",
    usage: "IMAGE...",
    short: "Remove images",
    long: "Removes images by name. Containers that run from them go on.",
    examples: "skiff image rm docker.io/library/nginx:latest",
    flags: &[FLAGS],
    run: Run::Raw(remove),
    ..Command::NEW
};

pub static COMMAND: Command = Command {
    name: "image",
    short: "Load, list and remove images of this machine's nodes",
    long: "Manages the images that the real nodes of this machine share.",
    subcommands: &[&LOAD, &LIST, &REMOVE],
    ..Command::NEW
};

/// Reads the flags, opens the store and runs.
fn with<F, R>(command: &'static Command, args: Vec<String>, work: F) -> i32
where
    F: FnOnce(Store, Vec<String>) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let parsed = match flags::parse(&args, &[FLAGS, crate::command::HELP]) {
        Ok(parsed) if parsed.bool("help") => {
            print!(
                "{}",
                crate::command::help_of(command, &format!("skiff image {}", command.name))
            );
            return 0;
        }
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("error: {error}");
            return 1;
        }
    };
    cluster::run(async move {
        let store = Store::open(Folders::at(parsed.str("data-dir"))?.images())?;
        work(store, parsed.args.clone()).await
    })
}

fn load(args: Vec<String>) -> i32 {
    with(&LOAD, args, |store, files| async move {
        anyhow::ensure!(!files.is_empty(), "name at least one archive");
        for file in files {
            for image in store.load(std::path::Path::new(&file)).await? {
                println!("{}", image.tags.first().unwrap_or(&image.id));
            }
        }
        Ok(())
    })
}

fn list(args: Vec<String>) -> i32 {
    with(&LIST, args, |store, _| async move {
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

fn remove(args: Vec<String>) -> i32 {
    with(&REMOVE, args, |store, names| async move {
        anyhow::ensure!(!names.is_empty(), "name at least one image");
        for name in names {
            store.remove(&name).await?;
            println!("removed {name}");
        }
        Ok(())
    })
}
