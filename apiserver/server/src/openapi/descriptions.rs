//! What the types and their fields are for, in the words that `k8s-openapi` brings along: `build.rs` gathers them.
//!
//! Invariant: made when a document is made, and dropped with it.

use std::collections::HashMap;

/// What a type and its fields are for.
#[derive(Default)]
pub struct Described {
    pub words: String,
    pub fields: HashMap<&'static str, String>,
}

static WORDS: &str = include_str!(concat!(env!("OUT_DIR"), "/descriptions.txt"));
/// Of types that it does not know.
static OTHERS: &str = include_str!("descriptions.txt");

/// By upstream's names of the types.
pub fn all() -> HashMap<&'static str, Described> {
    let mut all = HashMap::new();
    let mut current = None;
    for line in WORDS.lines().chain(OTHERS.lines()) {
        let Some((name, words)) = line.split_once('\t') else {
            continue;
        };
        match name.strip_prefix('=') {
            Some(name) => {
                all.insert(
                    name,
                    Described {
                        words: plain(words),
                        ..Described::default()
                    },
                );
                current = Some(name);
            }
            None => {
                if let Some(of) = current.and_then(|current| all.get_mut(current)) {
                    of.fields.insert(name, plain(words));
                }
            }
        }
    }
    tell_of_events(&mut all);
    all
}

/// What a watch sends has its words for the object at the end of its own.
fn tell_of_events(all: &mut HashMap<&str, Described>) {
    let event = all.get_mut("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent");
    if let Some(event) = event
        && let Some((words, of_object)) = event.words.clone().split_once("\n\n")
    {
        event.words = words.into();
        event.fields.insert("object", of_object.trim_end().into());
    }
}

/// What a literal of Rust stands for.
fn plain(literal: &str) -> String {
    let mut out = String::with_capacity(literal.len());
    let mut characters = literal.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let code: String = characters
                    .by_ref()
                    .skip(1)
                    .take_while(|c| *c != '}')
                    .collect();
                out.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}
