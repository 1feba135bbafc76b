//! `scale`: sets how many replicas there shall be.
//! Invariant: preconditions are checked against the state that is changed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/scale/scale.go` and `pkg/scale`.

use crate::client::Call;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail, quote};
use crate::print::{self, Printer};
use crate::resource::{ALL, Builder, DRY_RUN, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::{MERGE, Read};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

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
        ALL,
        crate::generate::RECORD,
    ],
    required: &["replicas"],
    run: verb!(run: Flags),
    words: Some(Words::SCALED),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only if the object's version is this
    #[arg(long)]
    resource_version: String,
    /// Only if there are so many now; -1 for no condition
    #[arg(long, default_value = "-1")]
    current_replicas: i64,
    /// How many there shall be
    #[arg(long)]
    replicas: i64,
    /// How long to wait until there are so many; 0 does not wait
    #[arg(long)]
    timeout: f64,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let mut printer = Printer::new(&ctx, format!("scaled{}", ctx.dry_run()?.suffix()))?;
    if f.replicas < 0 {
        bail!(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"
        );
    }
    if f.current_replicas < -1 {
        bail!("The --current-replicas must specify an integer of -1 or greater");
    }
    let mut builder = Builder::new(&ctx)?;
    builder.allow_empty_selector = ctx.all();
    builder.all = false;
    let found = builder.find().await?;
    if found.infos.len() > 1 && !f.resource_version.is_empty() {
        bail!("cannot use --resource-version with multiple resources");
    }
    if found.infos.is_empty() && found.errors.is_empty() {
        bail!("no objects passed to scale");
    }
    for mut info in found.infos {
        let size = if ctx.dry_run()? == DryRun::Client {
            f.replicas
        } else {
            let size = scaled(&ctx, &info).await?;
            if let Some(cause) = ctx.change_cause() {
                let patch =
                    json!({"metadata": {"annotations": {crate::generate::CHANGE_CAUSE: cause}}});
                helper::Write::by("", ctx.dry_run()?)
                    .patch_of(ctx.client()?, &info, MERGE, &patch)
                    .await?;
            }
            size
        };
        // Other kinds may have the number elsewhere.
        if matches!(info.resource.group.as_str(), "" | "apps") {
            info.object["spec"]["replicas"] = json!(size);
        }
        printer.print(&info.object)?;
    }
    Error::collect(found.errors)
}

/// Sets the number and gives what it is then; tries again after conflicts, and waits if that is asked for.
async fn scaled(ctx: &With<Flags>, info: &Info) -> Result<i64> {
    let f = ctx.flags();
    let end = Instant::now() + RETRIES;
    let size = loop {
        match once(ctx, info).await {
            Err(e) if e.is_conflict() && Instant::now() < end => {
                tokio::time::sleep(Duration::from_secs(1)).await
            }
            Err(e) if e.is_conflict() => bail!("context deadline exceeded"),
            other => break other?,
        }
    };
    if f.timeout == 0.0 || ctx.dry_run()? != DryRun::None {
        return Ok(size);
    }
    let (want, end) = (
        f.replicas,
        Instant::now() + crate::flags::seconds(f.timeout),
    );
    loop {
        let scale = scale_of(ctx, info).await?;
        let (spec, status) = (
            scale.at("spec").int("replicas"),
            scale.at("status").int("replicas"),
        );
        // Somebody else wants another number by now.
        if spec != want || spec == status {
            return Ok(size);
        }
        if Instant::now() >= end {
            bail!("timed out waiting for {} to be synced", quote(&info.name));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How long conflicts are tried again.
const RETRIES: Duration = Duration::from_secs(300);

async fn scale_of(ctx: &Ctx, info: &Info) -> Result<Value> {
    ctx.client()?
        .json(&Call::get(format!("{}/scale", info.path())))
        .await
}

async fn once(ctx: &With<Flags>, info: &Info) -> Result<i64> {
    let f = ctx.flags();
    let (want, current, version) = (f.replicas, f.current_replicas, f.resource_version.as_str());
    // kubectl names no manager here either: the server takes it from the user agent.
    let write = helper::Write::by("", ctx.dry_run()?).subresource("scale");
    let client = ctx.client()?;
    let answer = if current == -1 && version.is_empty() {
        write
            .patch_of(client, info, MERGE, &json!({"spec": {"replicas": want}}))
            .await?
    } else {
        let mut scale = scale_of(ctx, info).await?;
        let have = scale.at("spec").int("replicas");
        if current != -1 && have != current {
            bail!("Expected replicas to be {current}, was {have}");
        }
        if !version.is_empty() && scale.at("metadata").text("resourceVersion") != version {
            bail!(
                "Expected resource version to be {version}, was {}",
                scale.at("metadata").text("resourceVersion")
            );
        }
        scale["spec"]["replicas"] = json!(want);
        write
            .replace(client, &info.resource, &info.namespace, &info.name, &scale)
            .await?
    };
    Ok(answer.at("spec").int("replicas"))
}
