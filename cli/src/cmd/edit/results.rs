//! What became of one pass through the editor: why it must be edited again, and what can only be kept in a file.
//! Invariant: every refusal is told on standard error once, and one that another edit can mend stands at the head of the next file.
//! Behaviour follows `editResults` and `editHeader` in `staging/src/k8s.io/kubectl/pkg/cmd/util/editor/editoptions.go`.

use crate::discovery::Resource;
use crate::error::{Error, quote};
use crate::typed::Read;
use serde_json::Value;
use std::path::PathBuf;

/// A reason why the file must be edited again.
#[derive(Debug, Default, PartialEq)]
pub struct Reason {
    pub head: String,
    pub others: Vec<String>,
}

/// What became of the last pass.
#[derive(Debug, Default)]
pub struct Results {
    pub reasons: Vec<Reason>,
    /// Changes that may be tried again as they are.
    pub retryable: usize,
    /// Changes of objects that are gone.
    pub not_found: usize,
    /// Changes that must be edited again.
    pub invalid: usize,
    /// The file that the last pass left.
    pub file: Option<PathBuf>,
}

impl Results {
    /// Takes down a refusal; gives what is said of it.
    pub fn add(&mut self, error: &Error, resource: &Resource, name: &str) -> String {
        let (what, name) = (resource.group_resource(), quote(name));
        match error.reason() {
            "Invalid" => {
                self.invalid += 1;
                self.reasons.push(Reason {
                    head: format!("{what} {name} was not valid"),
                    others: causes(error),
                });
                format!("error: {what} {name} is invalid")
            }
            "NotFound" => {
                self.not_found += 1;
                format!("error: {what} {name} could not be found on the server")
            }
            _ => {
                self.retryable += 1;
                format!("error: {what} {name} could not be patched: {error}")
            }
        }
    }

    /// A file that is not what objects look like, told as if the server had refused it.
    pub fn add_unreadable(&mut self, why: &str, resource: &Resource, name: &str) -> String {
        let cause = serde_json::json!({"field": "<nil>", "message": format!("Invalid value: \"The edited file failed validation\": {why}")});
        let status = serde_json::json!({"reason": "Invalid", "details": {"causes": [cause]}});
        self.add(&Error::Status(Box::new(status)), resource, name)
    }

    /// The lines at the head of the next file.
    pub fn header(&self, instructions: &str) -> String {
        let mut out = instructions.to_string();
        for reason in &self.reasons {
            let colon = if reason.others.is_empty() { "" } else { ":" };
            out += &format!("# {}{colon}\n", commented(&reason.head));
            reason
                .others
                .iter()
                .for_each(|o| out += &format!("# * {}\n", commented(o)));
            out += "#\n";
        }
        out
    }
}

fn causes(error: &Error) -> Vec<String> {
    let Error::Status(status) = error else {
        return vec![];
    };
    let text = |v: &Value| v.as_str().unwrap_or("").to_string();
    status
        .at("details")
        .list("causes")
        .iter()
        .map(|c| format!("{}: {}", text(c.at("field")), text(c.at("message"))))
        .collect()
}

/// A text whose later lines are comments, too.
fn commented(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '\n' && rest.peek().is_some_and(|next| *next != '#') {
            out.push_str("# ");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_stand_at_the_head() {
        let resource = Resource {
            group: "apps".into(),
            plural: "deployments".into(),
            ..Resource::default()
        };
        let status = |v: Value| Error::Status(Box::new(v));
        let mut r = Results::default();
        let invalid = status(
            json!({"reason": "Invalid", "details": {"causes": [{"field": "spec.replicas", "message": "Invalid value: -1"}]}}),
        );
        assert_eq!(
            r.add(&invalid, &resource, "web"),
            "error: deployments.apps \"web\" is invalid"
        );
        assert_eq!(
            r.add(&status(json!({"reason": "NotFound"})), &resource, "web"),
            "error: deployments.apps \"web\" could not be found on the server"
        );
        assert_eq!(
            r.add(
                &status(json!({"reason": "Conflict", "message": "m"})),
                &resource,
                "web"
            ),
            "error: deployments.apps \"web\" could not be patched: m"
        );
        assert_eq!((r.invalid, r.not_found, r.retryable), (1, 1, 1));
        r.reasons.push(Reason {
            head: "The edited file had a syntax error: a\nb\n".into(),
            others: vec![],
        });
        assert_eq!(
            r.header("# Edit.\n#\n"),
            "# Edit.\n#\n# deployments.apps \"web\" was not valid:\n# * spec.replicas: Invalid value: -1\n#\n# The edited file had a syntax error: a\n# b\n\n#\n"
        );
    }
}
