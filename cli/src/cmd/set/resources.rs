//! `set resources`.
//! Invariant: limits and requests that are not named stay.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_resources.go`.

use super::{RECORDING, SETTER};
use crate::cmd::modify::{self, Words};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail, message};
use crate::podspec;
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS, SELECTOR};
use serde_json::json;

pub static COMMAND: Command = Command {
    name: "resources",
    usage: "(-f FILENAME | TYPE NAME)  ([--limits=LIMITS & --requests=REQUESTS]",
    short: "Update resource requests/limits on objects with pod templates",
    long: "Set how much containers may use and how much is kept for them.",
    examples: "
      # Limits for one container
      kubectl set resources deployment nginx -c=nginx --limits=cpu=200m,memory=512Mi
      # Limits and requests for all
      kubectl set resources deployment nginx --limits=cpu=200m,memory=512Mi --requests=cpu=100m,memory=256Mi
      # Remove them
      kubectl set resources deployment nginx --limits=cpu=0,memory=0 --requests=cpu=0,memory=0",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, DRY_RUN, RECORDING],
    run: verb!(run: Flags),
    ..SETTER
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The containers to change; * stands for anything
    #[arg(long, short, default_value = "*")]
    containers: String,
    /// The limits (cpu=100m,memory=256Mi)
    #[arg(long)]
    limits: String,
    /// The requests (cpu=100m,memory=256Mi)
    #[arg(long)]
    requests: String,
}

fn amounts(text: &str) -> Result<Vec<(String, String)>> {
    text.split(',')
        .filter(|p| !p.is_empty())
        .map(|p| {
            let (k, v) = p.split_once('=').ok_or_else(|| message!("Invalid argument syntax {p}, expected <resource>=<value>"))?;
            if crate::describe::quantity::parse(v).is_none() {
                bail!("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
            }
            Ok((k.to_string(), v.to_string()))
        })
        .collect()
}

const WORDS: Words = Words {
    done: "resource requirements updated",
    refused: "failed to patch resources update to pod template",
    always: false,
};

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let infos = super::find(&ctx, ctx.args()).await?;
    modify::is_local(&ctx)?;
    super::check_all(&ctx)?;
    if f.limits.is_empty() && f.requests.is_empty() {
        bail!(
            "you must specify an update to requests or limits (in the form of --requests/--limits)"
        );
    }
    let (limits, requests) = (amounts(f.limits.as_str())?, amounts(f.requests.as_str())?);
    let pattern = f.containers.to_string();
    modify::set(&ctx, infos, &WORDS, |info, errors| {
        let spec = podspec::spec_mut(&mut info.object)?;
        let mut containers = podspec::containers_mut(spec, &pattern, true);
        if containers.is_empty() {
            errors.push(message!("error: unable to find container named {pattern}"));
        }
        for c in &mut containers {
            for (field, list) in [("limits", &limits), ("requests", &requests)] {
                for (k, v) in list {
                    c["resources"][field][k] = json!(v);
                }
            }
        }
        Ok(())
    })
    .await
}
