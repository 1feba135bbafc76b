//! Places on the other side told as places of the proxy: `Location` headers, and links in pages of HTML.
//!
//! Invariant: what is no link to the other side's own host goes through byte for byte. A page is rewritten as it comes, never held whole.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/proxy/transport.go`.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzDecoder, GzEncoder};
use futures::StreamExt;
use http::{HeaderValue, Response, header};

use super::html::Tokenizer;
use skiff_api::machinery::url::{clean, escape_path};

use crate::dial::location::Location;
use crate::request::RequestInfo;

/// What is known of one proxied request.
#[derive(Debug)]
pub struct Rewriter {
    /// The path of the proxy, without a slash at its end.
    prefix: String,
    /// `HOST:PORT` of the other side.
    backend: String,
    /// The host that the client asked for.
    host: String,
}

impl Rewriter {
    pub fn new(info: &RequestInfo, location: &Location, host: &str) -> Rewriter {
        let namespace = if info.namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{}", info.namespace)
        };
        let prefix = format!(
            "/{}/{}{namespace}/{}/{}/{}",
            info.prefix,
            info.version,
            info.resource,
            info.name_in_path(),
            info.subresource
        );
        Rewriter {
            prefix: escape_path(&prefix),
            backend: location.authority(),
            host: host.to_owned(),
        }
    }

    /// What the request's path was on this side.
    pub fn forwarded_uri(&self, path: &str) -> String {
        let joined = clean(&format!("{}{path}", self.prefix));
        if path.ends_with('/') {
            joined + "/"
        } else {
            joined
        }
    }

    /// The answer with its places rewritten.
    pub fn response(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(place) = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
        {
            if let Some(value) = self
                .url(place)
                .and_then(|place| HeaderValue::from_str(&place).ok())
            {
                response.headers_mut().insert(header::LOCATION, value);
            }
            return response;
        }
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .unwrap_or("")
        };
        if text(header::CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            != "text/html"
        {
            return response;
        }
        let page = Page(Tokenizer::new(Box::new(move |url| self.url(url))));
        let coder = match text(header::CONTENT_ENCODING) {
            "" => Coder::Plain(page, Vec::new()),
            "gzip" => Coder::Gzip(Box::new(GzDecoder::new(Inner {
                page,
                out: GzEncoder::new(Vec::new(), flate2::Compression::default()),
            }))),
            "deflate" => Coder::Deflate(Box::new(DeflateDecoder::new(Inner {
                page,
                out: DeflateEncoder::new(Vec::new(), flate2::Compression::best()),
            }))),
            _ => return response,
        };
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.map(|body| rewritten(body, coder))
    }

    /// The URL by way of the proxy; `None` for one that stays as it is.
    pub fn url(&self, text: &str) -> Option<String> {
        let url = Url::split(text)?;
        let elsewhere = !url.host.is_empty() && url.host != self.backend && url.host != self.host;
        if elsewhere || !url.path.starts_with('/') {
            return None;
        }
        // a place that is named by the host that the client knows keeps that name
        let origin = if !url.host.is_empty() && url.host == self.host {
            &text[..text.len() - url.path.len() - url.rest.len()]
        } else {
            ""
        };
        if url.path.starts_with(&self.prefix) {
            return Some(format!("{origin}{}{}", url.path, url.rest));
        }
        Some(format!(
            "{origin}{}{}",
            self.forwarded_uri(url.path),
            url.rest
        ))
    }
}

/// A URL's host and path, and what follows (query, fragment).
struct Url<'t> {
    host: &'t str,
    path: &'t str,
    rest: &'t str,
}

impl<'t> Url<'t> {
    fn split(text: &'t str) -> Option<Url<'t>> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return None;
        }
        let scheme = text.find(':').filter(|at| {
            let name = &text[..*at];
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        let after = scheme.map_or(text, |at| &text[at + 1..]);
        let end = |text: &str| text.find(['?', '#']).unwrap_or(text.len());
        let (host, after) = match after.strip_prefix("//") {
            Some(authority) => {
                let length = authority.find(['/', '?', '#']).unwrap_or(authority.len());
                let host = &authority[..length];
                (
                    host.rsplit_once('@').map_or(host, |(_, host)| host),
                    &authority[length..],
                )
            }
            None => ("", after),
        };
        let (path, rest) = after.split_at(end(after));
        Some(Url { host, path, rest })
    }
}

struct Page(Tokenizer);

/// Where decoded bytes go: through the page, encoded again.
struct Inner<W: Write> {
    page: Page,
    out: W,
}

impl<W: Write> Write for Inner<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut piece = Vec::new();
        self.page.0.feed(bytes, &mut piece);
        self.out.write_all(&piece)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

enum Coder {
    Plain(Page, Vec<u8>),
    Gzip(Box<GzDecoder<Inner<GzEncoder<Vec<u8>>>>>),
    Deflate(Box<DeflateDecoder<Inner<DeflateEncoder<Vec<u8>>>>>),
}

impl Coder {
    fn feed(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Coder::Plain(page, out) => page.0.feed(bytes, out),
            Coder::Gzip(coder) => {
                coder.write_all(bytes)?;
                coder.flush()?;
            }
            Coder::Deflate(coder) => {
                coder.write_all(bytes)?;
                coder.flush()?;
            }
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Coder::Plain(_, out) => out,
            Coder::Gzip(coder) => coder.get_mut().out.get_mut(),
            Coder::Deflate(coder) => coder.get_mut().out.get_mut(),
        })
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        fn last<W: Write>(mut inner: Inner<W>) -> std::io::Result<W> {
            let mut piece = Vec::new();
            inner.page.0.finish(&mut piece);
            inner.out.write_all(&piece)?;
            Ok(inner.out)
        }
        match self {
            Coder::Plain(mut page, mut out) => {
                page.0.finish(&mut out);
                Ok(out)
            }
            Coder::Gzip(coder) => last(coder.finish()?)?.finish(),
            Coder::Deflate(coder) => last(coder.finish()?)?.finish(),
        }
    }
}

fn rewritten(body: Body, coder: Coder) -> Body {
    let pieces = futures::stream::unfold(
        (body.into_data_stream(), Some(coder)),
        |(mut frames, coder)| async move {
            let mut coder = coder?;
            match frames.next().await {
                Some(Ok(bytes)) => match coder.feed(&bytes) {
                    Ok(piece) => Some((Ok(Bytes::from(piece)), (frames, Some(coder)))),
                    Err(error) => Some((Err(axum::Error::new(error)), (frames, None))),
                },
                Some(Err(error)) => Some((Err(error), (frames, None))),
                None => Some((
                    coder.finish().map(Bytes::from).map_err(axum::Error::new),
                    (frames, None),
                )),
            }
        },
    );
    Body::from_stream(
        pieces.filter(|piece| {
            futures::future::ready(!matches!(piece, Ok(bytes) if bytes.is_empty()))
        }),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::Method;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{
        dial::location::{Scheme, Via},
        request::Query,
    };

    const PREFIX: &str = "/api/v1/namespaces/n/services/http:s:web/proxy";

    fn rewriter() -> Rewriter {
        let info = RequestInfo::read(&Method::GET, &format!("{PREFIX}/a/b"), &Query::read(None));
        let location = Location {
            scheme: Scheme::Http,
            host: "10.0.0.5".into(),
            port: 8080,
            path: "/a/b".into(),
            query: String::new(),
            via: Via::Anybody,
        };
        Rewriter::new(&info, &location, "localhost:8001")
    }

    #[test]
    fn urls() {
        let rewriter = rewriter();
        assert_eq!(rewriter.forwarded_uri("/a/b/"), format!("{PREFIX}/a/b/"));
        for (url, expected) in [
            ("/rewriteme", Some(format!("{PREFIX}/rewriteme"))),
            ("/x/?q=/y#/z", Some(format!("{PREFIX}/x/?q=/y#/z"))),
            ("http://10.0.0.5:8080/x", Some(format!("{PREFIX}/x"))),
            ("//10.0.0.5:8080/x", Some(format!("{PREFIX}/x"))),
            (
                "http://localhost:8001/x",
                Some(format!("http://localhost:8001{PREFIX}/x")),
            ),
            ("http://other/x", None),
            ("relative", None),
            ("../up", None),
            ("#here", None),
            ("mailto:a@b", None),
            ("javascript:void(0)", None),
            ("http://10.0.0.5:8080", None),
            ("/a b", None),
        ] {
            assert_eq!(rewriter.url(url), expected, "{url}");
        }
        let inside = format!("{PREFIX}/x");
        assert_eq!(rewriter.url(&inside), Some(inside.clone()));
    }

    async fn through(kind: &str, encoding: &str, page: Vec<u8>) -> (Vec<u8>, bool) {
        let mut response = Response::builder()
            .header("content-type", kind)
            .header("content-length", page.len());
        if !encoding.is_empty() {
            response = response.header("content-encoding", encoding);
        }
        let pieces: Vec<Result<Bytes, std::convert::Infallible>> = page
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let answer = rewriter().response(
            response
                .body(Body::from_stream(futures::stream::iter(pieces)))
                .unwrap(),
        );
        let kept = answer.headers().contains_key("content-length");
        (
            answer
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
            kept,
        )
    }

    #[tokio::test]
    async fn pages_in_pieces_and_packed() {
        let page = b"<html><body><a href=\"/rewriteme\">test</a></body></html>".to_vec();
        let expected = format!("<html><body><a href=\"{PREFIX}/rewriteme\">test</a></body></html>")
            .into_bytes();
        assert_eq!(
            through("text/html; charset=utf-8", "", page.clone()).await,
            (expected.clone(), false)
        );
        assert_eq!(
            through("text/plain", "", page.clone()).await,
            (page.clone(), true)
        );
        assert_eq!(
            through("text/html", "br", page.clone()).await,
            (page.clone(), true)
        );
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&page).unwrap();
        let (answer, _) = through("text/html", "gzip", packed.finish().unwrap()).await;
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&answer[..])
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, expected);
        let mut packed = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&page).unwrap();
        let (answer, _) = through("text/html", "deflate", packed.finish().unwrap()).await;
        let mut text = Vec::new();
        flate2::read::DeflateDecoder::new(&answer[..])
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn redirects() {
        let response = Response::builder()
            .status(302)
            .header("location", "/there")
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            rewriter().response(response).headers()["location"],
            format!("{PREFIX}/there")
        );
    }
}
