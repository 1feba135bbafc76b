//! `create ingress`.
//! Invariant: rules of one host are one rule with several paths.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_ingress.go`.

use super::GENERATOR;
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail, message};
use crate::generate;
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "ingress",
    aliases: &["ing"],
    usage: "NAME --rule=host/path=service:port[,tls[=secret]]",
    short: "Create an ingress with the specified name",
    long: "Create an ingress from rules. A path that ends in * matches what begins with it; others match exactly.",
    examples: "
      # One rule
      kubectl create ingress simple --rule=\"foo.com/bar=svc1:8080,tls=my-cert\"
      # Every path of a host, of a class
      kubectl create ingress simple --class=default --rule=\"foo.com/*=svc1:8080\"
      # A backend for all the rest
      kubectl create ingress catch --default-backend=defaultsvc:http --rule=\"foo.com/*=svc:8080\"",
    run: verb!(run: Flags),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The ingress class
    #[arg(long)]
    class: String,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; may be repeated
    #[arg(long)]
    rule: Vec<String>,
    /// SERVICE:PORT for what no rule matches
    #[arg(long)]
    default_backend: String,
    /// An annotation (KEY=VALUE); may be repeated
    #[arg(long)]
    annotation: Vec<String>,
}

fn backend(text: &str) -> Value {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let port = port
        .parse::<i64>()
        .map_or_else(|_| json!({"name": port}), |n| json!({"number": n}));
    json!({"service": {"name": name, "port": port}})
}

/// Whether the rule has the form `host/path=service:port[,tls[=secret]]`.
fn well_formed(rule: &str) -> bool {
    let pattern = r"^([\w\*\-\.]*)(/.*)=([\w\-]+):([\w\-]+)(,(tls)=?([\w\-]+)?)?";
    regex::Regex::new(pattern).is_ok_and(|r| r.is_match(rule))
}

fn rules(texts: &[String]) -> (Vec<Value>, Vec<Value>) {
    let (mut rules, mut tls): (Vec<Value>, Vec<Value>) = (vec![], vec![]);
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        let (body, secret) = text
            .split_once(',')
            .map_or((text.as_str(), None), |(b, s)| (b, Some(s)));
        let (host, rest) = body.split_once('/').unwrap_or((body, ""));
        let (path, service) = rest.split_once('=').unwrap_or((rest, ""));
        let path = format!("/{path}");
        let (path, kind) = path
            .strip_suffix('*')
            .map_or((path.as_str(), "Exact"), |p| (p, "Prefix"));
        let entry = json!({"path": path, "pathType": kind, "backend": backend(service)});
        match rules.iter_mut().find(|r| r.text("host") == host) {
            Some(r) => r["http"]["paths"]
                .as_array_mut()
                .into_iter()
                .for_each(|p| p.push(entry.clone())),
            None if host.is_empty() => rules.push(json!({"http": {"paths": [entry]}})),
            None => rules.push(json!({"host": host, "http": {"paths": [entry]}})),
        }
        let Some(secret) = secret.map(|s| s.split_once('=').map_or("", |(_, n)| n)) else {
            continue;
        };
        if seen.iter().any(|h| h == host) {
            continue;
        }
        seen.push(host.to_string());
        match tls.iter_mut().find(|t| t.text("secretName") == secret) {
            Some(t) => t["hosts"]
                .as_array_mut()
                .into_iter()
                .for_each(|h| h.push(json!(host))),
            None => {
                let mut t = json!({});
                if !host.is_empty() {
                    t["hosts"] = json!([host]);
                }
                if !secret.is_empty() {
                    t["secretName"] = json!(secret);
                }
                if t != json!({}) {
                    tls.push(t);
                }
            }
        }
    }
    (rules, tls)
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let (texts, default) = (&f.rule, f.default_backend.as_str());
    if default.is_empty() && texts.is_empty() {
        bail!(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)"
        );
    }
    if let Some(bad) = texts.iter().find(|t| !well_formed(t)) {
        bail!(
            "rule {bad} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
        );
    }
    let kind = generate::kind("networking.k8s.io", "v1", "ingresses", "Ingress", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    for a in &f.annotation {
        let (k, v) = a.split_once('=').ok_or_else(|| {
            message!("annotation {a} is invalid and should be in format key=[value]")
        })?;
        object["metadata"]["annotations"][k] = json!(v);
    }
    if !default.is_empty() && default.split(':').count() != 2 {
        bail!("default-backend should be in format servicename:serviceport");
    }
    object["spec"] = json!({});
    if !f.class.is_empty() {
        object["spec"]["ingressClassName"] = json!(f.class);
    }
    if !default.is_empty() {
        object["spec"]["defaultBackend"] = backend(default);
    }
    let (rules, tls) = rules(texts);
    for (field, list) in [("rules", rules), ("tls", tls)] {
        if !list.is_empty() {
            object["spec"][field] = Value::Array(list);
        }
    }
    object["status"] = json!({"loadBalancer": {}});
    generate::create(&ctx, &kind, object, "failed to create ingress:").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_gathered_by_host() {
        let (r, t) = rules(&[
            "a.com/x=s:80,tls=c".into(),
            "a.com/y*=s:http".into(),
            "b.com/=s:1,tls=c".into(),
        ]);
        assert_eq!(r.len(), 2);
        assert_eq!(
            r[0]["http"]["paths"][1],
            json!({"path": "/y", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"name": "http"}}}})
        );
        assert_eq!(t, [json!({"hosts": ["a.com", "b.com"], "secretName": "c"})]);
        assert!(well_formed("a/b=c:1") && !well_formed("bad"));
    }
}
