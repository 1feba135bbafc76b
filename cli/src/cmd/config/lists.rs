//! `config get-…` and `delete-…`: the three lists of the kubeconfig.
//! Invariant: what is deleted was there.
//! Behaviour follows the files of these names in `staging/src/k8s.io/kubectl/pkg/cmd/config`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message};
use crate::print;
use crate::print::tabwriter::TabWriter;

pub static GET_CLUSTERS: Command = Command {
    name: "get-clusters",
    usage: "[flags]",
    short: "Display clusters defined in the kubeconfig",
    examples: "
      # All clusters
      kubectl config get-clusters",
    run: verb!(names: (), "clusters"),
    ..Command::NEW
};

pub static GET_USERS: Command = Command {
    name: "get-users",
    usage: "[flags]",
    short: "Display users defined in the kubeconfig",
    examples: "
      # All users
      kubectl config get-users",
    run: verb!(names: (), "users"),
    ..Command::NEW
};

pub static GET_CONTEXTS: Command = Command {
    name: "get-contexts",
    usage: "[(-o|--output=)name)]",
    short: "Describe one or many contexts",
    examples: "
      # All contexts
      kubectl config get-contexts
      # One of them
      kubectl config get-contexts my-context",
    run: verb!(contexts: Flags),
    ..Command::NEW
};

pub static DELETE_CLUSTER: Command = Command {
    name: "delete-cluster",
    usage: "NAME",
    short: "Delete the specified cluster from the kubeconfig",
    examples: "
      # A cluster
      kubectl config delete-cluster minikube",
    run: verb!(delete: (), "clusters", "cluster"),
    words: Some(Words::Kubeconfig("clusters")),
    ..Command::NEW
};

pub static DELETE_CONTEXT: Command = Command {
    name: "delete-context",
    usage: "NAME",
    short: "Delete the specified context from the kubeconfig",
    examples: "
      # A context
      kubectl config delete-context minikube",
    run: verb!(delete: (), "contexts", "context"),
    words: Some(Words::Kubeconfig("contexts")),
    ..Command::NEW
};

pub static DELETE_USER: Command = Command {
    name: "delete-user",
    usage: "NAME",
    short: "Delete the specified user from the kubeconfig",
    examples: "
      # A user
      kubectl config delete-user minikube",
    run: verb!(delete: (), "users", "user"),
    words: Some(Words::Kubeconfig("users")),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
    /// With name, print only names
    #[arg(long, short)]
    output: String,
}

async fn names(ctx: With<()>, list: &'static str) -> Result<()> {
    let mut out = String::from("NAME\n");
    ctx.config()?
        .list(list)
        .iter()
        .for_each(|e| out += &format!("{}\n", e.name));
    print::put(&out)
}

async fn contexts(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if !matches!(f.output.as_str(), "" | "name") {
        bail!(
            "--output {} is not available in {}; resetting to default output format",
            f.output.as_str(),
            ctx.path()
        );
    }
    let config = ctx.config()?;
    let only_names = f.output == "name";
    let mut w = TabWriter::table();
    if !f.no_headers && !only_names {
        w.push("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    let mut missing = Vec::new();
    let wanted: Vec<String> = if ctx.args().is_empty() {
        config.contexts.iter().map(|e| e.name.clone()).collect()
    } else {
        ctx.args().to_vec()
    };
    for name in &wanted {
        let Some(e) = config.get("contexts", name) else {
            missing.push(message!("context {name} not found"));
            continue;
        };
        let text = |field: &str| e.value[field].as_str().unwrap_or("").to_string();
        let mark = if *name == config.current_context {
            "*"
        } else {
            ""
        };
        if only_names {
            w.push(&format!("{name}\n"));
        } else {
            w.push(&format!(
                "{mark}\t{name}\t{}\t{}\t{}\n",
                text("cluster"),
                text("user"),
                text("namespace")
            ));
        }
    }
    print::put(&w.flush())?;
    Error::collect(missing)
}

async fn delete(ctx: With<()>, list: &'static str, what: &'static str) -> Result<()> {
    let name = match ctx.args() {
        [name] => name,
        [] if what == "user" => return Err(ctx.usage("user to delete is required")),
        _ => return print::put(&crate::main_help(&ctx)),
    };
    let before = ctx.config()?;
    let file = before.shown_file();
    if before.get(list, name).is_none() {
        bail!("cannot delete {what} {name}, not in {file}");
    }
    if list == "contexts" && before.current_context == *name {
        eprintln!(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one"
        );
    }
    let mut config = before.clone();
    config.list_mut(list).retain(|e| e.name != *name);
    config.save(before)?;
    print::put(&format!("deleted {what} {name} from {file}\n"))
}
