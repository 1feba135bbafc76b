//! Objects made from flags, for `create`, `run`, `expose` and `autoscale`.
//! Invariant: an object made here has the fields that kubectl's has, empty ones included, so that `--dry-run=client -o yaml` is the same text.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create` and `generate`.

use crate::context::{Ctx, DryRun};
use crate::discovery::Resource;
use crate::error::{Error, Result, message};
use crate::flags::{Group, group};
use crate::print::{Printer, order::Order};
use crate::resource::{Validation, helper};
use serde_json::{Value, json};
use skiff_api::machinery::selector::Selector;

/// The annotation that keeps what was last applied.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The flag `--save-config`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct SaveConfig {
    /// Keep the configuration in the object's annotation, for a later 'apply'
    #[arg(long)]
    pub save_config: bool,
}
pub const SAVE_CONFIG: Group = group::<SaveConfig>;
/// The flag `--record`, which is no longer told of.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Record {
    /// Keep the command line in the object's annotation
    #[arg(long, hide = true)]
    pub record: Option<bool>,
}
pub const RECORD: Group = group::<Record>;
/// The annotation that it is kept in.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Keeps the command line in an object, if that is asked for.
pub fn record(ctx: &Ctx, object: &mut Value) {
    if let Some(cause) = ctx.change_cause() {
        annotate(object, CHANGE_CAUSE, &cause);
    }
}

/// Adds an annotation. Annotations that are no texts by name are none; metadata that are no map stay as they are.
fn annotate(object: &mut Value, name: &str, value: &str) {
    let meta = object
        .as_object_mut()
        .map(|object| object.entry("metadata").or_insert_with(|| json!({})));
    let Some(meta) = meta.and_then(Value::as_object_mut) else {
        return;
    };
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    let texts = annotations.as_object();
    if !texts.is_some_and(|map| map.values().all(Value::is_string)) {
        *annotations = json!({});
    }
    annotations[name] = json!(value);
}

/// The flag that names who writes; each verb has its own default.
pub const MANAGER: Group = |declared| {
    declared.arg(
        clap::Arg::new("field_manager")
            .long("field-manager")
            .help("Who is said to manage the fields that are written"),
    )
};

/// A kind that objects are made of, known without asking a server.
pub fn kind(group: &str, version: &str, plural: &str, kind: &str, namespaced: bool) -> Resource {
    Resource {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        kind: kind.into(),
        namespaced,
        ..Resource::default()
    }
}

/// An object of that kind with a name, in its namespace if the command line named one.
///
/// # Errors
/// A kubeconfig that cannot be read.
pub fn object(ctx: &Ctx, r: &Resource, name: &str) -> Result<Value> {
    let mut o = json!({"apiVersion": r.api_version(), "kind": r.kind, "metadata": {"name": name}});
    if r.namespaced {
        let (namespace, named) = ctx.namespace()?;
        if named {
            o["metadata"]["namespace"] = json!(namespace);
        }
    }
    Ok(o)
}

/// The one name that a generator takes, and what else is looked at before the object is made.
///
/// # Errors
/// None, or several.
pub fn name(ctx: &Ctx) -> Result<String> {
    let name = one_name(ctx)?;
    printer(ctx, "")?;
    ctx.client()?;
    Validation::of(ctx)?;
    Ok(name)
}

/// The one name that a command line is to have.
///
/// # Errors
/// None, or several.
pub fn one_name(ctx: &Ctx) -> Result<String> {
    let count = ctx.dash().unwrap_or(ctx.args().len());
    if count == 1 {
        return Ok(ctx.args()[0].clone());
    }
    Err(Error::usage(
        ctx.path(),
        format!("exactly one NAME is required, got {count}"),
    ))
}

/// The words after `--`.
pub fn after_dash(ctx: &Ctx) -> Vec<String> {
    ctx.dash()
        .map_or_else(Vec::new, |d| ctx.args()[d..].to_vec())
}

/// The object as Go's encoder writes it into the annotation.
pub fn encoded(object: &Value) -> String {
    crate::print::json::write(
        object,
        crate::print::json::Style {
            indent: 0,
            order: Order::Typed,
        },
    ) + "\n"
}

/// Puts an object that was made here into its annotation.
pub fn save_config(object: &mut Value) {
    let text = encoded(object);
    object["metadata"]["annotations"][LAST_APPLIED] = json!(text);
}

/// The same for an object that was read: without the annotation that it has, and with annotations, if only empty ones.
pub fn save_read_config(object: &mut Value) {
    *object = crate::cmd::apply::annotated(object);
}

/// Says what was done of objects that Go's clients read into their types.
///
/// # Errors
/// As `Printer::new`.
pub fn printer(ctx: &Ctx, operation: &str) -> Result<Printer> {
    Ok(Printer::new(ctx, format!("{operation}{}", ctx.dry_run()?.suffix()))?.ordered(Order::Typed))
}

/// The same for a verb that looks at the format only when it has something to show.
///
/// # Errors
/// A wrong value of `--dry-run`.
pub fn printer_late(ctx: &Ctx, operation: &str) -> Result<Printer> {
    let operation = format!("{operation}{}", ctx.dry_run()?.suffix());
    Ok(Printer::late(ctx, operation).ordered(Order::Typed))
}

/// Sends the object (or not, in a dry run) and says what was done.
///
/// # Errors
/// What the server refuses, told behind `failed` (`failed to create configmap:`), or as it is where that is empty.
pub async fn create(ctx: &Ctx, r: &Resource, object: Value, failed: &str) -> Result<()> {
    let mut printer = printer(ctx, "created")?;
    let object = sent(ctx, r, object).await.map_err(|error| match failed {
        "" => error,
        failed => message!("{failed} {error}"),
    })?;
    printer.print(&object)
}

/// As `create`, with a printer of the caller's; gives the object as it came out.
pub async fn create_with(
    ctx: &Ctx,
    r: &Resource,
    object: Value,
    printer: &mut Printer,
) -> Result<Value> {
    let object = sent(ctx, r, object).await?;
    printer.print(&object)?;
    Ok(object)
}

async fn sent(ctx: &Ctx, r: &Resource, mut object: Value) -> Result<Value> {
    let dry_run = ctx.dry_run()?;
    if ctx.saves_config() {
        save_config(&mut object);
    }
    record(ctx, &mut object);
    if dry_run != DryRun::Client {
        let namespace = ctx.namespace()?.0;
        let mut write = helper::Write::by(ctx.manager(), dry_run);
        if let Some(validation) = Validation::of(ctx)? {
            write = write.validation(validation);
        }
        object = write.create(ctx.client()?, r, &namespace, &object).await?;
    }
    Ok(object)
}

/// Letters at random, as generated names end with.
pub fn suffix(length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length)
        .map(|_| LETTERS[rand::random_range(0..LETTERS.len())] as char)
        .collect()
}

/// A number or a percentage, as `maxUnavailable` takes it.
pub fn int_or_string(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| json!(text), |n| json!(n))
}

/// Reads `a=b,c=d`.
///
/// # Errors
/// A part without `=`.
pub fn labels(text: &str) -> Result<serde_json::Map<String, Value>> {
    let mut out = serde_json::Map::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (k, v) = part
            .split_once('=')
            .filter(|(k, v)| !k.is_empty() && !v.contains('='))
            .ok_or_else(|| message!("unexpected label spec: {part}"))?;
        out.insert(k.into(), json!(v));
    }
    Ok(out)
}

/// Environment variables from `NAME=VALUE`.
///
/// # Errors
/// A part without `=` or with an odd name.
pub fn env(pairs: &[String]) -> Result<Vec<Value>> {
    let ok = |n: &str| !n.is_empty() && n.chars().all(|c| !c.is_whitespace() && c != '=');
    pairs
        .iter()
        .map(|p| {
            let (n, v) = p
                .split_once('=')
                .ok_or_else(|| message!("invalid env: {p}"))?;
            match (ok(n), v) {
                (false, _) => Err(message!("invalid env: {p}")),
                // as it is stored
                (true, "") => Ok(json!({"name": n})),
                (true, v) => Ok(json!({"name": n, "value": v})),
            }
        })
        .collect()
}

/// What a selector on the command line is in an object.
///
/// # Errors
/// A text that is no selector, or one that no object can hold.
pub fn label_selector(text: &str) -> Result<Value> {
    let parsed = text.parse::<Selector>();
    let parsed =
        parsed.map_err(|why| message!("couldn't parse the selector string \"{text}\": {why}"))?;
    parsed
        .to_label_selector()
        .map_err(|why| Error::msg(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_any_form_are_no_obstacle() {
        for (metadata, want) in [
            (json!({}), json!({"annotations": {"a": "b"}})),
            (
                json!({"annotations": {"x": "y"}}),
                json!({"annotations": {"a": "b", "x": "y"}}),
            ),
            (
                json!({"annotations": "x"}),
                json!({"annotations": {"a": "b"}}),
            ),
            (
                json!({"annotations": ["x"]}),
                json!({"annotations": {"a": "b"}}),
            ),
            (json!("x"), json!("x")),
        ] {
            let mut object = json!({"metadata": metadata});
            annotate(&mut object, "a", "b");
            assert_eq!(object["metadata"], want);
        }
    }
}
