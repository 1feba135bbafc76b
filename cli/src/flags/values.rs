//! What values of flags are: lists, pairs, booleans, numbers and durations in Go's form.

use std::str::FromStr;
use std::time::Duration;

use skiff_api::machinery::gonum;
use skiff_api::machinery::quote::GoQuoted;

use super::Problem;

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

/// `strconv.ParseInt(value, 0, 64)`.
pub fn parse_int(value: &str) -> Result<i64, Problem> {
    gonum::literal(value)
}

/// `strconv.ParseInt(value, 0, 32)`.
pub fn parse_int32(value: &str) -> Result<i32, Problem> {
    gonum::literal(value)
}

/// Reads a Go duration (`300ms`, `-1.5h`, `2h45m`); the result is signed seconds.
pub fn parse_duration(text: &str) -> Result<f64, Problem> {
    Ok(gonum::duration(text)? as f64 / 1e9)
}

/// How much single files log: patterns of their names, and levels.
#[derive(Clone, Debug, Default)]
pub struct Modules(Vec<(String, i64)>);

impl Modules {
    /// The level of a file, named without its ending; nothing if no pattern fits.
    pub fn level(&self, file: &str) -> Option<i64> {
        let fits = |(pattern, _): &&(String, i64)| fits(pattern.as_bytes(), file.as_bytes());
        self.0.iter().find(fits).map(|(_, level)| *level)
    }
}

/// Whether a pattern with `*` and `?` fits a name.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        (Some((b'?', rest)), Some((_, name))) => fits(rest, name),
        (Some((a, rest)), Some((b, name))) => a == b && fits(rest, name),
        _ => false,
    }
}

/// Reads `FILE=LEVEL,…`.
///
/// # Errors
/// What klog says of a text that is none.
pub fn modules(text: &str) -> Result<Modules, Problem> {
    const SYNTAX: &str = "syntax error: expect comma-separated list of filename=N";
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let pair = part
            .split_once('=')
            .filter(|(file, level)| !file.is_empty() && !level.is_empty() && !level.contains('='));
        let (file, level) = pair.ok_or_else(|| Problem(SYNTAX.into()))?;
        let level: i64 = level.parse().map_err(|_| Problem(SYNTAX.into()))?;
        if level < 0 {
            return Err(Problem("negative value for vmodule level".into()));
        }
        if level > 0 {
            all.push((file.to_string(), level));
        }
    }
    Ok(Modules(all))
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
