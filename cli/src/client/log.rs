//! What the log tells of requests and answers, as -v and --vmodule ask.
//! Invariant: nothing that gives credentials is told.
//! Behaviour follows `staging/src/k8s.io/client-go/transport/round_trippers.go`.

use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use skiff_api::machinery::quote::GoQuoted;

use super::{Call, Client, klog};

impl Client {
    /// Whether a file of upstream's logs at this level.
    fn logs(&self, file: &str, level: i64) -> bool {
        let options = &self.0.options;
        let own = options.modules.level(file);
        own.unwrap_or(options.verbosity) >= level
    }

    pub(super) fn log_request(&self, call: &Call, headers: &HeaderMap) {
        if self.logs("round_trippers", 7) {
            let text = format!(
                "\"Request\" verb=\"{}\" url=\"{}\" headers={}",
                call.method,
                self.0.target.url(&call.path),
                shown_headers(headers)
            );
            klog('I', "round_trippers.go:527", &text);
        }
    }

    pub(super) fn log(&self, call: &Call, status: &str, headers: &HeaderMap, started: Instant) {
        if !self.logs("round_trippers", 6) {
            return;
        }
        let took = started.elapsed().as_millis();
        // What was asked has been told where the request was.
        let asked = match self.logs("round_trippers", 7) {
            true => String::new(),
            false => format!(
                "verb=\"{}\" url=\"{}\" ",
                call.method,
                self.0.target.url(&call.path)
            ),
        };
        let headers = match self.logs("round_trippers", 8) {
            true => format!("headers={} ", shown_headers(headers)),
            false => String::new(),
        };
        klog(
            'I',
            "round_trippers.go:632",
            &format!("\"Response\" {asked}status=\"{status}\" {headers}milliseconds={took}"),
        );
    }

    pub(super) fn log_body(&self, call: &Call, body: &Bytes) {
        if self.logs("helper", 8) {
            if !call.body.is_empty() {
                klog(
                    'I',
                    "helper.go:113",
                    &format!(
                        "\"Request Body\" body={}",
                        GoQuoted(&String::from_utf8_lossy(&call.body))
                    ),
                );
            }
            klog(
                'I',
                "helper.go:113",
                &format!(
                    "\"Response Body\" body={}",
                    GoQuoted(&String::from_utf8_lossy(body))
                ),
            );
        }
    }
}

/// Headers as the log shows them: in order, without what gives credentials.
fn shown_headers(headers: &HeaderMap) -> String {
    let title = |name: &str| {
        let words = name.split('-').map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        });
        words.collect::<Vec<_>>().join("-")
    };
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| **name != http::header::HOST)
        .map(|(name, value)| {
            let value = value.to_str().unwrap_or_default();
            let value = match (name == http::header::AUTHORIZATION, value.split_once(' ')) {
                (true, Some((scheme, _))) => format!("{scheme} <masked>"),
                (true, None) => "<masked>".into(),
                (false, _) => value.into(),
            };
            format!("\t{}: {value}\n", title(name.as_str()))
        })
        .collect();
    lines.sort();
    format!("<\n{} >", lines.concat())
}
