//! What differs from run to run is shown as a word in its place.
//! Invariant: what is masked has a form of its own, so that nothing else is.

use regex::Regex;

const WORDS: &[(&str, &str)] = &[
    (r"(?m)^[EWIF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "<log> "),
    (r"/tmp/[\w./-]+", "<path>"),
    (r"\bdebugger-[a-z0-9]{5}\b", "debugger-<random>"),
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "<uid>",
    ),
    (
        r"\b20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
        "<time>",
    ),
    (
        r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} 20[2-9]\d \d\d:\d\d:\d\d [+-]\d{4}",
        "<date>",
    ),
    (
        r"\b20[2-9]\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000( UTC)?",
        "<date>",
    ),
    (
        r#"(resourceVersion"?: *"?|Resource Version: +)\d+"#,
        "$1<rv>",
    ),
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<jwt>"),
    (r"\b10\.96\.\d+\.\d+\b *", "<service ip> "),
    (r"\b3[0-2]\d{3}\b", "<node port>"),
    (
        r"(^|\s)(\d{1,2}s|\d+m\d{1,2}s|\d\dy)( ago)?(\s|$|\)) *",
        "$1<age>$4",
    ),
    (r"\bkubectl/v1\.36\.\d+\b", "kubectl/<version>"),
    (r"v1\.\d+\.\d+\+skiff[\w.-]*", "<version>"),
];

pub struct Masks(Vec<(Regex, &'static str)>);

impl Masks {
    pub fn new() -> Masks {
        Masks(
            WORDS
                .iter()
                .map(|(pattern, word)| (Regex::new(pattern).unwrap(), *word))
                .collect(),
        )
    }

    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.into(), |text, (pattern, word)| {
            pattern.replace_all(&text, *word).into_owned()
        })
    }
}
