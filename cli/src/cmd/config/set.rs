//! `config set-cluster`, `set-context`, `set-credentials`: entries from flags.
//! Invariant: fields whose flags are not given stay.
//! Behaviour follows the files of these names in `staging/src/k8s.io/kubectl/pkg/cmd/config`.

use super::property::entry;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Result, bail, message, quote};
use crate::flags::{Csv, Listed};
use crate::kubeconfig::{Entry, clean};
use crate::print;
use crate::typed::Read;
use base64::Engine;
use serde_json::{Value, json};
use std::path::Path;

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
    run: verb!(credentials: SetCredentialsFlags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct SetCredentialsFlags {
    /// The auth provider of the user
    #[arg(long)]
    auth_provider: Option<String>,
    /// Its settings (KEY=VALUE, or KEY- to remove); may be repeated
    #[arg(long)]
    auth_provider_arg: Vec<Csv>,
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
    let read = |list: &[String], of: &str| {
        pairs(list, of).or_else(|why| {
            print::put(&crate::main_help(&ctx))?;
            Err(why)
        })
    };
    let settings = read(&f.auth_provider_arg.list(), "auth-provider-arg")?;
    let variables = read(&f.exec_env, "exec-env")?;
    if name.is_empty() {
        bail!("you must specify a non-empty user name");
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
    let mode = f.exec_interactive_mode.as_deref();
    if mode.is_some_and(|mode| !matches!(mode, "IfAvailable" | "Never" | "Always")) {
        bail!("invalid interactive mode type, can be only IfAvailable, Never, Always");
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
    put_given(
        value,
        &[
            ("token", &g.token),
            ("username", &g.username),
            ("password", &g.password),
        ],
    );
    // one way to say who one is takes the place of the other
    if token {
        put(value, "username", "");
        put(value, "password", "");
    } else if basic {
        put(value, "token", "");
    }
    auth_provider(f.auth_provider.as_deref(), &settings, value);
    exec(f, &variables, value);
    relativize(
        entry(&mut config, "users", &name),
        &["client-certificate", "client-key"],
    )?;
    config.save(before)?;
    print::put(&format!("User {} set.\n", quote(&name)))
}

/// Keys with their values; keys without one are to be removed.
type Pairs = Vec<(String, Option<String>)>;

fn pairs(list: &[String], of: &str) -> Result<Pairs> {
    let (mut out, mut wrong) = (Pairs::new(), Vec::new());
    for text in list {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                out.push((key.into(), Some(value.into())));
            }
            (None, Some(key)) if !key.is_empty() => out.push((key.into(), None)),
            _ => wrong.push(text.as_str()),
        }
    }
    if !wrong.is_empty() {
        bail!("invalid {of} format: {}", wrong.join(", "));
    }
    Ok(out)
}

/// Another name brings another provider, without settings.
fn auth_provider(name: Option<&str>, settings: &Pairs, user: &mut Value) {
    let is_there = user.at("auth-provider").is_object();
    if let Some(name) = name
        && (!is_there || user.at("auth-provider").text("name") != name)
    {
        user["auth-provider"] = json!({"name": name});
    }
    let Some(provider) = user.get_mut("auth-provider").filter(|p| p.is_object()) else {
        return;
    };
    if !provider.at("config").is_object() {
        provider["config"] = json!({});
    }
    for (key, value) in settings {
        match value {
            Some(value) => provider["config"][key] = json!(value),
            None => drop(
                provider["config"]
                    .as_object_mut()
                    .map(|map| map.remove(key)),
            ),
        }
    }
}

/// The other fields of a plugin are changed where there is one, or its command is given.
fn exec(f: &SetCredentialsFlags, variables: &Pairs, user: &mut Value) {
    if let Some(command) = &f.exec_command {
        if user.at("exec").is_object() {
            user["exec"]["command"] = json!(command);
            user["exec"]["args"] = Value::Null;
        } else {
            user["exec"] = json!({"command": command, "provideClusterInfo": false});
        }
    }
    let Some(exec) = user.get_mut("exec").filter(|exec| exec.is_object()) else {
        return;
    };
    put_given(
        exec,
        &[
            ("apiVersion", &f.exec_api_version),
            ("interactiveMode", &f.exec_interactive_mode),
        ],
    );
    if let Some(told) = f.exec_provide_cluster_info {
        exec["provideClusterInfo"] = json!(told);
    }
    if !f.exec_arg.is_empty() {
        exec["args"] = json!(f.exec_arg.list());
    }
    if variables.is_empty() {
        return;
    }
    let mut env: Vec<Value> = exec.list("env").to_vec();
    for (key, value) in variables {
        let at = env.iter().position(|x| x.text("name") == key);
        match (at, value) {
            (Some(at), Some(value)) => env[at]["value"] = json!(value),
            (Some(at), None) => drop(env.remove(at)),
            (None, Some(value)) => env.push(json!({"name": key, "value": value})),
            (None, None) => {}
        }
    }
    exec["env"] = Value::Array(env);
}
