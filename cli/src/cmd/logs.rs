//! `logs`: what containers wrote.
//! Invariant: with several sources, lines are never torn apart; those of one container keep their order.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/logs/logs.go` and `polymorphichelpers/logsforobject.go`.

use super::pods;
use crate::client::{Call, query, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::print;
use crate::remote::{self, Chunks};
use crate::resource::builder::{KUBECTL, NOTHING_NAMED};
use crate::resource::{Builder, Info, SELECTOR};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::time;
use tokio::time::{Duration, Instant};

pub static COMMAND: Command = Command {
    name: "logs",
    usage: "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]",
    short: "Print the logs for a container in a pod",
    long: "Show what a container wrote, or all containers of some pods. If a pod has one container its name may be left out.",
    examples: "
      # A pod with one container
      kubectl logs nginx
      # All containers
      kubectl logs nginx --all-containers=true
      # All containers of pods with a label, and what they go on to write
      kubectl logs -f -lapp=nginx --all-containers=true
      # A container that ended
      kubectl logs -p -c ruby web-1
      # The last twenty lines
      kubectl logs --tail=20 nginx
      # The last hour
      kubectl logs --since=1h nginx
      # The first container of a job
      kubectl logs job/hello",
    flags: &[SELECTOR],
    run: verb!(interruptible run: Flags),
    words: Some(Words::PodAndContainer),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Of all pods of the object, with --prefix
    #[arg(long)]
    all_pods: bool,
    /// Of all containers of the pods
    #[arg(long)]
    all_containers: bool,
    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,
    /// Put the time before each line
    #[arg(long)]
    timestamps: bool,
    /// At most so many bytes; 0 for no limit
    #[arg(long)]
    limit_bytes: i64,
    /// Of the container's run before this one
    #[arg(long, short)]
    previous: bool,
    /// Only the last lines; -1 for all, with a selector 10
    #[arg(long, value_name = "-1")]
    tail: Option<i64>,
    /// Go on when the logs of one source fail
    #[arg(long)]
    ignore_errors: bool,
    /// Only what was written after this time (RFC 3339)
    #[arg(long)]
    since_time: String,
    /// Only what was written in this time before now
    #[arg(long)]
    since: f64,
    /// The container
    #[arg(long, short)]
    container: Option<String>,
    /// Do not have the server check the node's certificate
    #[arg(long)]
    insecure_skip_tls_verify_backend: bool,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "20s")]
    pod_running_timeout: f64,
    /// How many logs may be followed at once
    #[arg(long, default_value = "5")]
    max_log_requests: i64,
    /// Put pod and container before each line
    #[arg(long)]
    prefix: bool,
}

struct Source {
    pod: String,
    container: String,
    path: String,
}

const USAGE: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";

/// What the command line asks for.
struct Plan {
    /// The word that names a pod, or an object that has some; none with a selector.
    word: Option<String>,
    container: String,
    since_time: Option<String>,
}

/// Reads the words, and what fails before the server is asked.
fn plan(ctx: &With<Flags>) -> Result<Plan> {
    let f = ctx.flags();
    let selecting = !ctx.selector().is_empty();
    let named = f.container.as_deref().unwrap_or("");
    let (word, container) = match ctx.args() {
        [] if !selecting => return Err(ctx.usage(USAGE)),
        [] => (None, named),
        [_] if selecting => {
            return Err(ctx.usage("only a selector (-l) or a POD name is allowed"));
        }
        [word] => (Some(word.clone()), named),
        [word, container] => (Some(word.clone()), container.as_str()),
        _ => return Err(ctx.usage(USAGE)),
    };
    if f.pod_running_timeout <= 0.0 {
        bail!("--pod-running-timeout must be higher than zero");
    }
    let since_time = match f.since_time.as_str() {
        "" => None,
        text => Some(time::seconds(time::parse(text).map_err(Error::msg)?)),
    };
    Ok(Plan {
        word,
        container: container.into(),
        since_time,
    })
}

/// Refuses what does not go together, in kubectl's order.
fn check(ctx: &With<Flags>, plan: &Plan) -> Result<()> {
    let f = ctx.flags();
    let inline = ctx.args().len() == 2;
    for (wrong, message) in [
        (
            plan.since_time.is_some() && f.since != 0.0,
            "at most one of `sinceTime` or `sinceSeconds` may be specified".to_string(),
        ),
        (
            f.all_containers && !plan.container.is_empty(),
            format!(
                "--all-containers=true should not be specified with container name {}",
                plan.container
            ),
        ),
        (
            inline && f.container.is_some(),
            "only one of -c or an inline [CONTAINER] arg is allowed".into(),
        ),
        (
            f.limit_bytes < 0,
            "--limit-bytes must be greater than 0".into(),
        ),
        (
            f.since.round() < 0.0,
            "--since must be greater than 0".into(),
        ),
        (
            f.tail < Some(-1) && f.tail.is_some(),
            "--tail must be greater than or equal to -1".into(),
        ),
    ] {
        if wrong {
            return Err(Error::msg(message));
        }
    }
    Ok(())
}

/// The query for one container.
fn parameters(ctx: &With<Flags>, plan: &Plan, container: &str) -> String {
    let f = ctx.flags();
    let mut pairs: Vec<(&str, String)> = vec![("container", container.into())];
    for (on, name) in [
        (f.follow, "follow"),
        (
            f.insecure_skip_tls_verify_backend,
            "insecureSkipTLSVerifyBackend",
        ),
        (f.previous, "previous"),
        (f.timestamps, "timestamps"),
    ] {
        if on {
            pairs.push((name, "true".into()));
        }
    }
    if f.limit_bytes != 0 {
        pairs.push(("limitBytes", f.limit_bytes.to_string()));
    }
    if f.since != 0.0 {
        pairs.push(("sinceSeconds", (f.since.round() as i64).to_string()));
    }
    if let Some(time) = &plan.since_time {
        pairs.push(("sinceTime", time.clone()));
    }
    let all = if ctx.selector().is_empty() { -1 } else { 10 };
    let tail = f.tail.unwrap_or(all);
    if tail != -1 {
        pairs.push(("tailLines", tail.to_string()));
    }
    pairs.sort();
    let list: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    query(&list)
}

/// The containers of a pod whose logs are meant.
fn containers(ctx: &With<Flags>, plan: &Plan, pod: &Value) -> Result<Vec<String>> {
    let f = ctx.flags();
    if f.all_containers {
        return Ok(pods::names(
            pod,
            &["initContainers", "containers", "ephemeralContainers"],
        ));
    }
    if !plan.container.is_empty() {
        return pods::check_container(pod, &plan.container).map(|()| vec![plan.container.clone()]);
    }
    let name = pod.at("metadata").text("name");
    if let Some(marked) = pod
        .at("metadata")
        .at("annotations")
        .text_ptr("kubectl.kubernetes.io/default-container")
        .filter(|m| !m.is_empty())
    {
        if pods::check_container(pod, marked).is_ok() {
            return Ok(vec![marked.into()]);
        }
        eprintln!(
            "Default container name {} not found in pod {name}",
            quote(marked)
        );
    }
    let first = pods::names(pod, &["containers"])
        .into_iter()
        .next()
        .ok_or_else(|| message!("pod {name} does not have any containers"))?;
    if !f.all_pods {
        pods::tell_choice(pod, &first);
    }
    Ok(vec![first])
}

fn sources_of(ctx: &With<Flags>, plan: &Plan, pod: &Value) -> Result<Vec<Source>> {
    let text = |field: &str| pod.at("metadata").text(field).to_string();
    let place = format!(
        "/api/v1/namespaces/{}/pods/{}/log",
        segment(&text("namespace")),
        segment(&text("name"))
    );
    let make = |container: String| Source {
        pod: text("name"),
        path: format!("{place}{}", parameters(ctx, plan, &container)),
        container,
    };
    Ok(containers(ctx, plan, pod)?.into_iter().map(make).collect())
}

/// The pods that are meant, the best first; `info` is the object that a word names.
async fn pods_of(ctx: &With<Flags>, info: Option<Info>) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let Some(info) = info else {
        let namespace = ctx.namespace()?.0;
        let mut builder = Builder::new(ctx)?.args(&["pods".into()]);
        builder.fixed_type = true;
        builder.selector = Some(ctx.selector().trim().into());
        let pods = builder.find().await?.all()?.into_iter();
        let pods: Vec<Value> = pods.map(|pod| pod.object).collect();
        if pods.is_empty() {
            eprintln!("No resources found in {namespace} namespace.");
        }
        return Ok(pods);
    };
    if info.resource.kind == "Pod" {
        return Ok(vec![info.object]);
    }
    let selector = pods::selector(&info).map_err(|e| {
        message!(
            "cannot get the logs from {}: {e}",
            crate::typed::go_type(&info.object)
        )
    })?;
    let mut found = pods::all_of(
        ctx,
        &info.namespace,
        &selector,
        f.pod_running_timeout,
        pods::by_logging,
    )
    .await?;
    if found.len() > 1 && !f.all_pods {
        eprintln!(
            "Found {} pods, using pod/{}",
            found.len(),
            found[0]["metadata"]["name"].as_str().unwrap_or("")
        );
        found.truncate(1);
    }
    Ok(found)
}

/// Says of what is not there where it was looked for.
fn not_found(e: Error, ctx: &Ctx) -> Error {
    match ctx.namespace() {
        Ok((namespace, _)) if e.is_not_found() => message!(
            "error from server (NotFound): {e} in namespace {}",
            quote(&namespace)
        ),
        _ => e,
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let plan = plan(&ctx)?;
    let info = match &plan.word {
        Some(word) if word.is_empty() => bail!("{NOTHING_NAMED}"),
        Some(word) => Some(
            pods::object(&ctx, word, KUBECTL)
                .await
                .map_err(|e| not_found(e, &ctx))?,
        ),
        None => None,
    };
    check(&ctx, &plan)?;
    let pods = pods_of(&ctx, info).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(sources_of(&ctx, &plan, pod)?);
    }
    if f.follow && sources.len() > 1 {
        let limit = f.max_log_requests;
        if sources.len() as i64 > limit {
            bail!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {limit}, use --max-log-requests to increase the limit",
                sources.len()
            );
        }
        let followed = sources.into_iter().map(|s| consumed(ctx.clone(), s, true));
        return futures::future::try_join_all(followed).await.map(drop);
    }
    for s in sources {
        consumed(ctx.clone(), s, false).await?;
    }
    Ok(())
}

/// Copies one log; a log that is followed and is not there yet is asked for again as long as a pod may take to run.
async fn consumed(ctx: With<Flags>, s: Source, shared: bool) -> Result<()> {
    let f = ctx.flags();
    let end = Instant::now() + crate::flags::seconds(f.pod_running_timeout);
    loop {
        let Err(e) = copy(&ctx, &s, shared).await else {
            return Ok(());
        };
        match e {
            Error::Exit(_) => return Err(e),
            e if f.ignore_errors => return print::put(&format!("error: {e}\n")),
            e if !f.follow => return Err(e),
            e => {
                eprintln!("{e}");
                if !matches!(e, Error::Status(_)) {
                    return Err(e);
                }
            }
        }
        if Instant::now() >= end {
            bail!("context deadline exceeded");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Copies one log to standard output; line by line where others write too.
async fn copy(ctx: &With<Flags>, s: &Source, shared: bool) -> Result<()> {
    let f = ctx.flags();
    let prefix = if f.prefix || f.all_pods {
        format!("[pod/{}/{}] ", s.pod, s.container)
    } else {
        String::new()
    };
    let response = ctx
        .client()?
        .stream(&Call::get(s.path.clone()).accept("*/*"))
        .await?;
    if prefix.is_empty() && !shared {
        return remote::copy_body(response).await;
    }
    let mut chunks = Chunks::new(response);
    let mut pending: Vec<u8> = Vec::new();
    while let Some(data) = chunks.next().await? {
        pending.extend_from_slice(&data);
        while let Some(end) = pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            remote::write_bytes(&[prefix.as_bytes(), &line].concat())?;
        }
    }
    if pending.is_empty() {
        Ok(())
    } else {
        remote::write_bytes(&[prefix.as_bytes(), &pending].concat())
    }
}

/// Shows what one container of a pod wrote so far, but for the first `after` bytes; tells how many there are in all.
///
/// # Errors
/// A pod without logs.
pub async fn print_pod(
    ctx: &Ctx,
    namespace: &str,
    name: &str,
    container: &str,
    after: usize,
) -> Result<usize> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log{}",
        segment(namespace),
        segment(name),
        query(&[("container", container)])
    );
    let logs = ctx.client()?.stream(&Call::get(path).accept("*/*")).await?;
    remote::copy_body_after(logs, after).await
}
