//! `set serviceaccount`.
//! Invariant: the account is set in the pod's template.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_serviceaccount.go`.

use super::{RECORDING, SETTER};
use crate::cmd::modify::{self, Words};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail};
use crate::podspec;
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS};
use serde_json::json;

pub static COMMAND: Command = Command {
    name: "serviceaccount",
    aliases: &["sa"],
    usage: "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT",
    short: "Update the service account of a resource",
    long: "Set the service account that pods run as.",
    examples: "
      # Of a deployment
      kubectl set serviceaccount deployment nginx-deployment serviceaccount1",
    flags: &[print::FLAGS, FILE_FLAGS, DRY_RUN, RECORDING],
    run: verb!(run: ()),
    ..SETTER
};

const WORDS: Words = Words {
    done: "serviceaccount updated",
    refused: "failed to patch ServiceAccountName",
    always: true,
};

async fn run(ctx: With<()>) -> Result<()> {
    ctx.dry_run()?;
    ctx.namespace()?;
    modify::is_local(&ctx)?;
    let Some((account, resources)) = ctx.args().split_last() else {
        bail!("serviceaccount is required");
    };
    let resources = if ctx.local() { &[] } else { resources };
    let infos = super::find_as(&ctx, resources, false).await?;
    modify::set(&ctx, infos, &WORDS, |info, _| {
        let spec = podspec::spec_mut(&mut info.object)?;
        spec["serviceAccountName"] = json!(account);
        Ok(())
    })
    .await
}
