//! `set subject`: adds subjects to role bindings.
//! Invariant: a subject that is there already is not added again.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_subject.go`.

use super::{COMMON, SETTER};
use crate::cmd::modify::{self, Words};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub static COMMAND: Command = Command {
    name: "subject",
    usage: "(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    short: "Update the user, group, or service account in a role binding or cluster role binding",
    long: "Add users, groups and service accounts to role bindings and cluster role bindings.",
    examples: "
      # A service account
      kubectl set subject clusterrolebinding admin --serviceaccount=namespace:serviceaccount1
      # Several at once
      kubectl set subject rolebinding admin --user=user1 --user=user2 --group=group1",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, DRY_RUN, COMMON],
    run: verb!(run: Flags),
    ..SETTER
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// A user; may be repeated
    #[arg(long)]
    user: Vec<String>,
    /// A group; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// A service account (NAMESPACE:NAME); may be repeated
    #[arg(long)]
    serviceaccount: Vec<String>,
}

const WORDS: Words = Words {
    done: "subjects updated",
    refused: "failed to patch subjects to rolebinding:",
    always: false,
};

/// The subjects that the flags name, each sort sorted.
fn subjects(ctx: &With<Flags>) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    let group = "rbac.authorization.k8s.io";
    let mut subjects: Vec<Value> = Vec::new();
    subjects.extend(
        sorted(&f.user)
            .iter()
            .map(|u| json!({"kind": "User", "apiGroup": group, "name": u})),
    );
    subjects.extend(
        sorted(&f.group)
            .iter()
            .map(|g| json!({"kind": "Group", "apiGroup": group, "name": g})),
    );
    for text in sorted(&f.serviceaccount) {
        let (ns, name) = text.split_once(':').unwrap_or_default();
        let namespace = if ns.is_empty() {
            ctx.namespace()?.0
        } else {
            ns.into()
        };
        subjects.push(json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}));
    }
    Ok(subjects)
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let infos = super::find(&ctx, ctx.args()).await?;
    modify::is_local(&ctx)?;
    super::check_all(&ctx)?;
    if f.user.is_empty() && f.group.is_empty() && f.serviceaccount.is_empty() {
        bail!("you must specify at least one value of user, group or serviceaccount");
    }
    for text in &f.serviceaccount {
        let (ns, _) = text
            .split_once(':')
            .filter(|(_, n)| !n.is_empty() && !n.contains(':'))
            .ok_or_else(|| Error::msg("serviceaccount must be <namespace>:<name>"))?;
        if ns.is_empty()
            && infos
                .iter()
                .any(|i| i.resource.kind == "ClusterRoleBinding")
        {
            bail!("serviceaccount must be <namespace>:<name>, namespace must be specified");
        }
    }
    let subjects = subjects(&ctx)?;
    modify::set(&ctx, infos, &WORDS, |info, _| {
        if !matches!(
            info.resource.kind.as_str(),
            "RoleBinding" | "ClusterRoleBinding"
        ) {
            bail!("setting subjects is only supported for RoleBinding/ClusterRoleBinding");
        }
        let mut list = info.object.list("subjects").to_vec();
        for s in &subjects {
            if !list.contains(s) {
                list.push(s.clone());
            }
        }
        if !list.is_empty() {
            info.object["subjects"] = Value::Array(list);
        }
        Ok(())
    })
    .await
}
