//! What is wrong with a command line, in pflag's words.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use skiff_api::machinery::quote::{GoQuoted, GoQuotedChar};

use super::line::{End, end_of_letters, is_flag};
use super::{NotSupported, named};

/// A mistake in pflag's words.
pub fn told(mistake: &clap::Error, command: &Command, words: &[String]) -> String {
    let text = |kind| match mistake.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let shown = text(ContextKind::InvalidArg);
    let name = shown.trim_start_matches('-');
    let name = name.split([' ', '=', '[']).next().unwrap_or(name);
    match (mistake.kind(), mistake.source()) {
        (ErrorKind::UnknownArgument, _) => unknown(shown, command, words),
        (ErrorKind::ValueValidation, Some(why)) if why.is::<NotSupported>() => {
            format!("flag --{name} is not supported: {why}")
        }
        (ErrorKind::ValueValidation, Some(why)) => {
            // This one is read by Go's own package, which does not say why.
            let why = match name {
                "log-flush-frequency" => "parse error".to_string(),
                _ => why.to_string(),
            };
            let letter = named(command, name).and_then(Arg::get_short);
            let letter = letter.map_or_else(String::new, |letter| format!("-{letter}, "));
            format!(
                "invalid argument {} for \"{letter}--{name}\" flag: {why}",
                GoQuoted(&text(ContextKind::InvalidValue))
            )
        }
        // Only the last flag of a line can lack its value.
        (ErrorKind::InvalidValue, _) => match words.last().filter(|word| !word.starts_with("--")) {
            Some(letters) => {
                let letter = letters.chars().last().unwrap_or_default();
                format!(
                    "flag needs an argument: {} in -{letter}",
                    GoQuotedChar(letter)
                )
            }
            None => format!("flag needs an argument: --{name}"),
        },
        _ => mistake.to_string(),
    }
}

fn unknown(shown: &str, command: &Command, words: &[String]) -> String {
    let mut flags = words.iter().take_while(|word| *word != "--");
    match shown.strip_prefix("--") {
        Some(name) if name.is_empty() || name.starts_with('-') => {
            let word = flags.find(|word| word.starts_with(shown));
            format!("bad flag syntax: {}", word.map_or(shown, String::as_str))
        }
        Some(name) => format!("unknown flag: --{name}"),
        None => {
            let mut letters = flags.filter(|word| is_flag(word) && !word.starts_with("--"));
            let tail = letters.find_map(|word| match end_of_letters(command, word) {
                End::Unknown(tail) => Some(tail),
                _ => None,
            });
            let tail = tail.unwrap_or(shown.trim_start_matches('-'));
            let letter = GoQuotedChar(blamed(tail));
            format!("unknown shorthand flag: {letter} in -{tail}")
        }
    }
}

/// The letter that is told to be unknown: the first byte is taken for one, and of that one's text the first byte once more.
fn blamed(tail: &str) -> char {
    let first = |text: &str| char::from(text.bytes().next().unwrap_or_default());
    first(first(tail).encode_utf8(&mut [0; 4]))
}
