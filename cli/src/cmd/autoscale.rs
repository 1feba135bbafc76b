//! `autoscale`: makes an autoscaler for something that can be scaled.
//! Invariant: what it points to exists.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/autoscale/autoscale.go`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message};
use crate::generate::{self, MANAGER, SAVE_CONFIG};
use crate::print;
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS};
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "autoscale",
    usage: "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU] [--memory=MEMORY]",
    short: "Auto-scale a deployment, replica set, stateful set, or replication controller",
    long: "Make an autoscaler that chooses how many pods a deployment, replica set, stateful set or replication controller has.",
    examples: "
      # From two to ten pods, by the default policy
      kubectl autoscale deployment foo --min=2 --max=10
      # Up to five, aiming at 80% of the requested CPU
      kubectl autoscale rc foo --max=5 --cpu=80%
      # Up to five, aiming at 500 millicores
      kubectl autoscale deployment bar --min=3 --max=6 --cpu=500m --memory=200Mi",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        DRY_RUN,
        SAVE_CONFIG,
        MANAGER,
        generate::RECORD,
    ],
    defaults: &[("field-manager", "kubectl-autoscale")],
    required: &["max"],
    run: verb!(run: Flags),
    words: Some(Words::SCALED),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The least number of pods; negative leaves it to the server
    #[arg(long, default_value = "-1")]
    min: i32,
    /// The greatest number of pods
    #[arg(long, default_value = "-1")]
    max: i32,
    /// The share of the requested CPU to aim at; --cpu is newer
    #[arg(long, value_name = "-1")]
    cpu_percent: Option<i32>,
    /// The CPU to aim at: a share of what is requested (70%), or an amount (500m)
    #[arg(long)]
    cpu: Option<String>,
    /// The memory to aim at: a share of what is requested (60%), or an amount (200Mi)
    #[arg(long)]
    memory: Option<String>,
    /// The autoscaler's name; by default what it scales
    #[arg(long)]
    name: String,
}

impl Flags {
    fn cpu(&self) -> &str {
        self.cpu.as_deref().unwrap_or("")
    }
}

fn metric(name: &str, text: &str) -> Result<Value> {
    let target = match text.strip_suffix('%') {
        Some(share) => {
            let n: i64 = share
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| message!("invalid percentage value: {share}"))?;
            json!({"type": "Utilization", "averageUtilization": n})
        }
        None => {
            // A bare number is one of thousandths of a processor, or of mebibytes.
            let bare = text.ends_with(|c: char| c.is_ascii_digit());
            let unit = match name {
                _ if !bare => "",
                "cpu" => "m",
                _ => "Mi",
            };
            let amount = format!("{text}{unit}");
            if crate::describe::quantity::parse(&amount).is_none() {
                bail!("invalid resource {name} value: {text}");
            }
            json!({"type": "AverageValue", "averageValue": crate::describe::quantity::canonical(&amount)})
        }
    };
    Ok(json!({"type": "Resource", "resource": {"name": name, "target": target}}))
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.dry_run()?;
    ctx.client()?;
    let (min, max) = (f.min, f.max);
    if max < 1 {
        bail!("--max=MAXPODS is required and must be at least 1, max: {max}");
    }
    if max < min {
        bail!("--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}");
    }
    if f.cpu_percent > Some(0) && !f.cpu().is_empty() {
        bail!("--cpu-percent and --cpu are mutually exclusive");
    }
    let mut found = Builder::new(&ctx)?.find().await?;
    let mut printer = generate::printer_late(&ctx, "autoscaled")?;
    let mut errors = found.failures();
    let count = found.infos.len();
    for info in found.infos {
        errors.next_object();
        if info.resource.subresources.iter().all(|s| s != "scale") {
            errors.push(message!("cannot autoscale a {}: could not find scale subresource for {} in discovery information",
                info.resource.kind,
                info.resource.long_name()));
            continue;
        }
        match autoscaler(&ctx, &info) {
            Ok((kind, object)) => {
                if let Err(e) = generate::create_with(&ctx, &kind, object, &mut printer).await {
                    errors.push(if fits_v1(f) { e } else { not_in_v1(f) });
                }
            }
            Err(e) => errors.push(e),
        }
    }
    if count == 0 && errors.is_empty() {
        bail!("no objects passed to autoscale");
    }
    errors.told()
}

/// Whether the older version of the API could hold it, too: then kubectl tells the failure as it is.
fn fits_v1(f: &Flags) -> bool {
    f.memory.as_deref().unwrap_or("").is_empty()
        && (f.cpu_percent >= Some(0) || f.cpu().ends_with('%'))
}

fn not_in_v1(f: &Flags) -> Error {
    let why = if f.cpu().is_empty() {
        "empty input"
    } else {
        "%!w(<nil>)"
    };
    message!(
        "failed to create autoscaling/v2 HPA and the configuration is incompatible with autoscaling/v1: {why}"
    )
}

fn autoscaler(
    ctx: &With<Flags>,
    info: &crate::resource::Info,
) -> Result<(crate::discovery::Resource, Value)> {
    let f = ctx.flags();
    let kind = generate::kind(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        true,
    );
    let name = Some(&f.name).filter(|name| !name.is_empty());
    let name = name.unwrap_or(&info.name);
    let mut object = generate::object(ctx, &kind, name)?;
    object["spec"] = json!({"maxReplicas": f.max, "scaleTargetRef": {"apiVersion": info.resource.api_version(), "kind": info.resource.kind, "name": info.name}});
    if f.min > 0 {
        object["spec"]["minReplicas"] = json!(f.min);
    }
    let mut metrics = Vec::new();
    if let Some(share) = f.cpu_percent.filter(|share| *share >= 0) {
        metrics.push(metric("cpu", &format!("{share}%"))?);
    }
    for (name, target) in [("cpu", &f.cpu), ("memory", &f.memory)] {
        if let Some(target) = target {
            metrics.push(metric(name, target)?);
        }
    }
    // Without any, the server scales by the CPU.
    if !metrics.is_empty() {
        object["spec"]["metrics"] = Value::Array(metrics);
    }
    object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
    Ok((kind, object))
}
