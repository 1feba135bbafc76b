//! What is written as a word within objects and queries: times, durations, URLs, names, addresses.

use skiff_api::machinery::{gonum, names, structural::formats, time, url};

use super::schema::FORMATS;
use crate::{Target, seeds};

pub const WORDS: Target = Target::new("words", run, begin).words(&[
    "2026",
    "01",
    "T",
    "Z",
    "+01:00",
    ":",
    ".",
    "http://",
    "https",
    "//",
    "@",
    "[::1]",
    "%41",
    "?",
    "#",
    "1h",
    "ms",
    "fe80::",
    "::ffff:1.2.3.4",
    "/24",
    "a.b",
    "xn--",
    "-",
]);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "2026-01-02T03:04:05.678901Z",
        "2026-01-02T03:04:05+01:00",
        "1h30m5.5s",
        "https://user:pass@host.example:8443/a/b%2fc?d=e&f#g",
        "http://[fe80::1%25en0]:80/",
        "10.0.0.0/8",
        "fd00::/64",
        "app.example.com/name",
        "some-name.example.com",
        "v1beta2",
        "a@b.example",
        "\"quoted local\"@[10.0.0.1]",
        "978-3-16-148410-0",
        "rgb(1,2,3)",
        "1.2.3-rc.1+build",
    ])
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(at) = time::parse(text) {
        let written = time::micros(at);
        assert_eq!(time::micros(time::parse(&written).unwrap()), written);
        time::seconds(at);
    }
    let _ = time::since_epoch(text);
    let _ = url::parse::parse(text).map_err(|error| error.to_string());
    let _ = url::parse::parse_request(text).map_err(|error| error.to_string());
    url::query_value(text);
    if let Ok(nanos) = gonum::duration(text) {
        assert_eq!(
            gonum::duration(&gonum::duration_text(nanos)).ok(),
            Some(nanos)
        );
    }
    let _ = gonum::int64(text).map_err(|error| error.to_string());
    let _ = gonum::uint16(text).map_err(|error| error.to_string());
    names::is_qualified_name(text);
    names::is_label_value(text);
    names::compare_versions(text, "v1beta1");
    for (format, _) in FORMATS {
        formats::check_of(format).map(|check| check(text));
    }
}
