//! `config`: shows and changes the kubeconfig.
//! Invariant: no socket is opened; each change goes to the file that holds what is changed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/config`.

mod lists;
mod property;
mod set;
mod view;

use crate::command::{Command, Run, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::print;

pub static COMMAND: Command = Command {
    name: "config",
    usage: "SUBCOMMAND",
    short: "Modify kubeconfig files",
    long: "Modify kubeconfig files using subcommands like \"kubectl config set current-context my-context\".\n\n The loading order follows these rules:\n\n  1.  If the --kubeconfig flag is set, then only that file is loaded. The flag may only be set once and no merging takes place.\n  2.  If $KUBECONFIG environment variable is set, then it is used as a list of paths (normal path delimiting rules for your system). These paths are merged. When a value is modified, it is modified in the file that defines the stanza. When a value is created, it is created in the first file that exists. If no files in the chain exist, then it creates the last file in the list.\n  3.  Otherwise, ${HOME}/.kube/config is used and no merging takes place.",
    subcommands: &[
        &CURRENT,
        &lists::DELETE_CLUSTER,
        &lists::DELETE_CONTEXT,
        &lists::DELETE_USER,
        &lists::GET_CLUSTERS,
        &lists::GET_CONTEXTS,
        &lists::GET_USERS,
        &RENAME,
        &property::SET,
        &set::CLUSTER,
        &set::CONTEXT,
        &set::CREDENTIALS,
        &property::UNSET,
        &USE,
        &view::COMMAND,
    ],
    run: Run::Group,
    ..Command::NEW
};

static CURRENT: Command = Command {
    name: "current-context",
    usage: "[flags]",
    short: "Display the current-context",
    examples: "
      # The context in use
      kubectl config current-context",
    run: verb!(current: ()),
    ..Command::NEW
};

static RENAME: Command = Command {
    name: "rename-context",
    usage: "CONTEXT_NAME NEW_NAME",
    short: "Rename a context from the kubeconfig file",
    long: "Give a context another name. If it is in use, it stays in use.",
    examples: "
      # old-name becomes new-name
      kubectl config rename-context old-name new-name",
    run: verb!(rename: ()),
    words: Some(Words::Kubeconfig("contexts")),
    ..Command::NEW
};

static USE: Command = Command {
    name: "use-context",
    aliases: &["use"],
    usage: "CONTEXT_NAME",
    short: "Set the current-context in a kubeconfig file",
    examples: "
      # Work with minikube from now on
      kubectl config use-context minikube",
    run: verb!(use_context: ()),
    words: Some(Words::Kubeconfig("contexts")),
    ..Command::NEW
};

async fn current(ctx: With<()>) -> Result<()> {
    let name = &ctx.config()?.current_context;
    if name.is_empty() {
        bail!("current-context is not set");
    }
    print::put(&format!("{name}\n"))
}

async fn use_context(ctx: With<()>) -> Result<()> {
    let [name] = ctx.args() else {
        return Err(unexpected(&ctx));
    };
    let before = ctx.config()?;
    if name.is_empty() {
        bail!("empty context names are not allowed");
    }
    if before.get("contexts", name).is_none() {
        bail!("no context exists with the name: {}", quote(name));
    }
    let mut config = before.clone();
    config.current_context = name.clone();
    config.save(before)?;
    print::put(&format!("Switched to context {}.\n", quote(name)))
}

async fn rename(ctx: With<()>) -> Result<()> {
    let [old, new] = ctx.args() else {
        return Err(unexpected(&ctx));
    };
    if old.is_empty() || new.is_empty() {
        return Err(Error::msg(
            "You must specify an original non-empty context name".to_string(),
        ));
    }
    let before = ctx.config()?;
    let file = before.shown_file();
    let mut config = before.clone();
    let Some(at) = config.contexts.iter().position(|e| e.name == *old) else {
        bail!(
            "cannot rename the context {}, it's not in {file}",
            quote(old)
        );
    };
    if before.get("contexts", new).is_some() {
        bail!(
            "cannot rename the context {}, the context {} already exists in {file}",
            quote(old),
            quote(new)
        );
    }
    config.contexts[at].name = new.clone();
    config.contexts.sort_by(|a, b| a.name.cmp(&b.name));
    if config.current_context == *old {
        config.current_context = new.clone();
    }
    config.save(before)?;
    print::put(&format!(
        "Context {} renamed to {}.\n",
        quote(old),
        quote(new)
    ))
}

/// The error for a wrong number of words: the help on standard output, then the error.
fn unexpected(ctx: &Ctx) -> Error {
    match print::put(&crate::main_help(ctx)) {
        Ok(()) => message!("Unexpected args: [{}]", ctx.args().join(" ")),
        Err(e) => e,
    }
}
