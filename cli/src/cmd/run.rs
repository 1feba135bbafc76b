//! `run`: makes a pod, and attaches to it if asked.
//! Invariant: with --rm the pod is deleted whatever became of it, and the exit status is the container's.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/run/run.go`.

use crate::command::{Command, Run};
use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result, quote};
use crate::flags::Flag;
use crate::generate::{self, SAVE_CONFIG};
use crate::print::{self, Printer};
use crate::remote::session;
use crate::resource::{DRY_RUN, Info, helper};
use serde_json::{Value, json};
use std::rc::Rc;
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
    flags: &[
        print::FLAGS,
        DRY_RUN,
        SAVE_CONFIG,
        &super::delete::DELETION_FLAGS,
        &[
            Flag::array("annotations", '\0', "An annotation of the pod (KEY=VALUE); may be repeated"),
            Flag::str("image", '\0', "", "The image to run"),
            Flag::str("image-pull-policy", '\0', "", "When the image is pulled: Always, IfNotPresent or Never"),
            Flag::bool("rm", '\0', false, "Delete the pod when it has ended; only with --attach or --stdin"),
            Flag::array("env", '\0', "An environment variable (NAME=VALUE); may be repeated"),
            Flag::str("port", '\0', "", "The port that the container listens on"),
            Flag::str("labels", 'l', "", "The pod's labels (KEY=VALUE,…)"),
            Flag::bool("stdin", 'i', false, "Keep the container's standard input open"),
            Flag::bool("tty", 't', false, "Give the container a terminal"),
            Flag::bool("attach", '\0', false, "Attach to the pod as soon as it runs; the default with --stdin"),
            Flag::bool("leave-stdin-open", '\0', false, "Keep standard input open after the first attach"),
            Flag::str("restart", '\0', "Always", "What happens to a container that ends: Always, OnFailure or Never"),
            Flag::bool("command", '\0', false, "The arguments are the command, not its arguments"),
            Flag::bool("expose", '\0', false, "Also make a service for the port"),
            Flag::bool("quiet", 'q', false, "Say nothing but what the container says"),
            Flag::bool("privileged", '\0', false, "Run the container privileged"),
            Flag::duration("pod-running-timeout", '\0', "1m0s", "How long to wait until the pod runs"),
            Flag::str("detach-keys", '\0', "", "Keys that detach").refused("detaching by keys is not supported"),
            Flag::str("overrides", '\0', "", "JSON that is laid over the pod"),
            Flag::str("override-type", '\0', "merge", "How it is laid over: json, merge or strategic"),
            Flag::str("field-manager", '\0', "kubectl-run", "Who is said to manage the fields that are written"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

fn check(ctx: &Ctx) -> Result<bool> {
    let f = ctx.flags();
    let usage = |text: String| Error::usage(ctx.path(), text);
    if ctx.args().is_empty() || f.dash == Some(0) {
        return Err(usage("NAME is required for run".into()));
    }
    if f.str("image").is_empty() {
        return Err(Error::msg("--image is required"));
    }
    if f.str("image").contains(char::is_whitespace) || f.str("image").starts_with(['/', ':', '@']) {
        return Err(Error::msg(format!("Invalid image name {}: invalid reference format", quote(f.str("image")))));
    }
    if f.bool("tty") && !f.bool("stdin") {
        return Err(usage("-i/--stdin is required for containers with -t/--tty=true".into()));
    }
    if f.bool("expose") && f.str("port").is_empty() {
        return Err(usage("--port must be set when exposing a service".into()));
    }
    let attach = f.bool("attach") || (f.bool("stdin") && !f.changed("attach"));
    if f.bool("rm") && !attach {
        return Err(usage("--rm should only be used for attached containers".into()));
    }
    if attach && ctx.dry_run()? != DryRun::None {
        return Err(usage("--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)".into()));
    }
    if !matches!(f.str("restart"), "Always" | "OnFailure" | "Never" | "") {
        return Err(usage(format!("invalid restart policy: {}", f.str("restart"))));
    }
    if !matches!(f.str("image-pull-policy"), "Always" | "IfNotPresent" | "Never" | "") {
        return Err(usage(format!("invalid image pull policy: {}", f.str("image-pull-policy"))));
    }
    Ok(attach)
}

fn pod(ctx: &Ctx, name: &str, attach: bool) -> Result<Value> {
    let f = ctx.flags();
    let kind = generate::kind("", "v1", "pods", "Pod", true);
    let mut object = generate::object(ctx, &kind, name)?;
    let labels = if f.str("labels").is_empty() { json!({"run": name}) } else { Value::Object(generate::labels(f.str("labels"))?) };
    object["metadata"]["labels"] = labels;
    for pair in f.list("annotations") {
        let (k, v) = pair.split_once('=').ok_or_else(|| Error::msg(format!("invalid annotation format: {pair}")))?;
        object["metadata"]["annotations"][k] = json!(v);
    }
    let mut container = json!({"name": name, "image": f.str("image"), "resources": {}});
    let words: Vec<String> = ctx.args()[1..].to_vec();
    if !words.is_empty() {
        container[if f.bool("command") { "command" } else { "args" }] = json!(words);
    }
    let env = generate::env(&f.list("env"))?;
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if !f.str("port").is_empty() {
        container["ports"] = json!([{"containerPort": generate::port(f.str("port"))?}]);
    }
    if !f.str("image-pull-policy").is_empty() {
        container["imagePullPolicy"] = json!(f.str("image-pull-policy"));
    }
    if f.bool("stdin") {
        container["stdin"] = json!(true);
        if !f.bool("leave-stdin-open") && attach {
            container["stdinOnce"] = json!(true);
        }
    }
    if f.bool("tty") {
        container["tty"] = json!(true);
    }
    if f.bool("privileged") {
        container["securityContext"] = json!({"privileged": true});
    }
    let restart = if f.str("restart").is_empty() { "Always" } else { f.str("restart") };
    object["spec"] = json!({"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": restart});
    object["status"] = json!({});
    super::expose::overridden(ctx, object)
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let attach = check(&ctx)?;
    let name = ctx.args()[0].clone();
    let kind = generate::kind("", "v1", "pods", "Pod", true);
    let object = pod(&ctx, &name, attach)?;
    let mut printer = generate::printer(&ctx, "created")?;
    if f.bool("expose") {
        expose(&ctx, &name, &object, &mut printer).await?;
    }
    if !attach {
        return generate::create_with(&ctx, &kind, object, &mut printer).await.map(drop);
    }
    let namespace = ctx.namespace()?.0;
    let mut write = helper::Write::by(f.str("field-manager"), DryRun::None);
    write.dry_run = false;
    let mut object = object;
    if f.bool("save-config") {
        generate::save_config(&mut object);
    }
    let made = write.create(ctx.client()?, &kind, &namespace, &object).await?;
    let info = Info { resource: kind, namespace, name: name.clone(), object: made.clone(), source: String::new(), lines: Rc::default() };
    let result = attached(&ctx, &info).await;
    if f.bool("rm") {
        let options = super::delete::Options { grace: f.int("grace-period"), policy: super::delete::policy(f.str("cascade"))?, dry_run: DryRun::None };
        let deleted = super::delete::one(&ctx, &info, &options).await;
        if let Err(e) = deleted
            && !e.is_not_found()
        {
            return Err(e);
        }
    }
    result
}

async fn expose(ctx: &Ctx, name: &str, pod: &Value, printer: &mut Printer) -> Result<()> {
    let f = ctx.flags();
    let kind = generate::kind("", "v1", "services", "Service", true);
    let mut object = generate::object(ctx, &kind, name)?;
    let port = generate::port(f.str("port"))?;
    object["spec"] = json!({"ports": [{"port": port, "targetPort": port, "protocol": "TCP"}], "selector": pod["metadata"]["labels"]});
    object["status"] = json!({"loadBalancer": {}});
    generate::create_with(ctx, &kind, object, printer).await?;
    if f.str("output") == "yaml" { print::put("---\n") } else { Ok(()) }
}

/// Attaches to the pod once it runs, or shows what it said if it has ended; then gives its exit status.
async fn attached(ctx: &Ctx, info: &Info) -> Result<()> {
    let f = ctx.flags();
    let end = Instant::now() + crate::flags::seconds(f.duration("pod-running-timeout"));
    let mut ended = false;
    let started = super::wait::until(ctx, info, end, |o| {
        let phase = o.map_or("Gone", |o| o["status"]["phase"].as_str().unwrap_or(""));
        ended = matches!(phase, "Succeeded" | "Failed");
        if phase == "Gone" { Err(Error::msg(format!("pods {} not found", quote(&info.name)))) } else { Ok(ended || phase == "Running") }
    })
    .await?;
    if !started {
        return Err(Error::msg("timed out waiting for the condition"));
    }
    if ended {
        super::logs::print_pod(ctx, &info.namespace, &info.name, "").await?;
    } else {
        super::attach::greet(f.bool("quiet"));
        let request = session::Request { container: info.name.clone(), stdin: f.bool("stdin"), tty: f.bool("tty"), command: None };
        if let Err(e) = session::run(ctx, &info.namespace, &info.name, &request).await {
            match e {
                Error::Exit(_) | Error::Plain(..) => {}
                other => {
                    eprintln!("warning: couldn't attach to pod/{}, falling back to streaming logs: {other}", info.name);
                    super::logs::print_pod(ctx, &info.namespace, &info.name, "").await?;
                }
            }
        }
    }
    exit_status(ctx, info).await
}

async fn exit_status(ctx: &Ctx, info: &Info) -> Result<()> {
    if ctx.flags().str("restart") == "Always" {
        return Ok(());
    }
    let mut last = Value::Null;
    let end = Instant::now() + std::time::Duration::from_secs(7 * 24 * 3600);
    super::wait::until(ctx, info, end, |o| {
        last = o.cloned().unwrap_or(Value::Null);
        Ok(o.is_none_or(|o| matches!(o["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))))
    })
    .await?;
    if last["status"]["phase"] != "Failed" {
        return Ok(());
    }
    let t = &last["status"]["containerStatuses"][0]["state"]["terminated"];
    let text = |f: &str| t[f].as_str().unwrap_or("");
    match t["exitCode"].as_i64() {
        Some(code) if code != 0 => {
            Err(Error::Plain(format!("pod {}/{} terminated ({})\n{}", info.namespace, info.name, text("reason"), text("message")), code as i32))
        }
        _ => Err(Error::msg(format!("pod {}/{} failed with unknown exit code", info.namespace, info.name))),
    }
}
