//! `set image`.
//! Invariant: a container that is named and not there is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_image.go`.

use super::{RECORDING, SETTER};
use crate::cmd::modify::{self, Words};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, message, quote};
use crate::podspec;
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "image",
    usage: "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
    short: "Update the image of a pod template",
    long: "Set the images of containers of pods, deployments, daemon sets, stateful sets, replica sets, replication controllers, jobs and cron jobs.",
    examples: "
      # One container
      kubectl set image deployment/nginx busybox=busybox nginx=nginx:1.9.1
      # All containers
      kubectl set image daemonset abc *=nginx:1.9.1
      # What a file holds, without a server
      kubectl set image -f path/to/file.yaml nginx=nginx:1.9.1 --local -o yaml",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, DRY_RUN, RECORDING],
    run: verb!(run: ()),
    words: Some(crate::complete::Words::Objects {
        types: &[
            "daemonsets",
            "deployments",
            "pods",
            "cronjobs",
            "replicasets",
            "replicationcontrollers",
            "statefulsets",
        ],
        several: false,
    }),
    ..SETTER
};

const WORDS: Words = Words {
    done: "image updated",
    refused: "failed to patch image update to pod template:",
    always: false,
};

async fn run(ctx: With<()>) -> Result<()> {
    let (resources, pairs) = modify::split_pairs(ctx.args(), "image")?;
    let (images, _) = modify::pairs(&pairs, "image", false)?;
    let infos = super::find(&ctx, &resources).await?;
    let mut wrong = Vec::new();
    if let Err(e) = super::check_all(&ctx) {
        wrong.push(e);
    }
    if resources.is_empty() && !ctx.has_files() {
        wrong.push(Error::msg(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if images.is_empty() {
        wrong.push(Error::msg("at least one image update is required"));
    } else if images.len() > 1 && images.contains_key("*") {
        wrong.push(Error::msg("all containers are already specified by *, but saw more than one container_name=container_image pairs"));
    }
    Error::collect(wrong)?;
    modify::set(&ctx, infos, &WORDS, |info, errors| {
        let spec = podspec::spec_mut(&mut info.object)?;
        for (name, image) in &images {
            let named = |c: &&mut Value| name == "*" || c.text("name") == name.as_str();
            let mut containers: Vec<&mut Value> = podspec::containers_mut(spec, "*", true)
                .into_iter()
                .filter(named)
                .collect();
            if containers.is_empty() {
                errors.push(message!(
                    "error: unable to find container named {}",
                    quote(name)
                ));
            }
            containers
                .iter_mut()
                .for_each(|c| c["image"] = json!(image));
        }
        Ok(())
    })
    .await
}
