//! `scale`: sets how many replicas there shall be.
//! Invariant: preconditions are checked against the state that is changed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/scale/scale.go` and `pkg/scale`.

use crate::client::Call;
use crate::command::{Command, Run};
use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::MERGE;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "scale",
    usage: "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
    short: "Set a new size for a deployment, replica set, or replication controller",
    long: "Set how many replicas a deployment, replica set, replication controller or stateful set shall have.\n\n With --current-replicas or --resource-version that is only done if the present state is that.",
    examples: "
      # Three of them
      kubectl scale --replicas=3 rs/foo
      # What a file describes
      kubectl scale --replicas=3 -f foo.yaml
      # Only if there are two now
      kubectl scale --current-replicas=2 --replicas=3 deployment/mysql
      # Several at once
      kubectl scale --replicas=5 rc/example1 rc/example2",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        DRY_RUN,
        &[
            Flag::bool("all", '\0', false, "All objects of the given types in the namespace"),
            Flag::str("resource-version", '\0', "", "Only if the object's version is this"),
            Flag::int("current-replicas", '\0', "-1", "Only if there are so many now; -1 for no condition"),
            Flag::int("replicas", '\0', "0", "How many there shall be"),
            Flag::duration("timeout", '\0', "0s", "How long to wait until there are so many; 0 does not wait"),
        ],
    ],
    required: &["replicas"],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.int("replicas") < 0 {
        return Err(Error::msg("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"));
    }
    if f.int("current-replicas") < -1 {
        return Err(Error::msg("The --current-replicas must specify an integer of -1 or greater"));
    }
    let mut builder = Builder::new(&ctx)?;
    builder.allow_empty_selector = f.bool("all");
    let found = builder.find().await?;
    if found.infos.len() > 1 && !f.str("resource-version").is_empty() {
        return Err(Error::msg("cannot use --resource-version with multiple resources"));
    }
    let mut printer = Printer::new(f, format!("scaled{}", ctx.dry_run()?.suffix()))?;
    let mut errors = found.errors;
    let mut count = 0;
    for info in found.infos {
        count += 1;
        match one(&ctx, &info).await {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(e),
        }
    }
    if count == 0 && errors.is_empty() {
        return Err(Error::msg("no objects passed to scale"));
    }
    Error::collect(errors)
}

async fn one(ctx: &Ctx, info: &Info) -> Result<Value> {
    let f = ctx.flags();
    if ctx.dry_run()? == DryRun::Client {
        return Ok(info.object.clone());
    }
    let client = ctx.client()?;
    let (want, current, version) = (f.int("replicas"), f.int("current-replicas"), f.str("resource-version"));
    let write = helper::Write::by("kubectl-scale", ctx.dry_run()?).subresource("scale");
    if current == -1 && version.is_empty() {
        write.patch(client, &info.resource, &info.namespace, &info.name, MERGE, &json!({"spec": {"replicas": want}})).await?;
    } else {
        let mut scale = client.json(&Call::get(format!("{}/scale", info.path()))).await?;
        let have = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if current != -1 && have != current {
            return Err(Error::msg(format!("Expected replicas to be {current}, was {have}")));
        }
        if !version.is_empty() && scale["metadata"]["resourceVersion"] != version {
            return Err(Error::msg(format!("Expected resource version to be {version}, was {}", scale["metadata"]["resourceVersion"].as_str().unwrap_or(""))));
        }
        scale["spec"]["replicas"] = json!(want);
        write.replace(client, &info.resource, &info.namespace, &info.name, &scale).await?;
    }
    if f.duration("timeout") > 0.0 && ctx.dry_run()? == DryRun::None {
        let end = tokio::time::Instant::now() + crate::flags::seconds(f.duration("timeout"));
        let reached = super::wait::until(ctx, info, end, |o| {
            Ok(o.is_some_and(|o| o["status"]["replicas"].as_i64().unwrap_or(0) == want && o["spec"]["replicas"].as_i64() == Some(want)))
        })
        .await?;
        if !reached {
            return Err(Error::msg("timed out waiting for the condition"));
        }
    }
    Ok(info.object.clone())
}
