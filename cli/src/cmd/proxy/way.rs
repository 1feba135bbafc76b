//! Where a request leads: to the server, to a file, to another path, or nowhere.
//! Invariant: what is looked at is what a path means, not how it is escaped, so that no spelling passes a pattern that the plain one does not.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/proxy/proxy_server.go` and Go's `http.ServeMux`.

use super::NOT_FOUND;
use super::filter::Filter;
use http::StatusCode;
use skiff_api::machinery::url::{clean_keeping_slash, escape_path, parse::unescape_path};
use std::path::{Path, PathBuf};

/// Where a request leads.
#[derive(Debug, PartialEq)]
pub enum Way<'a> {
    Refused(StatusCode, &'static str),
    /// To another path.
    Moved(String),
    /// To a folder's file of that path, as a URL writes it.
    File(&'a Path, String),
    /// To the server, with this path.
    Server(String),
}

/// A path of a URL as it stands, or as it is written anew where it does not begin with what is taken away.
fn below(raw: &str, decoded: &str, prefix: &str) -> Option<String> {
    let rest = decoded.strip_prefix(prefix)?;
    let raw = raw.strip_prefix(prefix).map(String::from);
    Some(raw.unwrap_or_else(|| escape_path(rest)))
}

/// What leads where.
pub struct Ways {
    /// `None`: all is let through.
    pub filter: Option<Filter>,
    /// With a slash at its end, as the other one.
    pub api_prefix: String,
    /// A folder and the prefix of its files.
    pub www: Option<(PathBuf, String)>,
}

impl Ways {
    /// Where a request leads; `path` is as the URL writes it. What is looked at is what is meant by it: `/%65xec` is `/exec`.
    pub fn way(&self, method: &str, path: &str, host: &str) -> Way<'_> {
        let Ok(decoded) = unescape_path(path) else {
            return Way::Refused(StatusCode::BAD_REQUEST, "400 Bad Request\n");
        };
        let clean = clean_keeping_slash(&decoded);
        if clean != decoded {
            return Way::Moved(escape_path(&clean));
        }
        let www = self.www.as_ref().map(|(_, prefix)| prefix);
        let mut prefixes = [Some(&self.api_prefix), www].into_iter().flatten();
        if decoded != "/" && prefixes.any(|p| p.strip_suffix('/') == Some(&decoded)) {
            return Way::Moved(format!("{path}/"));
        }
        if let Some((folder, prefix)) = &self.www
            && prefix.len() >= self.api_prefix.len()
            && let Some(file) = below(path, &decoded, prefix)
        {
            return Way::File(folder, file);
        }
        let Some(rest) = decoded.strip_prefix(&self.api_prefix) else {
            return Way::Refused(StatusCode::NOT_FOUND, NOT_FOUND);
        };
        // a prefix such as `/api/` is the API's own
        let is_own = self.api_prefix.starts_with("/api");
        let asked = if is_own {
            decoded.clone()
        } else {
            format!("/{rest}")
        };
        let filter = self.filter.as_ref();
        if filter.is_some_and(|filter| !filter.lets(method, &asked, host)) {
            return Way::Refused(StatusCode::FORBIDDEN, "Forbidden\n");
        }
        let prefix = if is_own { "/" } else { &self.api_prefix };
        let rest = below(path, &decoded, prefix).unwrap_or_default();
        Way::Server(format!("/{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(api_prefix: &str) -> Ways {
        let rejected = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach";
        Ways {
            filter: Some(Filter::read("^.*", rejected, "^localhost$", "^$").unwrap()),
            api_prefix: api_prefix.into(),
            www: Some(("/srv".into(), "/static/".into())),
        }
    }

    #[test]
    fn what_is_rejected_is_so_in_every_spelling() {
        let refused = Way::Refused(StatusCode::FORBIDDEN, "Forbidden\n");
        for path in [
            "/api/v1/namespaces/n/pods/p/exec",
            "/api/v1/namespaces/n/pods/p/%65xec",
            "/api/v1/namespaces/n/pods/p%2Fexec",
            "/%61pi/v1/namespaces/n/pods/p/%65%78ec",
            "/api/v1/namespaces/n/pods/%ff/attach",
        ] {
            assert_eq!(ways("/").way("POST", path, "localhost"), refused, "{path}");
            let below = format!("/k{path}");
            assert_eq!(
                ways("/k/").way("POST", &below, "localhost"),
                refused,
                "{below}"
            );
        }
        // a name that is escaped twice is a name that has a percent sign
        let twice = "/api/v1/namespaces/n/pods/p/%2565xec";
        assert_eq!(
            ways("/").way("POST", twice, "localhost"),
            Way::Server(twice.into())
        );
        let path = "/api/v1/namespaces/n/pods/p%2Fexec/..";
        let moved = Way::Moved("/api/v1/namespaces/n/pods/p".into());
        assert_eq!(ways("/").way("POST", path, "localhost"), moved);
    }

    #[test]
    fn where_paths_lead() {
        let server = |path: &str| Way::Server(path.into());
        let moved = |path: &str| Way::Moved(path.into());
        let file = |path: &str| Way::File(Path::new("/srv"), path.into());
        for (prefix, path, way) in [
            ("/", "/api/v1/a%20b", server("/api/v1/a%20b")),
            ("/", "/", server("/")),
            ("/", "/static", moved("/static/")),
            ("/", "/static/a%26b/x.css", file("a%26b/x.css")),
            ("/", "/st%61tic/x%20y", file("x%20y")),
            ("/", "/api//v1/", moved("/api/v1/")),
            ("/", "/%2e%2e/x", moved("/x")),
            ("/k8s/", "/k8s/api", server("/api")),
            ("/k8s/", "/k8%73/a%20b", server("/a%20b")),
            ("/api/", "/api/v1", server("/api/v1")),
            (
                "/",
                "/%zz",
                Way::Refused(StatusCode::BAD_REQUEST, "400 Bad Request\n"),
            ),
            (
                "/k8s/",
                "/other",
                Way::Refused(StatusCode::NOT_FOUND, NOT_FOUND),
            ),
        ] {
            assert_eq!(
                ways(prefix).way("GET", path, "localhost:8001"),
                way,
                "{prefix} {path}"
            );
        }
    }
}
