//! What verbs that change objects share: words split into objects and changes, the patch made and sent, the result told.
//! Invariant: a change that comes to nothing is not sent.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/helpers.go` and `cmd/set/helper.go`.

use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result};
use crate::resource::{Builder, Info, helper};
use serde_json::{Value, json};

/// Splits words into those that name objects and those that are changes (`a=b`, `a-`).
///
/// # Errors
/// An object named after a change. `what` is the change's name.
pub fn split_pairs(args: &[String], what: &str) -> Result<(Vec<String>, Vec<String>)> {
    let is_pair = |s: &str| (s.contains('=') && !s.starts_with('=')) || (s.ends_with('-') && s != "-");
    let first = args.iter().position(|s| is_pair(s)).unwrap_or(args.len());
    if let Some(late) = args[first..].iter().find(|s| !is_pair(s)) {
        return Err(Error::msg(format!("all resources must be specified before {what} changes: {late}")));
    }
    Ok((args[..first].to_vec(), args[first..].to_vec()))
}

/// Whether nothing is to be sent, because of `--local` or a dry run of the client.
pub fn is_local(ctx: &Ctx) -> Result<bool> {
    let f = ctx.flags();
    let local = f.declares("local") && f.bool("local");
    if local && ctx.dry_run()? == DryRun::Server {
        return Err(Error::msg("cannot specify --local and --dry-run=server - did you mean --dry-run=client?"));
    }
    Ok(local || ctx.dry_run()? == DryRun::Client)
}

/// Sends the difference between two states of an object; gives what the server made of it.
///
/// # Errors
/// What the server refuses.
pub async fn send(ctx: &Ctx, info: &Info, after: &Value) -> Result<Value> {
    let (patch, kind) = crate::typed::patch(&info.object, after).map_err(Error::msg)?;
    let manager = if ctx.flags().declares("field-manager") { ctx.flags().str("field-manager") } else { "kubectl" };
    helper::Write::by(manager, ctx.dry_run()?).patch(ctx.client()?, &info.resource, &info.namespace, &info.name, kind, &patch).await
}

/// Runs a `set` verb: finds the objects, changes each, sends the patches, tells `what` was done. Some verbs tell it of objects, too, where there was
/// nothing to change (`tells_no_change`).
///
/// # Errors
/// All that failed.
pub async fn set(ctx: &Ctx, builder: Builder, what: &str, tells_no_change: bool, mut change: impl FnMut(&mut Info) -> Result<()>) -> Result<()> {
    let local = is_local(ctx)?;
    let mut printer = crate::generate::printer(ctx, what)?;
    let found = builder.find().await?;
    let mut errors = found.errors;
    for info in found.infos {
        let mut changed = info.clone();
        match change(&mut changed) {
            Err(Error::Many(list)) => {
                errors.extend(list);
                continue;
            }
            Err(e) => {
                errors.push(e);
                continue;
            }
            Ok(()) => {}
        }
        if local {
            printer.print(&crate::typed::canonical(&changed.object))?;
            continue;
        }
        if changed.object == info.object && !tells_no_change {
            continue;
        }
        match send(ctx, &info, &changed.object).await {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(Error::msg(format!("failed to patch {what}: {e}"))),
        }
    }
    Error::collect(errors)
}

/// Sets or removes entries of `metadata.labels` or `metadata.annotations`.
pub fn set_entry(object: &mut Value, field: &str, key: &str, value: Option<&str>) {
    match value {
        Some(v) => object["metadata"][field][key] = json!(v),
        None => {
            if let Some(m) = object["metadata"].get_mut(field).and_then(Value::as_object_mut) {
                m.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_before_changes() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(split_pairs(&words("pod web a=b c-"), "label").unwrap(), (words("pod web"), words("a=b c-")));
        assert_eq!(split_pairs(&words("pod a=b web"), "label").unwrap_err().to_string(), "all resources must be specified before label changes: web");
    }
}
