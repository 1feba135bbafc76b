//! `config set-cluster`, `set-context`, `set-credentials`: entries from flags.
//! Invariant: fields whose flags are not given stay.
//! Behaviour follows the files of these names in `staging/src/k8s.io/kubectl/pkg/cmd/config`.

use super::property::entry;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Result, bail, message, quote};
use crate::flags::{Csv, Listed, Refused};
use crate::kubeconfig::Entry;
use crate::print;
use crate::typed::Read;
use base64::Engine;
use serde_json::{Value, json};
use std::path::{Component, Path, PathBuf};

pub static CLUSTER: Command = Command {
    name: "set-cluster",
    usage: "NAME [--server=server] [--certificate-authority=path/to/certificate/authority] [--insecure-skip-tls-verify=true] [--tls-server-name=example.com]",
    short: "Set a cluster entry in kubeconfig",
    long: "Set a cluster's fields in the kubeconfig. What is not given stays.",
    examples: "
      # The server's address
      kubectl config set-cluster e2e --server=https://1.2.3.4
      # Its authority, kept in the kubeconfig
      kubectl config set-cluster e2e --embed-certs --certificate-authority=~/.kube/e2e/kubernetes.ca.crt
      # Do not check its certificate
      kubectl config set-cluster e2e --insecure-skip-tls-verify=true",
    run: verb!(cluster: SetClusterFlags),
    ..Command::NEW
};

pub static CONTEXT: Command = Command {
    name: "set-context",
    usage: "[NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]",
    short: "Set a context entry in kubeconfig",
    long: "Set a context's fields in the kubeconfig. What is not given stays.",
    examples: "
      # The user of a context
      kubectl config set-context gce --user=cluster-admin
      # The namespace of the one in use
      kubectl config set-context --current --namespace=shop",
    run: verb!(context: SetContextFlags),
    words: Some(Words::Kubeconfig("contexts")),
    values: &[("namespace", Words::Names("namespace"))],
    ..Command::NEW
};

pub static CREDENTIALS: Command = Command {
    name: "set-credentials",
    usage: "NAME [--client-certificate=path/to/certfile] [--client-key=path/to/keyfile] [--token=bearer_token] [--username=basic_user] [--password=basic_password] [--auth-provider=provider_name] [--auth-provider-arg=key=value] [--exec-command=exec_command] [--exec-api-version=exec_api_version] [--exec-arg=arg] [--exec-env=key=value]",
    short: "Set a user entry in kubeconfig",
    long: "Set a user's fields in the kubeconfig. What is not given stays.\n\n A bearer token and basic authentication exclude each other.",
    examples: "
      # A key
      kubectl config set-credentials cluster-admin --client-key=~/.kube/admin.key
      # A certificate, kept in the kubeconfig
      kubectl config set-credentials cluster-admin --client-certificate=~/.kube/admin.crt --embed-certs=true
      # A program that gives credentials
      kubectl config set-credentials cluster-admin --exec-command=/path/to/the/executable --exec-api-version=client.authentication.k8s.io/v1
      # Its environment
      kubectl config set-credentials cluster-admin --exec-env=key1=val1 --exec-env=var-to-remove-",
    refused: &[
        Refused::value("auth-provider", "such users cannot log in; use an exec plugin"),
        Refused::value("auth-provider-arg", "such users cannot log in; use an exec plugin"),
    ],
    run: verb!(credentials: SetCredentialsFlags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct SetCredentialsFlags {
    /// Keep certificate and key in the kubeconfig
    #[arg(long)]
    embed_certs: bool,
    /// The program that gives credentials
    #[arg(long)]
    exec_command: Option<String>,
    /// The version of the API that it speaks
    #[arg(long)]
    exec_api_version: Option<String>,
    /// Whether it may ask: Never, IfAvailable or Always
    #[arg(long)]
    exec_interactive_mode: Option<String>,
    /// Whether it is told of the cluster
    #[arg(long)]
    exec_provide_cluster_info: Option<bool>,
    /// Its arguments; may be repeated
    #[arg(long)]
    exec_arg: Vec<Csv>,
    /// Its environment (KEY=VALUE, or KEY- to remove); may be repeated
    #[arg(long)]
    exec_env: Vec<String>,
}

#[derive(clap::Args)]
#[group(skip)]
struct SetContextFlags {
    /// The context in use
    #[arg(long)]
    current: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct SetClusterFlags {
    /// Keep the certificate in the kubeconfig
    #[arg(long)]
    embed_certs: bool,
    /// The proxy for this cluster
    #[arg(long)]
    proxy_url: Option<String>,
}

fn one_name(ctx: &Ctx) -> Result<String> {
    match ctx.args() {
        [n] => Ok(n.clone()),
        _ => Err(super::unexpected(ctx)),
    }
}

/// Puts a flag's text into a field; an empty one removes it.
fn put(value: &mut Value, field: &str, text: &str) {
    if text.is_empty() {
        value.as_object_mut().map(|m| m.remove(field));
    } else {
        value[field] = json!(text);
    }
}

/// Puts the texts of flags that are given into fields.
fn put_given(value: &mut Value, given: &[(&str, &Option<String>)]) {
    for (field, text) in given {
        if let Some(text) = text {
            put(value, field, text);
        }
    }
}

/// Puts a file's path into a field, absolute, or with `--embed-certs` its content into `field-data`.
fn put_file(value: &mut Value, field: &str, path: &str, embed: bool) -> Result<()> {
    let data = format!("{field}-data");
    if embed {
        let bytes = std::fs::read(path).map_err(|e| {
            message!(
                "could not stat {field} file {path}: stat {path}: {}",
                crate::error::go_io(&e)
            )
        })?;
        value[data] = json!(base64::engine::general_purpose::STANDARD.encode(bytes));
        put(value, field, "");
    } else {
        let absolute = std::path::absolute(path)?;
        put(value, field, &absolute.display().to_string());
        put(value, &data, "");
    }
    Ok(())
}

/// Says where files are from the folder of the kubeconfig, if they are below it.
fn relativize(entry: &mut Entry, fields: &[&str]) -> Result<()> {
    let folder = entry.file.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder.join("."))?;
    for field in fields {
        let Some(path) = entry.value.text_ptr(field) else {
            continue;
        };
        let path = clean(&folder.join(path));
        let shown = path.strip_prefix(clean(&folder)).unwrap_or(&path);
        let shown = shown.display().to_string();
        put(&mut entry.value, field, &shown);
    }
    Ok(())
}

/// A path without the parts that lead nowhere or back.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

async fn cluster(ctx: With<SetClusterFlags>) -> Result<()> {
    let f = ctx.flags();
    let name = one_name(&ctx)?;
    let g = ctx.global();
    let authority = g.certificate_authority.as_deref().unwrap_or("");
    let insecure = g.insecure_skip_tls_verify.unwrap_or(false);
    if insecure && !authority.is_empty() {
        bail!("you cannot specify a certificate authority and insecure mode at the same time");
    }
    if f.embed_certs && authority.is_empty() {
        bail!("you must specify a --certificate-authority to embed");
    }
    let before = ctx.config()?;
    let mut config = before.clone();
    let value = &mut entry(&mut config, "clusters", &name).value;
    if let Some(server) = &g.server {
        put(value, "server", server);
        put(value, "tls-server-name", "");
    }
    put_given(
        value,
        &[
            ("tls-server-name", &g.tls_server_name),
            ("proxy-url", &f.proxy_url),
        ],
    );
    // Unlike the other fields this one does not stay: it is what this command line says.
    value
        .as_object_mut()
        .map(|m| m.remove("insecure-skip-tls-verify"));
    if insecure {
        value["insecure-skip-tls-verify"] = json!(true);
        put(value, "certificate-authority", "");
        put(value, "certificate-authority-data", "");
    }
    if let Some(path) = &g.certificate_authority {
        put_file(value, "certificate-authority", path, f.embed_certs)?;
    }
    relativize(
        entry(&mut config, "clusters", &name),
        &["certificate-authority"],
    )?;
    config.save(before)?;
    print::put(&format!("Cluster {} set.\n", quote(&name)))
}

async fn context(ctx: With<SetContextFlags>) -> Result<()> {
    let f = ctx.flags();
    let before = ctx.config()?;
    let name = match (ctx.args(), f.current) {
        ([], true) if before.current_context.is_empty() => {
            bail!("no current context is set");
        }
        ([], true) => before.current_context.clone(),
        ([n], false) => n.clone(),
        ([_], true) => {
            bail!("you cannot specify both a context name and --current");
        }
        ([], false) => {
            bail!("you must specify a non-empty context name or --current");
        }
        _ => {
            return Err(super::unexpected(&ctx));
        }
    };
    let existed = before.get("contexts", &name).is_some();
    let mut config = before.clone();
    let value = &mut entry(&mut config, "contexts", &name).value;
    let g = ctx.global();
    put_given(
        value,
        &[
            ("cluster", &g.cluster),
            ("user", &g.user),
            ("namespace", &g.namespace),
        ],
    );
    config.save(before)?;
    print::put(&format!(
        "Context {} {}.\n",
        quote(&name),
        if existed { "modified" } else { "created" }
    ))
}

async fn credentials(ctx: With<SetCredentialsFlags>) -> Result<()> {
    let f = ctx.flags();
    let name = one_name(&ctx).map_err(|why| match why.to_string().strip_prefix("Unexpected") {
        Some(rest) => message!("unexpected{rest}"),
        None => why,
    })?;
    if let Some(pair) = f
        .exec_env
        .iter()
        .find(|pair| !pair.contains('=') && !pair.ends_with('-'))
    {
        print::put(&crate::main_help(&ctx))?;
        bail!("invalid exec-env format: {pair}");
    }
    let mode = f.exec_interactive_mode.as_deref().unwrap_or("");
    if !matches!(mode, "" | "IfAvailable" | "Never" | "Always") {
        bail!("invalid interactive mode type, can be only IfAvailable, Never, Always");
    }
    let g = ctx.global();
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let (token, basic) = (given(&g.token), given(&g.username) || given(&g.password));
    if token && basic {
        bail!(
            "you cannot specify more than one authentication method at the same time: --token, --username/--password"
        );
    }
    if f.embed_certs && !given(&g.client_certificate) && !given(&g.client_key) {
        bail!("you must specify a --client-certificate or --client-key to embed");
    }
    let before = ctx.config()?;
    let mut config = before.clone();
    let value = &mut entry(&mut config, "users", &name).value;
    for (field, path) in [
        ("client-certificate", &g.client_certificate),
        ("client-key", &g.client_key),
    ] {
        if let Some(path) = path {
            put_file(value, field, path, f.embed_certs)?;
        }
    }
    if let Some(token) = &g.token {
        put(value, "token", token);
        put(value, "username", "");
        put(value, "password", "");
    }
    for (field, text) in [("username", &g.username), ("password", &g.password)] {
        if let Some(text) = text {
            put(value, field, text);
            put(value, "token", "");
        }
    }
    exec(f, value);
    relativize(
        entry(&mut config, "users", &name),
        &["client-certificate", "client-key"],
    )?;
    config.save(before)?;
    print::put(&format!("User {} set.\n", quote(&name)))
}

fn exec(f: &SetCredentialsFlags, user: &mut Value) {
    let texts = [
        ("command", &f.exec_command),
        ("apiVersion", &f.exec_api_version),
        ("interactiveMode", &f.exec_interactive_mode),
    ];
    if texts.iter().all(|(_, text)| text.is_none())
        && f.exec_provide_cluster_info.is_none()
        && f.exec_arg.is_empty()
        && f.exec_env.is_empty()
    {
        return;
    }
    let mut e = if user.at("exec").is_object() {
        user.at("exec").clone()
    } else {
        json!({"provideClusterInfo": false})
    };
    for (field, text) in texts {
        if let Some(text) = text {
            e[field] = json!(text);
        }
    }
    if let Some(told) = f.exec_provide_cluster_info {
        e["provideClusterInfo"] = json!(told);
    }
    if !f.exec_arg.is_empty() {
        e["args"] = json!(f.exec_arg.list());
    }
    let mut env: Vec<Value> = e.list("env").to_vec();
    for pair in &f.exec_env {
        let (key, value) = match pair.split_once('=') {
            Some((k, v)) => (k.to_string(), Some(v.to_string())),
            None => (pair.trim_end_matches('-').to_string(), None),
        };
        env.retain(|x| x.text("name") != key.as_str());
        env.extend(value.map(|v| json!({"name": key, "value": v})));
    }
    if !f.exec_env.is_empty() {
        e["env"] = Value::Array(env);
    }
    user["exec"] = e;
}
