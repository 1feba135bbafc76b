//! What verbs that change objects share: words split into objects and changes, the patch made and sent, the result told.
//! Invariant: a change that comes to nothing is not sent.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/helpers.go` and `cmd/set/helper.go`.

use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result, bail, message};
use crate::resource::{Info, helper};
use crate::typed::canonical;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Splits words into those that name objects and those that are changes (`a=b`, `a-`).
///
/// # Errors
/// An object named after a change. `what` is the change's name.
pub fn split_pairs(args: &[String], what: &str) -> Result<(Vec<String>, Vec<String>)> {
    let is_pair =
        |s: &str| (s.contains('=') && !s.starts_with('=')) || (s.ends_with('-') && s != "-");
    let first = args.iter().position(|s| is_pair(s)).unwrap_or(args.len());
    if let Some(late) = args[first..].iter().find(|s| !is_pair(s)) {
        bail!("all resources must be specified before {what} changes: {late}");
    }
    Ok((args[..first].to_vec(), args[first..].to_vec()))
}

/// Reads changes: what is to be set, and what is to be removed (`a-`) where that can be.
///
/// # Errors
/// All that are no changes. `what` is the change's name.
pub fn pairs(
    words: &[String],
    what: &str,
    removes: bool,
) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut set, mut gone, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=').filter(|(key, _)| !key.is_empty()) {
            Some((key, value)) => _ = set.insert(key.to_string(), value.to_string()),
            None => match word
                .strip_suffix('-')
                .filter(|key| removes && !key.is_empty())
            {
                Some(key) => gone.push(key.to_string()),
                None => wrong.push(word.as_str()),
            },
        }
    }
    if wrong.is_empty() {
        Ok((set, gone))
    } else {
        Err(message!("invalid {what} format: {}", wrong.join(", ")))
    }
}

/// Whether nothing is to be sent, because of `--local` or a dry run of the client.
pub fn is_local(ctx: &Ctx) -> Result<bool> {
    let local = ctx.local();
    if local && ctx.dry_run()? == DryRun::Server {
        bail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    }
    Ok(local || ctx.dry_run()? == DryRun::Client)
}

/// Sends the difference between two states of an object; gives what the server made of it.
///
/// # Errors
/// What the server refuses.
pub async fn send(ctx: &Ctx, info: &Info, after: &Value) -> Result<Value> {
    let (patch, kind) = crate::typed::patch(&info.object, after).map_err(Error::msg)?;
    helper::Write::by(ctx.manager(), ctx.dry_run()?)
        .patch_of(ctx.client()?, info, kind, &patch)
        .await
}

/// What a `set` verb says of its objects.
pub struct Words {
    /// Of one that was changed.
    pub done: &'static str,
    /// Before the reason why the server refused one.
    pub refused: &'static str,
    /// Objects in which there was nothing to change are sent and told, too.
    pub always: bool,
}

/// Runs a `set` verb: changes each object, sends the patches, says what was done. `change` may find faults that do not keep the rest of the object
/// from being changed: those go into the list.
///
/// # Errors
/// All that failed.
pub async fn set(
    ctx: &Ctx,
    infos: Vec<Info>,
    words: &Words,
    mut change: impl FnMut(&mut Info, &mut Vec<Error>) -> Result<()>,
) -> Result<()> {
    let local = is_local(ctx)?;
    let mut printer = crate::generate::printer(ctx, words.done)?;
    let mut errors = Vec::new();
    let mut changed = Vec::new();
    for info in infos {
        let mut after = info.clone();
        let made = change(&mut after, &mut errors);
        // as Go's types write them: an empty value is none
        after.object = canonical(&after.object);
        match made {
            Ok(()) if after.object == canonical(&info.object) && !words.always => {}
            Ok(()) => {
                crate::generate::record(ctx, &mut after.object);
                changed.push((info, Ok(after)));
            }
            Err(e) => changed.push((info, Err(e))),
        }
    }
    for (info, after) in changed {
        match after {
            Err(e) => errors.push(message!("error: {} {e}\n", info.object_name())),
            Ok(after) if local => printer.print(&after.object)?,
            Ok(after) => match send(ctx, &info, &after.object).await {
                Ok(o) => printer.print(&o)?,
                Err(e) => errors.push(message!("{} {e}", words.refused)),
            },
        }
    }
    Error::collect(errors)
}

/// Sets or removes entries of `metadata.labels` or `metadata.annotations`.
pub fn set_entry(object: &mut Value, field: &str, key: &str, value: Option<&str>) {
    match value {
        Some(v) => object["metadata"][field][key] = json!(v),
        None => {
            if let Some(m) = object["metadata"]
                .get_mut(field)
                .and_then(Value::as_object_mut)
            {
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
        assert_eq!(
            split_pairs(&words("pod web a=b c-"), "label").unwrap(),
            (words("pod web"), words("a=b c-"))
        );
        assert_eq!(
            split_pairs(&words("pod a=b web"), "label")
                .unwrap_err()
                .to_string(),
            "all resources must be specified before label changes: web"
        );
    }
}
