//! Queries, and answers in JSON.

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The parameters of a query, in their order.
pub fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (unescape(key), unescape(value))
        })
}

fn unescape(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

/// An answer in JSON.
pub fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let all: Vec<_> = parameters("a=1&b=x%20y+z&c&d=%zz").collect();
        let expected = [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(all, expected);
    }
}
