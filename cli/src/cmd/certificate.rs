//! `certificate`: approves and denies requests for certificates.
//! Invariant: a request that was decided is only decided anew with --force.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/certificates/certificates.go`.

use crate::client::{Call, segment};
use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::error::{Result, bail, message, quote};
use crate::print::{self, Printer, order::Order};
use crate::resource::{Builder, FILE_FLAGS};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "certificate",
    usage: "SUBCOMMAND",
    short: "Modify certificate resources",
    long: "Approve or deny certificate signing requests.",
    subcommands: &[&APPROVE, &DENY],
    // Unlike other commands that only hold others, this one shows its help and succeeds.
    run: verb!(show_help: ()),

    ..Command::NEW
};

static APPROVE: Command = Command {
    name: "approve",
    usage: "(-f FILENAME | NAME)",
    short: "Approve a certificate signing request",
    long: "Approve a request: its signer may then issue the certificate. Check what it asks for before.",
    examples: "
      # A request
      kubectl certificate approve csr-sqgzp",
    flags: &[print::FLAGS, FILE_FLAGS],
    run: verb!(decide: Flags, "Approved"),
    ..Command::NEW
};

static DENY: Command = Command {
    name: "deny",
    usage: "(-f FILENAME | NAME)",
    short: "Deny a certificate signing request",
    long: "Deny a request: no certificate is issued for it.",
    examples: "
      # A request
      kubectl certificate deny csr-sqgzp",
    flags: &[print::FLAGS, FILE_FLAGS],
    run: verb!(decide: Flags, "Denied"),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Decide anew what is decided
    #[arg(long)]
    force: bool,
}

async fn show_help(ctx: With<()>) -> Result<()> {
    print::put(&crate::main_help(&ctx))
}

async fn decide(ctx: With<Flags>, kind: &'static str) -> Result<()> {
    let f = ctx.flags();
    ctx.client()?;
    let has_files = ctx.has_files();
    if ctx.args().is_empty() && !has_files {
        bail!("one or more CSRs must be specified as <name> or -f <filename>");
    }
    let mut builder = Builder::new(&ctx)?;
    if !ctx.args().is_empty() {
        // a word with a slash names its type itself
        let named = |word: &String| match word.contains('/') {
            true => word.clone(),
            false => format!("certificatesigningrequest/{word}"),
        };
        let args: Vec<String> = ctx.args().iter().map(named).collect();
        builder = builder.args(&args);
    }
    builder.latest = true;
    // No namespace is looked into: requests have none.
    builder.namespace = String::new();
    builder.default_namespace = false;
    let mut found = builder.find().await?;
    let mut printer = Printer::new(
        &ctx,
        if kind == "Approved" {
            "approved"
        } else {
            "denied"
        },
    )?
    .ordered(Order::Typed);
    let mut errors = found.failures();
    if found.infos.is_empty() && errors.is_empty() {
        return print::put("No resources found\n");
    }
    for info in found.infos {
        errors.next_object();
        if info.resource.kind != "CertificateSigningRequest" {
            errors.push(message!(
                "can only handle CertificateSigningRequest.certificates.k8s.io objects, got {}",
                info.resource.kind_name()
            ));
            continue;
        }
        match one(&ctx, info.object, kind, f.force).await {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

async fn one(ctx: &Ctx, mut csr: Value, kind: &str, force: bool) -> Result<Value> {
    let name = csr.at("metadata").text("name").to_string();
    let other = if kind == "Approved" {
        "Denied"
    } else {
        "Approved"
    };
    let has = |csr: &Value, t: &str| {
        csr.at("status")
            .list("conditions")
            .iter()
            .any(|c| c.text("type") == t)
    };
    if has(&csr, other) {
        bail!(
            "certificate signing request {} is already {other}",
            quote(&name)
        );
    }
    if has(&csr, kind) && !force {
        return Ok(csr);
    }
    if has(&csr, kind) {
        return approve(ctx, &name, &csr).await;
    }
    let verb = if kind == "Approved" {
        "approve"
    } else {
        "deny"
    };
    let condition = json!({"type": kind, "status": "True", "reason": format!("Kubectl{}", if kind == "Approved" { "Approve" } else { "Deny" }), "message": format!("This CSR was {} by kubectl certificate {verb}.", kind.to_lowercase()), "lastUpdateTime": print::age::rfc3339()});
    match csr["status"]["conditions"].as_array_mut() {
        Some(l) => l.push(condition),
        None => csr["status"]["conditions"] = json!([condition]),
    }
    approve(ctx, &name, &csr).await
}

/// Writes what was decided of a request.
async fn approve(ctx: &Ctx, name: &str, csr: &Value) -> Result<Value> {
    let path = format!(
        "/apis/certificates.k8s.io/v1/certificatesigningrequests/{}/approval",
        segment(name)
    );
    ctx.client()?
        .json(&Call::with(http::Method::PUT, path, csr))
        .await
}
