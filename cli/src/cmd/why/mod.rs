//! `skiff why`: why an object is not as it should be, and what to do next.
//! Invariant: it only reads; what it tells, the server told.
//! Behaviour follows nothing upstream: kubectl does not do this.

mod facts;
mod family;
mod finding;
mod leads;
mod pod;
mod warning;

use facts::Facts;
use finding::Log;
use warning::Warning;

pub use finding::Finding;

use crate::client::{Call, query, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result};
use crate::print;
use crate::resource::{Builder, Info};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::selector::Selector;

pub static COMMAND: Command = Command {
    name: "why",
    usage: "(TYPE NAME | TYPE/NAME ...)",
    short: "Tell why an object is not as it should be",
    long: "Look at an object, at what made it and what it made, and at the events about them, and tell what is the matter and which command shows more.",
    examples: "
      # What a deployment waits for
      skiff why deployment/web
      # Why a pod does not run
      skiff why pod web-1",
    run: verb!(run: ()),
    words: Some(Words::ANY),
    ..Command::NEW
};

async fn run(ctx: With<()>) -> Result<()> {
    let found = Builder::new(&ctx)?.find().await?;
    for info in &found.infos {
        let (findings, warnings) = look(&ctx, info).await?;
        let mut spoken = Vec::new();
        for finding in &findings {
            spoken.push(self::spoken(&ctx, finding).await);
        }
        print::put(&told(info, &spoken, &warnings))?;
    }
    Error::collect(found.errors)
}

/// How many lines of a log are told.
const LINES: &str = "5";

/// A finding with what the container wrote last, and what to do next.
pub async fn spoken(ctx: &Ctx, finding: &Finding) -> String {
    let mut out = finding.what.clone();
    if let Some(log) = &finding.log {
        for line in last_lines(ctx, log).await {
            out += &format!("\n  | {line}");
        }
    }
    if !finding.next.is_empty() {
        out += &format!("\n  next: {}", finding.next);
    }
    out
}

/// What a container wrote last; nothing where that cannot be read, as it is told beside.
async fn last_lines(ctx: &Ctx, log: &Log) -> Vec<String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log",
        segment(&log.namespace),
        segment(&log.pod)
    );
    let previous = if log.previous { "true" } else { "false" };
    let asked = query(&[
        ("container", log.container.as_str()),
        ("previous", previous),
        ("tailLines", LINES),
    ]);
    let call = Call::get(path + &asked).accept("*/*");
    let read = async { ctx.client()?.bytes(&call).await };
    let Ok(text) = read.await else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::to_string).collect()
}

/// What is the matter with an object, and the last warnings about it and its pods.
async fn look(ctx: &Ctx, info: &Info) -> Result<(Vec<Finding>, Vec<Warning>)> {
    let pods = pods(ctx, info, &info.object).await?;
    let events = warnings(ctx, info).await?;
    let related = family::of(ctx, info).await?;
    let uids: Vec<&str> = std::iter::once(&info.object)
        .chain(&pods)
        .chain(&related)
        .map(|object| object.at("metadata").text("uid"))
        .collect();
    let mut warnings = warning::of(&events, &uids);
    let facts = Facts::of(ctx, &info.namespace, &info.object, &pods, events).await?;
    let mut findings = finding::of(&info.object, &pods, &facts);
    for finding in related
        .iter()
        .flat_map(|object| finding::of(object, &[], &facts))
    {
        if !findings.iter().any(|known| known.says_what(&finding)) {
            findings.push(finding);
        }
    }
    let itself = |is_pod: bool| Some(&info.object).filter(|_| is_pod);
    let is_pod = info.resource.kind == "Pod";
    let owners: Vec<&Value> = itself(!is_pod).into_iter().chain(&related).collect();
    let its_pods: Vec<&Value> = itself(is_pod).into_iter().chain(&pods).collect();
    let mended = warning::mended(&owners, &its_pods);
    warnings.retain(|warning| !warning.is_mended(&mended));
    set_apart(&mut findings, &mut warnings);
    Ok((findings, warnings))
}

/// What a finding tells is not told again as a warning; warnings that say what is the matter become findings.
fn set_apart(findings: &mut Vec<Finding>, warnings: &mut Vec<Warning>) {
    let untold = |findings: &[Finding], warning: &Warning| {
        !findings.iter().any(|finding| warning.is_told(finding))
    };
    warnings.retain(|warning| untold(findings, warning));
    let more: Vec<Finding> = warnings.iter().filter_map(Warning::finding).collect();
    for finding in more {
        if !findings.iter().any(|known| known.mends_what(&finding)) {
            findings.push(finding);
        }
    }
    warnings.retain(|warning| {
        let found = warning.finding();
        let mended = found.is_some_and(|found| findings.iter().any(|f| f.mends_what(&found)));
        !mended && untold(findings, warning)
    });
}

/// The warnings of an object's namespace, or of all.
async fn warnings(ctx: &Ctx, info: &Info) -> Result<Vec<Value>> {
    let path = match info.namespace.as_str() {
        "" => "/api/v1/events".into(),
        namespace => format!("/api/v1/namespaces/{}/events", segment(namespace)),
    };
    let field = query(&[("fieldSelector", "type=Warning")]);
    let call = Call::get(format!("{path}{field}"));
    let list = ctx.client()?.json(&call).await?;
    Ok(list.list("items").to_vec())
}

/// The pods that an object made or leads to, by its selector; none for a pod itself and for kinds that have none.
async fn pods(ctx: &Ctx, info: &Info, object: &Value) -> Result<Vec<Value>> {
    let selector = object.at("spec").at("selector");
    let chosen = match info.resource.kind.as_str() {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => selector.clone(),
        // theirs are bare labels
        "Service" | "ReplicationController" => json!({"matchLabels": selector}),
        _ => return Ok(Vec::new()),
    };
    if selector.is_null() {
        return Ok(Vec::new());
    }
    let chosen = Selector::from_label_selector(Some(&chosen));
    let chosen = chosen
        .map_err(|why| Error::msg(why.to_string()))?
        .to_string();
    let path = format!("/api/v1/namespaces/{}/pods", segment(&info.namespace));
    let call = Call::get(format!("{path}{}", query(&[("labelSelector", &chosen)])));
    let list = ctx.client()?.json(&call).await?;
    let mut pods = list.list("items").to_vec();
    for pod in &mut pods {
        pod["kind"] = "Pod".into();
    }
    Ok(pods)
}

/// Why an object will never be as it should be without somebody's doing; nothing as long as it may.
///
/// # Errors
/// What cannot be read.
pub async fn hopeless(ctx: &Ctx, info: &Info, object: &Value) -> Result<Option<Finding>> {
    let pods = pods(ctx, info, object).await?;
    let mut found = finding::of(object, &pods, &Facts::default()).into_iter();
    Ok(found.find(|finding| finding.hopeless))
}

fn told(info: &Info, spoken: &[String], warnings: &[Warning]) -> String {
    let mut out = match spoken {
        [] if !warnings.is_empty() => format!("{}: its status is well\n", info.object_name()),
        [] => format!("{}: nothing is the matter\n", info.object_name()),
        some => some.join("\n") + "\n",
    };
    if !warnings.is_empty() {
        out += "warnings:\n";
        warnings.iter().for_each(|w| out += &format!("  {w}\n"));
    }
    out
}
