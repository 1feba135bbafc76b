//! `describe`: everything about objects that a person may want to know, related objects and events included.
//! Invariant: a name that fits nothing is taken as the beginning of names.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/describe/describe.go`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::describe::{Kube, describe};
use crate::error::{Error, Result, bail};
use crate::print;
use crate::resource::{Builder, CHUNKS, FILE_FLAGS, SELECTOR};

pub static COMMAND: Command = Command {
    name: "describe",
    usage: "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)",
    short: "Show details of a specific resource or group of resources",
    long: "Show objects in detail, with related objects and events.\n\n If no object has the name, all whose names begin with it are shown.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # A node
      kubectl describe nodes kubernetes-node-emt8.c.myproject.internal
      # A pod
      kubectl describe pods/nginx
      # What a file describes
      kubectl describe -f pod.json
      # All pods
      kubectl describe pods
      # By label
      kubectl describe pods -l name=myLabel
      # All pods that the replica set 'frontend' made
      kubectl describe pods frontend",
    flags: &[FILE_FLAGS, SELECTOR, CHUNKS],
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Show what happened to the objects
    #[arg(long, value_name = "true")]
    show_events: Option<bool>,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.namespace()?;
    if ctx.args().is_empty() && !ctx.has_files() {
        bail!(
            "You must specify the type of resource to describe. Use \"{} api-resources\" for a complete list of supported resources.",
            ctx.program()
        );
    }
    let mut builder = Builder::new(&ctx)?;
    builder.allow_empty_selector = true;
    builder.latest = true;
    builder.labels_of_files = true;
    let mut found = builder.find().await?.listed();
    // Events are asked for with each object, so of many objects only when they are wanted in so many words.
    let mut by_prefix_alone = false;
    let many = !found.errors.is_empty() || found.infos.len() > 1;
    if let [why] = found.errors.as_slice()
        && why.is_not_found()
        && let [word, prefix] = ctx.args()
    {
        let named = by_prefix(&ctx, word, prefix).await?;
        if named.is_empty() {
            return Error::collect(found.errors);
        }
        by_prefix_alone = true;
        found.infos = named;
        found.errors.clear();
    }
    let kube = Kube {
        ctx: (*ctx).clone(),
        show_events: f.show_events.unwrap_or(!many),
    };
    let mut first = true;
    for info in &found.infos {
        match describe(kube.clone(), info).await {
            Ok(text) if by_prefix_alone => print::put(&format!("{text}\n"))?,
            Ok(text) => {
                print::put(&format!("{}{text}", if first { "" } else { "\n\n" }))?;
                first = false;
            }
            Err(e) => found.errors.push(e),
        }
    }
    if found.infos.is_empty() && found.errors.is_empty() {
        ctx.tell_none(f.all_namespaces)?;
    }
    Error::collect(found.errors)
}

async fn by_prefix(ctx: &Ctx, word: &str, prefix: &str) -> Result<Vec<crate::resource::Info>> {
    let mut builder = Builder::new(ctx)?.args(&[word.to_string()]);
    builder.allow_empty_selector = true;
    builder.single_type = true;
    let mut infos = builder.find().await?.all()?;
    infos.retain(|i| i.name.starts_with(prefix));
    Ok(infos)
}
