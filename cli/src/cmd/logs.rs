//! `logs`: what containers wrote.
//! Invariant: with several sources, lines are never torn apart; those of one container keep their order.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/logs/logs.go` and `polymorphichelpers/logsforobject.go`.

use super::pods;
use crate::client::{Call, query, segment};
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print;
use crate::remote::{self, Chunks};
use crate::resource::SELECTOR;
use serde_json::Value;

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
    flags: &[
        SELECTOR,
        &[
            Flag::bool("all-pods", '\0', false, "Of all pods of the object, with --prefix"),
            Flag::bool("all-containers", '\0', false, "Of all containers of the pods"),
            Flag::bool("follow", 'f', false, "Go on with what is written from now on"),
            Flag::bool("timestamps", '\0', false, "Put the time before each line"),
            Flag::int("limit-bytes", '\0', "0", "At most so many bytes; 0 for no limit"),
            Flag::bool("previous", 'p', false, "Of the container's run before this one"),
            Flag::int("tail", '\0', "-1", "Only the last lines; -1 for all, with a selector 10"),
            Flag::bool("ignore-errors", '\0', false, "Go on when the logs of one source fail"),
            Flag::str("since-time", '\0', "", "Only what was written after this time (RFC 3339)"),
            Flag::duration("since", '\0', "0s", "Only what was written in this time before now"),
            Flag::str("container", 'c', "", "The container"),
            Flag::bool("insecure-skip-tls-verify-backend", '\0', false, "Do not have the server check the node's certificate"),
            Flag::duration("pod-running-timeout", '\0', "20s", "How long to wait until a pod runs"),
            Flag::int("max-log-requests", '\0', "5", "How many logs may be followed at once"),
            Flag::bool("prefix", '\0', false, "Put pod and container before each line"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

struct Source {
    namespace: String,
    pod: String,
    container: String,
    path: String,
}

fn check(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    let usage = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";
    match ctx.args() {
        [] if f.str("selector").is_empty() => return Err(Error::usage(ctx.path(), usage)),
        [_] if !f.str("selector").is_empty() => return Err(Error::usage(ctx.path(), "only a selector (-l) or a POD name is allowed")),
        [] | [_] => {}
        [_, _] if f.str("container").is_empty() && f.str("selector").is_empty() => {}
        _ => return Err(Error::usage(ctx.path(), usage)),
    }
    if !f.str("since-time").is_empty() && f.duration("since") != 0.0 {
        return Err(Error::msg("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if f.int("limit-bytes") < 0 {
        return Err(Error::msg("--limit-bytes must be greater than 0"));
    }
    if f.int("tail") < -1 {
        return Err(Error::msg("--tail must be greater than or equal to -1"));
    }
    if f.bool("all-containers") && !f.str("container").is_empty() {
        return Err(Error::msg("--all-containers=true should not be specified with container name"));
    }
    if f.duration("since") < 0.0 {
        return Err(Error::msg("--since must be greater than 0"));
    }
    Ok(())
}

/// The query for one container.
fn parameters(ctx: &Ctx, container: &str) -> String {
    let f = ctx.flags();
    let mut pairs: Vec<(&str, String)> = Vec::new();
    if !container.is_empty() {
        pairs.push(("container", container.into()));
    }
    for (flag, name) in
        [("follow", "follow"), ("insecure-skip-tls-verify-backend", "insecureSkipTLSVerifyBackend"), ("previous", "previous"), ("timestamps", "timestamps")]
    {
        if f.bool(flag) {
            pairs.push((name, "true".into()));
        }
    }
    if f.int("limit-bytes") > 0 {
        pairs.push(("limitBytes", f.int("limit-bytes").to_string()));
    }
    if f.duration("since") > 0.0 {
        pairs.push(("sinceSeconds", (f.duration("since").ceil() as i64).to_string()));
    }
    if !f.str("since-time").is_empty() {
        pairs.push(("sinceTime", f.str("since-time").into()));
    }
    let selecting = !f.str("selector").is_empty();
    let tail = if f.int("tail") == -1 && selecting && !f.changed("tail") { 10 } else { f.int("tail") };
    if tail >= 0 {
        pairs.push(("tailLines", tail.to_string()));
    }
    pairs.sort();
    let list: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    query(&list)
}

fn sources_of(ctx: &Ctx, pod: &Value, quiet: bool) -> Result<Vec<Source>> {
    let f = ctx.flags();
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    let containers = if f.bool("all-containers") || f.bool("all-pods") && f.str("container").is_empty() {
        pods::names(pod, &["initContainers", "containers", "ephemeralContainers"])
    } else if f.str("container").is_empty() {
        vec![pods::container(pod, "", quiet)?]
    } else {
        let known = pods::names(pod, &["containers", "initContainers", "ephemeralContainers"]);
        if !known.iter().any(|k| k == f.str("container")) {
            return Err(Error::msg(format!("container {} is not valid for pod {} out of: {}", f.str("container"), text("name"), pods::shown(pod).join(", "))));
        }
        vec![f.str("container").to_string()]
    };
    let make = |container: String| Source {
        namespace: text("namespace"),
        pod: text("name"),
        path: format!("/api/v1/namespaces/{}/pods/{}/log{}", segment(&text("namespace")), segment(&text("name")), parameters(ctx, &container)),
        container,
    };
    Ok(containers.into_iter().map(make).collect())
}

async fn sources(ctx: &Ctx) -> Result<Vec<Source>> {
    let f = ctx.flags();
    if f.str("selector").is_empty() {
        let mut word = ctx.args()[0].clone();
        if let [_, container] = ctx.args() {
            word = format!("{}/{container}", ctx.args()[0]);
            if !ctx.args()[0].contains('/') {
                let pod = pods::find(ctx, &ctx.args()[0], 20.0).await?;
                let mut flags = f.clone();
                flags.set("container", container);
                return sources_of(&ctx.with_flags(flags), &pod, false);
            }
        }
        if word.contains('/') && f.bool("all-pods") {
            let infos = crate::resource::Builder::new(ctx)?.args(&[word]).find().await?.all()?;
            let info = infos.first().ok_or_else(|| Error::msg("nothing was found"))?;
            return selected(ctx, &pods::selector(info)?, &info.namespace).await;
        }
        let pod = pods::find(ctx, &word, f.duration("pod-running-timeout")).await?;
        if word.contains('/') && !word.starts_with("pod/") && !word.starts_with("pods/") && !word.starts_with("po/") {
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("");
            let name = word.split_once('/').map_or("", |(_, n)| n);
            let infos = crate::resource::Builder::new(ctx)?.args(&[word.clone()]).find().await?.all()?;
            if let Some(info) = infos.first() {
                let list = ctx
                    .client()?
                    .json(&Call::get(format!("/api/v1/namespaces/{}/pods{}", segment(namespace), query(&[("labelSelector", &pods::selector(info)?)]))))
                    .await?;
                let count = list["items"].as_array().map_or(0, Vec::len);
                if count > 1 {
                    eprintln!("Found {count} pods, using pod/{}", pod["metadata"]["name"].as_str().unwrap_or(name));
                }
            }
        }
        return sources_of(ctx, &pod, false);
    }
    let namespace = ctx.namespace()?.0;
    selected(ctx, f.str("selector"), &namespace).await
}

async fn selected(ctx: &Ctx, selector: &str, namespace: &str) -> Result<Vec<Source>> {
    let list = ctx.client()?.json(&Call::get(format!("/api/v1/namespaces/{}/pods{}", segment(namespace), query(&[("labelSelector", selector)])))).await?;
    let mut out = Vec::new();
    for pod in list["items"].as_array().into_iter().flatten() {
        out.extend(sources_of(ctx, pod, false)?);
    }
    Ok(out)
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    check(&ctx)?;
    let sources = sources(&ctx).await?;
    if sources.is_empty() {
        eprintln!("No resources found in {} namespace.", ctx.namespace()?.0);
        return Ok(());
    }
    if f.bool("follow") && sources.len() > 1 {
        let limit = f.int("max-log-requests");
        if sources.len() as i64 > limit {
            return Err(Error::msg(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {limit}, use --max-log-requests to increase the limit",
                sources.len()
            )));
        }
        let mut tasks = tokio::task::JoinSet::new();
        for s in sources {
            let ctx = ctx.clone();
            tasks.spawn_local(async move { copy(&ctx, &s, true).await });
        }
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(e)) if f.bool("ignore-errors") => eprintln!("error: {e}"),
                Ok(Err(e)) => return Err(e),
            }
        }
        return Ok(());
    }
    for s in &sources {
        match copy(&ctx, s, false).await {
            Ok(()) => {}
            Err(e) if f.bool("ignore-errors") => eprintln!("error: {e}"),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Copies one log to standard output; line by line where others write too.
async fn copy(ctx: &Ctx, s: &Source, shared: bool) -> Result<()> {
    let f = ctx.flags();
    let prefix = if f.bool("prefix") || f.bool("all-pods") { format!("[pod/{}/{}] ", s.pod, s.container) } else { String::new() };
    let response = ctx.client()?.stream(&Call::get(s.path.clone()).accept("*/*")).await.map_err(|e| match e {
        e if s.namespace.is_empty() => Error::msg(e.to_string()),
        e => e,
    })?;
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
    if pending.is_empty() { Ok(()) } else { remote::write_bytes(&[prefix.as_bytes(), &pending].concat()) }
}

/// Shows all that one container of a pod wrote, and goes on until it ends.
///
/// # Errors
/// A pod without logs.
pub async fn print_pod(ctx: &Ctx, namespace: &str, name: &str, container: &str) -> Result<()> {
    let mut pairs = vec![("follow", "true")];
    if !container.is_empty() {
        pairs.insert(0, ("container", container));
    }
    let path = format!("/api/v1/namespaces/{}/pods/{}/log{}", segment(namespace), segment(name), query(&pairs));
    remote::copy_body(ctx.client()?.stream(&Call::get(path).accept("*/*")).await?).await?;
    print::put("")
}
