//! `events`: what happened, oldest first.
//! Invariant: events of an object are asked for by its kind and name, not picked out here.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/events`.

use crate::client::{Call, Pages, query, segment};
use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail};
use crate::flags::{Csv, Listed};
use crate::print::age::{since, time};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Printer, order::Order};
use crate::resource::CHUNKS;
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "events",
    usage: "[(-o|--output=)json|yaml|kyaml|name|go-template|go-template-file|template|templatefile|jsonpath|jsonpath-as-json|jsonpath-file] [--for TYPE/NAME] [--watch] [--types=Normal,Warning]",
    short: "List events",
    long: "Show the events of a namespace or of an object, oldest first.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # Of the namespace
      kubectl events
      # Of a pod, and what comes
      kubectl events --for pod/web-pod-13je7 --watch
      # Only of these types
      kubectl events --types=Warning,Normal",
    flags: &[print::FLAGS, CHUNKS],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Go on with what happens from now on
    #[arg(long, short)]
    watch: bool,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only of this object (TYPE/NAME)
    #[arg(long)]
    r#for: String,
    /// Only of these types
    #[arg(long)]
    types: Vec<Csv>,
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
}

/// When, and how often in what time, an event was seen.
pub fn interval(e: &Value) -> String {
    let first = if e.some("eventTime").is_none() {
        since(e.at("firstTimestamp"))
    } else {
        since(e.at("eventTime"))
    };
    if e.some("series").is_some() {
        return format!(
            "{} (x{} over {first})",
            since(e.at("series").at("lastObservedTime")),
            e.at("series").at("count")
        );
    }
    match e.int_ptr("count") {
        Some(n) if n > 1 => format!("{} (x{n} over {first})", since(e.at("lastTimestamp"))),
        _ => first,
    }
}

/// The point in time by which events are sorted.
pub fn last_seen(e: &Value) -> i128 {
    let t = [
        e.at("series").at("lastObservedTime"),
        e.at("lastTimestamp"),
        e.at("eventTime"),
        e.at("firstTimestamp"),
    ]
    .into_iter()
    .find_map(time);
    t.map_or(0, |t| t.as_nanosecond())
}

fn line(e: &Value, all: bool) -> String {
    let text = |v: &Value| print::table::escape_terminal(v.as_str().unwrap_or(""));
    let o = e.at("involvedObject");
    let head = if all {
        format!("{}\t", text(e.at("metadata").at("namespace")))
    } else {
        String::new()
    };
    format!(
        "{head}{}\t{}\t{}\t{}/{}\t{}\n",
        interval(e),
        text(e.at("type")),
        text(e.at("reason")),
        text(o.at("kind")),
        text(o.at("name")),
        text(e.at("message")).trim()
    )
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let all = f.all_namespaces;
    let namespace = ctx.namespace()?.0;
    if !ctx.output().is_empty() {
        Printer::new(&ctx, "")?;
    }
    let mut field = String::new();
    if !f.r#for.is_empty() {
        let (word, name) = f
            .r#for
            .split_once('/')
            .filter(|(w, n)| !w.is_empty() && !n.is_empty())
            .ok_or_else(|| Error::msg("--for must be in resource/name form"))?;
        if name.contains('/') {
            bail!("arguments in resource/name form may not have more than one slash");
        }
        let r = ctx.discovery()?.lookup(word).await?;
        field = format!(
            "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={name}",
            r.kind,
            r.api_version()
        );
    }
    let types = f.types.list();
    if types
        .iter()
        .any(|t| !t.eq_ignore_ascii_case("normal") && !t.eq_ignore_ascii_case("warning"))
    {
        bail!("valid --types are Normal or Warning");
    }
    let fits = |e: &Value| {
        types.is_empty()
            || types.iter().any(|t| {
                e.text_ptr("type")
                    .is_some_and(|x| x.eq_ignore_ascii_case(t))
            })
    };
    let path = if all {
        "/api/v1/events".to_string()
    } else {
        format!("/api/v1/namespaces/{}/events", segment(&namespace))
    };
    let (mut events, revision) = list(&ctx, &path, &field).await?;
    events.retain(&fits);
    print::sort::sort_by_key(&mut events, last_seen);
    if f.watch {
        return crate::remote::interruptible(watch(
            &ctx, &path, &field, &revision, events, all, fits,
        ))
        .await;
    }
    if events.is_empty() {
        if all {
            eprintln!("No events found.")
        } else {
            eprintln!("No events found in {namespace} namespace.")
        }
        return Ok(());
    }
    if !ctx.output().is_empty() {
        return Printer::new(&ctx, "")?.ordered(Order::Typed).print(
            &json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": events}),
        );
    }
    let mut w = TabWriter::table();
    headers(&ctx, &mut w, all);
    events.iter().for_each(|e| w.push(&line(e, all)));
    print::put(&w.flush())
}

fn headers(ctx: &With<Flags>, w: &mut TabWriter, all: bool) {
    if !ctx.flags().no_headers {
        w.push(&format!(
            "{}LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n",
            if all { "NAMESPACE\t" } else { "" }
        ));
    }
}

async fn list(ctx: &Ctx, path: &str, field: &str) -> Result<(Vec<Value>, String)> {
    let pairs = [("fieldSelector", field)];
    let pairs = if field.is_empty() { &[][..] } else { &pairs };
    let mut pages = Pages::new(path, pairs, ctx.shared().chunks.chunk_size);
    let (mut out, mut version) = (Vec::new(), String::new());
    while let Some(mut page) = ctx.client()?.page(&mut pages).await? {
        if let Value::Array(events) = page["items"].take() {
            for mut event in events {
                event["apiVersion"] = json!("v1");
                event["kind"] = json!("Event");
                out.push(event);
            }
        }
        version = page.at("metadata").text("resourceVersion").to_string();
    }
    Ok((out, version))
}

async fn watch(
    ctx: &With<Flags>,
    path: &str,
    field: &str,
    revision: &str,
    events: Vec<Value>,
    all: bool,
    fits: impl Fn(&Value) -> bool,
) -> Result<()> {
    let mut w = TabWriter::table();
    let mut printer = if ctx.output().is_empty() {
        None
    } else {
        Some(Printer::new(ctx, "")?.ordered(Order::Typed))
    };
    if printer.is_none() {
        headers(ctx, &mut w, all);
    }
    let mut show = |e: &Value| match &mut printer {
        Some(p) => p.print(e),
        None => {
            w.push(&line(e, all));
            print::put(&w.flush())
        }
    };
    events.iter().try_for_each(&mut show)?;
    let mut pairs = vec![("resourceVersion", revision), ("watch", "true")];
    if !field.is_empty() {
        pairs.push(("fieldSelector", field));
    }
    let call = Call::get(format!("{path}{}", query(&pairs)));
    let mut lines = crate::remote::JsonLines::of(ctx.client()?, &call).await?;
    while let Some(event) = lines.next().await? {
        if event.text("type") != "DELETED"
            && event.text("type") != "BOOKMARK"
            && fits(event.at("object"))
        {
            show(event.at("object"))?;
        }
    }
    Ok(())
}
