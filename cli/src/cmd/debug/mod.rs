//! `debug`: a debugging container in a running pod, in a copy of a pod, or on a node; and attaches to it.
//! Invariant: the pod that is debugged changes in nothing but its ephemeral containers, unless `--replace` says that it shall go.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/debug/debug.go`.

mod profile;

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{DryRun, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::flags::{Csv, Listed, Pairs};
use crate::generate;
use crate::podspec;
use crate::print;
use crate::resource::{Builder, Info, builder::KUBECTL, helper};
use crate::typed::Read;
use profile::{KeepFlags, Profile, Style};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

pub static COMMAND: Command = Command {
    name: "debug",
    usage: "(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ]",
    short: "Create debugging sessions for troubleshooting workloads and nodes",
    long: "Look into pods and nodes from a container made for it.\n\n A pod gets an ephemeral container, or with --copy-to a copy of it is changed. For a node, a pod is made that sees the node's processes, network and files (under /host).",
    examples: "
      # A shell beside what runs in a pod
      kubectl debug mypod -it --image=busybox
      # A container of this name
      kubectl debug --image=myproj/debug-tools -c debugger mypod
      # In a copy of the pod
      kubectl debug mypod -it --image=busybox --copy-to=my-debugger
      # Another command in a copy
      kubectl debug mypod -it --copy-to=my-debugger --container=mycontainer -- sh
      # Other images in a copy
      kubectl debug mypod --copy-to=my-debugger --set-image=*=busybox
      # On a node
      kubectl debug node/mynode -it --image=busybox",
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// A file with the object to debug
    #[arg(long, short)]
    filename: Vec<Csv>,
    /// What follows -- are the command's arguments, not the command
    #[arg(long)]
    arguments_only: bool,
    /// Attach to the container as soon as it runs; the default with --stdin
    #[arg(long)]
    attach: Option<bool>,
    /// The debugging container's name
    #[arg(long, short)]
    container: String,
    /// Debug a copy of this name
    #[arg(long)]
    copy_to: String,
    /// With --copy-to: delete the original
    #[arg(long)]
    replace: bool,
    /// Environment variables of the container (NAME=VALUE,…)
    #[arg(long)]
    env: Vec<Pairs>,
    /// The debugging container's image
    #[arg(long)]
    image: String,
    /// With --copy-to: keep the labels
    #[arg(long)]
    keep_labels: bool,
    /// With --copy-to: keep the annotations
    #[arg(long)]
    keep_annotations: bool,
    /// With --copy-to: keep liveness probes
    #[arg(long)]
    keep_liveness: bool,
    /// With --copy-to: keep readiness probes
    #[arg(long)]
    keep_readiness: bool,
    /// With --copy-to: keep startup probes
    #[arg(long)]
    keep_startup: bool,
    /// With --copy-to: keep init containers
    #[arg(long, default_value = "true")]
    keep_init_containers: bool,
    /// With --copy-to: other images (CONTAINER=IMAGE,…; * for all containers)
    #[arg(long)]
    set_image: Vec<Pairs>,
    /// When the image is pulled: Always, IfNotPresent or Never
    #[arg(long)]
    image_pull_policy: String,
    /// Keep standard input open
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Say nothing but what the container says
    #[arg(long, short)]
    quiet: bool,
    /// With --copy-to: on the same node
    #[arg(long)]
    same_node: bool,
    /// With --copy-to: containers see each other's processes
    #[arg(long, value_name = "true")]
    share_processes: Option<bool>,
    /// The container whose processes an ephemeral container sees
    #[arg(long)]
    target: String,
    /// Give the container a terminal
    #[arg(long, short)]
    tty: bool,
    /// What the container may do: general, baseline, restricted, netadmin or sysadmin
    #[arg(long, default_value = "general")]
    profile: String,
    /// A file with a part of a container, laid over the profile
    #[arg(long)]
    custom: String,
}

/// What the command line asks for.
struct Plan {
    ctx: With<Flags>,
    /// The words before `--`.
    targets: Vec<String>,
    /// The words after it.
    words: Vec<String>,
    attach: bool,
    images: Map<String, Value>,
    env: Vec<Value>,
    profile: Profile,
    custom: Option<Value>,
}

fn plan(ctx: &With<Flags>) -> Result<Plan> {
    let f = ctx.flags();
    let profile = profile::named(&f.profile)?;
    let custom = if f.custom.is_empty() {
        None
    } else {
        Some(profile::custom(&f.custom)?)
    };
    let mut images = Map::new();
    for pair in f.set_image.list() {
        let (name, image) = pair.split_once('=').unwrap_or((&pair, ""));
        images.insert(name.into(), json!(image));
    }
    let targets = ctx.args()[..ctx.dash().unwrap_or(ctx.args().len())].to_vec();
    let attach = f.attach.unwrap_or(f.stdin);
    Ok(Plan {
        ctx: ctx.clone(),
        targets,
        words: generate::after_dash(ctx),
        attach,
        images,
        env: generate::env(&f.env.list())?,
        profile,
        custom,
    })
}

/// Refuses what does not go together, in kubectl's order.
fn check(plan: &Plan) -> Result<()> {
    let f = plan.ctx.flags();
    let given = |text: &String| !text.is_empty();
    let no = |text: &str| Err(Error::msg(text));
    if f.attach == Some(true) && !given(&f.image) && !given(&f.container) {
        return no(
            "you must specify --container or create a new container using --image in order to attach.",
        );
    }
    if given(&f.copy_to) {
        if !given(&f.image) && plan.images.is_empty() && plan.words.is_empty() {
            return no("you must specify --image, --set-image or command arguments.");
        }
        if !plan.words.is_empty() && !given(&f.container) && !given(&f.image) {
            return no(
                "you must specify an existing container or a new image when specifying args.",
            );
        }
    } else {
        for (wrong, flag) in [
            (f.replace, "replace"),
            (f.same_node, "same-node"),
            (!plan.images.is_empty(), "set-image"),
        ] {
            if wrong {
                bail!("--{flag} may only be used with --copy-to.");
            }
        }
        if !given(&f.image) {
            return no("you must specify --image when not using --copy-to.");
        }
    }
    if given(&f.image) && !podspec::is_image(&f.image) {
        bail!(
            "invalid image name {}: invalid reference format",
            quote(&f.image)
        );
    }
    if plan.targets.is_empty() && f.filename.list().is_empty() {
        return no("NAME or filename is required for debug");
    }
    if !matches!(
        f.image_pull_policy.as_str(),
        "Always" | "IfNotPresent" | "Never" | ""
    ) {
        bail!(
            "invalid image pull policy: {}",
            f.image_pull_policy.as_str()
        );
    }
    for (name, image) in &plan.images {
        if !podspec::is_image(image.as_str().unwrap_or("")) {
            bail!(
                "invalid image name {image} for container {}: invalid reference format",
                quote(name)
            );
        }
    }
    if given(&f.target) {
        if given(&f.copy_to) {
            return no("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        plan.say(&format!(
            "Targeting container {}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.",
            quote(&f.target)
        ))?;
    }
    if f.tty && !f.stdin {
        return no("-i/--stdin is required for containers with -t/--tty=true");
    }
    if plan.profile.name == "legacy" {
        eprintln!(
            "--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended to specify other profile, for example \"--profile=general\"."
        );
    }
    Ok(())
}

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.namespace()?;
    let plan = plan(&ctx)?;
    check(&plan)?;
    let words = plan.targets.iter().map(|w| {
        if w.contains('/') {
            w.clone()
        } else {
            format!("pods/{w}")
        }
    });
    let mut builder = Builder::new(&ctx)?.args(&words.collect::<Vec<_>>());
    builder.typed = Some(KUBECTL);
    builder.latest = false;
    builder.continue_on_error = false;
    let found = builder.find().await?;
    // what was found before something was not is debugged
    for info in found.infos {
        let (made, container) = match info.resource.kind.as_str() {
            "Pod" if ctx.flags().copy_to.is_empty() => plan.ephemeral(&info).await?,
            "Pod" => plan.copy(&info).await?,
            "Node" => plan.node(&info).await?,
            other => {
                let kind = format!(
                    "{}/{}, Kind={other}",
                    info.resource.group, info.resource.version
                );
                bail!("{} not supported by debug", quote(&kind));
            }
        };
        if plan.attach && !container.is_empty() {
            plan.attach(&made, &container).await?;
        }
    }
    Error::collect(found.errors)
}

impl Plan {
    /// Tells the user, unless nothing is to be said.
    fn say(&self, text: &str) -> Result<()> {
        if self.ctx.flags().quiet {
            Ok(())
        } else {
            print::put(&format!("{text}\n"))
        }
    }

    fn keep(&self) -> KeepFlags {
        let f = self.ctx.flags();
        KeepFlags {
            labels: f.keep_labels,
            annotations: f.keep_annotations,
            liveness: f.keep_liveness,
            readiness: f.keep_readiness,
            startup: f.keep_startup,
            init_containers: f.keep_init_containers,
        }
    }

    /// The debugging container's name: the one that the user gave, or one that the pod has not.
    fn name(&self, pod: &Value) -> Result<String> {
        let given = self.ctx.flags().container.as_str();
        if !given.is_empty() {
            return Ok(given.into());
        }
        let taken = super::pods::names(pod, super::pods::ALL);
        let name = std::iter::repeat_with(|| format!("debugger-{}", generate::suffix(5)))
            .find(|n| !taken.contains(n))
            .unwrap_or_default();
        self.say(&format!("Defaulting debug container name to {name}."))?;
        Ok(name)
    }

    /// A container as the flags describe it.
    fn container(&self, name: &str) -> Value {
        let f = self.ctx.flags();
        let mut c = json!({"name": name, "image": f.image.as_str(), "resources": {}, "terminationMessagePolicy": "File"});
        if !self.env.is_empty() {
            c["env"] = json!(self.env);
        }
        if !f.image_pull_policy.is_empty() {
            c["imagePullPolicy"] = json!(f.image_pull_policy);
        }
        for (field, on) in [("stdin", f.stdin), ("tty", f.tty)] {
            if on {
                c[field] = json!(true);
            }
        }
        if !self.words.is_empty() {
            c[if f.arguments_only { "args" } else { "command" }] = json!(self.words);
        }
        c
    }

    /// What the profile and the custom file make of the pod.
    fn shape(&self, pod: &mut Value, name: &str, style: Style) -> Result<()> {
        self.profile.apply(pod, name, style, self.keep());
        if let Some(custom) = &self.custom {
            profile::lay_over(pod, name, custom)?;
        }
        if style != Style::Node {
            warn_of_user(pod, name);
        }
        Ok(())
    }

    async fn ephemeral(&self, info: &Info) -> Result<(Info, String)> {
        let name = self.name(&info.object)?;
        let mut after = info.object.clone();
        let mut c = self.container(&name);
        if !self.ctx.flags().target.is_empty() {
            c["targetContainerName"] = json!(self.ctx.flags().target.as_str());
        }
        match after["spec"]["ephemeralContainers"].as_array_mut() {
            Some(list) => list.push(c),
            None => after["spec"]["ephemeralContainers"] = json!([c]),
        }
        self.shape(&mut after, &name, Style::Ephemeral)?;
        let (patch, kind) = crate::typed::patch(&info.object, &after)
            .map_err(|e| message!("error creating patch to add debug container: {e}"))?;
        let write = helper::Write::by("", DryRun::None).subresource("ephemeralcontainers");
        write.patch_of(self.ctx.client()?, info, kind, &patch).await.map_err(|e| match &e {
            Error::Status(s) if e.is_not_found() && s.at("details").text("name").is_empty() => {
                message!("ephemeral containers are disabled for this cluster (error from server: {})", quote(&e.to_string()))
            }
            _ => e,
        })?;
        Ok((info.clone(), name))
    }

    async fn copy(&self, info: &Info) -> Result<(Info, String)> {
        let f = self.ctx.flags();
        let from = &info.object;
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f.copy_to.as_str(), "namespace": info.namespace}, "spec": from.at("spec")});
        for field in ["labels", "annotations"] {
            if from.at("metadata").some(field).is_some() {
                pod["metadata"][field] = from.at("metadata").at(field).clone();
            }
        }
        let spec = pod["spec"]
            .as_object_mut()
            .ok_or_else(|| Error::msg("the pod has no spec"))?;
        spec.remove("ephemeralContainers");
        if !f.same_node {
            spec.remove("nodeName");
        }
        if let Some(share) = f.share_processes {
            spec.insert("shareProcessNamespace".into(), json!(share));
        }
        for c in spec
            .get_mut("containers")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(image) = c
                .text_ptr("name")
                .and_then(|n| self.images.get(n))
                .or_else(|| self.images.get("*"))
            {
                c["image"] = image.clone();
            }
        }
        let name = self.changed_container(&mut pod)?;
        if !name.is_empty() {
            self.shape(&mut pod, &name, Style::Copy)?;
        }
        let made = self.create(&info.namespace, &pod).await?;
        if f.replace {
            helper::delete(
                self.ctx.client()?,
                info,
                &json!({"gracePeriodSeconds": 0}),
                false,
            )
            .await?;
        }
        Ok((made, name))
    }

    /// Changes the named container of a copy, or adds one; its name is empty where only images were changed.
    fn changed_container(&self, pod: &mut Value) -> Result<String> {
        let f = self.ctx.flags();
        let given = f.container.as_str();
        let wanted = self.container(given);
        if let Some(c) = profile::container(pod, given) {
            if !self.words.is_empty() && !f.arguments_only {
                c.as_object_mut().map(|m| m.remove("args"));
            }
            for flag in ["stdin", "tty"] {
                c.as_object_mut().map(|m| m.remove(flag));
            }
            for field in ["command", "args", "env", "imagePullPolicy", "stdin", "tty"] {
                if !wanted[field].is_null() {
                    c[field] = wanted[field].clone();
                }
            }
            if !f.image.is_empty() {
                c["image"] = wanted.at("image").clone();
            }
            return Ok(given.into());
        }
        if f.image.is_empty() {
            return if self.images.is_empty() {
                Err(Error::msg(
                    "you must specify image when creating new container",
                ))
            } else {
                Ok(String::new())
            };
        }
        let name = self.name(pod)?;
        let added = self.container(&name);
        if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
            containers.push(added);
        }
        Ok(name)
    }

    async fn node(&self, info: &Info) -> Result<(Info, String)> {
        let f = self.ctx.flags();
        let container = if f.container.is_empty() {
            "debugger"
        } else {
            f.container.as_str()
        };
        let name = format!("node-debugger-{}-{}", info.name, generate::suffix(5));
        self.say(&format!(
            "Creating debugging pod {name} with container {container} on node {}.",
            info.name
        ))?;
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"}},
            "spec": {"containers": [self.container(container)], "nodeName": info.name, "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}]}});
        self.shape(&mut pod, container, Style::Node)?;
        Ok((
            self.create(&self.ctx.namespace()?.0, &pod).await?,
            container.into(),
        ))
    }

    async fn create(&self, namespace: &str, pod: &Value) -> Result<Info> {
        let kind = generate::kind("", "v1", "pods", "Pod", true);
        let object = helper::Write::by("", DryRun::None)
            .create(self.ctx.client()?, &kind, namespace, pod)
            .await?;
        let name = object.at("metadata").text("name").to_string();
        Ok(Info::of(kind, namespace, &name, object))
    }

    /// Attaches to the container once it runs; shows what it said if it has ended.
    async fn attach(&self, info: &Info, container: &str) -> Result<()> {
        let f = self.ctx.flags();
        let mut ended = false;
        let mut told = String::new();
        let mut last = Value::Null;
        let forever = Instant::now() + Duration::from_secs(30 * 24 * 3600);
        super::wait::until(&self.ctx, info, forever, |pod| {
            let pod = pod.ok_or_else(|| {
                super::wait::not_found(&Info {
                    name: String::new(),
                    ..info.clone()
                })
            })?;
            last = pod.clone();
            let state = state(pod, container);
            ended = state.some("terminated").is_some();
            let waiting = state.at("waiting").text("message");
            if !f.quiet && !waiting.is_empty() && told != waiting {
                eprintln!("Warning: container {container}: {waiting}");
                told = waiting.into();
            }
            Ok(ended || state.some("running").is_some())
        })
        .await?;
        let said = async || {
            let (namespace, name) = (&info.namespace, &info.name);
            super::logs::print_pod(&self.ctx, namespace, name, container, 0).await
        };
        if ended {
            return said().await.map(drop);
        }
        match super::attach::to_container(&self.ctx, &last, container).await {
            Ok(true) => Ok(()),
            // it may have said all before anybody was there to hear it
            Ok(false) => said().await.map(drop),
            Err(Error::Exit(code)) => Err(Error::Exit(code)),
            Err(e) => {
                eprintln!(
                    "warning: couldn't attach to pod/{}, falling back to streaming logs: {e}",
                    info.name
                );
                said().await.map(drop)
            }
        }
    }
}

/// The state of a container, in whichever list of the status it is.
fn state<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = [
        "containerStatuses",
        "ephemeralContainerStatuses",
        "initContainerStatuses",
    ];
    let mut all = lists.iter().flat_map(|l| pod.at("status").list(l).iter());
    all.find(|s| s.text("name") == name)
        .map_or(&Value::Null, |s| s.at("state"))
}

/// Capabilities come to nothing where all containers run as another user than root.
fn warn_of_user(pod: &mut Value, name: &str) {
    let runs_as_other = |v: &Value| {
        v.at("securityContext")
            .int_ptr("runAsUser")
            .is_some_and(|u| u != 0)
    };
    if !runs_as_other(pod.get("spec").unwrap_or(&Value::Null)) {
        return;
    }
    let Some(c) = profile::container(pod, name) else {
        return;
    };
    let s = c.at("securityContext");
    let capable = s.flag("privileged") || !s.at("capabilities").list("add").is_empty();
    if s.int_ptr("runAsUser") != Some(0) && capable {
        eprintln!(
            "Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile may not work. Please consider using \"--custom\" with a custom profile that specifies \"securityContext.runAsUser: 0\"."
        );
    }
}
