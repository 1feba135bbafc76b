//! `cluster-info`: where the control plane and the cluster's services are.
//! Invariant: addresses are those that this program itself would use.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/clusterinfo/clusterinfo.go`.

use crate::client::{Call, query};
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::Result;
use crate::print;
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
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let client = ctx.client()?;
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let paint = |text: &str, code: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() };
    let q = query(&[("labelSelector", "kubernetes.io/cluster-service=true")]);
    let list = client.json(&Call::get(format!("/api/v1/namespaces/kube-system/services{q}"))).await?;
    let line = |name: &str, link: &str| format!("{} is running at {}\n", paint(name, "0;32"), paint(link, "0;33"));
    let mut out = line("Kubernetes control plane", &client.server());
    for s in list["items"].as_array().into_iter().flatten() {
        let name = s["metadata"]["labels"]["kubernetes.io/name"].as_str().unwrap_or_else(|| s["metadata"]["name"].as_str().unwrap_or(""));
        out += &line(name, &link(s, &client.server()));
    }
    print::put(&format!("{out}\nTo further debug and diagnose cluster problems, use '{} cluster-info dump'.\n", ctx.program()))
}

fn link(s: &Value, server: &str) -> String {
    let port = &s["spec"]["ports"][0];
    if let Some(ip) = s["status"]["loadBalancer"]["ingress"][0]["ip"].as_str() {
        return s["spec"]["ports"].as_array().into_iter().flatten().map(|p| format!("http://{ip}:{} ", p["port"])).collect::<String>().trim_end().to_string();
    }
    let text = |f: &str| s["metadata"][f].as_str().unwrap_or("");
    let scheme = if port["port"] == 443 || port["name"].as_str().is_some_and(|n| n.contains("https")) { "https:" } else { "" };
    let suffix = port["name"].as_str().filter(|n| !n.is_empty()).map(|n| format!(":{n}")).unwrap_or_default();
    format!("{server}/api/v1/namespaces/{}/services/{scheme}{}{suffix}/proxy", text("namespace"), text("name"))
}
