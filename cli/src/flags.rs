//! Command-line flags as kubectl reads them, over clap: structs declare them, clap gives them their types, and what pflag does otherwise is here.
//! Invariant: a flag that the verb did not declare is an error that names it, and a declared flag that is not supported here is refused by name.
//! Behaviour follows `github.com/spf13/pflag`, as `staging/src/k8s.io/kubectl/pkg/cmd` uses it.

use std::any::TypeId;
use std::error::Error as _;
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use skiff_api::machinery::gonum;
pub use skiff_api::machinery::problem::Problem;
use skiff_api::machinery::quote::{GoQuoted, GoQuotedChar};

/// Declares the flags of one struct.
pub type Group = fn(Command) -> Command;

/// The group of a struct's flags.
pub fn group<A: clap::Args>(command: Command) -> Command {
    A::augment_args(command)
}

/// Why a flag of kubectl is refused here.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct NotSupported(&'static str);

/// A flag of kubectl that is not supported: using it is an error that says why.
pub struct Refused {
    pub name: &'static str,
    /// The one-letter name, or `'\0'` for none.
    pub short: char,
    /// Whether it needs a value.
    pub takes_value: bool,
    pub why: &'static str,
}

impl Refused {
    pub const fn value(name: &'static str, why: &'static str) -> Self {
        let (short, takes_value) = ('\0', true);
        Refused {
            name,
            short,
            takes_value,
            why,
        }
    }
    pub const fn switch(name: &'static str, why: &'static str) -> Self {
        let mut refused = Self::value(name, why);
        refused.takes_value = false;
        refused
    }
    pub const fn short(mut self, short: char) -> Self {
        self.short = short;
        self
    }

    pub fn arg(&self) -> Arg {
        let why = self.why;
        let arg = Arg::new(self.name)
            .long(self.name)
            .value_parser(move |_: &str| Err::<String, _>(NotSupported(why)));
        let arg = match self.short {
            '\0' => arg,
            letter => arg.short(letter),
        };
        if self.takes_value {
            arg
        } else {
            optional(arg, "true")
        }
    }
}

/// One use of a flag that takes comma-separated texts.
#[derive(Clone, Debug)]
pub struct Csv(Vec<String>);

impl FromStr for Csv {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        Ok(Csv(split_csv(text)))
    }
}

/// One use of a flag that takes comma-separated `KEY=VALUE`.
#[derive(Clone, Debug)]
pub struct Pairs(Vec<String>);

impl FromStr for Pairs {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let pairs = split_pairs(text);
        match pairs.iter().find(|pair| !pair.contains('=')) {
            Some(bad) => Err(Problem(format!("{bad} must be formatted as key=value"))),
            None => Ok(Pairs(pairs)),
        }
    }
}

/// All that a flag was given, over all its uses.
pub trait Listed {
    fn list(&self) -> Vec<String>;
}

impl Listed for [Csv] {
    fn list(&self) -> Vec<String> {
        self.iter().flat_map(|use_| use_.0.clone()).collect()
    }
}

impl Listed for [Pairs] {
    fn list(&self) -> Vec<String> {
        self.iter().flat_map(|use_| use_.0.clone()).collect()
    }
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
pub fn parse_bool(value: &str) -> Result<bool, Problem> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Problem(format!(
            "strconv.ParseBool: parsing {value}: invalid syntax",
            value = GoQuoted(&value)
        ))),
    }
}

fn parse_int(value: &str) -> Result<i64, Problem> {
    gonum::int64(value)
}

/// Reads a Go duration (`300ms`, `-1.5h`, `2h45m`); the result is signed seconds.
pub fn parse_duration(text: &str) -> Result<f64, Problem> {
    Ok(gonum::duration(text)? as f64 / 1e9)
}

/// A signed duration in seconds as an unsigned `Duration`; what is negative becomes zero.
pub fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}

/// What has one `=` is one pair, whatever commas its value has.
fn split_pairs(text: &str) -> Vec<String> {
    if text.matches('=').count() == 1 {
        vec![text.trim_matches('"').to_string()]
    } else {
        split_csv(text)
    }
}

fn split_csv(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let (mut out, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    out.push(field);
    out
}

/// Whether the flag holds values of this type.
fn holds<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}

/// A flag that may stand without a value, then meaning this one.
fn optional(arg: Arg, missing: &'static str) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value(missing)
}

/// What a flag's value is when it is not given, as Go's zero values are.
fn zero(arg: &Arg) -> &'static str {
    if holds::<bool>(arg) {
        "false"
    } else if holds::<i64>(arg) {
        "0"
    } else if holds::<f64>(arg) {
        "0s"
    } else {
        ""
    }
}

/// A declared flag read as pflag reads it: booleans with an optional value, numbers and durations (`f64`, in seconds) in Go's form, nothing that
/// clap would ask for.
pub fn as_pflag(arg: Arg) -> Arg {
    let (zero, asked) = (zero(&arg), arg.is_required_set());
    let unset = arg.get_default_values().is_empty();
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if unset && (asked || switch) {
        arg.default_value(zero)
    } else {
        arg
    }
    .required(false);
    if holds::<bool>(&arg) {
        optional(arg, "true").value_parser(parse_bool)
    } else if holds::<i64>(&arg) {
        arg.value_parser(parse_int)
    } else if holds::<f64>(&arg) {
        arg.value_parser(parse_duration)
    } else {
        arg
    }
}

/// What `--help` shows as the flag's value when it is not given: the default, or the name of the value where the struct tells whether it was given.
pub fn shown_default(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::Append) {
        return "[]".into();
    }
    let default = arg.get_default_values().first();
    let named = arg.get_value_names().and_then(|names| names.first());
    let named = named.filter(|name| !name.eq_ignore_ascii_case(arg.get_id().as_str()));
    let value = match (default, named) {
        (Some(value), _) => value.to_string_lossy().into_owned(),
        (None, Some(name)) => name.to_string(),
        (None, None) => zero(arg).into(),
    };
    if holds::<String>(arg) {
        format!("'{value}'")
    } else {
        value
    }
}

/// Whether the flag may be given again and then adds to what it holds.
pub fn adds(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether the flag must have a value.
pub fn needs_value(arg: &Arg) -> bool {
    !arg.is_require_equals_set()
}

/// The declared flag of this long name.
pub fn named<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

/// The declared flag of this letter.
pub fn lettered(command: &Command, letter: char) -> Option<&Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_short() == Some(letter))
}

/// Where a word of one-letter flags (`-itn`) ends: at one that is not declared, at one that needs a value, or with the last.
enum End<'a> {
    /// The letters from the unknown one on.
    Unknown(&'a str),
    /// What stands behind the flag that needs a value.
    Value(&'a str),
    Letters,
}

fn end_of_letters<'a>(command: &Command, word: &'a str) -> End<'a> {
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
        Some(name) => named(command, name).is_some_and(needs_value),
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
        .map_err(|mistake| Problem(told(&mistake, &command, &joined)))?;
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
const OLD: &[(&str, &str)] = &[("record", "--record will be removed in the future")];

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

/// A mistake in pflag's words.
fn told(mistake: &clap::Error, command: &Command, words: &[String]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Args)]
    struct Flags {
        #[arg(long, short)]
        output: String,
        #[arg(long, short)]
        watch: bool,
        #[arg(long, short)]
        tty: bool,
        #[arg(long, short = 'L')]
        label: Vec<Csv>,
        #[arg(long, short)]
        env: Vec<String>,
        #[arg(long)]
        set: Vec<Pairs>,
        #[arg(long, default_value = "1")]
        replicas: i64,
        #[arg(long, default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "unchanged")]
        dry_run: String,
        #[arg(long)]
        tail: Option<i64>,
        #[arg(long)]
        since: f64,
    }

    const OLD: Refused = Refused::switch("old", "it is gone");

    fn read(line: &str) -> Result<(Flags, Line), String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let command = group::<Flags>(Command::new("")).mut_args(as_pflag);
        let line = super::read(&words, command.arg(OLD.arg())).map_err(|why| why.to_string())?;
        Ok((line.flags(), line))
    }

    #[test]
    fn values_are_found_wherever_they_stand() {
        let (f, line) = read(
            "a -ojson --watch -L a,b -L c -e x=1,2 -e y --dry-run --replicas -3 --since 1m b -- -o z",
        )
        .unwrap();
        assert_eq!(
            (f.output.as_str(), f.watch, f.dry_run.as_str(), f.replicas),
            ("json", true, "unchanged", -3)
        );
        assert_eq!(f.label.list(), ["a", "b", "c"]);
        assert_eq!(f.env, ["x=1,2", "y"]);
        assert_eq!((f.since, f.tail), (60.0, None));
        assert_eq!(line.args, ["a", "b", "-o", "z"]);
        assert_eq!(line.dash, Some(2));
        let (f, _) = read("-wto=name").unwrap();
        assert!(f.watch && f.tty && f.output == "name");
        assert!(!read("--watch=false").unwrap().0.watch);
        let (f, line) = read("-wo -- --dry_run=server --tail -1 --set a=b,c=d -t=false -").unwrap();
        assert_eq!((f.output.as_str(), f.dry_run.as_str()), ("--", "server"));
        assert_eq!((f.tail, f.tty, line.dash), (Some(-1), false, None));
        assert_eq!(
            (f.set.list(), line.args),
            (vec!["a=b".into(), "c=d".into()], vec!["-".into()])
        );
        let (f, line) = read("--output=a --output=b -o= --").unwrap();
        assert_eq!((f.output.as_str(), line.dash), ("", Some(0)));
    }

    #[test]
    fn mistakes_are_worded_as_pflag_words_them() {
        for (line, want) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("--nosuch=x", "unknown flag: --nosuch"),
            ("--no_such a", "unknown flag: --no-such"),
            ("-Z", "unknown shorthand flag: 'Z' in -Z"),
            ("-wZ", "unknown shorthand flag: 'Z' in -Z"),
            ("-w a -tZo", "unknown shorthand flag: 'Z' in -Zo"),
            ("---x", "bad flag syntax: ---x"),
            ("--=x", "bad flag syntax: --=x"),
            ("-o", "flag needs an argument: 'o' in -o"),
            ("-wo", "flag needs an argument: 'o' in -o"),
            ("--output", "flag needs an argument: --output"),
            (
                "--replicas=x",
                "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "--replicas x --nosuch",
                "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "-w=x",
                "invalid argument \"x\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "--watch=",
                "invalid argument \"\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"\": invalid syntax",
            ),
            (
                "--since 5",
                "invalid argument \"5\" for \"--since\" flag: time: missing unit in duration \"5\"",
            ),
            (
                "--set a=b,c=d,e",
                "invalid argument \"a=b,c=d,e\" for \"--set\" flag: e must be formatted as key=value",
            ),
            ("--old", "flag --old is not supported: it is gone"),
        ] {
            assert_eq!(read(line).map(drop).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn help_shows_what_a_flag_is_without_being_given() {
        let command = group::<Flags>(Command::new("")).mut_args(as_pflag);
        let shown = |name: &str| shown_default(named(&command, name).unwrap());
        for (name, want) in [
            ("output", "''"),
            ("watch", "false"),
            ("label", "[]"),
            ("replicas", "1"),
            ("dry-run", "'none'"),
            ("tail", "0"),
            ("since", "0s"),
        ] {
            assert_eq!(shown(name), want, "{name}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [
            ("1m30s", Some(90.0)),
            ("-1h", Some(-3600.0)),
            ("0", Some(0.0)),
            ("500ms", Some(0.5)),
            ("5", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text).ok(), want, "{text}");
        }
    }
}
