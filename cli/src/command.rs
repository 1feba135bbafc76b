//! The tree of commands: what a verb declares, how a command line finds its verb, and how `--help` is laid out.
//! Invariant: every flag, alias and sub-command that works stands in a `Command`, so that help, completion and the parser cannot disagree.
//! Behaviour follows `github.com/spf13/cobra` and `staging/src/k8s.io/kubectl/pkg/util/templates`.

use crate::complete::Words;
use crate::context::{Ctx, Global, Shared};
use crate::error::{Error, Result, message, quote};
use crate::flags::{self, Group, Line, Refused};
use clap::{Arg, Command as Declared};
use std::future::Future;
use std::pin::Pin;

/// What running a verb gives.
pub type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

/// How a command is run. The verbs have flags of their own, and read them with the types that they declare: `verb!` and `raw!` see to it.
#[derive(Clone, Copy)]
pub enum Run {
    /// It only holds sub-commands.
    Group,
    /// Called with the flags and what is made of them.
    Verb {
        own: Group,
        start: fn(Ctx) -> Running,
    },
    /// Called with the flags before any runtime starts, without the flags that all verbs have; returns the exit status.
    Raw { own: Group, start: fn(Line) -> i32 },
}

/// `verb!(run: Flags)`: a verb whose own flags are `Flags`, run by `run`; more arguments of `run` may follow. One that is `interruptible` ends as a signal ends it.
macro_rules! verb {
    (interruptible $run:path: $flags:ty) => {
        $crate::command::Run::Verb {
            own: $crate::flags::group::<$flags>,
            start: |ctx| Box::pin($crate::remote::interruptible($run(ctx.with::<$flags>()))),
        }
    };
    ($run:path: $flags:ty $(, $more:expr)*) => {
        $crate::command::Run::Verb {
            own: $crate::flags::group::<$flags>,
            start: |ctx| Box::pin($run(ctx.with::<$flags>() $(, $more)*)),
        }
    };
}
/// `raw!(run: Flags)`: the same for a verb that makes a runtime of its own.
macro_rules! raw {
    ($run:path: $flags:ty) => {
        $crate::command::Run::Raw {
            own: $crate::flags::group::<$flags>,
            start: |line| $run(line.flags::<$flags>(), line),
        }
    };
}
pub(crate) use {raw, verb};

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
    /// Flags that it shares with others, beside its own.
    pub flags: &'static [Group],
    /// Defaults of shared flags that are others here.
    pub defaults: &'static [(&'static str, &'static str)],
    pub refused: &'static [Refused],
    /// Flags of its own that kubectl has not: under its name they are unknown.
    pub beyond: &'static [&'static str],
    /// Flags of its own that are unknown unless a variable of the environment is `true`.
    pub gated: &'static [(&'static str, &'static str)],
    pub required: &'static [&'static str],
    /// What its arguments may be, for completion; none where they are files or unknown.
    pub words: Option<Words>,
    /// The same of values of its own flags.
    pub values: &'static [(&'static str, Words)],
    pub subcommands: &'static [&'static Command],
    pub run: Run,
    /// The exit status of a mistake in its flags, where that is not 1.
    pub flag_mistakes: i32,
    /// Without a sub-command its help goes to standard output, though that is a mistake.
    pub help_is_output: bool,
    pub hidden: bool,
    /// An argument `-` is its standard input.
    pub reads_stdin: bool,
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
        defaults: &[],
        refused: &[],
        beyond: &[],
        gated: &[],
        required: &[],
        words: None,
        values: &[],
        subcommands: &[],
        run: Run::Group,
        flag_mistakes: 1,
        help_is_output: false,
        hidden: false,
        reads_stdin: false,
    };

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    fn runs(&self) -> bool {
        !matches!(self.run, Run::Group)
    }

    /// The flags that it declares and that are supported.
    pub fn declared(&self) -> Declared {
        let own = match self.run {
            Run::Group => None,
            Run::Verb { own, .. } | Run::Raw { own, .. } => Some(own),
        };
        let groups = own.iter().chain(self.flags);
        let declared = groups.fold(Declared::new(""), |declared, group| group(declared));
        let default = |arg: &Arg| {
            let mut defaults = self.defaults.iter();
            let own = defaults.find(|(name, _)| arg.get_long() == Some(name));
            own.map(|(_, default)| *default)
        };
        let beyond = |arg: &Arg| {
            let mut names = self.beyond.iter();
            let beyond = is_kubectl() && names.any(|name| arg.get_long() == Some(name));
            let mut gated = self.gated.iter();
            beyond || gated.any(|(name, switch)| arg.get_long() == Some(name) && !is_on(switch))
        };
        let mut hidden = 0;
        declared.mut_args(|arg| match default(&arg) {
            Some(default) => flags::as_pflag(arg.default_value(default)),
            None if beyond(&arg) => {
                hidden += 1;
                let arg = flags::as_pflag(arg).long(None::<&'static str>).hide(true);
                arg.short(char::from_u32(NOBODYS as u32 + 0x1000 + hidden))
            }
            None => flags::as_pflag(arg),
        })
    }

    /// All that may stand on its command line: what it declares before what all commands have, and out of reach what helpers of several verbs look at.
    pub fn whole(&self) -> Declared {
        let refused = self.refused.iter().map(Refused::arg);
        let mut whole = self.declared().args(refused);
        if !matches!(self.run, Run::Raw { .. }) {
            whole = beneath(whole, globals());
        }
        whole = beneath(whole, [help_flag()]);
        let known = |arg: &Arg| {
            whole
                .get_arguments()
                .any(|known| known.get_id() == arg.get_id())
        };
        let unknown: Vec<Arg> = args_of(flags::group::<Shared>)
            .filter(|arg| !known(arg))
            .collect();
        unknown.into_iter().fold(whole, out_of_reach)
    }
}

/// The flags of a group, as they are read.
fn args_of(group: Group) -> impl Iterator<Item = Arg> {
    let declared = group(Declared::new("")).mut_args(flags::as_pflag);
    declared
        .get_arguments()
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
}

/// The flags that every command takes.
pub fn globals() -> impl Iterator<Item = Arg> {
    args_of(flags::group::<Global>)
}

/// The flag that every command has.
pub fn help_flag() -> Arg {
    flags::as_pflag(
        Arg::new("help")
            .long("help")
            .short('h')
            .help("Show this text")
            .action(clap::ArgAction::SetTrue)
            .value_parser(clap::value_parser!(bool)),
    )
}

/// Adds flags below those that are there: a name that is taken is out of reach, a letter that is taken is left out.
fn beneath(declared: Declared, args: impl IntoIterator<Item = Arg>) -> Declared {
    args.into_iter().fold(declared, |declared, arg| {
        let taken = arg
            .get_long()
            .is_some_and(|name| flags::named(&declared, name).is_some());
        let short = arg
            .get_short()
            .filter(|letter| flags::lettered(&declared, *letter).is_none());
        if taken {
            out_of_reach(declared, arg)
        } else {
            declared.arg(arg.short(short))
        }
    })
}

/// The first of the letters that nobody writes.
const NOBODYS: char = '\u{f0000}';

static KUBECTL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();

/// Remembers by which name the program was called.
pub fn called(program: &str) {
    KUBECTL.get_or_init(|| program == "kubectl");
}

/// Whether a variable of the environment turns something on that is off unless it is asked for.
fn is_on(switch: &str) -> bool {
    std::env::var(switch).is_ok_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Whether the program was called by kubectl's name.
pub fn is_kubectl() -> bool {
    KUBECTL.get().copied().unwrap_or(false)
}

/// Adds a flag that cannot be given, so that it has its default: its letter is none that anybody writes.
fn out_of_reach(declared: Declared, arg: Arg) -> Declared {
    let count = declared.get_arguments().count() as u32;
    let letter = char::from_u32(NOBODYS as u32 + count);
    declared.arg(arg.long(None::<&'static str>).short(letter))
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
pub fn find(root: &'static Command, program: &str, args: &[String]) -> Found {
    let mut found = Found {
        command: root,
        path: program.to_string(),
        rest: args.to_vec(),
        unknown: None,
    };
    while !found.command.subcommands.is_empty() {
        let Some(at) = first_word(&found.rest, found.command) else {
            break;
        };
        let mut below = found.command.subcommands.iter();
        let Some(next) = below.find(|c| c.is_called(&found.rest[at])) else {
            found.unknown = Some(found.rest[at].clone());
            break;
        };
        found.rest.remove(at);
        found.command = next;
        found.path = format!("{} {}", found.path, next.name);
    }
    found
}

fn first_word(args: &[String], command: &Command) -> Option<usize> {
    let mut at = 0;
    // Most lines have no flags there.
    let mut declared = None;
    while args.get(at).is_some_and(|arg| flags::is_flag(arg)) {
        if args[at] == "--" {
            return None;
        }
        let declared = declared.get_or_insert_with(|| command.whole());
        at += 1 + usize::from(flags::takes_next(declared, &args[at]));
    }
    (at < args.len()).then_some(at)
}

/// Reads the flags of a found command; nothing if the line asks for its help.
pub fn read(found: &Found) -> Result<Option<Line>> {
    let declared = found.command.whole();
    let line = flags::read(&found.rest, declared.clone()).map_err(|e| {
        match found.command.flag_mistakes {
            1 => message!("{e}\nSee '{} --help' for usage.", found.path),
            status => Error::Plain(
                format!("error: {e}\nSee '{} -h' for help and examples", found.path),
                status,
            ),
        }
    })?;
    for old in flags::old_flags(&line, &declared) {
        eprintln!("{old}");
    }
    if line.asks_for_help() {
        return Ok(None);
    }
    let given = |name: &str| flags::named(&declared, name).is_some_and(|arg| line.given(arg));
    let required = found.command.required.iter();
    let missing: Vec<String> = required.filter(|n| !given(n)).map(|n| quote(n)).collect();
    if missing.is_empty() {
        Ok(Some(line))
    } else {
        Err(message!("required flag(s) {} not set", missing.join(", ")))
    }
}

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
    let options = flag_list(c.declared().get_arguments());
    if !options.is_empty() {
        sections.push(format!("Options:\n{}", options.trim_end()));
    }
    if !std::ptr::eq(root, c) {
        let usage: Vec<&str> = ["Usage:\n ", &found.path, c.usage, "[options]"]
            .into_iter()
            .filter(|w| !w.is_empty() && (*w != "[options]" || !c.usage.contains(w)))
            .collect();
        sections.push(usage.join(" "));
    } else {
        sections.push(format!("Usage:\n  {program} [flags] [options]"));
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
            match lines.is_empty() {
                true if names.is_empty() => out.push(title.to_string()),
                true => {}
                false => out.push(format!("{title}\n{}", lines.join("\n"))),
            }
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
pub fn flag_list<'a>(list: impl Iterator<Item = &'a Arg>) -> String {
    let mut all: Vec<&Arg> = list.filter(|arg| !arg.is_hide_set()).collect();
    all.sort_by_key(|arg| arg.get_long());
    let line = |arg: &&Arg| {
        let short = arg
            .get_short()
            .map_or_else(String::new, |letter| format!("-{letter}, "));
        let (name, help) = (arg.get_long().unwrap_or(""), arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        format!(
            "    {short}--{name}={}:\n\t{help}\n\n",
            flags::shown_default(arg)
        )
    };
    all.iter().map(line).collect()
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
