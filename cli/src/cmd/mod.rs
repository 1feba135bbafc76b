//! The verbs: one file and one line here for each.
//! Invariant: the order of this list is the order in which a mistyped word is compared with them, as in kubectl.

/// Declares the verbs' modules and lists their commands.
macro_rules! verbs {
    ($($(#[$only:ident])? $module:ident :: $command:ident),* $(,)?) => {
        static KUBECTL: &[&Command] = &[$(&$module::$command),*];
    };
}

pub mod create;
pub mod down;
pub mod get;
mod get_sort;
mod get_watch;
pub mod image;
pub mod server;
pub mod status;
pub mod up;

use crate::command::{Command, Run};

verbs! {
    create::COMMAND, get::COMMAND,
}

/// The verbs of this program alone: they run a cluster. One line each.
static SKIFF: &[&Command] = &[&up::COMMAND, &down::COMMAND, &status::COMMAND, &server::COMMAND, &image::COMMAND];

/// How the help of the whole program groups the verbs.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Cluster Commands (Skiff):", &["up", "down", "status", "server", "agent", "image"]),
    ("Basic Commands (Beginner):", &["create", "expose", "run", "set"]),
    ("Basic Commands (Intermediate):", &["explain", "get", "edit", "delete"]),
    ("Deploy Commands:", &["rollout", "scale", "autoscale"]),
    ("Cluster Management Commands:", &["certificate", "cluster-info", "top", "cordon", "uncordon", "drain", "taint"]),
    ("Troubleshooting and Debugging Commands:", &["describe", "logs", "attach", "exec", "port-forward", "proxy", "cp", "auth", "debug", "events"]),
    ("Advanced Commands:", &["diff", "apply", "patch", "replace", "wait", "kustomize"]),
    ("Settings Commands:", &["label", "annotate", "completion"]),
    ("Other Commands:", &["api-resources", "api-versions", "config", "plugin", "version", "options"]),
];

/// The whole tree, for the name by which the program was called: kubectl has kubectl's verbs alone.
pub fn root(program: &str) -> &'static Command {
    let mut verbs = KUBECTL.to_vec();
    if program != "kubectl" {
        verbs.extend(SKIFF);
    }
    Box::leak(Box::new(Command {
        name: "kubectl",
        short: "Control Kubernetes clusters",
        long: "kubectl controls Kubernetes clusters: it shows, makes and changes what is in them.",
        subcommands: Vec::leak(verbs),
        run: Run::Group,
        ..Command::NEW
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Flag;
    use std::collections::HashSet;

    fn walk(c: &Command, path: &str, visit: &mut dyn FnMut(&Command, &str)) {
        let path = format!("{path} {}", c.name);
        visit(c, &path);
        c.subcommands.iter().for_each(|s| walk(s, &path, visit));
    }

    #[test]
    fn every_command_is_described_and_its_flags_are_told_apart() {
        walk(root("skiff"), "", &mut |c, path| {
            assert!(!c.short.is_empty(), "{path} does not say what it is");
            let all: Vec<&Flag> = c.flags.iter().copied().chain([crate::context::GLOBAL, crate::command::HELP]).flatten().collect();
            let mut names = HashSet::new();
            let mut letters = HashSet::new();
            for f in all {
                assert!(names.insert(f.name), "{path} declares --{} twice", f.name);
                assert!(f.short == '\0' || letters.insert(f.short), "{path} declares -{} twice", f.short);
                assert!(!f.help.is_empty(), "{path} --{} says nothing", f.name);
            }
            for r in c.required {
                assert!(names.contains(r), "{path} requires an unknown --{r}");
            }
            let mut words = HashSet::new();
            for s in c.subcommands {
                assert!(words.insert(s.name), "{path} has {} twice", s.name);
                s.aliases.iter().for_each(|a| assert!(words.insert(*a), "{path} has {a} twice"));
            }
        });
    }
}
