//! The text at a URL.
//! Invariant: an answer that is no success is an error in the words of the server; where it leads on to is followed.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go` and Go's package `net/http`.

use crate::client::{Call, Client, Options, status_text};
use crate::error::{Error, Result, message, quote};
use crate::kuberc::Policy;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;

/// So often is a server asked that fails or does not answer.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// So often is an answer followed to another place.
const REDIRECTS: usize = 10;

/// The text at a URL.
///
/// # Errors
/// No answer, or one that is not a success.
pub async fn fetch(url: &str) -> Result<String> {
    let mut tried = 0;
    loop {
        tried += 1;
        let (why, again) = match followed(url).await {
            Ok(response) if response.status() == StatusCode::OK => {
                return text(url, response).await;
            }
            Ok(response) => (unread(url, &response), response.status().is_server_error()),
            Err(why) => (why, true),
        };
        if !again || tried == TRIES {
            return Err(why);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unread<B>(url: &str, response: &Response<B>) -> Error {
    message!(
        "unable to read URL {}, server reported {}, status code={}",
        quote(url),
        status_text(response),
        response.status().as_u16()
    )
}

async fn text(url: &str, response: Response<Incoming>) -> Result<String> {
    let whole = response.into_body().collect().await;
    let whole = whole.map_err(|why| message!("{}", crate::client::cause(&why)))?;
    String::from_utf8(whole.to_bytes().to_vec()).map_err(|_| message!("{url} is not text"))
}

/// The answer at the end of all that lead on.
async fn followed(url: &str) -> Result<Response<Incoming>> {
    let mut at = url.to_string();
    for _ in 0..REDIRECTS {
        let response = asked(&at).await?;
        match next(&at, &response) {
            Some(next) => at = next,
            None => return Ok(response),
        }
    }
    Err(message!(
        "Get {}: stopped after {REDIRECTS} redirects",
        quote(&at)
    ))
}

async fn asked(url: &str) -> Result<Response<Incoming>> {
    let (origin, path) = parts(url);
    let resolved = crate::kubeconfig::Resolved {
        server: origin.into(),
        ..Default::default()
    };
    let options = Options {
        program: "kubectl".into(),
        ..Options::new(Policy::allow_all())
    };
    let client = Client::new(&resolved, &options)?;
    let path = if path.is_empty() { "/" } else { path };
    client.begun(&Call::get(path).accept("*/*")).await
}

/// A URL's scheme and host, and its path.
fn parts(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    url.split_at(path)
}

/// Where an answer leads on to.
fn next<B>(url: &str, response: &Response<B>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let place = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let place = place.split('#').next().filter(|place| !place.is_empty())?;
    let (origin, path) = parts(url);
    Some(if place.contains("://") {
        place.into()
    } else if place.starts_with("//") {
        let scheme = url.split("//").next().unwrap_or_default();
        format!("{scheme}{place}")
    } else if place.starts_with('/') {
        format!("{origin}{place}")
    } else {
        let folder = path.split('?').next().unwrap_or_default();
        let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{origin}{folder}/{place}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers each request with the next of these.
    async fn answering(listener: tokio::net::TcpListener, answers: Vec<String>) {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains("200 OK") {
                stream.write_all(b"a: 1\n").await.unwrap();
            }
        }
    }

    async fn fetched(answers: &[&str]) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        tokio::spawn(answering(listener, answers));
        let local = tokio::task::LocalSet::new();
        local.run_until(fetch(&url)).await.map_err(|why| {
            let text = why.to_string().replace(&url, "URL");
            Error::msg(text)
        })
    }

    /// As kubectl v1.36 tells it.
    #[tokio::test]
    async fn failures_are_told_in_the_words_of_the_server() {
        for (status, told) in [
            ("404 File not found", "404 File not found, status code=404"),
            ("404 Not Found", "404 Not Found, status code=404"),
            ("204 No Content", "204 No Content, status code=204"),
        ] {
            let why = fetched(&[status]).await.unwrap_err().to_string();
            assert_eq!(
                why,
                format!("unable to read URL \"URL\", server reported {told}")
            );
        }
        let found = fetched(&["302 Found\r\nLocation: y", "503 Busy", "200 OK"]).await;
        assert_eq!(found.unwrap(), "a: 1\n");
    }

    #[test]
    fn answers_lead_on() {
        for (place, wanted) in [
            ("https://b/x", Some("https://b/x")),
            ("//b/x", Some("http://b/x")),
            ("/x", Some("http://a:1/x")),
            ("x#y", Some("http://a:1/dir/x")),
            ("", None),
        ] {
            let answer = |code: u16| {
                let answer = Response::builder().status(code);
                answer.header(header::LOCATION, place).body(()).unwrap()
            };
            let found = next("http://a:1/dir/file?q=/", &answer(302));
            assert_eq!(found.as_deref(), wanted, "{place}");
            assert_eq!(next("http://a:1/", &answer(200)), None);
        }
        let nowhere = Response::builder().status(302).body(()).unwrap();
        assert_eq!(next("http://a", &nowhere), None);
        assert_eq!(
            unread("http://a", &nowhere).to_string(),
            "unable to read URL \"http://a\", server reported 302 Found, status code=302"
        );
    }
}
