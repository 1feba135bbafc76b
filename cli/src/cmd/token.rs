//! `skiff token create`: a token with which a machine joins as a node, and what the cluster needs to let it.
//!
//! Follows the ways of `cmd/kubeadm/app/cmd/token.go` and `phases/bootstraptoken`.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    cluster::{self, demo, join::Token, nodes},
    command::{Command, Run},
    flags::{Flag, Parsed},
};

const FLAGS: &[Flag] = &[
    Flag::str("kubeconfig", '\0', "", "The file with the admin context; by default $KUBECONFIG or ~/.kube/config"),
    Flag::str("server", '\0', "", "The address by which machines reach the server, where it is another than the kubeconfig's"),
    Flag::duration("ttl", '\0', "24h", "How long the token is good for; 0 for ever"),
];

static CREATE: Command = Command {
    name: "create",
    short: "Make a token with which a machine joins as a node",
    long: "Makes a bootstrap token and, where they are missing, the bindings and the signed cluster-info with which a machine joins by it. Prints the command to run there.",
    examples: "skiff token create\nskiff token create --server https://10.0.0.1:6443 --ttl 1h",
    flags: &[FLAGS],
    run: Run::Raw(create),
    ..Command::NEW
};

pub static COMMAND: Command = Command {
    name: "token",
    short: "Tokens with which machines join as nodes",
    long: "Tokens with which machines join as nodes.",
    subcommands: &[&CREATE],
    ..Command::NEW
};

const GROUP: &str = "system:bootstrappers:skiff:nodes";

fn create(args: Vec<String>) -> i32 {
    match cluster::parsed(&CREATE, &args) {
        Err(code) => code,
        Ok(flags) => cluster::run(made(flags)),
    }
}

async fn made(flags: Parsed) -> anyhow::Result<()> {
    let path = cluster::control_plane::kubeconfig_path(flags.str("kubeconfig"));
    let kubeconfig = kube::config::Kubeconfig::read_from(&path).with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let server = match flags.str("server") {
        "" => config.cluster_url.to_string().trim_end_matches('/').to_string(),
        given => given.into(),
    };
    let ca: String = config.root_cert.iter().flatten().map(|der| pem(der)).collect();
    let client = kube::Client::try_from(config)?;
    let token = Token::random();
    demo::dns_service(&client, nodes::CLUSTER_DNS).await?;
    for (namespace, object) in access().into_iter().chain(secret(&token, Duration::from_secs_f64(flags.duration("ttl")))) {
        demo::apply(&client, &object.to_string(), namespace).await?;
    }
    publish(&client, &token, &server, &ca).await?;
    println!("skiff agent --server {server} --token {}.{}", token.id, token.secret);
    Ok(())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or("")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// What holders of tokens, and nodes, may do besides what is theirs by default.
fn access() -> Vec<(&'static str, Value)> {
    const GROUP_API: &str = "rbac.authorization.k8s.io";
    let bind = |name: &str, role: &str, group: &str| {
        json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP_API, "kind": "ClusterRole", "name": role}, "subjects": [{"apiGroup": GROUP_API, "kind": "Group", "name": group}]})
    };
    let requests = "system:certificates.k8s.io:certificatesigningrequests";
    vec![
        ("", bind("skiff:kubelet-bootstrap", "system:node-bootstrapper", GROUP)),
        ("", bind("skiff:node-autoapprove-bootstrap", &format!("{requests}:nodeclient"), GROUP)),
        ("", bind("skiff:node-autoapprove-certificate-rotation", &format!("{requests}:selfnodeclient"), "system:nodes")),
        ("", bind("skiff:node-proxier", "system:node-proxier", "system:nodes")),
        (
            "kube-public",
            json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "Role", "metadata": {"name": "skiff:cluster-info"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}]}),
        ),
        (
            "kube-public",
            json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "RoleBinding", "metadata": {"name": "skiff:cluster-info"},
            "roleRef": {"apiGroup": GROUP_API, "kind": "Role", "name": "skiff:cluster-info"},
            "subjects": [{"apiGroup": GROUP_API, "kind": "User", "name": "system:anonymous"}]}),
        ),
    ]
}

fn secret(token: &Token, life: Duration) -> Option<(&'static str, Value)> {
    let mut data = json!({"token-id": token.id, "token-secret": token.secret, "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
        "auth-extra-groups": GROUP, "description": "made by skiff token create"});
    if !life.is_zero() {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(i64::try_from(life.as_secs()).unwrap_or(i64::MAX / 4));
        data["expiration"] = skiff_api::machinery::time::seconds(end).into();
    }
    let data: serde_json::Map<String, Value> =
        data.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().unwrap_or("")).into())).collect();
    Some((
        "kube-system",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("bootstrap-token-{}", token.id)}, "type": "bootstrap.kubernetes.io/token", "data": data}),
    ))
}

/// What the cluster says of itself, signed by the token.
async fn publish(client: &kube::Client, token: &Token, server: &str, ca: &str) -> anyhow::Result<()> {
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "preferences": {}, "contexts": [], "users": [], "current-context": "",
        "clusters": [{"name": "", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)}}]})
    .to_string();
    let signature = token.sign(&kubeconfig);
    let mut data = json!({"kubeconfig": kubeconfig});
    data[format!("jws-kubeconfig-{}", token.id)] = signature.into();
    let info = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info"}, "data": data});
    demo::merge(client, &info, "kube-public").await
}
