//! `set subject`: adds subjects to role bindings.
//! Invariant: a subject that is there already is not added again.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_subject.go`.

use super::{COMMON, builder};
use crate::cmd::modify;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print;
use crate::resource::{DRY_RUN, FILE_FLAGS, SELECTOR};
use serde_json::{Value, json};

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
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        DRY_RUN,
        COMMON,
        &[
            Flag::array("user", '\0', "A user; may be repeated"),
            Flag::array("group", '\0', "A group; may be repeated"),
            Flag::array("serviceaccount", '\0', "A service account (NAMESPACE:NAME); may be repeated"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.bool("all") && !f.str("selector").is_empty() {
        return Err(Error::msg("cannot set --all and --selector at the same time"));
    }
    let group = "rbac.authorization.k8s.io";
    let mut subjects: Vec<Value> = Vec::new();
    subjects.extend(f.list("user").iter().map(|u| json!({"kind": "User", "apiGroup": group, "name": u})));
    subjects.extend(f.list("group").iter().map(|g| json!({"kind": "Group", "apiGroup": group, "name": g})));
    for text in f.list("serviceaccount") {
        let (ns, name) =
            text.split_once(':').filter(|(_, n)| !n.is_empty() && !n.contains(':')).ok_or_else(|| Error::msg("serviceaccount must be <namespace>:<name>"))?;
        if ns.is_empty() {
            return Err(Error::msg("serviceaccount must be <namespace>:<name>, namespace must be specified"));
        }
        subjects.push(json!({"kind": "ServiceAccount", "namespace": ns, "name": name}));
    }
    if subjects.is_empty() {
        return Err(Error::msg("you must specify at least one value of user, group or serviceaccount"));
    }
    modify::set(&ctx, builder(&ctx, ctx.args())?, "subjects updated", false, |info| {
        if !matches!(info.resource.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
            return Err(Error::msg("setting subjects is only supported for RoleBinding/ClusterRoleBinding"));
        }
        let mut list = info.object["subjects"].as_array().cloned().unwrap_or_default();
        for s in &subjects {
            if !list.contains(s) {
                list.push(s.clone());
            }
        }
        info.object["subjects"] = Value::Array(list);
        Ok(())
    })
    .await
}
