//! `expose`: makes a service for pods that something already describes.
//! Invariant: selector, ports and protocols come from the object unless the command line gives them.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/expose/expose.go` and `polymorphichelpers`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message};
use crate::generate::{self, MANAGER, SAVE_CONFIG};
use crate::print;
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, builder::KUBECTL};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "expose",
    usage: "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] [--name=name] [--external-ip=external-ip-of-service] [--type=type]",
    short: "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
    long: "Make a service for the pods of a deployment, service, replica set, replication controller or for a pod.\n\n Of replica sets and deployments the selector must be one that a service can have: matchLabels alone.",
    examples: "
      # A replicated nginx, its port 80 to the containers' 8000
      kubectl expose rc nginx --port=80 --target-port=8000
      # What a file describes
      kubectl expose -f nginx-controller.yaml --port=80 --target-port=8000
      # A pod, under another name
      kubectl expose pod valid-pod --port=444 --name=frontend
      # A service of the same pods at another port
      kubectl expose service nginx --port=443 --target-port=8443 --name=nginx-https
      # UDP
      kubectl expose rc streamer --port=4100 --protocol=UDP --name=video-stream",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        DRY_RUN,
        SAVE_CONFIG,
        MANAGER,
        generate::RECORD,
    ],
    defaults: &[("field-manager", "kubectl-expose")],
    run: verb!(run: Flags),
    words: Some(Words::Objects {
        types: &[
            "pod",
            "service",
            "replicationcontroller",
            "deployment",
            "replicaset",
        ],
        several: true,
    }),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The protocol: TCP, UDP or SCTP; by default the object's
    #[arg(long)]
    protocol: String,
    /// The service's port; by default the object's
    #[arg(long)]
    port: String,
    /// The service's type: ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long)]
    r#type: String,
    /// The load balancer's address
    #[arg(long)]
    load_balancer_ip: String,
    /// The pods' labels (KEY=VALUE,…); by default the object's selector
    #[arg(long)]
    selector: String,
    /// The service's labels; by default the object's
    #[arg(long, short)]
    labels: String,
    /// The pods' port, a number or a name; by default the service's
    #[arg(long)]
    target_port: String,
    /// An address outside the cluster that also leads to the service
    #[arg(long)]
    external_ip: String,
    /// The service's name; by default the object's
    #[arg(long)]
    name: String,
    /// None or ClientIP
    #[arg(long)]
    session_affinity: String,
    /// The service's address in the cluster, or None
    #[arg(long)]
    cluster_ip: String,
    /// JSON that is laid over the service
    #[arg(long)]
    overrides: String,
    /// How it is laid over: json, merge or strategic
    #[arg(long, default_value = "merge")]
    override_type: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.dry_run()?;
    ctx.client()?;
    let mut printer = generate::printer(&ctx, "exposed")?;
    let mut builder = Builder::new(&ctx)?;
    builder.typed = Some(KUBECTL);
    builder.selector = None;
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    for info in found.infos {
        errors.next_object();
        let made = service(&ctx, &info);
        let result = match made {
            Ok(object) => generate::create_with(
                &ctx,
                &generate::kind("", "v1", "services", "Service", true),
                object,
                &mut printer,
            )
            .await
            .map(drop),
            Err(e) => Err(e),
        };
        errors.extend(result.err());
    }
    errors.told()
}

/// The labels that the object's pods have.
fn selector(info: &Info) -> Result<Value> {
    let o = &info.object;
    let missing = |why: &str| {
        message!("couldn't retrieve selectors via --selector flag or introspection: {why}")
    };
    let labels = match info.resource.kind.as_str() {
        "Pod" => o.at("metadata").at("labels"),
        "Service" | "ReplicationController" => o.at("spec").at("selector"),
        "Deployment" | "ReplicaSet" => {
            if !o
                .at("spec")
                .at("selector")
                .list("matchExpressions")
                .is_empty()
            {
                return Err(missing(&format!(
                    "couldn't convert expressions - \"{}\" to map-based selector format",
                    expressions(o.at("spec").at("selector").list("matchExpressions"))
                )));
            }
            o.at("spec").at("selector").at("matchLabels")
        }
        other => {
            bail!(
                "cannot expose a {}",
                if info.resource.group.is_empty() {
                    other.to_string()
                } else {
                    format!("{other}.{}", info.resource.group)
                }
            );
        }
    };
    match labels.as_object() {
        Some(m) if !m.is_empty() => Ok(labels.clone()),
        _ if info.resource.kind == "Service" => Err(missing("the service has no pod selector set")),
        _ if info.resource.kind == "Pod" => {
            Err(missing("the pod has no labels and cannot be exposed"))
        }
        _ if info.resource.kind == "ReplicationController" => {
            Err(missing("the object has no pod selector set"))
        }
        _ => Err(missing(&format!(
            "invalid {}: no selectors, therefore cannot be exposed",
            info.resource.kind.to_lowercase()
        ))),
    }
}

/// As Go prints them.
fn expressions(list: &[Value]) -> String {
    let one = |e: &Value| {
        let values: Vec<&str> = e.texts("values").collect();
        let (key, operator) = (e.text("key"), e.text("operator"));
        format!(
            "{{Key:{key} Operator:{operator} Values:[{}]}}",
            values.join(" ")
        )
    };
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(" "))
}

/// Ports and protocols that the object has, in order.
fn ports(info: &Info) -> Vec<(i64, String)> {
    let protocol = |p: &Value| p.text_ptr("protocol").unwrap_or("TCP").to_string();
    if info.resource.kind == "Service" {
        return info
            .object
            .at("spec")
            .list("ports")
            .iter()
            .filter_map(|p| Some((p.int_ptr("port")?, protocol(p))))
            .collect();
    }
    let spec = crate::podspec::spec(&info.object).unwrap_or(&Value::Null);
    let containers = spec.list("containers").iter();
    containers
        .flat_map(|c| c.list("ports").iter())
        .filter_map(|p| Some((p.int_ptr("containerPort")?, protocol(p))))
        .collect()
}

fn service(ctx: &With<Flags>, info: &Info) -> Result<Value> {
    let f = ctx.flags();
    let exposable = matches!(
        info.resource.kind.as_str(),
        "Pod" | "Service" | "ReplicationController" | "Deployment" | "ReplicaSet"
    );
    let chosen = if f.selector.is_empty() || !exposable {
        selector(info)?
    } else {
        Value::Object(generate::labels(f.selector.as_str())?)
    };
    let known = ports(info);
    let name = if f.name.is_empty() {
        info.name.chars().take(63).collect()
    } else {
        f.name.to_string()
    };
    let mut object = generate::object(
        ctx,
        &generate::kind("", "v1", "services", "Service", true),
        &name,
    )?;
    let labels = if f.labels.is_empty() {
        info.object.at("metadata").at("labels").clone()
    } else {
        Value::Object(generate::labels(f.labels.as_str())?)
    };
    if labels.as_object().is_some_and(|m| !m.is_empty()) {
        object["metadata"]["labels"] = labels;
    }
    object["spec"] = json!({"selector": chosen});
    let list = service_ports(ctx, &known)?;
    if !list.is_empty() {
        object["spec"]["ports"] = Value::Array(list);
    }
    for (text, field) in [
        (&f.r#type, "type"),
        (&f.session_affinity, "sessionAffinity"),
        (&f.cluster_ip, "clusterIP"),
    ] {
        if !text.is_empty() {
            object["spec"][field] = json!(text);
        }
    }
    if !matches!(f.session_affinity.as_str(), "" | "None" | "ClientIP") {
        bail!("unknown session affinity: {}", f.session_affinity.as_str());
    }
    if !f.external_ip.is_empty() {
        object["spec"]["externalIPs"] = json!([f.external_ip]);
    }
    if f.r#type == "LoadBalancer" && !f.load_balancer_ip.is_empty() {
        object["spec"]["loadBalancerIP"] = json!(f.load_balancer_ip);
    }
    object["status"] = json!({"loadBalancer": {}});
    overridden(object, &f.overrides, &f.override_type)
}

fn service_ports(ctx: &With<Flags>, known: &[(i64, String)]) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let mut wanted: Vec<i64> = Vec::new();
    if f.port.is_empty() {
        known.iter().for_each(|(p, _)| {
            if !wanted.contains(p) {
                wanted.push(*p)
            }
        });
        if wanted.is_empty() && f.cluster_ip != "None" {
            bail!("couldn't find port via --port flag or introspection");
        }
    } else {
        for text in f.port.split(',') {
            wanted.push(text.parse().map_err(|_| {
                message!(
                    "strconv.Atoi: parsing {}: invalid syntax",
                    crate::error::quote(text)
                )
            })?);
        }
    }
    let mut out = Vec::new();
    for (i, port) in wanted.iter().enumerate() {
        let target = if f.target_port.is_empty() {
            json!(port)
        } else {
            generate::int_or_string(f.target_port.as_str())
        };
        let named = if wanted.len() > 1 {
            Some(format!("port-{}", i + 1))
        } else {
            None
        };
        let of_object: Vec<&String> = known
            .iter()
            .filter(|(p, _)| p == port)
            .map(|(_, proto)| proto)
            .collect();
        let mut add = |name: Option<String>, protocol: &str| {
            let mut p = json!({"port": port, "targetPort": target, "protocol": protocol});
            if let Some(n) = name {
                p["name"] = json!(n);
            }
            out.push(p);
        };
        match (f.protocol.as_str(), of_object.as_slice()) {
            ("", []) => add(named, "TCP"),
            ("", [one]) => add(named, one),
            ("", many) => many.iter().for_each(|proto| {
                add(
                    Some(format!("port-{}-{}", i + 1, proto.to_lowercase())),
                    proto,
                )
            }),
            (given, _) => add(named, given),
        }
    }
    Ok(out)
}

/// The object with `--overrides` laid over it.
///
/// # Errors
/// JSON that cannot be read or does not fit.
pub fn overridden(mut object: Value, text: &str, kind: &str) -> Result<Value> {
    use skiff_api::machinery::{patch, schema::parse_json};
    if text.is_empty() {
        return Ok(crate::typed::canonical(&object));
    }
    let bad = |e: String| Error::msg(e);
    let over = parse_json(text.as_bytes())
        .map(|p| p.value)
        .map_err(|e| match kind {
            "merge" => Error::msg("Invalid JSON Patch"),
            "strategic" => Error::msg("invalid JSON document"),
            _ => Error::msg(e.to_string()),
        });
    let over = if matches!(kind, "json" | "merge" | "strategic") {
        over?
    } else {
        Value::Null
    };
    match kind {
        "json" => patch::json::JsonPatch::decode(&over, false)
            .and_then(|p| p.apply(&mut object))
            .map_err(|e| bad(e.to_string()))?,
        "merge" => patch::merge::apply(&mut object, over, false).map_err(|e| bad(e.to_string()))?,
        "strategic" => {
            let node = crate::typed::schema(&object)
                .ok_or_else(|| bad("the object has no schema".into()))?;
            object =
                patch::strategic::apply(&object, &over, node).map_err(|e| bad(e.to_string()))?;
        }
        other => bail!("invalid override type: {other}"),
    }
    crate::typed::decoded(&object).map_err(|why| bad(why.to_string()))
}
