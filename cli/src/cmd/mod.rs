//! The verbs: one file and one line here for each.
//! Invariant: the order of this list is the order in which a mistyped word is compared with them, as in kubectl.

pub mod agent;
pub mod alpha;
pub mod annotate;
pub mod api_resources;
pub mod api_versions;
pub mod apply;
pub mod attach;
pub mod auth;
pub mod autoscale;
pub mod certificate;
pub mod cluster_info;
pub mod completion;
pub mod config;
pub mod cordon;
pub mod cp;
pub mod create;
pub mod debug;
pub mod delete;
pub mod demo;
pub mod describe;
pub mod diff;
pub mod down;
pub mod drain;
pub mod edit;
pub mod events;
pub mod exec;
pub mod explain;
pub mod expose;
pub mod get;
mod get_sort;
mod get_watch;
pub mod image;
pub mod kuberc;
pub mod kustomize;
pub mod label;
pub mod logs;
mod marks;
pub mod modify;
pub mod options;
pub mod patch;
pub mod plugin;
pub mod pods;
pub mod port_forward;
pub mod proxy;
pub mod replace;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod server;
mod server_access;
pub mod set;
pub mod status;
pub mod taint;
pub mod token;
pub mod top;
pub mod up;
pub mod version;
pub mod wait;
pub mod why;

use crate::client::Call;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Result, bail, message};

/// The verbs of kubectl. One line each group of its help.
static KUBECTL: &[&Command] = &[
    &create::COMMAND,
    &expose::COMMAND,
    &run::COMMAND,
    &set::COMMAND,
    &explain::COMMAND,
    &get::COMMAND,
    &edit::COMMAND,
    &delete::COMMAND,
    &rollout::COMMAND,
    &scale::COMMAND,
    &autoscale::COMMAND,
    &certificate::COMMAND,
    &cluster_info::COMMAND,
    &top::COMMAND,
    &cordon::CORDON,
    &cordon::UNCORDON,
    &drain::COMMAND,
    &taint::COMMAND,
    &describe::COMMAND,
    &logs::COMMAND,
    &attach::COMMAND,
    &exec::COMMAND,
    &port_forward::COMMAND,
    &proxy::COMMAND,
    &cp::COMMAND,
    &auth::COMMAND,
    &debug::COMMAND,
    &events::COMMAND,
    &diff::COMMAND,
    &apply::COMMAND,
    &patch::COMMAND,
    &replace::COMMAND,
    &wait::COMMAND,
    &kuberc::COMMAND,
    &kustomize::COMMAND,
    &label::COMMAND,
    &annotate::COMMAND,
    &completion::COMMAND,
    &alpha::COMMAND,
    &config::COMMAND,
    &plugin::COMMAND,
    &version::COMMAND,
    &api_versions::COMMAND,
    &api_resources::COMMAND,
    &options::COMMAND,
];

/// The verbs of this program alone: they run a cluster. One line each.
static SKIFF: &[&Command] = &[
    &up::COMMAND,
    &down::COMMAND,
    &status::COMMAND,
    &server::COMMAND,
    &agent::COMMAND,
    &token::COMMAND,
    &image::COMMAND,
    &demo::COMMAND,
    &why::COMMAND,
];

/// Sends a file (or nothing) to a path of the server as it is, and prints the answer.
///
/// # Errors
/// A file that cannot be read, the server's refusal.
pub async fn send_raw(ctx: &Ctx, method: http::Method, path: &str, file: &str) -> Result<()> {
    let body = match file {
        "" => Vec::new(),
        "-" => std::io::read_to_string(std::io::stdin())?.into_bytes(),
        f => std::fs::read(f).map_err(|e| message!("open {f}: {}", crate::error::go_io(&e)))?,
    };
    let call = Call {
        method,
        path: raw_uri(path)?,
        accept: "*/*",
        // as kubectl sends it, whatever it is
        content_type: "application/json",
        body: body.into(),
        is_raw: true,
    };
    crate::remote::write_bytes(&ctx.client()?.bytes(&call).await?)
}

/// The one file that `--raw` sends, once it is known that nothing else was asked for; `others` are flags that do not go with it.
///
/// # Errors
/// No or several files, a URL, another flag, a path that is none.
pub fn raw_file(ctx: &Ctx, path: &str, others: &[(bool, &str)]) -> Result<String> {
    let files = ctx.filenames();
    let [file] = files.as_slice() else {
        bail!("--raw can only use a single local file or stdin");
    };
    check_raw(path, file, others)?;
    Ok(file.clone())
}

/// The same where there need not be a file.
///
/// # Errors
/// As `raw_file`.
pub fn check_raw(path: &str, file: &str, others: &[(bool, &str)]) -> Result<()> {
    if file.starts_with("http://") || file.starts_with("https://") {
        bail!("--raw cannot read from a url");
    }
    if let Some((_, name)) = others.iter().find(|(on, _)| *on) {
        bail!("--raw and {name} are mutually exclusive");
    }
    raw_uri(path).map(drop)
}

/// What of a path or URL as a user wrote it is asked of the server: its path and its query, both escaped anew.
///
/// # Errors
/// What Go's `url.ParseRequestURI` refuses.
pub fn raw_uri(text: &str) -> Result<String> {
    let wrong = |why: String| {
        message!(
            "--raw must be a valid URL path: parse {}: {why}",
            crate::error::quote(text)
        )
    };
    let whole = text.split('#').next().unwrap_or_default();
    let (before, query) = whole.split_once('?').unwrap_or((whole, ""));
    let path = match before.split_once("://").map(|(_, rest)| rest) {
        // of a whole URL only the path counts
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None if before.starts_with("//") => {
            before[2..].find('/').map_or("/", |at| &before[at + 2..])
        }
        None if before.starts_with(':') => return Err(wrong("missing protocol scheme".into())),
        None => before,
    };
    let is_hex = |part: &&[u8]| part.len() == 2 && part.iter().all(u8::is_ascii_hexdigit);
    for (at, _) in path.match_indices('%') {
        let rest = &path.as_bytes()[at + 1..];
        if rest.get(..2).filter(is_hex).is_none() {
            let escape: String = path[at..].chars().take(3).collect();
            let escape = crate::error::quote(&escape);
            return Err(wrong(format!("invalid URL escape {escape}")));
        }
    }
    if !path.starts_with('/') && !before.contains("://") {
        return Err(wrong("invalid URI for request".into()));
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let decoded = if decoded.is_empty() { "/" } else { &*decoded };
    let parts: Vec<String> = decoded.split('/').map(crate::client::segment).collect();
    let pair = |part: &str| {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    Ok(parts.join("/") + &crate::client::query(&pairs))
}

/// How the help of the whole program groups the verbs.
pub const GROUPS: &[(&str, &[&str])] = &[
    (
        "Cluster Commands (Skiff):",
        &["up", "down", "status", "server", "agent", "image", "demo"],
    ),
    (
        "Basic Commands (Beginner):",
        &["create", "expose", "run", "set"],
    ),
    (
        "Basic Commands (Intermediate):",
        &["explain", "get", "edit", "delete"],
    ),
    ("Deploy Commands:", &["rollout", "scale", "autoscale"]),
    (
        "Cluster Management Commands:",
        &[
            "certificate",
            "cluster-info",
            "top",
            "cordon",
            "uncordon",
            "drain",
            "taint",
        ],
    ),
    (
        "Troubleshooting and Debugging Commands:",
        &[
            "describe",
            "logs",
            "attach",
            "exec",
            "port-forward",
            "proxy",
            "cp",
            "auth",
            "debug",
            "events",
            "why",
        ],
    ),
    (
        "Advanced Commands:",
        &["diff", "apply", "patch", "replace", "wait", "kustomize"],
    ),
    ("Settings Commands:", &["label", "annotate", "completion"]),
    // Programs on the path are not listed, as kubectl lists none.
    ("Subcommands provided by plugins:", &[]),
    (
        "Other Commands:",
        &[
            "api-resources",
            "api-versions",
            "config",
            "kuberc",
            "plugin",
            "version",
        ],
    ),
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
            // A verb may hide a flag that all verbs have, but not declare one twice.
            let declared = c.declared();
            let refused: Vec<clap::Arg> = c.refused.iter().map(|r| r.arg()).collect();
            let mut names = HashSet::new();
            let mut letters = HashSet::new();
            for f in declared.get_arguments().chain(&refused) {
                let name = f.get_long().unwrap_or_default();
                assert!(names.insert(name), "{path} declares --{name} twice");
                if let Some(letter) = f.get_short() {
                    assert!(letters.insert(letter), "{path} declares -{letter} twice");
                }
            }
            for f in declared.get_arguments() {
                assert!(f.get_help().is_some(), "{path} {f} says nothing");
            }
            let defaults = c.defaults.iter().map(|(name, _)| name);
            for name in c.required.iter().chain(defaults) {
                assert!(names.contains(name), "{path} has no --{name}");
            }
            // Nothing is declared twice, and what the verb and its helpers read is there: clap says so itself.
            let line = crate::flags::read(&[], c.whole()).unwrap();
            line.flags::<crate::context::Shared>();
            if !matches!(c.run, Run::Raw { .. }) {
                line.flags::<crate::context::Global>();
            }
            let mut words = HashSet::new();
            for s in c.subcommands {
                assert!(words.insert(s.name), "{path} has {} twice", s.name);
                s.aliases
                    .iter()
                    .for_each(|a| assert!(words.insert(*a), "{path} has {a} twice"));
            }
        });
    }
}
