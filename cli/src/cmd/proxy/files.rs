//! Files of a folder.
//! Behaviour follows Go's `http.FileServer`, by which `staging/src/k8s.io/kubectl/pkg/proxy/proxy_server.go` serves them.

use super::{Body, moved, not_found, plain};
use crate::print::html::escape_html;
use http::{Request, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use skiff_api::machinery::url::UNRESERVED;
use std::path::{Component, Path, PathBuf};
use tower_http::services::ServeDir;

/// What stands in links to files as it is.
const IN_LINKS: &AsciiSet = &UNRESERVED.remove(b'/');

/// What is shown of a folder that has it.
const INDEX: &str = "index.html";

/// The file of a path, which is as URLs write it; folders without an `index.html` are listed.
pub async fn answer<B: Send + Sync + 'static>(
    folder: &Path,
    path: &str,
    mut request: Request<B>,
) -> Response<Body> {
    let Some(place) = place(folder, path) else {
        return not_found();
    };
    let query = request.uri().query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    if path == INDEX || path.ends_with("/index.html") {
        return moved(&format!("./{query}"));
    }
    if place.is_dir() && !place.join(INDEX).exists() {
        let last = path.rsplit('/').next().unwrap_or_default();
        return match last {
            "" => listed(&place),
            last => moved(&format!("{last}/{query}")),
        };
    }
    let Ok(short) = PathAndQuery::try_from(format!("/{path}{query}")) else {
        return not_found();
    };
    *request.uri_mut() = short.into();
    match ServeDir::new(folder).try_call(request).await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => not_found(),
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(why) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{why}\n")),
    }
}

/// Where a path leads, never out of the folder.
fn place(folder: &Path, path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let path = Path::new(&*decoded);
    let inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(inside).then(|| folder.join(path))
}

fn listed(folder: &Path) -> Response<Body> {
    let Ok(found) = std::fs::read_dir(folder) else {
        return plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Error reading directory\n",
        );
    };
    let mut names: Vec<String> = found
        .flatten()
        .map(|entry| {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    let mut text =
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n"
            .to_string();
    for name in names {
        let link = utf8_percent_encode(&name, IN_LINKS);
        let shown = escape_html(&name);
        text += &format!("<a href=\"{link}\">{shown}</a>\n");
    }
    let mut response = plain(StatusCode::OK, &(text + "</pre>\n"));
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, html);
    headers.remove(header::X_CONTENT_TYPE_OPTIONS);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;

    #[tokio::test]
    async fn files_are_served_and_folders_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a&b/with")).unwrap();
        std::fs::write(folder.path().join("a&b/x.css"), "p {}").unwrap();
        std::fs::write(folder.path().join("a&b/with/index.html"), "<p>").unwrap();
        std::fs::write(folder.path().join("my-index.html"), "own").unwrap();
        let asked = async |path: &str| {
            let request = Request::get(format!("/static/{path}"));
            let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
            let path = path.split('?').next().unwrap();
            let response = answer(folder.path(), path, request).await;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let head = |name| {
                headers
                    .get(name)
                    .map_or("", |value: &http::HeaderValue| value.to_str().unwrap())
            };
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(text.to_vec()).unwrap();
            (
                status,
                head(header::CONTENT_TYPE).to_string() + head(header::LOCATION),
                text,
            )
        };
        let (status, kind, text) = asked("").await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(
            text.ends_with("<pre>\n<a href=\"a%26b/\">a&amp;b/</a>\n<a href=\"my-index.html\">my-index.html</a>\n</pre>\n"),
            "{text}"
        );
        assert_eq!(
            asked("a%26b/x.css").await,
            (200, "text/css".into(), "p {}".into())
        );
        assert_eq!(
            asked("a%26b/with/").await,
            (200, "text/html".into(), "<p>".into())
        );
        assert_eq!(asked("a%26b").await.0, 301);
        for (path, to) in [
            ("a%26b/with/index.html", "./"),
            ("a%26b/with/index.html?x=1", "./?x=1"),
            ("index.html", "./"),
            ("a%26b?x=1", "a%26b/?x=1"),
        ] {
            let (status, there, _) = asked(path).await;
            assert!(
                status == 301 && there.ends_with(&format!("8{to}")),
                "{path} {there}"
            );
        }
        assert_eq!(asked("my-index.html").await.2, "own");
        for path in ["none", "../x", "%2e%2e/x", "..%2f..%2fetc/passwd"] {
            assert_eq!(
                asked(path).await,
                (
                    404,
                    "text/plain; charset=utf-8".into(),
                    "404 page not found\n".into()
                ),
                "{path}"
            );
        }
    }
}
