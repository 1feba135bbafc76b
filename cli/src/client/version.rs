//! `--match-server-version`: nothing is asked of a server of another version than this program's own.
//! Invariant: a version that cannot be read is an error.
//! Behaviour follows `staging/src/k8s.io/client-go/discovery/helper.go` (`MatchesServerVersion`).

use super::{Call, connect};
use crate::error::{Problem, Result, bail, message, quote};
use crate::typed::Read;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

/// Asks for the version.
pub fn call() -> Call<'static> {
    Call::get("/version")
}

/// Whether the version that is told is this program's.
///
/// # Errors
/// Another version, or none.
pub async fn check<S>(
    answer: impl Future<Output = Result<(Response<Incoming>, S), Problem>>,
) -> Result<()> {
    let unread = |why: String| message!("couldn't read version from server: {why}");
    let (response, _sender) = answer.await.map_err(|why| unread(why.to_string()))?;
    let body = response.into_body().collect().await;
    let body = body.map_err(|why| unread(connect::cause(&why)))?.to_bytes();
    let server: Value = serde_json::from_slice(&body).map_err(|why| unread(why.to_string()))?;
    compare(&server, &skiff_server::version())
}

fn compare(server: &Value, own: &Value) -> Result<()> {
    let compared = ["gitVersion", "gitCommit", "gitTreeState"];
    if compared.iter().any(|f| server.text(f) != own.text(f)) {
        bail!(
            "server version (&{}) differs from client version ({})",
            shown(server),
            shown(own)
        );
    }
    Ok(())
}

fn shown(version: &Value) -> String {
    let field = |name: &&str| {
        let (first, rest) = name.split_at(1);
        let value = quote(version.text(name));
        format!("{}{rest}:{value}", first.to_uppercase())
    };
    let fields: Vec<String> = skiff_server::VERSION_FIELDS.iter().map(field).collect();
    format!("version.Info{{{}}}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_version_is_told() {
        let own = skiff_server::version();
        assert!(compare(&own, &own).is_ok());
        let said = compare(&json!({"gitVersion": "v1.2.3"}), &own).unwrap_err();
        let said = said.to_string();
        assert!(
            said.starts_with("server version (&version.Info{Major:\"\", Minor:\"\", "),
            "{said}"
        );
        assert!(said.contains("GitVersion:\"v1.2.3\""), "{said}");
        assert!(
            said.contains(") differs from client version (version.Info{Major:\"1\""),
            "{said}"
        );
    }
}
