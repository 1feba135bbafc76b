//! Regular expressions as Go has them, on a text.

use skiff_api::machinery::{cel::regex, structural::pattern};

use crate::{Target, seeds, texts};

pub const REGEX: Target = Target::new("regex", run, begin)
    .words(&[
        "a",
        ".",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "[",
        "]",
        "^",
        "$",
        "{2}",
        "{0,1000}",
        "{1000}",
        "{1,}",
        "\\d",
        "\\pL",
        "\\p{Greek}",
        "[[:alpha:]]",
        "[^a]",
        "(?i)",
        "(?P<n>a)",
        "(?:",
        "\\Q",
        "\\E",
        "\\b",
        "\\x{10FFFF}",
        "\\z",
        "\\C",
        "(?s).",
        "é",
        "(a*)*",
        "(a|a)*",
        "\\1",
        "*?",
        "{,5}",
    ])
    // a program of a pattern may take 10 MiB; there are a few of it at once
    .always(48 << 20);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "^[a-z]([-a-z0-9]*[a-z0-9])?$\0some-name-1",
        "(?i)(\\d+|x{2,5}?)\\b[^\\s\\PL]\0XXX 12 é",
        "^(a+)+$\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
        "\\Qa.b\\E[[:^digit:]\\x{41}-\\x{5a}]\\pN\\p{Greek}\0a.bQ5\u{3b1}",
        "(?P<first>.)(?:x|y*)\\A\\z\0q",
        "((a{1,100}){1,10})\0aaaa",
    ])
}

fn run(data: &[u8]) {
    let Some([pattern, text]) = texts(data) else {
        return;
    };
    let checked = regex::check(pattern).map_err(|error| error.to_string());
    match regex::Pattern::new(pattern) {
        Ok(read) => {
            checked.unwrap();
            read.is_match(text);
        }
        Err(error) => drop(error.to_string()),
    }
    let _ = pattern::Pattern::new(pattern).is_match(text);
}
