//! The tree of commands: what a verb declares, how a command line finds its verb, and how `--help` is laid out.
//! Invariant: every flag, alias and sub-command that works stands in a `Command`, so that help, completion and the parser cannot disagree.
//! Behaviour follows `github.com/spf13/cobra` and `staging/src/k8s.io/kubectl/pkg/util/templates`.

use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::flags::{self, Flag, Kind, Parsed};
use std::future::Future;
use std::pin::Pin;

/// What running a verb gives.
pub type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

/// How a command is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// It only holds sub-commands.
    Group,
    /// Called with the parsed flags.
    Verb(fn(Ctx) -> Running),
    /// Called with the arguments as they are (after the verb's name), before any runtime starts; returns the exit status.
    Raw(fn(Vec<String>) -> i32),
}

/// One command.
pub struct Command {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// Words that are not this command's but suggest it.
    pub suggest_for: &'static [&'static str],
    /// What follows the command's path in its usage line.
    pub usage: &'static str,
    pub short: &'static str,
    pub long: &'static str,
    /// One line an example; a line beginning with `#` explains those below it.
    pub examples: &'static str,
    pub flags: &'static [&'static [Flag]],
    pub required: &'static [&'static str],
    /// What its arguments may be, for completion; none where they are files or unknown.
    pub words: Option<Words>,
    /// The same of values of its own flags.
    pub values: &'static [(&'static str, Words)],
    pub subcommands: &'static [&'static Command],
    pub run: Run,
    /// Without a sub-command its help goes to standard output, though that is a mistake.
    pub help_is_output: bool,
    pub hidden: bool,
}

impl Command {
    /// What a command is before it says anything of itself.
    pub const NEW: Command = Command {
        name: "",
        aliases: &[],
        suggest_for: &[],
        usage: "",
        short: "",
        long: "",
        examples: "",
        flags: &[],
        required: &[],
        words: None,
        values: &[],
        subcommands: &[],
        run: Run::Group,
        help_is_output: false,
        hidden: false,
    };

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    fn runs(&self) -> bool {
        !matches!(self.run, Run::Group)
    }
}

/// The command that a command line names, its path, and what is left of the line.
pub struct Found {
    pub command: &'static Command,
    pub path: String,
    pub rest: Vec<String>,
    /// The word where a sub-command was looked for and none was found.
    pub unknown: Option<String>,
}

/// Walks down the tree: flags before a sub-command's name are kept for it.
pub fn find(
    root: &'static Command,
    program: &str,
    args: &[String],
    globals: &'static [Flag],
) -> Found {
    let mut found = Found {
        command: root,
        path: program.to_string(),
        rest: args.to_vec(),
        unknown: None,
    };
    while !found.command.subcommands.is_empty() {
        let mut declared: Vec<&[Flag]> = found.command.flags.to_vec();
        declared.push(globals);
        let Some(at) = first_word(&found.rest, &declared) else {
            break;
        };
        let Some(next) = found
            .command
            .subcommands
            .iter()
            .find(|c| c.is_called(&found.rest[at]))
        else {
            found.unknown = Some(found.rest[at].clone());
            break;
        };
        found.rest.remove(at);
        found.command = next;
        found.path = format!("{} {}", found.path, next.name);
    }
    found
}

fn first_word(args: &[String], declared: &[&[Flag]]) -> Option<usize> {
    let mut at = 0;
    while at < args.len() {
        let arg = &args[at];
        if arg == "--" {
            return None;
        }
        if !arg.starts_with('-') || arg == "-" {
            return Some(at);
        }
        at += if flags::takes_next(arg, declared) {
            2
        } else {
            1
        };
    }
    None
}

/// Reads the flags of a found command.
pub fn read(found: &Found, globals: &'static [Flag]) -> Result<Parsed> {
    let mut declared: Vec<&[Flag]> = found.command.flags.to_vec();
    declared.push(globals);
    declared.push(HELP);
    let parsed = flags::parse(&found.rest, &declared)
        .map_err(|e| Error::msg(format!("{e}\nSee '{} --help' for usage.", found.path)))?;
    if parsed.bool("help") {
        return Ok(parsed);
    }
    let missing: Vec<String> = found
        .command
        .required
        .iter()
        .filter(|n| !parsed.changed(n))
        .map(|n| quote(n))
        .collect();
    if missing.is_empty() {
        Ok(parsed)
    } else {
        Err(Error::msg(format!(
            "required flag(s) {} not set",
            missing.join(", ")
        )))
    }
}

/// The flag that every command has.
pub const HELP: &[Flag] = &[Flag::bool("help", 'h', false, "Show this text")];

/// The error for a word that is no command, with those that it may have meant.
pub fn unknown(root: &Command, program: &str, word: &str) -> Error {
    let lower = word.to_lowercase();
    let near: Vec<&str> = root
        .subcommands
        .iter()
        .filter(|c| !c.hidden)
        .filter(|c| {
            distance(&lower, &c.name.to_lowercase()) <= 2
                || c.name.to_lowercase().starts_with(&lower)
                || c.suggest_for.iter().any(|s| s.eq_ignore_ascii_case(word))
        })
        .map(|c| c.name)
        .collect();
    let mut text = format!("unknown command {} for {}", quote(word), quote(program));
    if !near.is_empty() {
        text += "\n\nDid you mean this?\n";
        near.iter().for_each(|n| text += &format!("\t{n}\n"));
    }
    Error::msg(text)
}

/// How many letters must be changed, added or removed to make one word of the other.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = if x == y {
                corner
            } else {
                1 + corner.min(row[j]).min(row[j + 1])
            };
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

/// The help of one command.
pub fn help(root: &Command, found: &Found) -> String {
    let c = found.command;
    let program = found.path.split(' ').next().unwrap_or("kubectl");
    let mut sections = vec![if c.long.is_empty() {
        c.short.to_string()
    } else {
        c.long.replace("kubectl", program).trim().to_string()
    }];
    if !c.aliases.is_empty() {
        sections.push(format!("Aliases:\n{}, {}", c.name, c.aliases.join(", ")));
    }
    if !c.examples.is_empty() {
        let lines: Vec<String> = c
            .examples
            .trim_matches('\n')
            .lines()
            .map(|l| format!("  {}", l.trim()).replace("kubectl", program))
            .collect();
        sections.push(format!("Examples:\n{}", lines.join("\n")));
    }
    if !c.subcommands.is_empty() {
        sections.push(subcommand_list(root, c));
    }
    let visible = c
        .flags
        .iter()
        .flat_map(|g| g.iter())
        .filter(|f| f.refused.is_empty());
    let options = flag_list(visible);
    if !options.is_empty() {
        sections.push(format!("Options:\n{}", options.trim_end()));
    }
    if !std::ptr::eq(root, c) {
        let usage: Vec<&str> = ["Usage:\n ", &found.path, c.usage, "[options]"]
            .into_iter()
            .filter(|w| !w.is_empty() && (*w != "[options]" || !c.usage.contains(w)))
            .collect();
        sections.push(usage.join(" "));
    }
    let mut tail = String::new();
    if !c.subcommands.is_empty() {
        tail += &format!(
            "Use \"{} <command> --help\" for more information about a given command.\n",
            found.path
        );
    }
    if c.runs() || !c.subcommands.is_empty() {
        tail += &format!(
            "Use \"{program} options\" for a list of global command-line options (applies to all commands).\n"
        );
    }
    format!("{}\n\n{}", sections.join("\n\n"), tail)
}

/// The help of a command that was found by its path alone.
pub fn help_of(command: &'static Command, path: &str) -> String {
    let found = Found {
        command,
        path: path.to_string(),
        rest: Vec::new(),
        unknown: None,
    };
    help(command, &found)
}

fn subcommand_list(root: &Command, c: &Command) -> String {
    let width = c
        .subcommands
        .iter()
        .map(|s| s.name.len())
        .max()
        .unwrap_or(0)
        .max(11);
    let line = |s: &Command| format!("  {:width$}   {}", s.name, s.short);
    if std::ptr::eq(root, c) {
        let mut out = Vec::new();
        for (title, names) in crate::cmd::GROUPS {
            let lines: Vec<String> = names
                .iter()
                .filter_map(|n| c.subcommands.iter().find(|s| s.name == *n))
                .map(|s| line(s))
                .collect();
            out.push(format!("{title}\n{}", lines.join("\n")));
        }
        return out.join("\n\n");
    }
    let mut names: Vec<&&Command> = c.subcommands.iter().filter(|s| !s.hidden).collect();
    names.sort_by_key(|s| s.name);
    format!(
        "Available Commands:\n{}",
        names.iter().map(|s| line(s)).collect::<Vec<_>>().join("\n")
    )
}

/// The flags with their defaults and what they do, sorted by name.
pub fn flag_list<'a>(list: impl Iterator<Item = &'a Flag>) -> String {
    let mut all: Vec<&Flag> = list.collect();
    all.sort_by_key(|f| f.name);
    all.iter()
        .map(|f| {
            let default = match f.kind {
                Kind::Str => format!("'{}'", f.default),
                Kind::Slice | Kind::Array | Kind::Pairs => "[]".to_string(),
                Kind::Bool | Kind::Int | Kind::Duration => f.default.to_string(),
            };
            let short = if f.short == '\0' {
                String::new()
            } else {
                format!("-{}, ", f.short)
            };
            format!("    {short}--{}={default}:\n\t{}\n\n", f.name, f.help)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, want) in [
            ("gett", "get", 1),
            ("gett", "set", 2),
            ("", "abc", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(a, b), want);
        }
    }
}
