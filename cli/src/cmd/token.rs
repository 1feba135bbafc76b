//! `skiff token create`: a token with which a machine joins as a node, and what the cluster needs to let it.
//!
//! Follows the ways of `cmd/kubeadm/app/cmd/token.go` and `phases/bootstraptoken`.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use skiff_server::ServiceRanges;
use skiff_watching::{api::Api, client::Client};

use crate::{
    cluster::{self, join::Token, networks, objects},
    command::{Command, raw},
    flags::Line,
};

static CREATE: Command = Command {
    name: "create",
    short: "Make a token with which a machine joins as a node",
    long: "Makes a bootstrap token and, where they are missing, the bindings and the signed cluster-info with which a machine joins by it. Prints the command to run there.",
    examples: "skiff token create\nskiff token create --server https://10.0.0.1:6443 --ttl 1h",
    run: raw!(create: Flags),
    ..Command::NEW
};

pub static COMMAND: Command = Command {
    name: "token",
    short: "Tokens with which machines join as nodes",
    long: "Tokens with which machines join as nodes.",
    subcommands: &[&CREATE],
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The file with the admin context; by default $KUBECONFIG or ~/.kube/config
    #[arg(long)]
    kubeconfig: String,
    /// The address by which machines reach the server, where it is another than the kubeconfig's
    #[arg(long)]
    server: String,
    /// How long the token is good for; 0 for ever
    #[arg(long, default_value = "24h")]
    ttl: f64,
    /// Let all machines that have joined, or will, serve Ingresses: they see Secrets for it
    #[arg(long)]
    ingress: bool,
}

const GROUP: &str = "system:bootstrappers:skiff:nodes";

fn create(flags: Flags, line: Line) -> i32 {
    cluster::run_alone("token create", &line, made(flags))
}

async fn made(flags: Flags) -> anyhow::Result<()> {
    let path = cluster::control_plane::kubeconfig_path(&flags.kubeconfig);
    let admin = cluster::remote::of_file(&path)?;
    let server = match flags.server.as_str() {
        "" => admin.server.clone(),
        given => given.into(),
    };
    let ca = admin.authority.clone().unwrap_or_default();
    let api = Api::new(Client::remote(&admin)?, "skiff");
    let token = Token::random();
    let services = objects::service_ranges(&api).await?;
    let dns = networks::dns(&services)?;
    objects::dns_service(&api, &dns).await?;
    objects::policy_reader(&api).await?;
    for (namespace, object) in access()
        .into_iter()
        .chain(secret(&token, super::up::time("ttl", flags.ttl)?))
    {
        objects::apply(&api, &object.to_string(), namespace).await?;
    }
    if flags.ingress {
        cluster::ingress::prepare(&api).await?;
        cluster::ingress::let_nodes(&api).await?;
    }
    publish(&api, &token, &server, &ca).await?;
    println!(
        "skiff agent --server {server} --token {}.{}{}",
        token.id,
        token.secret,
        told_of_networks(&services, &dns)
    );
    Ok(())
}

/// What a machine is to be told of the cluster's networks, where they are other than it takes them for.
fn told_of_networks(services: &ServiceRanges, dns: &[IpAddr]) -> String {
    if *services == ServiceRanges::default() {
        return String::new();
    }
    let list = |texts: Vec<String>| texts.join(",");
    let nets = list(services.iter().map(|net| net.to_string()).collect());
    let ips = list(dns.iter().map(IpAddr::to_string).collect());
    format!(" --service-cluster-ip-range {nets} --cluster-dns {ips}")
}

/// What holders of tokens, and nodes, may do besides what is theirs by default.
fn access() -> Vec<(&'static str, Value)> {
    const GROUP_API: &str = "rbac.authorization.k8s.io";
    const SERVING_APPROVER: &str = "skiff:kubelet-serving-approver";
    let bind = |name: &str, role: &str, group: &str| {
        json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP_API, "kind": "ClusterRole", "name": role}, "subjects": [{"apiGroup": GROUP_API, "kind": "Group", "name": group}]})
    };
    let requests = "system:certificates.k8s.io:certificatesigningrequests";
    vec![
        (
            "",
            bind("skiff:kubelet-bootstrap", "system:node-bootstrapper", GROUP),
        ),
        (
            "",
            bind(
                "skiff:node-autoapprove-bootstrap",
                &format!("{requests}:nodeclient"),
                GROUP,
            ),
        ),
        (
            "",
            bind(
                "skiff:node-autoapprove-certificate-rotation",
                &format!("{requests}:selfnodeclient"),
                "system:nodes",
            ),
        ),
        (
            "",
            bind("skiff:node-proxier", "system:node-proxier", "system:nodes"),
        ),
        // a machine that joined has one identity for its agent and its network
        (
            "",
            bind(
                "skiff:node-network-policies",
                objects::POLICY_READER,
                "system:nodes",
            ),
        ),
        // upstream leaves the serving certificates of nodes to an administrator; here their approver may, for what a Node object says
        (
            "",
            json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "ClusterRole", "metadata": {"name": SERVING_APPROVER},
            "rules": [{"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["kubernetes.io/kubelet-serving"], "verbs": ["approve"]}]}),
        ),
        (
            "",
            json!({"apiVersion": format!("{GROUP_API}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": SERVING_APPROVER},
            "roleRef": {"apiGroup": GROUP_API, "kind": "ClusterRole", "name": SERVING_APPROVER},
            "subjects": [{"kind": "ServiceAccount", "namespace": "kube-system", "name": "certificate-controller"}]}),
        ),
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
        let end = crate::print::age::now()
            + jiff::SignedDuration::from_secs(
                i64::try_from(life.as_secs()).unwrap_or(i64::MAX / 4),
            );
        data["expiration"] = skiff_api::machinery::time::seconds(end).into();
    }
    let data: serde_json::Map<String, Value> = data
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (
                key.clone(),
                STANDARD.encode(value.as_str().unwrap_or("")).into(),
            )
        })
        .collect();
    Some((
        "kube-system",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("bootstrap-token-{}", token.id)}, "type": "bootstrap.kubernetes.io/token", "data": data}),
    ))
}

/// What the cluster says of itself, signed by the token.
async fn publish(api: &Api, token: &Token, server: &str, ca: &str) -> anyhow::Result<()> {
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "preferences": {}, "contexts": [], "users": [], "current-context": "",
        "clusters": [{"name": "", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)}}]})
    .to_string();
    let signature = token.sign(&kubeconfig);
    let mut data = json!({"kubeconfig": kubeconfig});
    data[format!("jws-kubeconfig-{}", token.id)] = signature.into();
    let info = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info"}, "data": data});
    objects::merge(api, &info, "kube-public").await
}
