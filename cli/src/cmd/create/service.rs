//! `create service clusterip|nodeport|loadbalancer|externalname`.
//! Invariant: the service selects `app=NAME`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_service.go`.

use super::COMMON;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::generate;
use serde_json::{Value, json};

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

const TCP: Flag = Flag::slice(
    "tcp",
    '\0',
    "A port and the port of the pods (PORT:TARGETPORT); may be repeated",
);

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
    flags: &[
        COMMON[0],
        COMMON[1],
        COMMON[2],
        COMMON[3],
        COMMON[4],
        &[
            TCP,
            Flag::str("clusterip", '\0', "", "The address to have, or None"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx, "ClusterIP"))),
    ..Command::NEW
};

static NODEPORT: Command = Command {
    name: "nodeport",
    usage: "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]",
    short: "Create a NodePort service",
    long: "Create a service with a port on every node.",
    examples: "
      # With a port
      kubectl create service nodeport my-ns --tcp=5678:8080",
    flags: &[
        COMMON[0],
        COMMON[1],
        COMMON[2],
        COMMON[3],
        COMMON[4],
        &[
            TCP,
            Flag::int("node-port", '\0', "0", "The port on each node"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx, "NodePort"))),
    ..Command::NEW
};

static LOADBALANCER: Command = Command {
    name: "loadbalancer",
    usage: "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]",
    short: "Create a LoadBalancer service",
    long: "Create a service behind a load balancer.",
    examples: "
      # With a port
      kubectl create service loadbalancer my-lbs --tcp=5678:8080",
    flags: &[
        COMMON[0],
        COMMON[1],
        COMMON[2],
        COMMON[3],
        COMMON[4],
        &[TCP],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx, "LoadBalancer"))),
    ..Command::NEW
};

static EXTERNALNAME: Command = Command {
    name: "externalname",
    usage: "NAME --external-name external.name [--dry-run=server|client|none]",
    short: "Create an ExternalName service",
    long: "Create a service that stands for a name outside the cluster.",
    examples: "
      # For a name
      kubectl create service externalname my-ns --external-name bar.com",
    flags: &[
        COMMON[0],
        COMMON[1],
        COMMON[2],
        COMMON[3],
        COMMON[4],
        &[
            TCP,
            Flag::str(
                "external-name",
                '\0',
                "",
                "The name that the service stands for",
            ),
        ],
    ],
    required: &["external-name"],
    run: Run::Verb(|ctx| Box::pin(run(ctx, "ExternalName"))),
    ..Command::NEW
};

/// One port of `--tcp`.
fn port(text: &str) -> Result<(i64, Value)> {
    let (port, target) = text
        .split_once(':')
        .map_or((text, None), |(p, t)| (p, Some(t)));
    let number = generate::port(port)?;
    let target = match target {
        None => json!(number),
        Some(t) => match t.parse::<i64>() {
            Ok(n) if (1..=65535).contains(&n) => json!(n),
            Ok(_) => return Err(Error::msg("must be between 1 and 65535, inclusive")),
            Err(_)
                if !t.is_empty()
                    && t.len() <= 15
                    && t.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && t.bytes().any(|b| b.is_ascii_lowercase()) =>
            {
                json!(t)
            }
            Err(_) => {
                return Err(Error::msg(
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                ));
            }
        },
    };
    Ok((number, target))
}

async fn run(ctx: Ctx, kind_of: &'static str) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let (tcp, cluster_ip) = (
        f.list("tcp"),
        if f.declares("clusterip") {
            f.str("clusterip")
        } else {
            ""
        },
    );
    if tcp.is_empty() && cluster_ip != "None" && kind_of != "ExternalName" {
        return Err(Error::msg(
            "at least one tcp port specifier must be provided",
        ));
    }
    let node_port = if f.declares("node-port") {
        f.int("node-port")
    } else {
        0
    };
    let mut ports = Vec::new();
    for text in &tcp {
        let (number, target) = port(text)?;
        let mut p = json!({"name": text.replace(':', "-"), "port": number, "targetPort": target, "protocol": "TCP"});
        if node_port > 0 {
            p["nodePort"] = json!(node_port);
        }
        ports.push(p);
    }
    let kind = generate::kind("", "v1", "services", "Service", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    let labels = json!({"app": name});
    object["metadata"]["labels"] = labels.clone();
    object["spec"] = json!({"type": kind_of, "selector": labels});
    if !ports.is_empty() {
        object["spec"]["ports"] = json!(ports);
    }
    if !cluster_ip.is_empty() {
        object["spec"]["clusterIP"] = json!(cluster_ip);
    }
    if f.declares("external-name") {
        object["spec"]["externalName"] = json!(f.str("external-name"));
    }
    object["status"] = json!({"loadBalancer": {}});
    generate::create(&ctx, &kind, object).await
}
