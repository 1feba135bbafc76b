//! The program: `skiff VERB`, and kubectl when it is called by that name.
//! Invariant: helpers that other parts of the program start by re-running it are found before any thread or runtime exists.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/cmd.go`.

#[macro_use]
mod out;

mod client;
mod cluster;
mod cmd;
mod command;
mod complete;
mod context;
mod demo;
mod describe;
mod discovery;
mod edit;
mod error;
mod flags;
#[cfg(test)]
mod fuzz;
mod generate;
mod kubeconfig;
mod kuberc;
mod kustomize;
mod openapi;
mod podspec;
mod print;
mod remote;
mod replace_file;
mod resource;
mod teach;
mod typed;
mod variables;

use command::Run;
use context::Ctx;
use error::{Error, Result};
use skiff_api::machinery::yaml;

/// A way into the program that users do not type.
pub struct Hidden {
    /// Matched against the base name by which the program was called, and against its first argument.
    pub name: &'static str,
    /// Gets all arguments after the one that matched; returns the exit status.
    pub run: fn(Vec<String>) -> i32,
}

/// The helpers. They run before anything else is set up: no runtime, no threads.
const HIDDEN: &[Hidden] = &[
    Hidden {
        name: "shim",
        run: |args| skiff_nodeagent::runtime::oci::shim_main(&args),
    },
    Hidden {
        name: "shop",
        run: cluster::shop::main,
    },
];

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn main() {
    let mut args: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let called = if args.is_empty() {
        "skiff".to_string()
    } else {
        args.remove(0)
    };
    for hidden in HIDDEN {
        if base_name(&called) == hidden.name {
            std::process::exit((hidden.run)(args));
        }
        if args.first().is_some_and(|a| a == hidden.name) {
            std::process::exit((hidden.run)(args.split_off(1)));
        }
    }
    let program = if base_name(&called) == "kubectl" {
        "kubectl"
    } else {
        "skiff"
    };
    std::process::exit(run(program, args));
}

/// Runs one command line; gives the exit status.
fn run(program: &str, args: Vec<String>) -> i32 {
    command::called(program);
    let (text, code) = match dispatch(program, args) {
        Ok(()) => return 0,
        Err(e) => error::told(&e),
    };
    if !text.is_empty() {
        eprint!("{text}{}", if text.ends_with('\n') { "" } else { "\n" });
    }
    code
}

fn dispatch(program: &str, args: Vec<String>) -> Result<()> {
    let root = cmd::root(program);
    if let Some((_, described)) = complete::CALLS
        .iter()
        .find(|(call, _)| args.first().is_some_and(|word| word == call))
    {
        return block_on(complete::run(root, program, &args[1..], *described));
    }
    let (args, policy) = kuberc::apply(root, program, args).map_err(|why| {
        Error::Plain(
            format!("error occurred while applying preferences {why}"),
            1,
        )
    })?;
    let found = command::find(root, program, &args);
    if std::ptr::eq(found.command, root) {
        return at_root(root, &found, program, &args);
    }
    if found.command.name == "create"
        && found.unknown.is_some()
        && found.rest.first() == found.unknown.as_ref()
    {
        cmd::plugin::hand_over(program, &args)?;
    }
    let line = command::read(&found).map_err(|e| teach::of_line(program, &found, e))?;
    let Some(line) = line else {
        return print::put(&command::help(root, &found));
    };
    let start = match found.command.run {
        Run::Group => {
            let wrong = group(root, &found, &line.args);
            return wrong.map_err(|e| teach::of_line(program, &found, e));
        }
        Run::Raw { start, .. } => {
            return match start(line) {
                0 => Ok(()),
                code => Err(Error::Exit(code)),
            };
        }
        Run::Verb { start, .. } => start,
    };
    let ctx = Ctx::new(line, &found, policy);
    ctx.check_profile()?;
    let strict = ctx.global().warnings_as_errors;
    block_on(async {
        if let Err(e) = start(ctx.clone()).await {
            return Err(teach::with_notes(&ctx, &found, e).await);
        }
        match ctx.warnings() {
            0 => Ok(()),
            _ if !strict => Ok(()),
            1 => Err(Error::msg("1 warning received")),
            n => Err(Error::msg(format!("{n} warnings received"))),
        }
    })
}

/// A command that only holds others: shows its help as an error.
fn group(root: &'static command::Command, found: &command::Found, args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Error::usage(
            &found.path,
            format!("unknown command {}", error::quote(&args.join(" "))),
        ));
    }
    let help = command::help(root, found);
    if found.command.help_is_output {
        print::put(&help)?;
        return Err(Error::Exit(1));
    }
    Err(Error::Plain(help, 1))
}

fn at_root(
    root: &'static command::Command,
    found: &command::Found,
    program: &str,
    args: &[String],
) -> Result<()> {
    match &found.unknown {
        Some(word) if word == "help" => {
            let rest: Vec<String> = args.iter().filter(|a| *a != "help").cloned().collect();
            let about = command::find(root, program, &rest);
            if std::ptr::eq(about.command, root) && about.unknown.is_some() {
                let topics: Vec<String> = rest.iter().map(|word| format!("`{word}`")).collect();
                let help = command::help(root, &about);
                eprintln!(
                    "Unknown help topic [{}]\n\n\n{}",
                    topics.join(" "),
                    help.split_once("\n\n")
                        .map_or("", |(_, verbs)| verbs.trim_end())
                );
                return Ok(());
            }
            print::put(&command::help(root, &about))
        }
        Some(word) if word.is_empty() => print::put(&command::help(root, found)),
        Some(word) => {
            cmd::plugin::hand_over(program, args)?;
            Err(command::unknown(root, program, word))
        }
        None => {
            command::read(found)?;
            print::put(&command::help(root, found))
        }
    }
}

/// Runs one command's work to its end on this thread.
fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, work);
    // Reads of standard input cannot be cancelled; they must not keep the program.
    drop(local);
    runtime.shutdown_background();
    result
}

/// The help of the command that is running.
pub fn main_help(ctx: &Ctx) -> String {
    let program = ctx.program();
    let root = cmd::root(program);
    let words: Vec<String> = ctx.path().split(' ').skip(1).map(String::from).collect();
    command::help(root, &command::find(root, program, &words))
}
