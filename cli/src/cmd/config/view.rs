//! `config view`: the merged kubeconfig.
//! Invariant: secrets are only shown with --raw or --flatten.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/config/view.go`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, bail, message};
use crate::kubeconfig::{Config, LISTS, beside, fields};
use crate::print::{self, Format, Printer};
use crate::typed::Read;
use base64::Engine;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "view",
    usage: "[flags]",
    short: "Display merged kubeconfig settings or a specified kubeconfig file",
    long: "Show the kubeconfig, merged from all its files. With --output jsonpath={...} only a part of it.",
    examples: "
      # All of it, without secrets
      kubectl config view
      # With secrets
      kubectl config view --raw
      # One user's password
      kubectl config view -o jsonpath='{.users[?(@.name == \"e2e\")].user.password}'",
    flags: &[print::FLAGS],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Merge all files; not to do so takes --kubeconfig, which names one
    #[arg(long, default_value = "true")]
    merge: bool,
    /// Show secrets
    #[arg(long)]
    raw: bool,
    /// Put in what other files hold, so that the result stands alone
    #[arg(long)]
    flatten: bool,
    /// Leave out what the current context does not use
    #[arg(long)]
    minify: bool,
}

/// The order of the fields, as Go's structs have it; an exec plugin's own come first, for its `apiVersion` follows them.
const ORDER: &[&str] = &[
    "command",
    "args",
    "env",
    "kind",
    "apiVersion",
    "preferences",
    "name",
    "clusters",
    "users",
    "contexts",
    "current-context",
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
    "username",
    "password",
    "auth-provider",
    "exec",
    "config",
    "value",
    "installHint",
    "provideClusterInfo",
    "interactiveMode",
    "cluster",
    "user",
    "namespace",
];

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.takes_no_args("unexpected arguments")?;
    if !f.merge && ctx.global().kubeconfig.is_empty() {
        bail!("if merge==false a precise file must be specified");
    }
    let mut config = ctx.config()?.clone();
    if f.minify {
        if !ctx.global().context.is_empty() {
            config.current_context = ctx.global().context.clone();
        }
        minify(&mut config)?;
    }
    if f.flatten {
        flatten(&mut config)?;
    } else if !f.raw {
        redact(&mut config);
    }
    let format = print::format(&ctx, "go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,name,template,templatefile,yaml")?
        .unwrap_or(Format::Yaml);
    let mut document = config.document();
    fields::keep_known(&mut document);
    if document.some("clusters").is_none() {
        document["clusters"] = Value::Null;
    }
    Printer::of(format, "", true)
        .ordered(print::order::Order::Keys(ORDER))
        .print(&document)
}

fn minify(config: &mut Config) -> Result<()> {
    let name = config.current_context.clone();
    if name.is_empty() {
        bail!("current-context must exist in order to minify");
    }
    let context = config
        .get("contexts", &name)
        .cloned()
        .ok_or_else(|| Error::msg("cannot locate context ".to_string() + &name))?;
    let text = |field: &str| context.value[field].as_str().unwrap_or("").to_string();
    config.contexts = vec![context.clone()];
    for (list, field) in [("clusters", "cluster"), ("users", "user")] {
        let wanted = text(field);
        if !wanted.is_empty() && config.get(list, &wanted).is_none() {
            bail!("cannot locate {field} {wanted}");
        }
    }
    config.users.retain(|e| e.name == text("user"));
    config.clusters.retain(|e| e.name == text("cluster"));
    Ok(())
}

fn flatten(config: &mut Config) -> Result<()> {
    for (list, field) in [
        ("clusters", "certificate-authority"),
        ("users", "client-certificate"),
        ("users", "client-key"),
    ] {
        for e in config.list_mut(list) {
            let Some(path) = e.value[field].as_str().map(String::from) else {
                continue;
            };
            let full = beside(&e.file, &path);
            let bytes = std::fs::read(&full).map_err(|err| {
                message!("open {}: {}", full.display(), crate::error::go_io(&err))
            })?;
            e.value[format!("{field}-data")] =
                json!(base64::engine::general_purpose::STANDARD.encode(bytes));
            e.value.as_object_mut().map(|m| m.remove(field));
        }
    }
    Ok(())
}

fn redact(config: &mut Config) {
    let omitted = [
        ("clusters", "certificate-authority-data"),
        ("users", "client-certificate-data"),
        ("users", "client-key-data"),
    ];
    for (list, field) in omitted {
        for e in config.list_mut(list) {
            if e.value[field].is_string() {
                e.value[field] = json!("DATA+OMITTED");
            }
        }
    }
    for e in config.list_mut(LISTS[2].0) {
        for field in ["token", "password"] {
            if e.value[field].as_str().is_some_and(|t| !t.is_empty()) {
                e.value[field] = json!("REDACTED");
            }
        }
    }
}
