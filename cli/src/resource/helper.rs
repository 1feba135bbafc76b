//! Requests on one object: create, replace, patch, delete; and label selectors tested here.
//! Invariant: the parameters that say who writes, how strictly, and whether really, are in every request that changes something.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/helper.go`.

use super::{Info, Validation};
use crate::client::{Call, Client, query, segment};
use crate::context::DryRun;
use crate::discovery::Resource;
use crate::error::{Error, Result, quote};
use crate::typed::Read;
use http::Method;
use serde_json::{Value, json};

/// Refuses an object without a name, whose path would be that of all of them, and a name that is no part of a path.
///
/// # Errors
/// There is no name, or it cannot be one.
pub fn named(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::msg("resource name may not be empty"));
    }
    part_of_path("resource name", name)
}

/// Refuses a namespace that is no part of a path.
///
/// # Errors
/// It is none.
pub fn placed(namespace: &str) -> Result<()> {
    part_of_path("namespace", namespace)
}

fn part_of_path(what: &str, text: &str) -> Result<()> {
    let wrong: Vec<String> = match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ["/", "%"]
            .iter()
            .filter(|part| text.contains(**part))
            .map(|part| format!("may not contain '{part}'"))
            .collect(),
    };
    if wrong.is_empty() {
        return Ok(());
    }
    let (text, wrong) = (quote(text), wrong.join(" "));
    Err(Error::msg(format!("invalid {what} {text}: [{wrong}]")))
}

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
        Write {
            field_manager: field_manager.into(),
            dry_run: dry_run == DryRun::Server,
            validation: None,
            force: false,
            subresource: String::new(),
        }
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
        let sub = if self.subresource.is_empty() {
            String::new()
        } else {
            format!("/{}", self.subresource)
        };
        format!("{}{sub}", r.object(namespace, name))
    }

    fn object_path(&self, r: &Resource, namespace: &str, name: &str) -> String {
        format!("{}{}", self.place(r, namespace, name), self.query())
    }

    /// Creates an object. A `resourceVersion`, which objects printed by `get` have, is not sent: it says nothing of one that is made anew.
    pub async fn create(
        &self,
        client: &Client,
        r: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value> {
        placed(namespace)?;
        let mut object = std::borrow::Cow::Borrowed(object);
        if object.at("metadata").some("resourceVersion").is_some() {
            let metadata = object.to_mut().get_mut("metadata");
            if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
        }
        client
            .json(&Call::with(
                Method::POST,
                format!("{}{}", r.collection(Some(namespace)), self.query()),
                &object,
            ))
            .await
    }

    /// Patches what was found.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn patch_of(
        &self,
        client: &Client,
        info: &Info,
        kind: &str,
        patch: &Value,
    ) -> Result<Value> {
        let (resource, namespace, name) = (&info.resource, &info.namespace, &info.name);
        self.patch(client, resource, namespace, name, kind, patch)
            .await
    }

    /// Asks, before another object is deleted to make room for this one, whether the server would create it. What is only in the way of it
    /// because the other one is still there is no objection.
    ///
    /// # Errors
    /// The server's objection.
    pub async fn rehearse(
        &self,
        client: &Client,
        r: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<()> {
        match (Write {
            dry_run: true,
            ..self.clone()
        })
        .create(client, r, namespace, object)
        .await
        {
            Err(e) if objects(&e) => Err(e),
            _ => Ok(()),
        }
    }

    /// Reads the object, or its sub-resource, that would be written.
    pub async fn get(
        &self,
        client: &Client,
        r: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value> {
        named(name)?;
        client
            .json(&Call::get(self.place(r, namespace, name)))
            .await
    }

    pub async fn replace(
        &self,
        client: &Client,
        r: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value> {
        named(name)?;
        client
            .json(&Call::with(
                Method::PUT,
                self.object_path(r, namespace, name),
                object,
            ))
            .await
    }

    /// Sends a patch of this media type.
    pub async fn patch(
        &self,
        client: &Client,
        r: &Resource,
        namespace: &str,
        name: &str,
        kind: &str,
        patch: &Value,
    ) -> Result<Value> {
        named(name)?;
        client
            .json(
                &Call::with(Method::PATCH, self.object_path(r, namespace, name), patch)
                    .content_type(kind),
            )
            .await
    }

    /// Sends a patch as the user wrote it.
    pub async fn patch_raw(
        &self,
        client: &Client,
        info: &Info,
        kind: &str,
        patch: Vec<u8>,
    ) -> Result<Value> {
        named(&info.name)?;
        let call = Call {
            method: Method::PATCH,
            path: self.object_path(&info.resource, &info.namespace, &info.name),
            accept: crate::client::JSON,
            content_type: kind,
            body: patch.into(),
            is_raw: false,
        };
        client.json(&call).await
    }
}

/// Whether the refusal of a rehearsal will still stand when the old object is gone.
fn objects(refusal: &Error) -> bool {
    let Error::Status(s) = refusal else {
        return false;
    };
    let message = s.text("message");
    let freed = |text: &str| text.contains("already allocated");
    match refusal.reason() {
        "Invalid" => !s.at("details").at("causes").as_array().is_some_and(|l| {
            !l.is_empty() && l.iter().all(|c| c.text_ptr("message").is_some_and(freed))
        }),
        "Forbidden" => !message.contains("exceeded quota"),
        // The body could not be read. Another bad request is one of the rehearsal, such as a webhook that knows none.
        "BadRequest" => message.contains("cannot be handled as a"),
        _ => false,
    }
}

/// Deletes an object; gives what the server answers. That nothing is to be written stands in the body: a server that gets one looks at no parameter.
pub async fn delete(client: &Client, info: &Info, options: &Value, dry_run: bool) -> Result<Value> {
    named(&info.name)?;
    let mut options = options.clone();
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    client
        .json(&Call::with(Method::DELETE, info.path(), &options))
        .await
}

/// Reads one object.
pub async fn get(client: &Client, r: &Resource, namespace: &str, name: &str) -> Result<Value> {
    named(name)?;
    client.json(&Call::get(r.object(namespace, name))).await
}

/// Why an object could not be read: where even its namespace is not there, that (`Info.Get` of `cli-runtime/pkg/resource/visitor.go`).
pub async fn absent(client: &Client, namespace: &str, error: Error) -> Error {
    if !error.is_not_found() || matches!(namespace, "" | "default") {
        return error;
    }
    let path = format!("/api/v1/namespaces/{}", segment(namespace));
    match client.json(&Call::get(path)).await {
        Err(absent) if absent.is_not_found() => absent,
        _ => error,
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
            (
                json!({"reason": "AlreadyExists", "message": "pods \"a\" already exists"}),
                false,
            ),
            (
                invalid(&[
                    "Invalid value: \"10.96.0.7\": failed to allocate IP 10.96.0.7: provided IP is already allocated",
                ]),
                false,
            ),
            (invalid(&["Required value"]), true),
            (
                invalid(&["provided port is already allocated", "Required value"]),
                true,
            ),
            (
                json!({"reason": "Forbidden", "message": "pods \"a\" is forbidden: exceeded quota: q"}),
                false,
            ),
            (
                json!({"reason": "Forbidden", "message": "pods is forbidden: User \"bob\" cannot create"}),
                true,
            ),
            (
                json!({"reason": "BadRequest", "message": "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.x\""}),
                true,
            ),
            (
                json!({"reason": "BadRequest", "message": "admission webhook \"w\" does not support dry run"}),
                false,
            ),
        ] {
            assert_eq!(
                objects(&Error::Status(Box::new(status.clone()))),
                want,
                "{status}"
            );
        }
        assert!(!objects(&Error::msg("no answer")));
    }
}
