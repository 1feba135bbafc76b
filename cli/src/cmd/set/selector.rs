//! `set selector`: replaces a service's selector.
//! Invariant: only services have one that can be set.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_selector.go`.

use super::{COMMON, builder};
use crate::cmd::modify;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::generate;
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS};
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "selector",
    usage: "(-f FILENAME | TYPE NAME) EXPRESSIONS [--resource-version=version]",
    short: "Set the selector on a resource",
    long: "Set which pods a service leads to. The new selector replaces the old one.",
    examples: "
      # Select by a label
      kubectl set selector service my-svc app=web",
    flags: &[print::FLAGS, FILE_FLAGS, DRY_RUN, COMMON, &[Flag::str("resource-version", '\0', "", "Only if the object's version is this")]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let (resources, pairs) = modify::split_pairs(ctx.args(), "selector")?;
    let [text] = pairs.as_slice() else { return Err(Error::msg("one selector is required")) };
    let selector = Value::Object(generate::labels(text)?);
    let version = f.str("resource-version").to_string();
    modify::set(&ctx, builder(&ctx, &resources)?, "selector updated", true, |info| {
        if info.resource.kind != "Service" {
            return Err(Error::msg("setting a selector is only supported for Services"));
        }
        info.object["spec"]["selector"] = selector.clone();
        if !version.is_empty() {
            info.object["metadata"]["resourceVersion"] = json!(version);
        }
        Ok(())
    })
    .await
}
