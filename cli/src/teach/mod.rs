//! What is told below a failure, so that the next try succeeds: the nearest known name, the place in the file, the command that mends it.
//! Invariant: kubectl's own words come first and stay as they are, and under kubectl's name nothing is added; what cannot be found out is not told.
//! Behaviour follows nothing upstream: kubectl does not do this.

mod known;
mod rules;

use crate::command::{Found, distance};
use crate::context::Ctx;
use crate::error::{self, Error};

/// A failure, as far as it is known what led to it.
pub struct Mistake<'a> {
    pub error: &'a Error,
    /// The lines that the user reads.
    pub text: String,
    /// The command, if one was found.
    pub found: Option<&'a Found>,
    /// Nothing where the command line itself is wrong.
    pub ctx: Option<&'a Ctx>,
}

impl<'a> Mistake<'a> {
    /// Nothing where there is nothing to add: by kubectl's name, and where nothing is said.
    fn of(
        program: &str,
        found: &'a Found,
        ctx: Option<&'a Ctx>,
        error: &'a Error,
    ) -> Option<(Self, i32)> {
        if program == "kubectl" || matches!(error, Error::Exit(_)) {
            return None;
        }
        let (text, code) = error::told(error);
        let found = Some(found);
        let mistake = Mistake {
            error,
            text,
            found,
            ctx,
        };
        Some((mistake, code))
    }
}

/// The failure with what there is to tell of it.
pub async fn with_notes(ctx: &Ctx, found: &Found, error: Error) -> Error {
    let Some((mistake, code)) = Mistake::of(ctx.program(), found, Some(ctx), &error) else {
        return error;
    };
    let mut notes = rules::notes(&mistake);
    notes.extend(known::notes(ctx, &mistake).await);
    joined(mistake.text, code, &notes).unwrap_or(error)
}

/// The same of a command line that is wrong itself.
pub fn of_line(program: &str, found: &Found, error: Error) -> Error {
    let Some((mistake, code)) = Mistake::of(program, found, None, &error) else {
        return error;
    };
    let notes = rules::notes(&mistake);
    joined(mistake.text, code, &notes).unwrap_or(error)
}

fn joined(text: String, code: i32, notes: &[String]) -> Option<Error> {
    let lines: Vec<String> = notes.iter().map(|note| format!("\n  {note}")).collect();
    let told = !lines.is_empty();
    told.then(|| Error::Plain(text.trim_end().to_string() + &lines.concat(), code))
}

/// The name that was probably meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let near = known.into_iter().filter(|name| *name != word);
    let measured = near.map(|name| (distance(&lower, &name.to_lowercase()), name));
    let (far, name) = measured.min_by_key(|(far, name)| (*far, name.len()))?;
    (far <= 2.max(word.len() / 3) && far < word.len()).then_some(name)
}

/// Tells on standard error of a field that no object has, if it is near to one that this object has; by kubectl's name nothing.
pub fn tell_of_field(expression: &str, object: &serde_json::Value) {
    if crate::command::is_kubectl() {
        return;
    }
    if let Some(meant) = meant_field(expression, object) {
        eprintln!("  no object has {expression}: did you mean {meant}?");
    }
}

/// The path that was probably meant; nothing of one that is more than fields.
fn meant_field(expression: &str, object: &serde_json::Value) -> Option<String> {
    let path = expression.trim_start_matches('{').trim_end_matches('}');
    let mut fields = path.trim_start_matches('.').split('.');
    let (mut at, mut meant) = (object, String::new());
    for field in fields.by_ref() {
        if !field.chars().all(char::is_alphanumeric) {
            return None;
        }
        let map = at.as_object()?;
        let found = map.get_key_value(field);
        let near = || nearest(field, map.keys().map(String::as_str));
        let (name, value) = match found {
            Some((name, value)) => (name.as_str(), value),
            None => map.get_key_value(near()?).map(|(n, v)| (n.as_str(), v))?,
        };
        meant += &format!(".{name}");
        at = value;
    }
    (meant != path).then_some(meant)
}

/// What stands between two pieces of a text.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let known = ["pods", "deployments", "deploy", "services", "default"];
        for (word, want) in [
            ("pood", Some("pods")),
            ("deplyo", Some("deploy")),
            ("defalt", Some("default")),
            ("servcies", Some("services")),
            ("nosuch", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
        assert_eq!(between("a \"b\" c", "a \"", "\""), Some("b"));
        let object = serde_json::json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}});
        for (path, want) in [
            ("{.metadata.nmae}", Some(".metadata.name")),
            ("{.spec.nodename}", Some(".spec.nodeName")),
            ("{.metadata.name}", None),
            ("{.nothing.like.it}", None),
            ("{.metadata[0]}", None),
        ] {
            assert_eq!(meant_field(path, &object).as_deref(), want, "{path}");
        }
    }
}
