//! `auth can-i`: whether one may do something, or all that one may do.
//! Invariant: the exit status is 1 for no.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/auth/cani.go` and `component-helpers/auth/rbac`.

use crate::client::Call;
use crate::cmd::create::{URL_VERBS, VERBS};
use crate::command::{Command, verb};
use crate::context::With;
use crate::describe::rules;
use crate::error::{Error, Result, bail};
use crate::print;
use crate::print::tabwriter::TabWriter;
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "can-i",
    usage: "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]",
    short: "Check whether an action is allowed",
    long: "Ask whether you may do something: a verb on a kind, on one object, or on a path. With --list, ask for all that you may do in a namespace.",
    examples: "
      # Make pods anywhere
      kubectl auth can-i create pods --all-namespaces
      # List deployments here
      kubectl auth can-i list deployments.apps
      # As somebody else
      kubectl auth can-i list pods --as=system:serviceaccount:dev:foo -n prod
      # Everything
      kubectl auth can-i '*' '*'
      # Read the logs of pods
      kubectl auth can-i get pods --subresource=log
      # A path
      kubectl auth can-i get /logs/
      # All that is allowed
      kubectl auth can-i --list --namespace=foo",
    flags: &[crate::resource::ALL_NAMESPACES],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only the exit status
    #[arg(long, short)]
    quiet: bool,
    /// On this sub-resource
    #[arg(long)]
    subresource: String,
    /// All that is allowed
    #[arg(long)]
    list: bool,
    /// With --list, print no headers
    #[arg(long)]
    no_headers: bool,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if f.list {
        if !ctx.args().is_empty() {
            bail!("list option must be specified with no arguments");
        }
        if f.quiet || ctx.shared().all_namespaces.all_namespaces || !f.subresource.is_empty() {
            bail!(
                "list option can't be specified with neither quiet, all-namespaces nor subresource options"
            );
        }
        return list(&ctx).await;
    }
    let [verb, what] = ctx.args() else {
        bail!(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples."
        );
    };
    let spec = if what.starts_with('/') {
        if !f.subresource.is_empty() {
            bail!("--subresource can not be used with NonResourceURL");
        }
        warn_unless(URL_VERBS.contains(&verb.as_str()), verb);
        json!({"nonResourceAttributes": {"verb": verb, "path": what}})
    } else {
        json!({"resourceAttributes": attributes(&ctx, verb, what).await?})
    };
    if f.no_headers {
        bail!("--no-headers cannot be set without --list specified");
    }
    let body = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec});
    let answer = ctx
        .client()?
        .json(&Call::with(
            http::Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            &body,
        ))
        .await?;
    let status = answer.at("status");
    let allowed = status.flag("allowed");
    let mut text = if allowed {
        "yes".to_string()
    } else {
        "no".into()
    };
    if !allowed {
        for field in ["reason", "evaluationError"] {
            if let Some(why) = status[field].as_str().filter(|t| !t.is_empty()) {
                text += &format!(" - {why}");
            }
        }
    }
    if !f.quiet {
        print::put(&format!("{text}\n"))?;
    }
    if allowed { Ok(()) } else { Err(Error::Exit(1)) }
}

fn warn_unless(known: bool, verb: &str) {
    if !known {
        eprintln!("Warning: verb '{verb}' is not a known verb\n");
    }
}

async fn attributes(ctx: &With<Flags>, verb: &str, what: &str) -> Result<Value> {
    let f = ctx.flags();
    let (word, name) = what.split_once('/').unwrap_or((what, ""));
    let namespace = if ctx.shared().all_namespaces.all_namespaces {
        String::new()
    } else {
        ctx.client()?;
        ctx.namespace()?.0
    };
    let (mut group, mut resource) = (String::new(), word.to_string());
    if word != "*" {
        match ctx.discovery()?.lookup(word).await {
            Ok(r) => {
                if !r.namespaced && !ctx.shared().all_namespaces.all_namespaces {
                    let of = if r.group.is_empty() {
                        String::new()
                    } else {
                        format!(" in group '{}'", r.group)
                    };
                    eprintln!(
                        "Warning: resource '{}' is not namespace scoped{of}\n",
                        r.plural
                    );
                }
                (group, resource) = (r.group, r.plural);
                warn_unless(VERBS.contains(&verb), verb);
            }
            // Who cannot be asked may still answer whether somebody is allowed to.
            Err(_) => {
                let (resource, group) = word.split_once('.').unwrap_or((word, ""));
                if !matches!(word, "users" | "groups") {
                    let of = if group.is_empty() {
                        String::new()
                    } else {
                        format!(" in group '{group}'")
                    };
                    eprintln!(
                        "Warning: the server doesn't have a resource type '{resource}'{of}\n"
                    );
                }
                warn_unless(VERBS.contains(&verb), verb);
            }
        }
    } else {
        warn_unless(VERBS.contains(&verb), verb);
    }
    let mut a = json!({"verb": verb, "resource": resource});
    for (field, value) in [
        ("namespace", namespace),
        ("group", group),
        ("subresource", f.subresource.to_string()),
        ("name", name.to_string()),
    ] {
        if !value.is_empty() {
            a[field] = json!(value);
        }
    }
    Ok(a)
}

async fn list(ctx: &With<Flags>) -> Result<()> {
    ctx.client()?;
    let namespace = ctx.namespace()?.0;
    let body = json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {"namespace": namespace}});
    let answer = ctx
        .client()?
        .json(&Call::with(
            http::Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            &body,
        ))
        .await?;
    let status = answer.at("status");
    if status.flag("incomplete") {
        eprintln!(
            "Warning: the list may be incomplete: {}",
            status.text("evaluationError")
        );
    }
    let mut all: Vec<Value> = Vec::new();
    for field in ["resourceRules", "nonResourceRules"] {
        all.extend(status[field].as_array().into_iter().flatten().cloned());
    }
    let mut w = TabWriter::table();
    if !ctx.flags().no_headers {
        w.push("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    for row in rules::rows(&all) {
        w.push(&format!("{}\t{}\t{}\t{}\n", row[0], row[1], row[2], row[3]));
    }
    print::put(&w.flush())
}
