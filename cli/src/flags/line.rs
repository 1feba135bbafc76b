//! A command line: which of its words are flags, what they hold, and how the line is told of.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Problem, holds, lettered, mistakes, named, needs_value};

/// Where a word of one-letter flags (`-itn`) ends: at one that is not declared, at one that needs a value, or with the last.
pub enum End<'a> {
    /// The letters from the unknown one on.
    Unknown(&'a str),
    /// What stands behind the flag that needs a value.
    Value(&'a str),
    Letters,
}

pub fn end_of_letters<'a>(command: &Command, word: &'a str) -> End<'a> {
    for (at, letter) in word.char_indices().skip(1) {
        let after = &word[at + letter.len_utf8()..];
        match lettered(command, letter) {
            None => return End::Unknown(&word[at..]),
            Some(arg) if needs_value(arg) => return End::Value(after),
            Some(_) if after.starts_with('=') => return End::Letters,
            Some(_) => {}
        }
    }
    End::Letters
}

/// Whether this word is a flag that takes its value from the next word.
pub fn takes_next(command: &Command, word: &str) -> bool {
    match word.strip_prefix("--") {
        // one that nobody knows is taken for one with a value, as cobra takes it
        Some(name) if name.contains('=') => false,
        Some(name) => named(command, name).is_none_or(needs_value),
        None => matches!(end_of_letters(command, word), End::Value("")),
    }
}

/// Whether a word is one or several flags.
pub fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// What a command line held.
#[derive(Clone, Debug)]
pub struct Line {
    /// The words as they were, flags included.
    pub words: Vec<String>,
    matches: ArgMatches,
    /// The arguments that are not flags.
    pub args: Vec<String>,
    /// How many of `args` came before a `--`, if there was one.
    pub dash: Option<usize>,
    /// The flags as they are told of: with long names and their values.
    long: String,
}

impl Line {
    /// The whole command line, arguments before flags; `command` are the words that found it.
    pub fn told(&self, command: &str) -> String {
        let args = self.args.iter().map(|word| format!(" {word}"));
        format!("{command}{}{}", args.collect::<String>(), self.long)
    }

    /// The flags of a struct that the command declares.
    pub fn flags<A: clap::Args>(&self) -> A {
        A::from_arg_matches(&self.matches)
            .unwrap_or_else(|why| panic!("a verb reads flags that it does not declare: {why}"))
    }
    /// Whether `--help` is among them.
    pub fn asks_for_help(&self) -> bool {
        self.matches.get_flag("help")
    }
    /// Whether a flag of that name stood on the command line, if only with nothing.
    pub fn names(&self, flag: &str) -> bool {
        self.matches.ids().any(|id| id == flag)
            && self.matches.value_source(flag) == Some(ValueSource::CommandLine)
    }
    /// Whether the flag stood on the command line.
    pub fn given(&self, arg: &Arg) -> bool {
        self.matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    }
}

/// The words as clap reads them the way pflag would: `_` in names is `-`, and each flag has its value in its own word. Also how many arguments came
/// before a `--`.
fn joined(words: &[String], command: &Command) -> (Vec<String>, Option<usize>) {
    let (mut out, mut count, mut dash) = (Vec::new(), 0, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            dash = Some(count);
            out.push(word.clone());
            out.extend(rest.by_ref().cloned());
        } else if is_flag(word) {
            let flag = match (word.starts_with("--"), word.split_once('=')) {
                // behind a letter, a `=` with nothing after it is the value
                (false, _) if matches!(end_of_letters(command, word), End::Value("=")) => {
                    format!("{word}=")
                }
                (false, _) => word.clone(),
                (true, None) => word.replace('_', "-"),
                (true, Some((name, value))) => format!("{}={value}", name.replace('_', "-")),
            };
            let value = takes_next(command, &flag).then(|| rest.next()).flatten();
            out.push(match value {
                Some(value) => format!("{flag}={value}"),
                None => flag,
            });
        } else {
            count += 1;
            out.push(word.clone());
        }
    }
    (out, dash)
}

const ARGS: &str = "arguments that are no flags";

/// Reads a command line against the declared flags.
///
/// # Errors
/// The first mistake, in pflag's words.
pub fn read(words: &[String], command: Command) -> Result<Line, Problem> {
    let (joined, dash) = joined(words, &command);
    let args = Arg::new(ARGS).num_args(0..).action(ArgAction::Append);
    let mut command = command
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(args);
    let long = told_long(&joined, &command);
    let mut matches = command
        .try_get_matches_from_mut(&joined)
        .map_err(|mistake| Problem(mistakes::told(&mistake, &command, &joined)))?;
    let args = matches.remove_many(ARGS).into_iter().flatten().collect();
    Ok(Line {
        words: words.to_vec(),
        matches,
        args,
        dash,
        long,
    })
}

/// Flags that still work and are told of as old when they are used.
const OLD: &[(&str, &str)] = &[
    ("record", "--record will be removed in the future"),
    (
        "cpu-percent",
        "Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).",
    ),
];

/// What is said of old flags on a line.
pub fn old_flags(line: &Line, command: &Command) -> Vec<String> {
    let used = OLD
        .iter()
        .filter(|(name, _)| named(command, name).is_some_and(|arg| line.given(arg)));
    used.map(|(name, why)| format!("Flag --{name} has been deprecated, {why}"))
        .collect()
}

/// What a flag means that stands without a value.
fn missing(arg: &Arg) -> &'static str {
    match arg.get_long() {
        _ if holds::<bool>(arg) => "true",
        Some("dry-run") => "unchanged",
        Some("cascade") => "background",
        Some("validate") => "strict",
        _ => "",
    }
}

/// The flags among the words, by their long names and with their values.
fn told_long(joined: &[String], command: &Command) -> String {
    let mut out = String::new();
    let mut tell = |arg: &Arg, value: Option<&str>| {
        let value = value.unwrap_or_else(|| missing(arg));
        let secret = matches!(arg.get_long(), Some("token" | "password"));
        let value = if secret { "CLASSIFIED" } else { value };
        out += &format!(" --{}={value}", arg.get_long().unwrap_or_default());
    };
    for word in joined
        .iter()
        .take_while(|word| *word != "--")
        .filter(|word| is_flag(word))
    {
        if let Some(name) = word.strip_prefix("--") {
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            named(command, name)
                .into_iter()
                .for_each(|arg| tell(arg, value));
            continue;
        }
        for (at, letter) in word.char_indices().skip(1) {
            let Some(arg) = lettered(command, letter) else {
                break;
            };
            let after = &word[at + letter.len_utf8()..];
            if needs_value(arg) || after.starts_with('=') {
                tell(arg, Some(after.strip_prefix('=').unwrap_or(after)));
                break;
            }
            tell(arg, None);
        }
    }
    out
}
