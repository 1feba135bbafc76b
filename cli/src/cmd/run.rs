//! `run`: makes a pod, and attaches to it if asked.
//! Invariant: with --rm the pod is deleted whatever became of it, and the exit status is the container's.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/run/run.go`.

use crate::command::{Command, verb};
use crate::context::{Ctx, DryRun, With};
use crate::discovery::Resource;
use crate::error::{Error, Result, bail, message, quote};
use crate::generate::{self, MANAGER, SAVE_CONFIG};
use crate::print::{self, Printer};
use crate::resource::{DRY_RUN, Info, helper};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::gonum;
use tokio::time::Instant;

pub static COMMAND: Command = Command {
    name: "run",
    usage: "NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] [--command] -- [COMMAND] [args...]",
    short: "Run a particular image on the cluster",
    long: "Make a pod that runs an image.",
    examples: "
      # An nginx pod
      kubectl run nginx --image=nginx
      # With a port
      kubectl run hazelcast --image=hazelcast/hazelcast --port=5701
      # With environment variables and labels
      kubectl run hazelcast --image=hazelcast/hazelcast --env=\"DNS_DOMAIN=cluster\" --labels=\"app=hazelcast,env=prod\"
      # Only show what would be made
      kubectl run nginx --image=nginx --dry-run=client
      # A shell, gone when it ends
      kubectl run -i -t busybox --image=busybox --restart=Never --rm
      # Other arguments for the image's command
      kubectl run nginx --image=nginx -- <arg1> <arg2> ... <argN>
      # Another command
      kubectl run nginx --image=nginx --command -- <cmd> <arg1> ... <argN>",
    flags: &[print::FLAGS, crate::resource::FILE_FLAGS, DRY_RUN, SAVE_CONFIG, super::delete::DELETION, super::attach::DETACH_KEYS, MANAGER, generate::RECORD],
    defaults: &[("field-manager", "kubectl-run")],
    required: &["image"],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// An annotation of the pod (KEY=VALUE); may be repeated
    #[arg(long)]
    annotations: Vec<String>,
    /// The image to run
    #[arg(long)]
    image: String,
    /// When the image is pulled: Always, IfNotPresent or Never
    #[arg(long)]
    image_pull_policy: String,
    /// Delete the pod when it has ended; only with --attach or --stdin
    #[arg(long)]
    rm: bool,
    /// An environment variable (NAME=VALUE); may be repeated
    #[arg(long)]
    env: Vec<String>,
    /// The port that the container listens on
    #[arg(long)]
    port: String,
    /// The pod's labels (KEY=VALUE,…)
    #[arg(long, short)]
    labels: String,
    /// Keep the container's standard input open
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Give the container a terminal
    #[arg(long, short)]
    tty: bool,
    /// Attach to the pod as soon as it runs; the default with --stdin
    #[arg(long)]
    attach: Option<bool>,
    /// Keep standard input open after the first attach
    #[arg(long)]
    leave_stdin_open: bool,
    /// What happens to a container that ends: Always, OnFailure or Never
    #[arg(long, default_value = "Always")]
    restart: String,
    /// The arguments are the command, not its arguments
    #[arg(long)]
    command: bool,
    /// Also make a service for the port
    #[arg(long)]
    expose: bool,
    /// Say nothing but what the container says
    #[arg(long, short)]
    quiet: bool,
    /// Run the container privileged
    #[arg(long)]
    privileged: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: f64,
    /// JSON that is laid over the pod
    #[arg(long)]
    overrides: String,
    /// How it is laid over: json, merge or strategic
    #[arg(long, default_value = "merge")]
    override_type: String,
}

/// What happens to a container that ends; an empty word stands for what suits a session.
fn restart_policy(f: &Flags) -> &str {
    match f.restart.as_str() {
        "" if f.stdin => "OnFailure",
        "" => "Always",
        word => word,
    }
}

/// Refuses what does not go together, in kubectl's order; says whether to attach.
fn check(ctx: &With<Flags>) -> Result<bool> {
    let f = ctx.flags();
    if ctx.args().is_empty() || ctx.dash() == Some(0) {
        return Err(ctx.usage("NAME is required for run"));
    }
    super::pods::check_patience(ctx, f.pod_running_timeout)?;
    if f.image.is_empty() {
        bail!("--image is required");
    }
    if !crate::podspec::is_image(f.image.as_str()) {
        bail!(
            "Invalid image name {}: invalid reference format",
            quote(f.image.as_str())
        );
    }
    let attach = f.attach.unwrap_or(f.stdin);
    for (wrong, message) in [
        (f.tty && !f.stdin, "-i/--stdin is required for containers with -t/--tty=true".to_string()),
        (f.expose && f.port.is_empty(), "--port must be set when exposing a service".into()),
        (!matches!(restart_policy(f), "Always" | "OnFailure" | "Never"), format!("invalid restart policy: {}", f.restart.as_str())),
        (f.rm && !attach, "--rm should only be used for attached containers".into()),
        (
            attach && ctx.dry_run()? != DryRun::None,
            "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)".into(),
        ),
        (!matches!(f.image_pull_policy.as_str(), "Always" | "IfNotPresent" | "Never" | ""), format!("invalid image pull policy: {}", f.image_pull_policy.as_str())),
    ] {
        if wrong {
            return Err(ctx.usage(message));
        }
    }
    Ok(attach)
}

fn pod(ctx: &With<Flags>, name: &str, attach: bool) -> Result<Value> {
    let f = ctx.flags();
    let kind = generate::kind("", "v1", "pods", "Pod", true);
    let mut object = generate::object(ctx, &kind, name)?;
    let labels = if f.labels.is_empty() {
        json!({"run": name})
    } else {
        Value::Object(generate::labels(f.labels.as_str())?)
    };
    object["metadata"]["labels"] = labels;
    for pair in &f.annotations {
        let (k, v) = pair
            .split_once('=')
            .ok_or_else(|| message!("invalid annotations format: {pair}"))?;
        object["metadata"]["annotations"][k] = json!(v);
    }
    let mut container = json!({"name": name, "image": f.image.as_str(), "resources": {}});
    let words: Vec<String> = ctx.args()[1..].to_vec();
    if !words.is_empty() {
        container[if f.command { "command" } else { "args" }] = json!(words);
    }
    let env = generate::env(&f.env)?;
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if !f.port.is_empty() {
        container["ports"] = json!([{"containerPort": gonum::atoi(&f.port)?}]);
    }
    if !f.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(f.image_pull_policy);
    }
    if f.stdin {
        container["stdin"] = json!(true);
        if !f.leave_stdin_open && attach {
            container["stdinOnce"] = json!(true);
        }
    }
    if f.tty {
        container["tty"] = json!(true);
    }
    if f.privileged {
        container["securityContext"] = json!({"privileged": true});
    }
    let restart = restart_policy(f);
    object["spec"] =
        json!({"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": restart});
    object["status"] = json!({});
    super::expose::overridden(object, &f.overrides, &f.override_type)
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let attach = check(&ctx)?;
    super::delete::first_policy(&ctx.deletion().cascade)?;
    ctx.client()?;
    let name = ctx.args()[0].clone();
    let kind = generate::kind("", "v1", "pods", "Pod", true);
    let mut printer = generate::printer(&ctx, "created")?;
    let object = made(&ctx, &kind, pod(&ctx, &name, attach)?).await?;
    let namespace = ctx.namespace()?.0;
    let info = |resource, object| Info::of(resource, &namespace, &name, object);
    let mut created = vec![info(kind, object)];
    let mut failed = None;
    if f.expose {
        let kind = generate::kind("", "v1", "services", "Service", true);
        match exposed(&ctx, &kind, &name, &created[0].object, &mut printer).await {
            Ok(object) => created.push(info(kind, object)),
            Err(e) => failed = Some(e),
        }
    }
    if !attach {
        printer.print(&created[0].object)?;
        return failed.map_or(Ok(()), Err);
    }
    let result = crate::remote::interruptible(attached(&ctx, &created[0])).await;
    if f.rm {
        remove(&ctx, &created).await?;
    }
    result
}

/// Creates the object, or says what would be created.
async fn made(ctx: &Ctx, kind: &Resource, mut object: Value) -> Result<Value> {
    // Also what is only shown must be a kind of this server.
    ctx.discovery()?
        .of_kind(&kind.api_version(), &kind.kind)
        .await?;
    if ctx.dry_run()? == DryRun::Client {
        generate::record(ctx, &mut object);
        return Ok(object);
    }
    if ctx.saves_config() {
        generate::save_config(&mut object);
    }
    generate::record(ctx, &mut object);
    helper::Write::by(ctx.manager(), ctx.dry_run()?)
        .create(ctx.client()?, kind, &ctx.namespace()?.0, &object)
        .await
}

/// What `--rm` does when the session is over.
async fn remove(ctx: &With<Flags>, created: &[Info]) -> Result<()> {
    let options = super::delete::Options {
        grace: -1,
        policy: super::delete::policy(&ctx.deletion().cascade)?,
        dry_run: DryRun::None,
        quiet: ctx.flags().quiet,
    };
    for info in created {
        match super::delete::one(ctx, info, &options).await {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

async fn exposed(
    ctx: &With<Flags>,
    kind: &Resource,
    name: &str,
    pod: &Value,
    printer: &mut Printer,
) -> Result<Value> {
    let f = ctx.flags();
    let mut object = generate::object(ctx, kind, name)?;
    let port = gonum::atoi(&f.port)?;
    if !f.labels.is_empty() {
        object["metadata"]["labels"] = pod.at("metadata").at("labels").clone();
    }
    object["spec"] = json!({"ports": [{"port": port, "targetPort": port, "protocol": "TCP"}], "selector": pod.at("metadata").at("labels")});
    object["status"] = json!({"loadBalancer": {}});
    let object = made(ctx, kind, object).await?;
    printer.print(&object)?;
    if ctx.output() == "yaml" {
        print::put("---\n")?;
    }
    Ok(object)
}

/// Waits until the pod is as wanted, at most as long as a pod may take to run; gives it.
async fn until(ctx: &With<Flags>, info: &Info, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let end = Instant::now() + crate::flags::seconds(ctx.flags().pod_running_timeout);
    let reached = super::wait::until(ctx, info, end, |o| {
        last = o.cloned().ok_or_else(|| {
            super::wait::not_found(&Info {
                name: String::new(),
                ..info.clone()
            })
        })?;
        Ok(fits(&last))
    });
    if reached.await? {
        Ok(last)
    } else {
        Err(Error::msg("timed out waiting for the condition"))
    }
}

fn is_over(pod: &Value) -> bool {
    matches!(
        pod.at("status").text_ptr("phase"),
        Some("Succeeded" | "Failed")
    )
}

fn is_ready(pod: &Value) -> bool {
    let ready = |c: &Value| c.text("type") == "Ready" && c.text("status") == "True";
    pod.at("status").text("phase") == "Running"
        && pod.at("status").list("conditions").iter().any(ready)
}

/// Attaches to the pod once it is ready, after what it has said so far, or shows what it said if it has ended; then gives its exit status.
async fn attached(ctx: &With<Flags>, info: &Info) -> Result<()> {
    let f = ctx.flags();
    let pod = until(ctx, info, |o| is_over(o) || is_ready(o)).await?;
    let container = super::pods::container(&pod, "", f.quiet)?;
    let said = async |after| {
        super::logs::print_pod(ctx, &info.namespace, &info.name, &container, after).await
    };
    if is_over(&pod) {
        said(0).await?;
    } else {
        let before = said(0).await.unwrap_or_else(|e| {
            eprintln!("warning: couldn't fetch pre-attach logs: {e}");
            0
        });
        match super::attach::to_container(ctx, &pod, &container).await {
            Ok(true) => {}
            // it may have said all before anybody was there to hear it
            Ok(false) => drop(said(before).await?),
            Err(Error::Exit(code)) => return Err(Error::Exit(code)),
            Err(e) => {
                eprintln!(
                    "warning: couldn't attach to pod/{}, falling back to streaming logs: {e}",
                    info.name
                );
                said(before).await?;
            }
        }
    }
    exit_status(ctx, info).await
}

async fn exit_status(ctx: &With<Flags>, info: &Info) -> Result<()> {
    let f = ctx.flags();
    let restart = restart_policy(f);
    if f.leave_stdin_open || restart == "Always" {
        return Ok(());
    }
    let pod = until(ctx, info, |o| {
        if restart == "OnFailure" {
            o.at("status").text("phase") == "Succeeded"
        } else {
            is_over(o)
        }
    })
    .await?;
    if pod.at("status").text("phase") == "Succeeded" {
        return Ok(());
    }
    let t = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    let text = |f: &str| t[f].as_str().unwrap_or("");
    match t
        .int_ptr("exitCode")
        .and_then(|code| i32::try_from(code).ok())
    {
        Some(code) if code != 0 => Err(Error::Plain(
            format!(
                "pod {}/{} terminated ({})\n{}",
                info.namespace,
                info.name,
                text("reason"),
                text("message")
            ),
            code,
        )),
        _ => Err(message!(
            "pod {}/{} failed with unknown exit code",
            info.namespace,
            info.name
        )),
    }
}
