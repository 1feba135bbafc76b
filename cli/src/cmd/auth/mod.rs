//! `auth`: who one is and what one may do.
//! Invariant: the server decides; nothing is worked out here.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/auth`.

mod can_i;
mod reconcile;

use crate::client::Call;
use crate::command::{Command, Run, verb};
use crate::context::With;
use crate::error::{Error, Result};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Printer, order::Order};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "auth",
    usage: "[flags]",
    short: "Inspect authorization",
    long: "Ask who you are to the server, and what you may do.",
    subcommands: &[&can_i::COMMAND, &reconcile::COMMAND, &WHOAMI],
    run: Run::Group,
    ..Command::NEW
};

static WHOAMI: Command = Command {
    name: "whoami",
    usage: "",
    short: "Experimental: Check self subject attributes",
    long: "Ask the server who you are to it: name, uid, groups, and more.",
    examples: "
      # As a table
      kubectl auth whoami
      # As JSON
      kubectl auth whoami -o json",
    flags: &[print::FLAGS],
    run: verb!(whoami: ()),
    ..Command::NEW
};

async fn whoami(ctx: With<()>) -> Result<()> {
    let body = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}});
    let answer = ctx.client()?.json(&Call::with(http::Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &body)).await.map_err(|e| match e
        .reason()
    {
        "Forbidden" => Error::msg("the selfsubjectreviews API is not enabled in the cluster or you do not have permission to call it"),
        "NotFound" => Error::msg("the selfsubjectreviews API is not enabled in the cluster"),
        _ => e,
    })?;
    if !ctx.output().is_empty() {
        return Printer::new(&ctx, "")?.ordered(Order::Typed).print(&answer);
    }
    let user = answer.at("status").at("userInfo");
    let list = |v: &Value| {
        format!(
            "[{}]",
            v.as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        )
    };
    let mut w = TabWriter::table();
    w.push("ATTRIBUTE\tVALUE\n");
    for (label, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(t) = user[field].as_str().filter(|t| !t.is_empty()) {
            w.push(&format!("{label}\t{t}\n"));
        }
    }
    if !user.list("groups").is_empty() {
        w.push(&format!("Groups\t{}\n", list(user.at("groups"))));
    }
    for (k, v) in user.entries("extra") {
        w.push(&format!("Extra: {k}\t{}\n", list(v)));
    }
    print::put(&w.flush())
}
