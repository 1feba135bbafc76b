//! `wait`: waits until objects are in a condition, exist, or are gone.
//! Invariant: the watch begins where the list ended, so that nothing that happened in between is missed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/wait`.

use crate::client::{Call, query};
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::flags::{Flag, seconds};
use crate::jsonpath::{JsonPath, relaxed, text};
use crate::print::{self, Printer};
use crate::resource::{Builder, FIELD_SELECTOR, FILE_FLAGS, Info, SELECTOR};
use serde_json::Value;
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
        FILE_FLAGS,
        SELECTOR,
        FIELD_SELECTOR,
        &[
            Flag::bool("all", '\0', false, "All objects of the given types in the namespace"),
            Flag::bool("all-namespaces", 'A', false, "In all namespaces"),
            Flag::bool("local", '\0', false, "Only files, without a server"),
            Flag::duration("timeout", '\0', "30s", "How long to wait; 0 looks once, negative waits a week"),
            Flag::array("for", '\0', "What to wait for: create, delete, condition=NAME[=VALUE] or jsonpath='{EXPRESSION}'[=VALUE]; may be repeated"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(crate::remote::interruptible(run(ctx)))),
    ..Command::NEW
};

/// One thing to wait for.
enum Condition {
    Delete,
    Create,
    Status { kind: String, value: String },
    Field { path: JsonPath, value: Option<String> },
}

fn parse(text: &str) -> Result<Condition> {
    let lower = text.to_lowercase();
    if lower == "delete" {
        return Ok(Condition::Delete);
    }
    if lower == "create" {
        return Ok(Condition::Create);
    }
    if let Some(rest) = text.strip_prefix("condition=") {
        let (kind, value) = rest.split_once('=').unwrap_or((rest, "true"));
        return Ok(Condition::Status { kind: kind.into(), value: value.into() });
    }
    if let Some(rest) = text.strip_prefix("jsonpath=") {
        let trimmed = rest.trim_matches('\'');
        let end = trimmed.rfind('}').map_or(trimmed.find('=').unwrap_or(trimmed.len()), |i| i + 1);
        let (expression, value) = trimmed.split_at(end);
        let value = value.trim_start_matches('\'').strip_prefix('=').map(|v| v.trim_matches(['\'', '"']).to_string());
        if expression.is_empty() {
            return Err(Error::msg("jsonpath expression cannot be empty"));
        }
        if value.as_deref() == Some("") {
            return Err(Error::msg("jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3"));
        }
        let path = relaxed(expression).or_else(|_| Ok::<_, String>(expression.to_string())).map_err(Error::msg)?;
        let path = JsonPath::parse(&path).map_err(Error::msg)?.allow_missing(true);
        return Ok(Condition::Field { path, value });
    }
    Err(Error::msg(format!("unrecognized condition: {}", quote(text))))
}

impl Condition {
    fn met(&self, object: Option<&Value>) -> Result<bool> {
        let Some(object) = object else { return Ok(matches!(self, Condition::Delete)) };
        match self {
            Condition::Delete => Ok(false),
            Condition::Create => Ok(true),
            Condition::Status { kind, value } => {
                let found =
                    object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)));
                let Some(c) = found else { return Ok(false) };
                let (generation, observed) =
                    (object["metadata"]["generation"].as_i64(), c["observedGeneration"].as_i64().or(object["status"]["observedGeneration"].as_i64()));
                if let (Some(g), Some(o)) = (generation, observed)
                    && o < g
                {
                    return Ok(false);
                }
                Ok(c["status"].as_str().is_some_and(|s| s.eq_ignore_ascii_case(value)))
            }
            Condition::Field { path, value } => {
                let found: Vec<_> = path.find(object).map_err(Error::msg)?.into_iter().flatten().collect();
                match (found.as_slice(), value) {
                    ([], _) => Ok(false),
                    (_, None) => Ok(true),
                    ([one], Some(v)) if one.is_object() || one.is_array() => {
                        Err(Error::msg(format!("jsonpath leads to a nested object or list, which can not be compared with {}", quote(v))))
                    }
                    ([one], Some(v)) => Ok(text(one) == *v),
                    _ => Err(Error::msg("given jsonpath expression matches more than one value")),
                }
            }
        }
    }
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let wanted = f.list("for");
    if wanted.is_empty() {
        return Err(Error::msg("unrecognized condition: []"));
    }
    let conditions: Vec<Condition> = wanted.iter().map(|t| parse(t)).collect::<Result<_>>()?;
    let timeout = match f.duration("timeout") {
        t if t < 0.0 => 168.0 * 3600.0,
        t => t,
    };
    let end = Instant::now() + seconds(timeout);
    let mut printer = Printer::new(f, "condition met")?;
    let creating = conditions.iter().any(|c| matches!(c, Condition::Create));
    let deleting = conditions.iter().any(|c| matches!(c, Condition::Delete));
    let infos = find(&ctx, creating, deleting, end).await?;
    if infos.is_empty() && !deleting {
        return Err(Error::msg("no matching resources found"));
    }
    for condition in &conditions {
        for info in &infos {
            let mut last = info.object.clone();
            let met = until(&ctx, info, end, |o| {
                if let Some(o) = o {
                    last = o.clone();
                }
                condition.met(o)
            })
            .await?;
            if !met {
                return Err(Error::msg(format!("timed out waiting for the condition on {}", info.object_name())));
            }
            if last.is_null() {
                last = serde_json::json!({"apiVersion": info.resource.api_version(), "kind": info.resource.kind, "metadata": {"name": info.name}});
            }
            printer.print(&last)?;
        }
    }
    Ok(())
}

/// The objects that are meant; with `--for=create`, as soon as they are there.
async fn find(ctx: &Ctx, creating: bool, deleting: bool, end: Instant) -> Result<Vec<Info>> {
    let mut builder = Builder::new(ctx)?;
    builder.latest = !deleting;
    builder.require_object = !deleting;
    loop {
        let mut found = builder.find().await?;
        if creating && found.errors.iter().all(Error::is_not_found) && (found.infos.is_empty() || !found.errors.is_empty()) {
            if Instant::now() >= end {
                return Err(Error::msg("timed out waiting for the condition"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        if deleting {
            found.errors.retain(|e| !e.is_not_found());
        }
        return found.all();
    }
}

/// Watches one object until the test says yes; no if the time is over before. The test gets nothing when the object is gone.
///
/// # Errors
/// What the server refuses, and what the test fails with.
pub async fn until(ctx: &Ctx, info: &Info, end: Instant, mut test: impl FnMut(Option<&Value>) -> Result<bool>) -> Result<bool> {
    let name = format!("metadata.name={}", info.name);
    let path = info.resource.collection(Some(&info.namespace));
    let client = ctx.client()?;
    loop {
        let list = client.json(&Call::get(format!("{path}{}", query(&[("fieldSelector", &name)])))).await?;
        let (api_version, kind) = (info.resource.api_version(), info.resource.kind.clone());
        let item = list["items"].as_array().and_then(|l| l.first()).map(|o| {
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
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or("");
        let q = query(&[("fieldSelector", &name), ("resourceVersion", revision), ("watch", "true")]);
        let watch = async {
            let mut lines = crate::remote::JsonLines::new(client.stream(&Call::get(format!("{path}{q}"))).await?);
            while let Some(event) = lines.next().await? {
                let object = &event["object"];
                let met = match event["type"].as_str().unwrap_or("") {
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
            ("jsonpath='{.status.phase}'=Failed", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath=.status.nosuch", false),
            ("delete", false),
            ("create", true),
        ] {
            assert_eq!(parse(text).unwrap().met(Some(&o)).unwrap(), want, "{text}");
        }
        assert!(parse("delete").unwrap().met(None).unwrap());
        assert_eq!(parse("nonsense").err().unwrap().to_string(), "unrecognized condition: \"nonsense\"");
        assert!(parse("jsonpath={.status.conditions}=x").unwrap().met(Some(&o)).is_err());
    }
}
