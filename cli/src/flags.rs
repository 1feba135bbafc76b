//! Command-line flags as kubectl reads them: long and short names, `--name=value` and `--name value`, bundled short flags, flags whose value may be
//! left out, lists that a repeated flag extends, and everything after `--` taken as it is.
//! Invariant: a flag that the verb did not declare is an error that names it, and a declared flag that is not supported here is refused by name.
//! Behaviour follows `github.com/spf13/pflag`, as `staging/src/k8s.io/kubectl/pkg/cmd` uses it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use skiff_api::machinery::gonum;

/// What a flag's value is, which decides how it is checked and whether it may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the value may be left out.
    Bool,
    /// Any text; the last one wins.
    Str,
    /// A signed integer.
    Int,
    /// A Go duration such as `1m30s`.
    Duration,
    /// Comma-separated texts; each use adds to the list.
    Slice,
    /// Texts taken whole; each use adds one to the list.
    Array,
    /// Comma-separated `KEY=VALUE`; each use adds to the list.
    Pairs,
}

/// One declared flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    /// The one-letter name, or `'\0'` for none.
    pub short: char,
    pub kind: Kind,
    /// The default as `--help` shows it; empty for lists.
    pub default: &'static str,
    /// The value that a flag without one has; empty when a value is needed.
    pub no_opt: &'static str,
    pub help: &'static str,
    /// Why the flag is refused; empty when it works.
    pub refused: &'static str,
}

impl Flag {
    const fn new(
        name: &'static str,
        short: char,
        kind: Kind,
        default: &'static str,
        no_opt: &'static str,
        help: &'static str,
    ) -> Self {
        Flag {
            name,
            short,
            kind,
            default,
            no_opt,
            help,
            refused: "",
        }
    }
    pub const fn bool(name: &'static str, short: char, default: bool, help: &'static str) -> Self {
        Self::new(
            name,
            short,
            Kind::Bool,
            if default { "true" } else { "false" },
            "true",
            help,
        )
    }
    pub const fn str(
        name: &'static str,
        short: char,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(name, short, Kind::Str, default, "", help)
    }
    /// A text whose flag may stand without a value, then meaning `no_opt`.
    pub const fn optional(name: &'static str, no_opt: &'static str, help: &'static str) -> Self {
        Self::new(name, '\0', Kind::Str, "", no_opt, help)
    }
    pub const fn int(
        name: &'static str,
        short: char,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(name, short, Kind::Int, default, "", help)
    }
    pub const fn duration(
        name: &'static str,
        short: char,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(name, short, Kind::Duration, default, "", help)
    }
    pub const fn slice(name: &'static str, short: char, help: &'static str) -> Self {
        Self::new(name, short, Kind::Slice, "", "", help)
    }
    pub const fn pairs(name: &'static str, short: char, help: &'static str) -> Self {
        Self::new(name, short, Kind::Pairs, "", "", help)
    }
    pub const fn array(name: &'static str, short: char, help: &'static str) -> Self {
        Self::new(name, short, Kind::Array, "", "", help)
    }
    /// The value that the flag has when it is given without one.
    pub const fn no_opt(mut self, value: &'static str) -> Self {
        self.no_opt = value;
        self
    }
    /// Declares a flag of kubectl that is not supported here: using it is an error that says why.
    pub const fn refused(mut self, why: &'static str) -> Self {
        self.refused = why;
        self
    }

    fn label(&self) -> String {
        if self.short == '\0' {
            format!("--{}", self.name)
        } else {
            format!("-{}, --{}", self.short, self.name)
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let wrong = match self.kind {
            Kind::Bool => parse_bool(value).err(),
            Kind::Int => parse_int(value).err(),
            Kind::Duration => parse_duration(value).err(),
            Kind::Pairs => split_pairs(value)
                .iter()
                .find(|p| !p.contains('='))
                .map(|p| format!("{p} must be formatted as key=value")),
            Kind::Str | Kind::Slice | Kind::Array => None,
        };
        match wrong {
            Some(why) => Err(format!(
                "invalid argument {:?} for {:?} flag: {why}",
                value,
                self.label()
            )),
            None if !self.refused.is_empty() => Err(format!(
                "flag --{} is not supported: {}",
                self.name, self.refused
            )),
            None => Ok(()),
        }
    }
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
pub fn parse_bool(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {value:?}: invalid syntax"
        )),
    }
}

fn parse_int(value: &str) -> Result<i64, String> {
    gonum::int64(value).map_err(String::from)
}

/// Reads a Go duration (`300ms`, `-1.5h`, `2h45m`); the result is signed seconds.
pub fn parse_duration(text: &str) -> Result<f64, String> {
    Ok(gonum::duration(text)? as f64 / 1e9)
}

/// A signed duration in seconds as an unsigned `Duration`; what is negative becomes zero.
pub fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}

/// What the command line held: flags by name, and the arguments between them.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    declared: HashMap<&'static str, Flag>,
    /// Flags of the verb that hide those of the same name that all verbs have.
    shadowed: HashSet<&'static str>,
    given: HashMap<&'static str, Vec<String>>,
    /// The arguments that are not flags.
    pub args: Vec<String>,
    /// How many of `args` came before a `--`, if there was one.
    pub dash: Option<usize>,
}

impl Parsed {
    fn flag(&self, name: &str) -> &Flag {
        self.declared
            .get(name)
            .unwrap_or_else(|| panic!("flag --{name} is read by a verb that does not declare it"))
    }
    /// Whether the flag stood on the command line.
    pub fn changed(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }
    /// Whether the flag is the verb's own, and hides one that all verbs have.
    pub fn hides_global(&self, name: &str) -> bool {
        self.shadowed.contains(name)
    }
    /// Whether the verb declares the flag.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }
    /// A text flag's value, or its default.
    pub fn str(&self, name: &str) -> &str {
        let flag = self.flag(name);
        self.given
            .get(name)
            .and_then(|v| v.last())
            .map_or(flag.default, String::as_str)
    }
    pub fn bool(&self, name: &str) -> bool {
        parse_bool(self.str(name)).unwrap_or(false)
    }
    pub fn int(&self, name: &str) -> i64 {
        parse_int(self.str(name)).unwrap_or(0)
    }
    /// A duration flag's value in seconds, possibly negative.
    pub fn duration(&self, name: &str) -> f64 {
        parse_duration(self.str(name)).unwrap_or(0.0)
    }
    /// A list flag's values in the order given; commas split a `Slice`.
    pub fn list(&self, name: &str) -> Vec<String> {
        let split = match self.flag(name).kind {
            Kind::Slice => split_csv,
            Kind::Pairs => split_pairs,
            _ => |whole: &str| vec![whole.to_string()],
        };
        self.given
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .flat_map(|v| split(v))
            .collect()
    }
    /// Sets a flag as if it had been given, for verbs that call others.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.given.insert(name, vec![value.to_string()]);
    }
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

/// Reads a command line against the declared flags; a flag of an earlier group hides one of a later group.
///
/// # Errors
/// The text of the first mistake, in pflag's words.
pub fn parse(args: &[String], declared: &[&[Flag]]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    for flag in declared.iter().flat_map(|g| g.iter()) {
        if parsed.declared.contains_key(flag.name) {
            parsed.shadowed.insert(flag.name);
        } else if flag.short == '\0' || !parsed.declared.values().any(|f| f.short == flag.short) {
            parsed.declared.insert(flag.name, *flag);
        } else {
            parsed.declared.insert(
                flag.name,
                Flag {
                    short: '\0',
                    ..*flag
                },
            );
        }
    }
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            parsed.dash = Some(parsed.args.len());
            parsed.args.extend(rest.by_ref().cloned());
        } else if let Some(long) = arg.strip_prefix("--") {
            parse_long(&mut parsed, arg, long, &mut rest)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            parse_short(&mut parsed, arg, &mut rest)?;
        } else {
            parsed.args.push(arg.clone());
        }
    }
    Ok(parsed)
}

fn store(parsed: &mut Parsed, flag: Flag, value: &str) -> Result<(), String> {
    flag.check(value)?;
    parsed
        .given
        .entry(flag.name)
        .or_default()
        .push(value.to_string());
    Ok(())
}

fn parse_long<'a>(
    parsed: &mut Parsed,
    arg: &str,
    long: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let (name, value) = match long.split_once('=') {
        Some((n, v)) => (n, Some(v)),
        None => (long, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(format!("bad flag syntax: {arg}"));
    }
    let name = name.replace('_', "-");
    let flag = *parsed
        .declared
        .get(name.as_str())
        .ok_or_else(|| format!("unknown flag: --{name}"))?;
    match value {
        Some(v) => store(parsed, flag, v),
        None if !flag.no_opt.is_empty() => store(parsed, flag, flag.no_opt),
        None => {
            let v = rest
                .next()
                .ok_or_else(|| format!("flag needs an argument: --{name}"))?;
            store(parsed, flag, v)
        }
    }
}

fn parse_short<'a>(
    parsed: &mut Parsed,
    arg: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let mut letters = &arg[1..];
    while let Some(letter) = letters.chars().next() {
        let after = &letters[letter.len_utf8()..];
        let flag = *parsed
            .declared
            .values()
            .find(|f| f.short == letter)
            .ok_or_else(|| format!("unknown shorthand flag: {letter:?} in -{letters}"))?;
        if let Some(value) = after.strip_prefix('=') {
            return store(parsed, flag, value);
        }
        if !flag.no_opt.is_empty() {
            store(parsed, flag, flag.no_opt)?;
            letters = after;
            continue;
        }
        if !after.is_empty() {
            return store(parsed, flag, after);
        }
        let v = rest
            .next()
            .ok_or_else(|| format!("flag needs an argument: {letter:?} in -{letters}"))?;
        return store(parsed, flag, v);
    }
    Ok(())
}

/// Whether this argument is a flag that takes its value from the next argument.
pub fn takes_next(arg: &str, declared: &[&[Flag]]) -> bool {
    let all = || declared.iter().flat_map(|g| g.iter());
    if arg.contains('=') {
        return false;
    }
    if let Some(long) = arg.strip_prefix("--") {
        return all().any(|f| f.name == long && f.no_opt.is_empty());
    }
    match arg.chars().nth(1) {
        Some(letter) if arg.len() == 2 => all().any(|f| f.short == letter && f.no_opt.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::str("output", 'o', "", ""),
        Flag::bool("watch", 'w', false, ""),
        Flag::bool("tty", 't', false, ""),
        Flag::slice("label", 'L', ""),
        Flag::array("env", 'e', ""),
        Flag::int("replicas", '\0', "1", ""),
        Flag::str("dry-run", '\0', "none", "").no_opt("unchanged"),
        Flag::bool("old", '\0', false, "").refused("it is gone"),
    ];

    fn run(line: &str) -> Result<Parsed, String> {
        parse(
            &line
                .split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>(),
            &[FLAGS],
        )
    }

    #[test]
    fn values_are_found_wherever_they_stand() {
        let p = run("a -ojson --watch -L a,b -L c -e x=1,2 -e y --dry-run --replicas -3 b -- -o z")
            .unwrap();
        assert_eq!(
            (
                p.str("output"),
                p.bool("watch"),
                p.str("dry-run"),
                p.int("replicas")
            ),
            ("json", true, "unchanged", -3)
        );
        assert_eq!(p.list("label"), ["a", "b", "c"]);
        assert_eq!(p.list("env"), ["x=1,2", "y"]);
        assert_eq!(p.args, ["a", "b", "-o", "z"]);
        assert_eq!(p.dash, Some(2));
        let p = run("-wto=name").unwrap();
        assert!(p.bool("watch") && p.bool("tty") && p.str("output") == "name");
        assert!(!run("--watch=false").unwrap().bool("watch"));
    }

    #[test]
    fn mistakes_are_worded_as_pflag_words_them() {
        for (line, want) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("-Z", "unknown shorthand flag: 'Z' in -Z"),
            ("-wZ", "unknown shorthand flag: 'Z' in -Z"),
            ("-o", "flag needs an argument: 'o' in -o"),
            ("--output", "flag needs an argument: --output"),
            (
                "--replicas=x",
                "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "--watch=x",
                "invalid argument \"x\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("--old", "flag --old is not supported: it is gone"),
        ] {
            assert_eq!(run(line).unwrap_err(), want, "{line}");
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
