//! `cluster-info`: where the control plane and the cluster's services are.
//! Invariant: addresses are those that this program itself would use.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/clusterinfo/clusterinfo.go`.

mod dump;

use crate::client::{Call, query, segment};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::Result;
use crate::print;
use crate::typed::Read;
use serde_json::Value;
use std::io::IsTerminal;

pub static COMMAND: Command = Command {
    name: "cluster-info",
    usage: "[flags]",
    short: "Display cluster information",
    long: "Show the addresses of the control plane and of services with the label kubernetes.io/cluster-service=true.",
    examples: "
      # The addresses
      kubectl cluster-info",
    subcommands: &[&dump::COMMAND],
    run: verb!(run: ()),
    ..Command::NEW
};

async fn run(ctx: With<()>) -> Result<()> {
    let client = ctx.client()?;
    let namespace = ctx.global().namespace.as_deref().unwrap_or("");
    let namespace = if namespace.is_empty() {
        "kube-system"
    } else {
        namespace
    };
    let q = query(&[("labelSelector", "kubernetes.io/cluster-service=true")]);
    let discovery = ctx.discovery()?;
    let mut kind = discovery.category("services").await;
    if kind.is_err() {
        kind = discovery.mapping("services").await.map(|kind| vec![kind]);
    }
    let path = format!("/api/v1/namespaces/{}/services{q}", segment(namespace));
    let list = match kind {
        Ok(_) => client.json(&Call::get(path)).await,
        Err(why) => Err(why),
    };
    let mut out = String::new();
    if let Ok(list) = &list {
        out += &line("Kubernetes control plane", &client.server());
        for s in list.list("items") {
            let name = s
                .at("metadata")
                .at("labels")
                .text_ptr("kubernetes.io/name")
                .filter(|n| !n.is_empty());
            out += &line(
                name.unwrap_or_else(|| s.at("metadata").text("name")),
                &link(s, &client.server()),
            );
        }
    }
    print::put(&format!(
        "{out}\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.\n"
    ))?;
    list.map(drop)
}

fn line(name: &str, link: &str) -> String {
    let color = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let paint = |text: &str, code: &str| {
        if color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    };
    format!(
        "{} is running at {}\n",
        paint(name, "0;32"),
        paint(link, "0;33")
    )
}

fn link(s: &Value, server: &str) -> String {
    let text = |f: &str| s.at("metadata").text(f);
    let ports = || s.at("spec").list("ports").iter();
    if let Some(ingress) = s.at("status").at("loadBalancer").at("ingress").get(0) {
        let at = ingress
            .text_ptr("ip")
            .filter(|ip| !ip.is_empty())
            .or(ingress.text_ptr("hostname"))
            .unwrap_or("");
        return ports()
            .map(|p| format!("http://{at}:{} ", p.at("port")))
            .collect();
    }
    let name = ports().next().map_or_else(
        || text("name").to_string(),
        |port| {
            let port_name = port.text("name");
            match (port_name == "https" || port.int("port") == 443, port_name) {
                (true, port_name) => format!("https:{}:{port_name}", text("name")),
                (false, "") => text("name").to_string(),
                (false, port_name) => format!("{}:{port_name}", text("name")),
            }
        },
    );
    format!(
        "{server}/api/v1/namespaces/{}/services/{name}/proxy",
        text("namespace")
    )
}
