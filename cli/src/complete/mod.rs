//! What may stand next on a command line: `__complete WORDS… LAST`, which the shells' scripts call while a user types.
//! Invariant: it changes nothing, and whatever goes wrong ends in no words and a directive: a shell's prompt never breaks.
//! Behaviour follows `github.com/spf13/cobra` (`completions.go`).

mod words;

use crate::command::{self, Command, Found, Run};
use crate::context::Ctx;
use crate::error::{Result, bail, message};
use crate::flags::{self, Line};
use crate::kuberc::{self, Policy};
use crate::print;
use clap::Arg;
pub use words::Words;

/// The names by which the scripts call, and whether what words mean is told, too.
pub const CALLS: &[(&str, bool)] = &[("__complete", true), ("__completeNoDesc", false)];

/// What the shell is to do with the words, as bits.
pub type Directive = u8;
pub const DEFAULT: Directive = 0;
pub const NO_SPACE: Directive = 2;
pub const NO_FILES: Directive = 4;
pub const FILE_ENDINGS: Directive = 8;

const NAMES: &[(Directive, &str)] = &[
    (NO_SPACE, "ShellCompDirectiveNoSpace"),
    (NO_FILES, "ShellCompDirectiveNoFileComp"),
    (FILE_ENDINGS, "ShellCompDirectiveFilterFileExt"),
];

/// Words (behind a tab, what they mean) and what to do with them.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub words: Vec<String>,
    pub directive: Directive,
}

impl Answer {
    pub fn new(words: Vec<String>, directive: Directive) -> Self {
        Answer { words, directive }
    }

    fn named(directive: Directive) -> String {
        let names: Vec<&str> = NAMES
            .iter()
            .filter(|(bit, _)| directive & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        if names.is_empty() {
            "ShellCompDirectiveDefault".into()
        } else {
            names.join(", ")
        }
    }

    fn text(&self, described: bool) -> String {
        let shown = |word: &String| {
            let word = if described {
                word.as_str()
            } else {
                word.split('\t').next().unwrap_or("")
            };
            word.lines().next().unwrap_or("").trim().to_string() + "\n"
        };
        self.words.iter().map(shown).collect::<String>() + &format!(":{}\n", self.directive)
    }
}

/// Answers the words after the call's name, the last of which is not yet whole.
///
/// # Errors
/// No word at all.
pub async fn run(
    root: &'static Command,
    program: &str,
    args: &[String],
    described: bool,
) -> Result<()> {
    let Some((last, before)) = args.split_last() else {
        bail!("requires at least 1 arg(s), only received 0");
    };
    let answer = match kuberc::policy(before) {
        Ok(policy) => answer(root, program, &policy, before, last).await,
        Err(why) => Err(why),
    };
    let answer = answer.unwrap_or_else(|why| {
        eprintln!("[Debug] [Error] {why}");
        Answer::default()
    });
    print::put(&answer.text(described))?;
    eprintln!(
        "Completion ended with directive: {}",
        Answer::named(answer.directive)
    );
    Ok(())
}

/// A word that begins as the user's does, with what it means.
fn begun(name: &str, means: &str, with: &str) -> Option<String> {
    name.starts_with(with).then(|| format!("{name}\t{means}"))
}

async fn answer(
    root: &'static Command,
    program: &str,
    policy: &Policy,
    before: &[String],
    last: &str,
) -> Result<Answer> {
    if before.first().is_some_and(|word| word == "help") {
        return Ok(help(root, program, &before[1..], last));
    }
    let mut found = command::find(root, program, before);
    if std::ptr::eq(found.command, root) && found.unknown.is_some() {
        return words::of_plugin(before, last).ok_or_else(|| {
            message!(
                "unable to find a command for arguments: [{}]",
                before.join(" ")
            )
        });
    }
    if matches!(found.command.run, Run::Raw { .. }) {
        return Ok(Answer::default());
    }
    let declared = found.command.whole();
    let value = value_of(&mut found.rest, last, &declared);
    let line = flags::read(&found.rest, declared).map_err(|why| {
        message!(
            "Error while parsing flags from args [{}]: {why}",
            found.rest.join(" ")
        )
    })?;
    if line.asks_for_help() {
        return Ok(Answer::new(Vec::new(), NO_FILES));
    }
    let value = value.filter(|_| line.dash.is_none());
    match value {
        Some((flag, last)) => Ok(values(&found, policy, line, &flag, &last).await),
        None if last.starts_with('-') && !last.contains('=') && line.dash.is_none() => {
            Ok(names_of_flags(found.command, &line, last))
        }
        None => Ok(arguments(root, &found, policy, line, last).await),
    }
}

/// The flag whose value the last word is, and what of the value stands there already. A flag that stands before it is taken out of `rest`.
fn value_of(rest: &mut Vec<String>, last: &str, declared: &clap::Command) -> Option<(Arg, String)> {
    let flag = |word: &str| match word.strip_prefix("--") {
        Some(name) => flags::named(declared, name),
        None => word
            .chars()
            .last()
            .and_then(|letter| flags::lettered(declared, letter)),
    };
    if last.starts_with('-') {
        let (name, value) = last.split_once('=')?;
        return Some((flag(name)?.clone(), value.to_string()));
    }
    let previous = rest
        .last()
        .filter(|word| flags::is_flag(word) && *word != "--" && !word.contains('='))?;
    let found = flag(previous)
        .filter(|arg| flags::needs_value(arg))?
        .clone();
    rest.pop();
    Some((found, last.to_string()))
}

async fn values(found: &Found, policy: &Policy, line: Line, flag: &Arg, last: &str) -> Answer {
    let name = flag.get_long().unwrap_or("");
    let mut own = found.command.values.iter();
    let own = own.find(|(flag, _)| *flag == name).map(|(_, words)| *words);
    let global = || {
        let is_global = command::globals().any(|global| global.get_id() == flag.get_id());
        is_global.then(|| words::of_global(name)).flatten()
    };
    match own.or_else(global).or_else(|| words::of_shared(name)) {
        Some(words) => {
            words
                .answer(&Ctx::new(line, found, policy.clone()), last, true)
                .await
        }
        None => Answer::default(),
    }
}

/// Flags that must be given come alone; then all that may still be given.
fn names_of_flags(command: &Command, line: &Line, last: &str) -> Answer {
    let mut words = required(command, line, last);
    if words.is_empty() {
        let own = command.declared().arg(command::help_flag());
        let hidden = |arg: &Arg| {
            arg.get_long()
                .is_some_and(|n| flags::named(&own, n).is_some())
        };
        let sorted = |mut group: Vec<Arg>| {
            group.sort_by(|a, b| a.get_long().cmp(&b.get_long()));
            group
        };
        let globals = sorted(command::globals().filter(|arg| !hidden(arg)).collect());
        let own = sorted(own.get_arguments().cloned().collect());
        let again = |arg: &Arg| flags::adds(arg) || !line.given(arg);
        for arg in globals.into_iter().chain(own).filter(again) {
            words.extend(begun(&format!("--{}", name_of(&arg)), &help_of(&arg), last));
            if let Some(letter) = arg.get_short() {
                words.extend(begun(&format!("-{letter}"), &help_of(&arg), last));
            }
        }
    }
    Answer::new(words, NO_FILES)
}

fn name_of(arg: &Arg) -> &str {
    arg.get_long().unwrap_or("")
}

fn help_of(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn required(command: &Command, line: &Line, last: &str) -> Vec<String> {
    let declared = command.declared();
    let missing = declared
        .get_arguments()
        .filter(|arg| command.required.contains(&name_of(arg)) && !line.given(arg));
    missing
        .filter_map(|arg| begun(&format!("--{}", name_of(arg)), &help_of(arg), last))
        .collect()
}

/// Sub-commands, flags that must be given, and then what the command itself is about.
async fn arguments(
    root: &'static Command,
    found: &Found,
    policy: &Policy,
    line: Line,
    last: &str,
) -> Answer {
    let command = found.command;
    let mut answer = Answer::default();
    let has_flags = command
        .declared()
        .get_arguments()
        .any(|arg| line.given(arg));
    if line.args.is_empty() && !has_flags && !command.subcommands.is_empty() {
        answer = subcommands(command, std::ptr::eq(command, root), last);
        if std::ptr::eq(command, root) {
            answer.words.extend(words::plugins(last));
        }
    }
    answer.words.extend(required(command, &line, last));
    let Some(words) = command.words else {
        return answer;
    };
    let more = words
        .answer(&Ctx::new(line, found, policy.clone()), last, false)
        .await;
    answer.words.extend(more.words);
    answer.directive = more.directive;
    answer
}

fn subcommands(command: &Command, with_help: bool, last: &str) -> Answer {
    let mut shown: Vec<(&str, &str)> = command
        .subcommands
        .iter()
        .filter(|c| !c.hidden)
        .map(|c| (c.name, c.short))
        .collect();
    if with_help {
        shown.push(("help", "Help about any command"));
    }
    shown.sort_by_key(|(name, _)| *name);
    Answer::new(
        shown
            .iter()
            .filter_map(|(name, short)| begun(name, short, last))
            .collect(),
        if shown.is_empty() { DEFAULT } else { NO_FILES },
    )
}

fn help(root: &'static Command, program: &str, before: &[String], last: &str) -> Answer {
    let found = command::find(root, program, before);
    let known = found.unknown.is_none() && found.rest.is_empty();
    Answer::new(
        if known {
            subcommands(found.command, std::ptr::eq(found.command, root), last).words
        } else {
            Vec::new()
        },
        NO_FILES,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(String::from).collect();
        let last = words.pop().unwrap();
        let root = crate::cmd::root("kubectl");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        match runtime.block_on(answer(root, "kubectl", &Policy::allow_all(), &words, &last)) {
            Ok(answer) => answer.text(false).replace('\n', " ").trim().to_string(),
            Err(why) => why.to_string(),
        }
    }

    /// What kubectl v1.36 answers where no server is asked.
    #[test]
    fn words_that_need_no_server() {
        for (line, want) in [
            ("cor", "cordon :4"),
            ("hel", "help :4"),
            ("help cre", "create :4"),
            ("help h", "help :4"),
            ("help create sec", "secret :4"),
            (
                "create c",
                "clusterrole clusterrolebinding configmap cronjob :4",
            ),
            ("rollout re", "restart resume :4"),
            ("rollout restart ", "deployment daemonset statefulset :4"),
            ("rollout restart s", "statefulset :4"),
            (
                "apply ",
                "edit-last-applied set-last-applied view-last-applied :4",
            ),
            ("apply -f ", "json yaml yml :8"),
            ("apply --filename=x", "json yaml yml :8"),
            ("apply -k ", ":0"),
            (
                "get -o js",
                "json jsonpath jsonpath-as-json jsonpath-file :4",
            ),
            ("get -ojson -o=ky", "kyaml :4"),
            ("get --ou", "--output --output-watch-events :4"),
            ("get --output=json --outp", "--output-watch-events :4"),
            ("get --label-columns=a --label", "--label-columns :4"),
            ("get --help ", ":4"),
            ("exec pod -- ls -", ":4"),
            (
                "scale ",
                "--replicas deployment replicaset replicationcontroller statefulset :4",
            ),
            ("scale --replicas=2 d", "deployment :4"),
            ("scale -", "--replicas :4"),
            ("taint ", "node :4"),
            ("expose p", "pod :4"),
            ("create clusterrolebinding x ", "--clusterrole :0"),
            ("patch pod x --subresource ", "status scale resize :4"),
            ("completion ", "bash zsh fish powershell :4"),
            ("completion bash ", ":4"),
            ("version ", ":0"),
            ("kustomize ", ":0"),
            (
                "nosuch ",
                "unable to find a command for arguments: [nosuch]",
            ),
            (
                "get --nosuch ",
                "Error while parsing flags from args [--nosuch]: unknown flag: --nosuch",
            ),
        ] {
            assert_eq!(asked(line), want, "{line:?}");
        }
    }
}
