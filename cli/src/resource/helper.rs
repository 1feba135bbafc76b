//! Requests on one object: create, replace, patch, delete; and label selectors tested here.
//! Invariant: the parameters that say who writes, how strictly, and whether really, are in every request that changes something.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/helper.go`.

use super::{Info, Validation};
use crate::client::{Call, Client, query};
use crate::context::DryRun;
use crate::discovery::Resource;
use crate::error::{Error, Result, quote};
use http::Method;
use serde_json::Value;

/// How a change is sent.
#[derive(Clone, Debug)]
pub struct Write {
    pub field_manager: String,
    pub dry_run: bool,
    pub validation: Option<Validation>,
    /// Take fields over from other managers.
    pub force: bool,
    pub subresource: String,
}

impl Write {
    pub fn by(field_manager: &str, dry_run: DryRun) -> Self {
        Write { field_manager: field_manager.into(), dry_run: dry_run == DryRun::Server, validation: None, force: false, subresource: String::new() }
    }
    pub fn validation(mut self, v: Validation) -> Self {
        self.validation = Some(v);
        self
    }
    pub fn subresource(mut self, name: &str) -> Self {
        self.subresource = name.into();
        self
    }

    fn query(&self) -> String {
        let mut pairs = Vec::new();
        if self.dry_run {
            pairs.push(("dryRun", "All"));
        }
        if !self.field_manager.is_empty() {
            pairs.push(("fieldManager", self.field_manager.as_str()));
        }
        if let Some(v) = self.validation {
            pairs.push(("fieldValidation", v.parameter()));
        }
        if self.force {
            pairs.push(("force", "true"));
        }
        query(&pairs)
    }

    fn place(&self, r: &Resource, namespace: &str, name: &str) -> String {
        let sub = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        format!("{}{sub}", r.object(namespace, name))
    }

    fn object_path(&self, r: &Resource, namespace: &str, name: &str) -> String {
        format!("{}{}", self.place(r, namespace, name), self.query())
    }

    /// Creates an object. A `resourceVersion`, which objects printed by `get` have, is not sent: it says nothing of one that is made anew.
    pub async fn create(&self, client: &Client, r: &Resource, namespace: &str, object: &Value) -> Result<Value> {
        let mut object = std::borrow::Cow::Borrowed(object);
        if object["metadata"].get("resourceVersion").is_some() {
            object.to_mut()["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
        }
        client.json(&Call::with(Method::POST, format!("{}{}", r.collection(Some(namespace)), self.query()), &object)).await
    }

    /// Asks, before another object is deleted to make room for this one, whether the server would create it. What is only in the way of it
    /// because the other one is still there is no objection.
    ///
    /// # Errors
    /// The server's objection.
    pub async fn rehearse(&self, client: &Client, r: &Resource, namespace: &str, object: &Value) -> Result<()> {
        match (Write { dry_run: true, ..self.clone() }).create(client, r, namespace, object).await {
            Err(e) if objects(&e) => Err(e),
            _ => Ok(()),
        }
    }

    /// Reads the object, or its sub-resource, that would be written.
    pub async fn get(&self, client: &Client, r: &Resource, namespace: &str, name: &str) -> Result<Value> {
        client.json(&Call::get(self.place(r, namespace, name))).await
    }

    pub async fn replace(&self, client: &Client, r: &Resource, namespace: &str, name: &str, object: &Value) -> Result<Value> {
        client.json(&Call::with(Method::PUT, self.object_path(r, namespace, name), object)).await
    }

    /// Sends a patch of this media type.
    pub async fn patch(&self, client: &Client, r: &Resource, namespace: &str, name: &str, kind: &str, patch: &Value) -> Result<Value> {
        client.json(&Call::with(Method::PATCH, self.object_path(r, namespace, name), patch).content_type(kind)).await
    }

    /// Sends a patch as the user wrote it.
    pub async fn patch_raw(&self, client: &Client, info: &Info, kind: &str, patch: Vec<u8>) -> Result<Value> {
        let call = Call {
            method: Method::PATCH,
            path: self.object_path(&info.resource, &info.namespace, &info.name),
            accept: crate::client::JSON,
            content_type: kind,
            body: patch.into(),
        };
        client.json(&call).await
    }
}

/// Whether the refusal of a rehearsal will still stand when the old object is gone.
fn objects(refusal: &Error) -> bool {
    let Error::Status(s) = refusal else { return false };
    let message = s["message"].as_str().unwrap_or("");
    let freed = |text: &str| text.contains("already allocated");
    match refusal.reason() {
        "Invalid" => !s["details"]["causes"].as_array().is_some_and(|l| !l.is_empty() && l.iter().all(|c| c["message"].as_str().is_some_and(freed))),
        "Forbidden" => !message.contains("exceeded quota"),
        // The body could not be read. Another bad request is one of the rehearsal, such as a webhook that knows none.
        "BadRequest" => message.contains("cannot be handled as a"),
        _ => false,
    }
}

/// Deletes an object; gives what the server answers.
pub async fn delete(client: &Client, info: &Info, options: &Value, dry_run: bool) -> Result<Value> {
    let q = query(if dry_run { &[("dryRun", "All")] } else { &[] });
    client.json(&Call::with(Method::DELETE, format!("{}{q}", info.path()), options)).await
}

/// Reads one object.
pub async fn get(client: &Client, r: &Resource, namespace: &str, name: &str) -> Result<Value> {
    client.json(&Call::get(r.object(namespace, name))).await
}

/// One condition of a label selector.
#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

/// Whether an object with these labels fits the selector.
///
/// # Errors
/// A selector that cannot be read.
pub fn matches_selector(selector: &str, labels: &Value) -> Result<bool> {
    let label = |k: &str| labels[k].as_str();
    Ok(parse_selector(selector)?.iter().all(|r| match r {
        Requirement::In(k, vs) => label(k).is_some_and(|v| vs.iter().any(|x| x == v)),
        Requirement::NotIn(k, vs) => label(k).is_none_or(|v| !vs.iter().any(|x| x == v)),
        Requirement::Exists(k) => label(k).is_some(),
        Requirement::Missing(k) => label(k).is_none(),
        Requirement::Greater(k, n) => label(k).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n),
        Requirement::Less(k, n) => label(k).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n),
    }))
}

fn parse_selector(selector: &str) -> Result<Vec<Requirement>> {
    split_top(selector).into_iter().filter(|p| !p.trim().is_empty()).map(|p| parse_requirement(p.trim())).collect()
}

/// Splits at commas outside parentheses.
fn split_top(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn parse_requirement(part: &str) -> Result<Requirement> {
    let bad = || Error::msg(format!("unable to parse requirement: {}", quote(part)));
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Missing(key.trim().into()));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key.trim().into(), vec![value.trim().into()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return if value.contains('=') { Err(bad()) } else { Ok(Requirement::In(key.trim().into(), vec![value.trim().into()])) };
    }
    for (sign, make) in [('>', Requirement::Greater as fn(String, i64) -> Requirement), ('<', Requirement::Less)] {
        if let Some((key, value)) = part.split_once(sign) {
            return Ok(make(key.trim().into(), value.trim().parse().map_err(|_| bad())?));
        }
    }
    let Some((head, list)) = part.split_once('(') else {
        return if part.contains(char::is_whitespace) { Err(bad()) } else { Ok(Requirement::Exists(part.into())) };
    };
    let values = list.trim_end().strip_suffix(')').ok_or_else(bad)?.split(',').map(|v| v.trim().to_string()).collect();
    let mut words = head.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(k), Some("in"), None) => Ok(Requirement::In(k.into(), values)),
        (Some(k), Some("notin"), None) => Ok(Requirement::NotIn(k.into(), values)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_old_object_holds_is_no_objection() {
        let invalid = |causes: &[&str]| json!({"reason": "Invalid", "details": {"causes": causes.iter().map(|c| json!({"message": c})).collect::<Vec<_>>()}});
        for (status, want) in [
            (json!({"reason": "AlreadyExists", "message": "pods \"a\" already exists"}), false),
            (invalid(&["Invalid value: \"10.96.0.7\": failed to allocate IP 10.96.0.7: provided IP is already allocated"]), false),
            (invalid(&["Required value"]), true),
            (invalid(&["provided port is already allocated", "Required value"]), true),
            (json!({"reason": "Forbidden", "message": "pods \"a\" is forbidden: exceeded quota: q"}), false),
            (json!({"reason": "Forbidden", "message": "pods is forbidden: User \"bob\" cannot create"}), true),
            (
                json!({"reason": "BadRequest", "message": "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.x\""}),
                true,
            ),
            (json!({"reason": "BadRequest", "message": "admission webhook \"w\" does not support dry run"}), false),
        ] {
            assert_eq!(objects(&Error::Status(Box::new(status.clone()))), want, "{status}");
        }
        assert!(!objects(&Error::msg("no answer")));
    }

    #[test]
    fn selectors() {
        let labels = json!({"a": "b", "n": "5"});
        for (selector, want) in [
            ("a=b", true),
            ("a==b,n", true),
            ("a!=b", false),
            ("!z,a in (x, b)", true),
            ("a notin (b)", false),
            ("z notin (b)", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("", true),
        ] {
            assert_eq!(matches_selector(selector, &labels).unwrap(), want, "{selector}");
        }
        assert!(matches_selector("a=b=c", &labels).is_err());
        assert!(matches_selector("a b", &labels).is_err());
    }
}
