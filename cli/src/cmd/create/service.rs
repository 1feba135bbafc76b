//! `create service clusterip|nodeport|loadbalancer|externalname`.
//! Invariant: the service selects `app=NAME`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_service.go`.

use super::GENERATOR;
use crate::command::{Command, Run, verb};
use crate::context::{Ctx, With};
use crate::error::{Result, bail};
use crate::flags::{Csv, Listed};
use crate::generate;
use serde_json::{Value, json};
use skiff_api::machinery::{gonum, names};

pub static COMMAND: Command = Command {
    name: "service",
    aliases: &["svc"],
    usage: "[flags]",
    short: "Create a service using a specified subcommand",
    long: "Create a service of one of the four types.",
    subcommands: &[&CLUSTERIP, &NODEPORT, &LOADBALANCER, &EXTERNALNAME],
    run: Run::Group,
    ..Command::NEW
};

static CLUSTERIP: Command = Command {
    name: "clusterip",
    usage: "NAME [--tcp=<port>:<targetPort>] [--dry-run=server|client|none]",
    short: "Create a ClusterIP service",
    long: "Create a service with an address inside the cluster.",
    examples: "
      # With a port
      kubectl create service clusterip my-cs --tcp=5678:8080
      # Without an address
      kubectl create service clusterip my-cs --clusterip=\"None\"",
    run: verb!(cluster_ip: ClusterIp),
    ..GENERATOR
};

static NODEPORT: Command = Command {
    name: "nodeport",
    usage: "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]",
    short: "Create a NodePort service",
    long: "Create a service with a port on every node.",
    examples: "
      # With a port
      kubectl create service nodeport my-ns --tcp=5678:8080",
    run: verb!(node_port: NodePort),
    ..GENERATOR
};

static LOADBALANCER: Command = Command {
    name: "loadbalancer",
    usage: "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]",
    short: "Create a LoadBalancer service",
    long: "Create a service behind a load balancer.",
    examples: "
      # With a port
      kubectl create service loadbalancer my-lbs --tcp=5678:8080",
    run: verb!(load_balancer: Ports),
    ..GENERATOR
};

static EXTERNALNAME: Command = Command {
    name: "externalname",
    usage: "NAME --external-name external.name [--dry-run=server|client|none]",
    short: "Create an ExternalName service",
    long: "Create a service that stands for a name outside the cluster.",
    examples: "
      # For a name
      kubectl create service externalname my-ns --external-name bar.com",
    required: &["external-name"],
    run: verb!(external_name: ExternalName),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct Ports {
    /// A port and the port of the pods (PORT:TARGETPORT); may be repeated
    #[arg(long)]
    tcp: Vec<Csv>,
}

#[derive(clap::Args)]
#[group(skip)]
struct ClusterIp {
    #[command(flatten)]
    ports: Ports,
    /// The address to have, or None
    #[arg(long)]
    clusterip: String,
}

#[derive(clap::Args)]
#[group(skip)]
struct NodePort {
    #[command(flatten)]
    ports: Ports,
    /// The port on each node
    #[arg(long)]
    node_port: i64,
}

#[derive(clap::Args)]
#[group(skip)]
struct ExternalName {
    #[command(flatten)]
    ports: Ports,
    /// The name that the service stands for
    #[arg(long)]
    external_name: String,
}

/// What one of the four asks for.
#[derive(Default)]
struct Wish<'f> {
    kind: &'static str,
    cluster_ip: &'f str,
    node_port: i64,
    external_name: Option<&'f str>,
}

async fn cluster_ip(ctx: With<ClusterIp>) -> Result<()> {
    let f = ctx.flags();
    let wish = Wish {
        kind: "ClusterIP",
        cluster_ip: &f.clusterip,
        ..Wish::default()
    };
    make(&ctx, &f.ports, wish).await
}

async fn node_port(ctx: With<NodePort>) -> Result<()> {
    let f = ctx.flags();
    let wish = Wish {
        kind: "NodePort",
        node_port: f.node_port,
        ..Wish::default()
    };
    make(&ctx, &f.ports, wish).await
}

async fn load_balancer(ctx: With<Ports>) -> Result<()> {
    let wish = Wish {
        kind: "LoadBalancer",
        ..Wish::default()
    };
    make(&ctx, ctx.flags(), wish).await
}

async fn external_name(ctx: With<ExternalName>) -> Result<()> {
    let f = ctx.flags();
    if !names::is_dns1123_subdomain(&f.external_name).is_empty() {
        bail!("invalid service external name {}", f.external_name);
    }
    let wish = Wish {
        kind: "ExternalName",
        external_name: Some(&f.external_name),
        ..Wish::default()
    };
    make(&ctx, &f.ports, wish).await
}

/// One port of `--tcp`; what stands behind a second colon is nobody's.
fn port(text: &str) -> Result<(u16, Value)> {
    let mut parts = text.split(':');
    let number = gonum::uint16(parts.next().unwrap_or_default())?;
    let Some(target) = parts.next() else {
        return Ok((number, json!(number)));
    };
    let (target, wrong) = match gonum::atoi(target) {
        Ok(number) => (json!(number), names::is_valid_port_num(number)),
        Err(_) => (json!(target), names::is_valid_port_name(target)),
    };
    if !wrong.is_empty() {
        bail!("{}", wrong.join(","));
    }
    Ok((number, target))
}

async fn make(ctx: &Ctx, ports: &Ports, wish: Wish<'_>) -> Result<()> {
    let name = generate::name(ctx)?;
    let tcp = ports.tcp.list();
    if tcp.is_empty() && wish.cluster_ip != "None" && wish.kind != "ExternalName" {
        bail!("at least one tcp port specifier must be provided");
    }
    let mut ports = Vec::new();
    for text in &tcp {
        let (number, target) = port(text)?;
        let mut p = json!({"name": text.replace(':', "-"), "port": number, "targetPort": target, "protocol": "TCP"});
        if wish.node_port > 0 {
            p["nodePort"] = json!(wish.node_port);
        }
        ports.push(p);
    }
    let kind = generate::kind("", "v1", "services", "Service", true);
    let mut object = generate::object(ctx, &kind, &name)?;
    let labels = json!({"app": name});
    object["metadata"]["labels"] = labels.clone();
    object["spec"] = json!({"type": wish.kind, "selector": labels});
    if !ports.is_empty() {
        object["spec"]["ports"] = json!(ports);
    }
    if !wish.cluster_ip.is_empty() {
        object["spec"]["clusterIP"] = json!(wish.cluster_ip);
    }
    if let Some(external) = wish.external_name {
        object["spec"]["externalName"] = json!(external);
    }
    object["status"] = json!({"loadBalancer": {}});
    let failed = format!("failed to create {} service:", wish.kind);
    generate::create(ctx, &kind, object, &failed).await
}
