//! `config set-cluster`, `set-context`, `set-credentials`: entries from flags.
//! Invariant: fields whose flags are not given stay.
//! Behaviour follows the files of these names in `staging/src/k8s.io/kubectl/pkg/cmd/config`.

use super::property::entry;
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::flags::Flag;
use crate::print;
use base64::Engine;
use serde_json::{Value, json};

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
    flags: &[&[
        Flag::bool("embed-certs", '\0', false, "Keep the certificate in the kubeconfig"),
        Flag::str("proxy-url", '\0', "", "The proxy for this cluster"),
    ]],
    run: Run::Verb(|ctx| Box::pin(cluster(ctx))),
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
    flags: &[&[Flag::bool("current", '\0', false, "The context in use")]],
    run: Run::Verb(|ctx| Box::pin(context(ctx))),
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
    flags: &[&[
        Flag::bool("embed-certs", '\0', false, "Keep certificate and key in the kubeconfig"),
        Flag::str("auth-provider", '\0', "", "A built-in way to authenticate").refused("such users cannot log in; use an exec plugin"),
        Flag::slice("auth-provider-arg", '\0', "Its arguments").refused("such users cannot log in; use an exec plugin"),
        Flag::str("exec-command", '\0', "", "The program that gives credentials"),
        Flag::str("exec-api-version", '\0', "", "The version of the API that it speaks"),
        Flag::str("exec-interactive-mode", '\0', "", "Whether it may ask: Never, IfAvailable or Always"),
        Flag::bool("exec-provide-cluster-info", '\0', false, "Whether it is told of the cluster"),
        Flag::slice("exec-arg", '\0', "Its arguments; may be repeated"),
        Flag::array("exec-env", '\0', "Its environment (KEY=VALUE, or KEY- to remove); may be repeated"),
    ]],
    run: Run::Verb(|ctx| Box::pin(credentials(ctx))),
    ..Command::NEW
};

fn one_name(ctx: &Ctx) -> Result<String> {
    match ctx.args() {
        [n] => Ok(n.clone()),
        other => Err(super::help_and(
            ctx,
            format!("Unexpected args: [{}]", other.join(" ")),
        )),
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

/// Puts a file's path into a field, absolute, or with `--embed-certs` its content into `field-data`.
fn put_file(value: &mut Value, field: &str, path: &str, embed: bool) -> Result<()> {
    let data = format!("{field}-data");
    if embed {
        let bytes = std::fs::read(path).map_err(|e| {
            Error::msg(format!(
                "could not stat {field} file {path}: stat {path}: {}",
                crate::error::go_io(&e)
            ))
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

async fn cluster(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let name = one_name(&ctx)?;
    if f.bool("insecure-skip-tls-verify") && !f.str("certificate-authority").is_empty() {
        return Err(Error::msg(
            "you cannot specify a certificate authority and insecure mode at the same time",
        ));
    }
    if f.bool("embed-certs") && f.str("certificate-authority").is_empty() {
        return Err(Error::msg(
            "you must specify a --certificate-authority to embed",
        ));
    }
    let before = ctx.config()?;
    let mut config = before.clone();
    let value = &mut entry(&mut config, "clusters", &name).value;
    if f.changed("server") {
        put(value, "server", f.str("server"));
        put(
            value,
            "tls-server-name",
            if f.changed("tls-server-name") {
                f.str("tls-server-name")
            } else {
                ""
            },
        );
    }
    for field in ["tls-server-name", "proxy-url"] {
        if f.changed(field) {
            put(value, field, f.str(field));
        }
    }
    // Unlike the other fields this one does not stay: it is what this command line says.
    value
        .as_object_mut()
        .map(|m| m.remove("insecure-skip-tls-verify"));
    if f.bool("insecure-skip-tls-verify") {
        value["insecure-skip-tls-verify"] = json!(true);
        put(value, "certificate-authority", "");
        put(value, "certificate-authority-data", "");
    }
    if f.changed("certificate-authority") {
        put_file(
            value,
            "certificate-authority",
            f.str("certificate-authority"),
            f.bool("embed-certs"),
        )?;
    }
    config.save(before)?;
    print::put(&format!("Cluster {} set.\n", quote(&name)))
}

async fn context(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let before = ctx.config()?;
    let name = match (ctx.args(), f.bool("current")) {
        ([], true) if before.current_context.is_empty() => {
            return Err(Error::msg("no current context is set"));
        }
        ([], true) => before.current_context.clone(),
        ([n], false) => n.clone(),
        ([_], true) => {
            return Err(Error::msg(
                "you cannot specify both a context name and --current",
            ));
        }
        ([], false) => {
            return Err(Error::msg(
                "you must specify a non-empty context name or --current",
            ));
        }
        _ => {
            return Err(super::help_and(
                &ctx,
                format!("Unexpected args: [{}]", ctx.args().join(" ")),
            ));
        }
    };
    let existed = before.get("contexts", &name).is_some();
    let mut config = before.clone();
    let value = &mut entry(&mut config, "contexts", &name).value;
    for field in ["cluster", "user", "namespace"] {
        if f.changed(field) {
            put(value, field, f.str(field));
        }
    }
    config.save(before)?;
    print::put(&format!(
        "Context {} {}.\n",
        quote(&name),
        if existed { "modified" } else { "created" }
    ))
}

async fn credentials(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let name = one_name(&ctx)?;
    let (token, basic) = (
        !f.str("token").is_empty(),
        !f.str("username").is_empty() || !f.str("password").is_empty(),
    );
    if token && basic {
        return Err(Error::msg(
            "you cannot specify more than one authentication method at the same time: --token, --username/--password",
        ));
    }
    if f.bool("embed-certs")
        && f.str("client-certificate").is_empty()
        && f.str("client-key").is_empty()
    {
        return Err(Error::msg(
            "you must specify a --client-certificate or --client-key to embed",
        ));
    }
    let before = ctx.config()?;
    let mut config = before.clone();
    let value = &mut entry(&mut config, "users", &name).value;
    for field in ["client-certificate", "client-key"] {
        if f.changed(field) {
            put_file(value, field, f.str(field), f.bool("embed-certs"))?;
        }
    }
    if f.changed("token") {
        put(value, "token", f.str("token"));
        put(value, "username", "");
        put(value, "password", "");
    }
    for field in ["username", "password"] {
        if f.changed(field) {
            put(value, field, f.str(field));
            put(value, "token", "");
        }
    }
    exec(&ctx, value);
    config.save(before)?;
    print::put(&format!("User {} set.\n", quote(&name)))
}

fn exec(ctx: &Ctx, user: &mut Value) {
    let f = ctx.flags();
    let names = [
        "exec-command",
        "exec-api-version",
        "exec-interactive-mode",
        "exec-provide-cluster-info",
        "exec-arg",
        "exec-env",
    ];
    if !names.iter().any(|n| f.changed(n)) {
        return;
    }
    let mut e = if user["exec"].is_object() {
        user["exec"].clone()
    } else {
        json!({"provideClusterInfo": false})
    };
    for (flag, field) in [
        ("exec-command", "command"),
        ("exec-api-version", "apiVersion"),
        ("exec-interactive-mode", "interactiveMode"),
    ] {
        if f.changed(flag) {
            e[field] = json!(f.str(flag));
        }
    }
    if f.changed("exec-provide-cluster-info") {
        e["provideClusterInfo"] = json!(f.bool("exec-provide-cluster-info"));
    }
    if f.changed("exec-arg") {
        e["args"] = json!(f.list("exec-arg"));
    }
    let mut env: Vec<Value> = e["env"].as_array().cloned().unwrap_or_default();
    for pair in f.list("exec-env") {
        let (key, value) = match pair.split_once('=') {
            Some((k, v)) => (k.to_string(), Some(v.to_string())),
            None => (pair.trim_end_matches('-').to_string(), None),
        };
        env.retain(|x| x["name"] != key.as_str());
        env.extend(value.map(|v| json!({"name": key, "value": v})));
    }
    if !env.is_empty() {
        e["env"] = Value::Array(env);
    }
    user["exec"] = e;
}
