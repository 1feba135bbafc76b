//! What may stand next on a command line: `__complete WORDS… LAST`, which the shells' scripts call while a user types.
//! Invariant: it changes nothing, and whatever goes wrong ends in no words and a directive: a shell's prompt never breaks.
//! Behaviour follows `github.com/spf13/cobra` (`completions.go`).

mod words;

use crate::command::{self, Command, Found, Run};
use crate::context::{Ctx, GLOBAL};
use crate::error::Result;
use crate::flags::{self, Flag, Kind, Parsed};
use crate::print;
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
        return Err(crate::error::Error::msg(
            "requires at least 1 arg(s), only received 0",
        ));
    };
    let answer = answer(root, program, before, last)
        .await
        .unwrap_or_else(|why| {
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
    before: &[String],
    last: &str,
) -> std::result::Result<Answer, String> {
    if before.first().is_some_and(|word| word == "help") {
        return Ok(help(root, program, &before[1..], last));
    }
    let mut found = command::find(root, program, before, GLOBAL);
    if std::ptr::eq(found.command, root) && found.unknown.is_some() {
        return words::of_plugin(before, last).ok_or_else(|| {
            format!(
                "unable to find a command for arguments: [{}]",
                before.join(" ")
            )
        });
    }
    if matches!(found.command.run, Run::Raw(_)) {
        return Ok(Answer::default());
    }
    let declared: Vec<&[Flag]> = found
        .command
        .flags
        .iter()
        .copied()
        .chain([GLOBAL, command::HELP])
        .collect();
    let value = value_of(&mut found.rest, last, &declared);
    let parsed = flags::parse(&found.rest, &declared).map_err(|why| {
        format!(
            "Error while parsing flags from args [{}]: {why}",
            found.rest.join(" ")
        )
    })?;
    if parsed.bool("help") {
        return Ok(Answer::new(Vec::new(), NO_FILES));
    }
    let value = value.filter(|_| parsed.dash.is_none());
    match value {
        Some((flag, last)) => Ok(values(&found, parsed, &flag, &last).await),
        None if last.starts_with('-') && !last.contains('=') && parsed.dash.is_none() => {
            Ok(names_of_flags(found.command, &parsed, last))
        }
        None => Ok(arguments(root, &found, parsed, last).await),
    }
}

/// The flag whose value the last word is, and what of the value stands there already. A flag that stands before it is taken out of `rest`.
fn value_of(rest: &mut Vec<String>, last: &str, declared: &[&[Flag]]) -> Option<(Flag, String)> {
    let flag = |word: &str| {
        let all = || declared.iter().flat_map(|group| group.iter());
        match word.strip_prefix("--") {
            Some(long) => all().find(|f| f.name == long).copied(),
            None => word
                .chars()
                .last()
                .and_then(|letter| all().find(|f| f.short == letter))
                .copied(),
        }
    };
    if last.starts_with('-') {
        let (name, value) = last.split_once('=')?;
        return Some((flag(name)?, value.to_string()));
    }
    let previous = rest.last().filter(|word| {
        word.len() > 1 && word.starts_with('-') && *word != "--" && !word.contains('=')
    })?;
    let found = flag(previous).filter(|f| f.no_opt.is_empty())?;
    rest.pop();
    Some((found, last.to_string()))
}

async fn values(found: &Found, parsed: Parsed, flag: &Flag, last: &str) -> Answer {
    let own = found
        .command
        .values
        .iter()
        .find(|(name, _)| *name == flag.name)
        .map(|(_, words)| *words);
    let global = || {
        if parsed.hides_global(flag.name) {
            None
        } else {
            words::of_global(flag.name)
        }
    };
    match own.or_else(global).or_else(|| words::of_shared(flag.name)) {
        Some(words) => {
            words
                .answer(&Ctx::new(parsed, found.path.clone()), last, true)
                .await
        }
        None => Answer::default(),
    }
}

/// Flags that must be given come alone; then all that may still be given.
fn names_of_flags(command: &Command, parsed: &Parsed, last: &str) -> Answer {
    let mut words = required(command, parsed, last);
    if words.is_empty() {
        let mut groups: Vec<Vec<&Flag>> = vec![
            GLOBAL.iter().collect(),
            command
                .flags
                .iter()
                .copied()
                .flatten()
                .chain(command::HELP)
                .collect(),
        ];
        for group in &mut groups {
            group.sort_by_key(|f| f.name);
        }
        let own: Vec<&str> = groups[1].iter().map(|f| f.name).collect();
        groups[0].retain(|f| !own.contains(&f.name));
        let again = |f: &Flag| {
            !parsed.changed(f.name) || matches!(f.kind, Kind::Slice | Kind::Array | Kind::Pairs)
        };
        for flag in groups
            .into_iter()
            .flatten()
            .filter(|f| f.refused.is_empty() && again(f))
        {
            words.extend(begun(&format!("--{}", flag.name), flag.help, last));
            words.extend(
                (flag.short != '\0')
                    .then(|| begun(&format!("-{}", flag.short), flag.help, last))
                    .flatten(),
            );
        }
    }
    Answer::new(words, NO_FILES)
}

fn required(command: &Command, parsed: &Parsed, last: &str) -> Vec<String> {
    let missing = command
        .flags
        .iter()
        .copied()
        .flatten()
        .filter(|f| command.required.contains(&f.name) && !parsed.changed(f.name));
    missing
        .filter_map(|f| begun(&format!("--{}", f.name), f.help, last))
        .collect()
}

/// Sub-commands, flags that must be given, and then what the command itself is about.
async fn arguments(root: &'static Command, found: &Found, parsed: Parsed, last: &str) -> Answer {
    let command = found.command;
    let mut answer = Answer::default();
    let has_flags = command
        .flags
        .iter()
        .copied()
        .flatten()
        .any(|f| parsed.changed(f.name));
    if parsed.args.is_empty() && !has_flags && !command.subcommands.is_empty() {
        answer = subcommands(command, std::ptr::eq(command, root), last);
        if std::ptr::eq(command, root) {
            answer.words.extend(words::plugins(last));
        }
    }
    answer.words.extend(required(command, &parsed, last));
    let Some(words) = command.words else {
        return answer;
    };
    let more = words
        .answer(&Ctx::new(parsed, found.path.clone()), last, false)
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
    let found = command::find(root, program, before, GLOBAL);
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
        match runtime.block_on(answer(root, "kubectl", &words, &last)) {
            Ok(answer) => answer.text(false).replace('\n', " ").trim().to_string(),
            Err(why) => why,
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
