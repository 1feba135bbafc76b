//! `delete`: deletes objects, and waits until they are gone.
//! Invariant: the wait is for the object that was deleted, not for another that took its name.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/delete/delete.go`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail, message};
use crate::flags::{Group, group};
use crate::print;
use crate::resource::{
    ALL, ALL_NAMESPACES, Builder, DRY_RUN, FIELD_SELECTOR, FILE_FLAGS, Info, SELECTOR, helper,
};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "delete",
    suggest_for: &["rm", "remove"],
    usage: "([-f FILENAME] | [-k DIRECTORY] | TYPE [(NAME | -l label | --all)])",
    short: "Delete resources by file names, stdin, resources and names, or by resources and label selector",
    long: "Delete objects that files, names, labels or --all name.\n\n Most objects end gracefully: --grace-period and --now say how long that may take, --force removes them from the API at once, whatever still runs.\n\n The command waits until the objects are gone unless --wait=false is given. It does not look whether somebody changed an object since.",
    examples: "
      # What a file describes
      kubectl delete -f ./pod.json
      # Objects of one name and two kinds
      kubectl delete pod,service baz
      # By label
      kubectl delete pods,services -l name=myLabel
      # At once
      kubectl delete pod foo --now
      # From the API, without waiting for the node
      kubectl delete pod foo --force
      # All pods of the namespace
      kubectl delete pods --all",
    flags: &[
        FILE_FLAGS,
        SELECTOR,
        FIELD_SELECTOR,
        DRY_RUN,
        DELETION,
        ALL,
        ALL_NAMESPACES,
    ],
    defaults: &[("wait", "true")],
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The same as --grace-period=1
    #[arg(long)]
    now: bool,
    /// An object that is not there is as good as deleted; the default with --all and selectors
    #[arg(long)]
    ignore_not_found: Option<bool>,
    /// With name, print only names
    #[arg(long, short)]
    output: String,
    /// Send the deletion to this path of the server
    #[arg(long)]
    raw: String,
    /// Ask before deleting
    #[arg(long, short)]
    interactive: bool,
}

/// The flags of deletion that `replace`, `apply` and `run` have too; those wait anyway before they go on.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Deletion {
    /// Remove the objects from the API at once; what runs may go on
    #[arg(long)]
    pub force: bool,
    /// What becomes of objects that the deleted ones own: background, foreground or orphan
    #[arg(long, default_value = "background", num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    pub cascade: String,
    /// How many seconds an object has to end; negative for its own, 0 only with --force
    #[arg(long, default_value = "-1")]
    pub grace_period: i64,
    /// How long to wait until the objects are gone; 0 means as long as it takes
    #[arg(long)]
    pub timeout: f64,
    /// Wait until the objects are gone
    #[arg(long)]
    pub wait: bool,
}
pub const DELETION: Group = group::<Deletion>;

/// How objects are deleted.
pub struct Options {
    pub grace: i64,
    pub policy: &'static str,
    pub dry_run: DryRun,
    /// Nothing is said of what was deleted.
    pub quiet: bool,
}

/// Reads `--cascade`.
///
/// # Errors
/// A word that is none of the three, nor a boolean as it once was.
pub fn policy(text: &str) -> Result<&'static str> {
    match text {
        "background" => Ok("Background"),
        "foreground" => Ok("Foreground"),
        "orphan" => Ok("Orphan"),
        other => match crate::flags::parse_bool(other) {
            Ok(true) => Ok("Background"),
            Ok(false) => Ok("Orphan"),
            Err(_) => Err(message!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            )),
        },
    }
}

/// The same where the verb begins: says what stands for a boolean now.
///
/// # Errors
/// As `policy`.
pub fn first_policy(text: &str) -> Result<&'static str> {
    let policy = policy(text)?;
    if crate::flags::parse_bool(text).is_ok() {
        let word = policy.to_lowercase();
        eprintln!(
            "warning: --cascade={text} is deprecated (boolean value) and can be replaced with --cascade={word}."
        );
    }
    Ok(policy)
}

fn options(ctx: &With<Flags>) -> Result<Options> {
    let f = ctx.flags();
    let policy = first_policy(&ctx.deletion().cascade)?;
    let mut grace = ctx.deletion().grace_period;
    if f.now {
        if grace != -1 {
            bail!("--now and --grace-period cannot be specified together");
        }
        grace = 1;
    }
    let force = ctx.deletion().force;
    if grace == 0 && !force {
        grace = 1;
    }
    if force && grace < 0 {
        grace = 0;
    }
    Ok(Options {
        grace,
        policy,
        dry_run: ctx.dry_run()?,
        quiet: false,
    })
}

fn check(ctx: &With<Flags>, o: &Options) -> Result<()> {
    let f = ctx.flags();
    if !f.output.is_empty() && f.output != "name" {
        bail!(
            "unexpected -o output mode: {}. We only support '-o name'",
            f.output.as_str()
        );
    }
    for (s, given) in [
        ("selector", ctx.selector()),
        ("field-selector", ctx.field_selector()),
    ] {
        if ctx.all() && !given.is_empty() {
            bail!("cannot set --all and --{s} at the same time");
        }
    }
    if o.grace > 0 && ctx.deletion().force {
        bail!("--force and --grace-period greater than 0 cannot be specified together");
    }
    if o.grace == 0 && ctx.deletion().force {
        eprintln!(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
        );
    }
    Ok(())
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let o = options(&ctx)?;
    if !f.raw.is_empty() {
        check(&ctx, &o)?;
        return raw(&ctx).await;
    }
    let mut builder = Builder::new(&ctx)?;
    builder.require_object = false;
    let mut found = builder.find().await?;
    check(&ctx, &o)?;
    let ignore = f.ignore_not_found.unwrap_or_else(|| {
        ctx.all() || !ctx.selector().is_empty() || !ctx.field_selector().is_empty()
    });
    // What is not there is no failure where that is ignored.
    let unless_ignored = |why: Error| match ignore {
        true => why.unless_absent().map_or(Ok(()), Err),
        false => Err(why),
    };
    let mut errors = found.failures();
    if f.interactive {
        std::mem::take(&mut errors).told().or_else(unless_ignored)?;
        if found.infos.is_empty() {
            return print::put("No resources found\n");
        }
        if !confirm(&found.infos)? {
            return print::put("deletion is cancelled\n");
        }
    }
    if builder.require_namespace
        && !builder.all_namespaces
        && found.infos.iter().any(|i| !i.resource.namespaced)
    {
        eprintln!(
            "Warning: deleting cluster-scoped resources, not scoped to the provided namespace"
        );
    }
    let mut deleted: Vec<(Info, String)> = Vec::new();
    let nothing = found.infos.is_empty();
    for info in found.infos {
        errors.next_object();
        match one(&ctx, &info, &o).await {
            Ok(uid) => deleted.push((info, uid)),
            Err(e) => errors.push(e),
        }
    }
    errors.told().or_else(unless_ignored)?;
    if nothing {
        return print::put("No resources found\n");
    }
    if ctx.deletion().wait && o.dry_run == DryRun::None {
        return wait_told(&ctx, &deleted, ctx.deletion().timeout).await;
    }
    Ok(())
}

async fn raw(ctx: &With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if f.interactive {
        bail!("--interactive can not be used with --raw");
    }
    let files = ctx.filenames();
    if files.len() > 1 {
        bail!("--raw can only use a single local file or stdin");
    }
    let file = files.first().map_or("", String::as_str);
    super::check_raw(
        &f.raw,
        file,
        &[
            (ctx.recursive(), "--recursive"),
            (!f.output.is_empty(), "--output"),
        ],
    )?;
    super::send_raw(ctx, http::Method::DELETE, &f.raw, file).await
}

fn confirm(infos: &[Info]) -> Result<bool> {
    let mut text = format!(
        "You are about to delete the following {} resource(s):\n",
        infos.len()
    );
    infos.iter().for_each(|i| text += &(i.name_line() + "\n"));
    print::put(&(text + "Do you want to continue? (y/N): "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Deletes one object and says so; gives its uid, if the server told it.
///
/// # Errors
/// What the server refuses.
pub async fn one(ctx: &Ctx, info: &Info, o: &Options) -> Result<String> {
    let mut uid = String::new();
    if o.dry_run != DryRun::Client {
        let mut body =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": o.policy});
        if o.grace >= 0 {
            body["gracePeriodSeconds"] = json!(o.grace);
        }
        let answer = helper::delete(ctx.client()?, info, &body, o.dry_run == DryRun::Server)
            .await
            .map_err(|e| e.with_source("deleting", &info.source))?;
        let told = if answer.text("kind") == "Status" {
            answer.at("details").at("uid")
        } else {
            answer.at("metadata").at("uid")
        };
        uid = told.as_str().unwrap_or("").to_string();
    }
    if o.quiet {
        return Ok(uid);
    }
    let kind = info.resource.kind_name();
    if ctx.output() == "name" {
        print::put(&format!("{kind}/{}\n", info.name))?;
        return Ok(uid);
    }
    let from = if info.resource.namespaced {
        format!(" from {} namespace", info.namespace)
    } else {
        String::new()
    };
    let force = if o.grace == 0 { "force " } else { "" };
    print::put(&format!(
        "{kind} \"{}\" {force}deleted{from}{}\n",
        info.name,
        o.dry_run.suffix()
    ))?;
    Ok(uid)
}

/// Waits until the objects are gone; `timeout` in seconds, a week where it is none. Gives one that is still there in the end.
///
/// # Errors
/// What the server refuses.
pub async fn wait_gone<'d>(
    ctx: &Ctx,
    deleted: &'d [(Info, String)],
    timeout: f64,
) -> Result<Option<&'d Info>> {
    const WEEK: f64 = 168.0 * 3600.0;
    let limit = match timeout {
        0.0 => WEEK,
        negative if negative < 0.0 => {
            let text = "\"Timeout for context shall not be negative\"";
            crate::client::klog('E', "until.go:188", text);
            WEEK
        }
        given => given,
    };
    let end = tokio::time::Instant::now() + crate::flags::seconds(limit);
    for (info, uid) in deleted {
        let gone = |object: &Value| {
            !uid.is_empty()
                && object
                    .at("metadata")
                    .text_ptr("uid")
                    .is_some_and(|u| u != uid)
        };
        if !super::wait::until(ctx, info, end, |object| Ok(object.is_none_or(&gone))).await? {
            return Ok(Some(info));
        }
    }
    Ok(None)
}

/// The same for a user who may not be allowed to look: then it is not waited for.
///
/// # Errors
/// One that is still there in the end.
pub async fn wait_told(ctx: &Ctx, deleted: &[(Info, String)], timeout: f64) -> Result<()> {
    match wait_gone(ctx, deleted, timeout).await {
        Ok(None) => Ok(()),
        Ok(Some(info)) => Err(message!(
            "timed out waiting for the condition on {}",
            info.object_name()
        )),
        Err(e) if matches!(e.reason(), "Forbidden" | "MethodNotAllowed") => Ok(()),
        Err(e) => Err(e),
    }
}
