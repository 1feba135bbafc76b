//! `wait`: waits until objects are in a condition, exist, or are gone.
//! Invariant: the watch begins where the list ended, so that nothing that happened in between is missed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/wait`.

use crate::client::{Call, query};
use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::flags::seconds;
use crate::print::{self, Printer};
use crate::resource::{
    ALL, ALL_NAMESPACES, Builder, DEEP, FIELD_SELECTOR, FOLDER_FLAGS, Info, SELECTOR,
};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed, text};
use std::io::IsTerminal;
use tokio::time::{Duration, Instant};

pub static COMMAND: Command = Command {
    name: "wait",
    usage: "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
    short: "Wait for a specific condition on one or many resources",
    long: "Wait until each of the objects is in a condition, has a field of some value, exists, or is gone.\n\n The exit status is 0 when all of them are, and 1 when the time is over.",
    examples: "
      # A condition
      kubectl wait --for=condition=Ready pod/busybox1
      # That it is not
      kubectl wait --for=condition=Ready=false pod/busybox1
      # A field
      kubectl wait --for=jsonpath='{.status.phase}'=Running pod/busybox1
      # Any value of a field
      kubectl wait --for=jsonpath='{.status.loadBalancer.ingress}' service/loadbalancer
      # That it is there, and that it is gone
      kubectl wait --for=create pod/busybox1 --timeout=60s
      kubectl wait --for=delete pod/busybox1 --timeout=60s",
    flags: &[
        print::FLAGS,
        FOLDER_FLAGS,
        SELECTOR,
        FIELD_SELECTOR,
        ALL,
        ALL_NAMESPACES,
    ],
    defaults: &[DEEP],
    beyond: &["any"],
    run: verb!(interruptible run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only files, without a server
    #[arg(long)]
    local: bool,
    /// How long to wait; 0 looks once, negative waits a week
    #[arg(long, default_value = "30s")]
    timeout: f64,
    /// What to wait for: create, delete, condition=NAME[=VALUE] or jsonpath='{EXPRESSION}'[=VALUE]; may be repeated
    #[arg(long)]
    r#for: Vec<String>,
    /// Of several things to wait for, one is enough
    #[arg(long)]
    any: bool,
}

/// One thing to wait for.
enum Condition {
    Delete,
    Create,
    Status {
        kind: String,
        value: String,
    },
    Field {
        path: JsonPath,
        value: Option<String>,
    },
}

/// Splits at single `=`; a double one is part of an expression.
fn split_once_each(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let last = parts.len() - 1;
        match c {
            '=' if rest.peek() == Some(&'=') => {
                rest.next();
                parts[last].push_str("==");
            }
            '=' => parts.push(String::new()),
            c => parts[last].push(c),
        }
    }
    parts
}

fn parse_field(text: &str) -> Result<Condition> {
    let parts = split_once_each(text);
    if parts.len() > 2 {
        bail!(
            "jsonpath wait format must be --for=jsonpath='{{.status.readyReplicas}}'=3 or --for=jsonpath='{{.status.readyReplicas}}'"
        );
    }
    let expression = relaxed(&parts[0]).map_err(Error::msg)?;
    let value = parts
        .get(1)
        .map(|v| v.trim_matches(['\'', '"']).to_string());
    if value.as_deref() == Some("") {
        bail!(
            "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{{.status.readyReplicas}}'=3"
        );
    }
    if expression.is_empty() {
        bail!("jsonpath expression cannot be empty");
    }
    Ok(Condition::Field {
        path: JsonPath::parse(&expression)
            .map_err(Error::msg)?
            .allow_missing(true),
        value,
    })
}

fn parse(text: &str) -> Result<Condition> {
    match text.to_lowercase().as_str() {
        "delete" => return Ok(Condition::Delete),
        "create" => return Ok(Condition::Create),
        _ => {}
    }
    if let Some(rest) = text.strip_prefix("condition=") {
        let (kind, value) = rest.split_once('=').unwrap_or((rest, "true"));
        return Ok(Condition::Status {
            kind: kind.into(),
            value: value.into(),
        });
    }
    match text.strip_prefix("jsonpath=") {
        Some(rest) => parse_field(rest),
        None => Err(message!("unrecognized condition: {}", quote(text))),
    }
}

impl Condition {
    /// Whether it is that something came to be well.
    fn is_success(&self) -> bool {
        const WELL: &[&str] = &[
            "ready",
            "available",
            "complete",
            "initialized",
            "containersready",
            "successcriteriamet",
        ];
        match self {
            Condition::Delete | Condition::Create => false,
            Condition::Status { kind, value } => {
                value.eq_ignore_ascii_case("true") && WELL.contains(&kind.to_lowercase().as_str())
            }
            Condition::Field { value, .. } => {
                matches!(
                    value.as_deref(),
                    Some("Running" | "Succeeded" | "True" | "true")
                )
            }
        }
    }

    /// Whether the object, or that there is none, is what is waited for.
    fn met(&self, object: Option<&Value>) -> Result<bool> {
        let Some(object) = object else {
            return Ok(matches!(self, Condition::Delete));
        };
        match self {
            Condition::Delete => Ok(false),
            Condition::Create => Ok(true),
            Condition::Status { kind, value } => Ok(has_condition(object, kind, value)),
            Condition::Field { path, value } => has_value(object, path, value.as_deref()),
        }
    }
}

fn has_condition(object: &Value, kind: &str, value: &str) -> bool {
    let found = object.at("status").list("conditions").iter().find(|c| {
        c.text_ptr("type")
            .is_some_and(|t| t.eq_ignore_ascii_case(kind))
    });
    let Some(c) = found else { return false };
    let observed = c
        .int_ptr("observedGeneration")
        .or(object.at("status").int_ptr("observedGeneration"));
    match (object.at("metadata").int_ptr("generation"), observed) {
        (Some(generation), Some(observed)) if observed < generation => false,
        _ => c
            .text_ptr("status")
            .is_some_and(|s| s.eq_ignore_ascii_case(value)),
    }
}

fn has_value(object: &Value, path: &JsonPath, value: Option<&str>) -> Result<bool> {
    let lists = path.find(object).map_err(Error::msg)?;
    let Some(first) = lists.first().filter(|l| !l.is_empty()) else {
        return Ok(false);
    };
    if lists.len() > 1 {
        bail!("given jsonpath expression matches more than one list");
    }
    let [found] = first.as_slice() else {
        bail!("given jsonpath expression matches more than one value");
    };
    match value {
        None => Ok(true),
        Some(_) if found.is_object() || found.is_array() => Err(Error::msg(
            "jsonpath leads to a nested object or list which is not supported",
        )),
        Some(wanted) => Ok(text(found).trim() == wanted.trim()),
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.client()?;
    let mut printer = Printer::new(&ctx, "condition met")?;
    let wanted = &f.r#for;
    if wanted.is_empty() {
        bail!("unrecognized condition: []");
    }
    let conditions: Vec<Condition> = wanted.iter().map(|t| parse(t)).collect::<Result<_>>()?;
    let timeout = match f.timeout {
        t if t < 0.0 => 168.0 * 3600.0,
        t => t,
    };
    let end = Instant::now() + seconds(timeout);
    if conditions.iter().any(|c| matches!(c, Condition::Create)) {
        created(&ctx, end).await?;
    }
    // by its own name the program also waits for what is not there yet
    let patient =
        ctx.program() == "skiff" && !wanted.iter().all(|w| w.eq_ignore_ascii_case("delete"));
    if patient {
        there(&ctx, end).await?;
    }
    let deleting = conditions.iter().any(|c| matches!(c, Condition::Delete));
    let mut found = builder(&ctx)?.find().await?;
    let mut errors = found.failures();
    if found.infos.is_empty() && errors.is_empty() && !deleting {
        bail!("no matching resources found");
    }
    for info in &found.infos {
        errors.next_object();
        if let Err(e) = one(
            &ctx,
            info,
            (&conditions, f.any),
            (timeout > 0.0).then_some(end),
            &mut printer,
        )
        .await
        {
            errors.push(e);
        }
    }
    match errors.told() {
        Err(why) if deleting => why.unless_absent().map_or(Ok(()), Err),
        told => told,
    }
}

fn builder(ctx: &Ctx) -> Result<Builder> {
    let mut builder = Builder::new(ctx)?;
    builder.latest = true;
    builder.allow_empty_selector = ctx.all();
    builder.all = false;
    Ok(builder)
}

/// Waits until the objects that are named are there.
async fn created(ctx: &Ctx, end: Instant) -> Result<()> {
    loop {
        let mut found = builder(ctx)?.find().await?;
        match found.failures().told() {
            // of several, and of those in files, none is waited for that is not there
            Err(why) if !why.is_not_found() || found.one_file.is_some() => return Err(why),
            Ok(()) if !found.infos.is_empty() => return Ok(()),
            _ => {}
        }
        if Instant::now() >= end {
            bail!("timed out waiting for the condition");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits until what is named is there, or the time is over.
async fn there(ctx: &Ctx, end: Instant) -> Result<()> {
    loop {
        let found = builder(ctx)?.find().await?;
        let absent = found.errors.iter().all(Error::is_not_found);
        let done = found.errors.is_empty() && !found.infos.is_empty();
        if done || !absent || Instant::now() >= end {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How often it is looked at whether there is still hope.
const LOOK: Duration = Duration::from_millis(400);

/// Waits as `until` does, but not for what will never be: by its own name the program tells why instead.
async fn hopeful(
    ctx: &Ctx,
    info: &Info,
    conditions: &[Condition],
    waiting: impl Future<Output = Result<bool>>,
) -> Result<bool> {
    if ctx.program() == "kubectl" || !conditions.iter().any(Condition::is_success) {
        return waiting.await;
    }
    let mut line = Progress::new();
    let lost = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = match ctx.client()?.json(&Call::get(info.path())).await {
                Ok(now) => now,
                Err(why) if why.is_not_found() => continue,
                Err(why) => return Err(why),
            };
            if let Some(found) = super::why::hopeless(ctx, info, &now).await? {
                return Ok(found);
            }
            line.show(&info.object_name(), &now);
        }
    };
    let ended = tokio::select! {
        met = waiting => met,
        lost = lost => match lost {
            Ok(found) => {
                let (name, why) = (info.object_name(), super::why::spoken(ctx, &found).await);
                Err(message!("{name} will not be: {why}"))
            }
            Err(why) => Err(why),
        },
    };
    Progress::clear();
    ended
}

/// A line on the terminal that tells what is waited for; nothing elsewhere.
struct Progress {
    since: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            since: Instant::now(),
        }
    }

    fn show(&mut self, name: &str, object: &Value) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let status = object.at("status");
        let conditions = status.list("conditions").iter();
        let not_yet = conditions.filter(|c| c.text("status") != "True");
        let not_yet: Vec<&str> = not_yet.map(|c| c.text("type")).collect();
        let seconds = self.since.elapsed().as_secs();
        let phase = status.text("phase");
        eprint!(
            "\r\x1b[K{name}: {phase} {} ({seconds}s)",
            not_yet.join(", ")
        );
    }

    fn clear() {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Waits for all conditions of one object, one after the other; without an end it is looked at once.
async fn one(
    ctx: &Ctx,
    info: &Info,
    (conditions, any): (&[Condition], bool),
    end: Option<Instant>,
    printer: &mut Printer,
) -> Result<()> {
    // one after the other, or all at once where one is enough
    let steps: Vec<&[Condition]> = match any {
        true => vec![conditions],
        false => conditions.chunks(1).collect(),
    };
    for step in steps {
        let mut last = info.object.clone();
        let mut looked = false;
        let test = |o: Option<&Value>| {
            match o {
                Some(o) => last = o.clone(),
                None if looked || step.iter().any(|c| matches!(c, Condition::Delete)) => {}
                None => return Err(not_found(info)),
            }
            looked = true;
            for condition in step {
                if condition.met(o)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if step.iter().any(|c| matches!(c, Condition::Delete))
            && end.is_some_and(|end| end <= Instant::now())
        {
            bail!("client rate limiter Wait returned an error: context deadline exceeded");
        }
        // What is to be there has been waited for before it was found.
        let met = if step.iter().any(|c| matches!(c, Condition::Create)) {
            true
        } else {
            let waiting = until(ctx, info, end.unwrap_or_else(Instant::now), test);
            hopeful(ctx, info, step, waiting).await?
        };
        if !met {
            let why = if end.is_some() {
                "timed out waiting for the condition on"
            } else {
                "condition not met for"
            };
            bail!("{why} {}", info.object_name());
        }
        printer.print(&last)?;
    }
    Ok(())
}

/// What the server would say of an object that is not there.
pub fn not_found(info: &Info) -> Error {
    let message = format!(
        "{} {} not found",
        info.resource.group_resource(),
        quote(&info.name)
    );
    Error::Status(Box::new(
        serde_json::json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": message}),
    ))
}

/// Watches one object until the test says yes; no if the time is over before. The test gets nothing when the object is gone.
///
/// # Errors
/// What the server refuses, and what the test fails with.
pub async fn until(
    ctx: &Ctx,
    info: &Info,
    end: Instant,
    mut test: impl FnMut(Option<&Value>) -> Result<bool>,
) -> Result<bool> {
    let name = format!("metadata.name={}", info.name);
    let path = info.resource.collection(Some(&info.namespace));
    let client = ctx.client()?;
    loop {
        let list = client
            .json(&Call::get(format!(
                "{path}{}",
                query(&[("fieldSelector", &name)])
            )))
            .await?;
        let (api_version, kind) = (info.resource.api_version(), info.resource.kind.clone());
        let item = list
            .at("items")
            .as_array()
            .and_then(|l| l.first())
            .map(|o| {
                let mut o = o.clone();
                o["apiVersion"] = serde_json::json!(api_version);
                o["kind"] = serde_json::json!(kind);
                o
            });
        if test(item.as_ref())? {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let revision = list.at("metadata").text("resourceVersion");
        let q = query(&[
            ("fieldSelector", &name),
            ("resourceVersion", revision),
            ("watch", "true"),
        ]);
        let watch = async {
            let call = Call::get(format!("{path}{q}"));
            let mut lines = crate::remote::JsonLines::of(client, &call).await?;
            while let Some(event) = lines.next().await? {
                let object = event.at("object");
                let met = match event.text("type") {
                    "ERROR" => return Ok(false),
                    "DELETED" => test(None)?,
                    "BOOKMARK" => false,
                    _ => test(Some(object))?,
                };
                if met {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match tokio::time::timeout(left, watch).await {
            Ok(Ok(true)) => return Ok(true),
            Ok(Err(e)) => return Err(e),
            Err(_) => return Ok(false),
            // The server ended the watch, or the revision is too old: begin again.
            Ok(Ok(false)) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions() {
        let o = json!({"metadata": {"generation": 2}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        for (text, want) in [
            ("condition=ready", true),
            ("condition=Ready=false", false),
            ("condition=Old", false),
            ("condition=Nosuch", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}='Failed'", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath=.status.nosuch", false),
            ("delete", false),
            ("create", true),
        ] {
            assert_eq!(parse(text).unwrap().met(Some(&o)).unwrap(), want, "{text}");
        }
        assert!(parse("delete").unwrap().met(None).unwrap());
        assert_eq!(
            parse("nonsense").err().unwrap().to_string(),
            "unrecognized condition: \"nonsense\""
        );
        for (text, want) in [
            (
                "jsonpath={.status.conditions}=x",
                "jsonpath leads to a nested object or list which is not supported",
            ),
            (
                "jsonpath={.status.conditions[*].type}=x",
                "given jsonpath expression matches more than one value",
            ),
        ] {
            assert_eq!(
                parse(text).unwrap().met(Some(&o)).unwrap_err().to_string(),
                want,
                "{text}"
            );
        }
        for (text, want) in [
            ("jsonpath=", "jsonpath expression cannot be empty"),
            (
                "jsonpath='{.a}'=b",
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'",
            ),
            (
                "jsonpath={.a}=",
                "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
            ),
            (
                "jsonpath={.a}=b=c",
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            ),
        ] {
            assert_eq!(parse(text).err().unwrap().to_string(), want, "{text}");
        }
        assert!(
            matches!(parse("jsonpath={.l[?(@.a==1)].b}=x").unwrap(), Condition::Field { value: Some(v), .. } if v == "x")
        );
    }
}
