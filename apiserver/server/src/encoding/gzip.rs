//! Long answers, compressed for whoever takes that.
//!
//! Invariant: an answer is compressed as it is sent, piece by piece; what is told of it elsewhere (audit) is what it was before.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/writers.go`.

use std::io::Write;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;

/// An answer of so many bytes or less is sent as it is.
const THRESHOLD: u64 = 128 * 1024;
/// The cheapest level: the others save little more.
const LEVEL: Compression = Compression::fast();
/// How much is compressed before others have their turn.
const TURN: usize = 128 * 1024;
/// Fewer bytes than these wait for more.
const SMALL: usize = 8 * 1024;

/// Marks an answer that is to be compressed on its way out.
#[derive(Clone, Copy)]
struct Packed;

/// Has an answer compressed if it is long and who asks with these headers takes gzip.
pub fn mark(response: &mut Response<Body>, asked: &HeaderMap) {
    // lists that are sent in pieces are longer than one
    let exact = response.body().size_hint().exact();
    if exact.is_none_or(|size| size > THRESHOLD) && is_taken(asked) {
        response.extensions_mut().insert(Packed);
    }
}

fn is_taken(asked: &HeaderMap) -> bool {
    let accepted = asked.get(header::ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|value| value.split(',').any(|token| token.trim() == "gzip"))
}

/// Compresses an answer that is marked.
pub fn pack(mut response: Response<Body>) -> Response<Body> {
    if response.extensions_mut().remove::<Packed>().is_none() {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(header::CONTENT_LENGTH);
    response.map(|body| {
        let packing = Packing {
            from: body.into_data_stream(),
            left: Bytes::new(),
            coder: Some(GzEncoder::new(Vec::new(), LEVEL)),
        };
        Body::from_stream(futures::stream::unfold(packing, |mut packing| async {
            let piece = packing.next().await?;
            Some((piece, packing))
        }))
    })
}

struct Packing {
    from: BodyDataStream,
    /// What has come and is not compressed yet.
    left: Bytes,
    /// `None` at the end.
    coder: Option<GzEncoder<Vec<u8>>>,
}

impl Packing {
    /// The next compressed piece, made of one turn's bytes or of several.
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        loop {
            let coder = self.coder.as_mut()?;
            if self.left.is_empty() {
                match self.from.next().await {
                    Some(Ok(piece)) => self.left = piece,
                    Some(Err(error)) => {
                        self.coder = None;
                        return Some(Err(error));
                    }
                    None => {
                        let last = self.coder.take()?.finish();
                        return Some(last.map(Bytes::from).map_err(axum::Error::new));
                    }
                }
            }
            let turn = self.left.split_to(self.left.len().min(TURN));
            if let Err(error) = coder.write_all(&turn) {
                self.coder = None;
                return Some(Err(axum::Error::new(error)));
            }
            if coder.get_ref().len() >= SMALL {
                return Some(Ok(std::mem::take(coder.get_mut()).into()));
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn who_takes_it() {
        for (accepted, takes) in [
            ("gzip", true),
            ("deflate, gzip ,br", true),
            ("gzip;q=1", false),
            ("br", false),
            ("", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(is_taken(&headers), takes, "{accepted}");
        }
        assert!(!is_taken(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_answers_are_compressed() {
        let text = |size: usize| "0123456789abcdef".repeat(size / 16);
        let pieces = |text: String| {
            let pieces: Vec<_> = text
                .as_bytes()
                .chunks(100_000)
                .map(<[u8]>::to_vec)
                .collect();
            Body::from_stream(futures::stream::iter(
                pieces.into_iter().map(Ok::<_, std::convert::Infallible>),
            ))
        };
        for (body, size, taken, packed) in [
            (Body::from(text(1 << 17)), 1 << 17, true, false),
            (Body::from(text((1 << 17) + 16)), (1 << 17) + 16, true, true),
            (Body::from(text(1 << 20)), 1 << 20, false, false),
            (pieces(text(1 << 20)), 1 << 20, true, true),
        ] {
            let mut response = Response::new(body);
            let asked = HeaderMap::from_iter(
                taken.then(|| (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))),
            );
            mark(&mut response, &asked);
            let response = pack(response);
            assert_eq!(
                response.headers().contains_key(header::CONTENT_ENCODING),
                packed
            );
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let mut read = String::new();
            if packed {
                let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
                decoder.read_to_string(&mut read).unwrap();
                assert!(bytes.len() < size / 10);
            } else {
                read = String::from_utf8(bytes.to_vec()).unwrap();
            }
            assert_eq!(read, text(size));
        }
    }
}
