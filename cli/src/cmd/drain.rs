//! `drain`: closes nodes and moves their pods away.
//! Invariant: no pod is touched if one of the node's pods may not be.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/drain` and `pkg/cmd/drain`.

use super::cordon::{mark, nodes, say};
use crate::client::{Call, query, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::flags::seconds;
use crate::print::{Format, Printer};
use crate::resource::{CHUNKS, DRY_RUN, Info, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub static COMMAND: Command = Command {
    name: "drain",
    usage: "NODE",
    short: "Drain node in preparation for maintenance",
    long: "Close a node to new pods and evict those that are on it, or delete them where eviction is not supported.\n\n Mirror pods stay. Pods of daemon sets stay too, but --ignore-daemonsets must say so. Pods that nothing would make anew are only taken with --force, pods with emptyDir volumes only with --delete-emptydir-data. The command waits until the pods are gone.",
    examples: "
      # Even pods that nothing would make anew
      kubectl drain foo --force
      # With fifteen minutes for each pod to end
      kubectl drain foo --grace-period=900",
    flags: &[SELECTOR, DRY_RUN, CHUNKS],
    run: verb!(run: Flags),
    words: Some(Words::Names("node")),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Also take pods that nothing would make anew
    #[arg(long)]
    force: bool,
    /// Let pods of daemon sets stay
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Also take pods with emptyDir volumes; what is in them is lost
    #[arg(long)]
    delete_emptydir_data: bool,
    /// How many seconds each pod has to end; negative for its own
    #[arg(long, default_value = "-1")]
    grace_period: i64,
    /// How long to wait; 0 means as long as it takes
    #[arg(long)]
    timeout: f64,
    /// Only pods with these labels
    #[arg(long)]
    pod_selector: String,
    /// Delete pods instead of evicting them, whatever disruption budgets say
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods that were deleted more than so many seconds ago
    #[arg(long)]
    skip_wait_for_delete_timeout: i64,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let nodes = nodes(&ctx).await?;
    mark(&ctx, &nodes, true).await?;
    let mut fatal = Vec::new();
    let mut left = Vec::new();
    for info in &nodes {
        match drain(&ctx, info).await {
            Ok(()) => Printer::of(
                Format::Name,
                format!("drained{}", ctx.dry_run()?.suffix()),
                false,
            )
            .print(&info.object)?,
            Err(e) => {
                eprintln!(
                    "error: unable to drain node {} due to error: {e}, continuing command...",
                    quote(&info.name)
                );
                left.push(info.name.clone());
                fatal.push(e);
            }
        }
    }
    if !left.is_empty() {
        eprintln!("There are pending nodes to be drained:");
        left.iter().for_each(|n| eprintln!(" {n}"));
    }
    Error::collect(fatal).map_err(Error::listed_if_one)
}

/// What is to become of one pod.
enum Verdict {
    Take(Option<&'static str>),
    Stay(Option<&'static str>),
    Refuse(&'static str),
}

const UNMANAGED_FATAL: &str =
    "cannot delete Pods that declare no controller (use --force to override)";
const DAEMONSET_FATAL: &str =
    "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const LOCAL_FATAL: &str =
    "cannot delete Pods with local storage (use --delete-emptydir-data to override)";

fn judge(pod: &Value, force: bool, ignore_daemonsets: bool, take_empty_dir: bool) -> Verdict {
    if pod.at("metadata").some("deletionTimestamp").is_some() {
        return Verdict::Take(None);
    }
    if pod
        .at("metadata")
        .at("annotations")
        .some("kubernetes.io/config.mirror")
        .is_some()
    {
        return Verdict::Stay(None);
    }
    let controller = pod
        .at("metadata")
        .list("ownerReferences")
        .iter()
        .find(|o| o.flag("controller"));
    let finished = matches!(
        pod.at("status").text_ptr("phase"),
        Some("Succeeded" | "Failed")
    );
    if controller.is_some_and(|c| c.text("kind") == "DaemonSet") && !finished {
        return if ignore_daemonsets {
            Verdict::Stay(Some("ignoring DaemonSet-managed Pods"))
        } else {
            Verdict::Refuse(DAEMONSET_FATAL)
        };
    }
    let has_empty_dir = pod
        .at("spec")
        .list("volumes")
        .iter()
        .any(|v| v.some("emptyDir").is_some());
    if has_empty_dir && !finished && !take_empty_dir {
        return Verdict::Refuse(LOCAL_FATAL);
    }
    if controller.is_none() && !finished {
        return if force {
            Verdict::Take(Some("deleting Pods that declare no controller"))
        } else {
            Verdict::Refuse(UNMANAGED_FATAL)
        };
    }
    Verdict::Take(None)
}

fn id(pod: &Value) -> (String, String) {
    let text = |f: &str| pod.at("metadata").text(f).to_string();
    (text("namespace"), text("name"))
}

async fn pods_of(ctx: &With<Flags>, node: &str) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let field = format!("spec.nodeName={node}");
    let list = ctx
        .client()?
        .json(&Call::get(format!(
            "/api/v1/pods{}",
            query(&[
                ("fieldSelector", &field),
                ("labelSelector", f.pod_selector.as_str())
            ])
        )))
        .await?;
    let (mut out, mut warnings, mut refusals): (
        Vec<Value>,
        BTreeMap<&str, Vec<String>>,
        BTreeMap<&str, Vec<String>>,
    ) = (vec![], BTreeMap::new(), BTreeMap::new());
    let skip = f.skip_wait_for_delete_timeout;
    for pod in list.list("items") {
        let (ns, name) = id(pod);
        let shown = format!("{ns}/{name}");
        let gone_for = crate::print::age::time(pod.at("metadata").at("deletionTimestamp"))
            .map(|t| crate::print::age::now().as_second() - t.as_second());
        if skip > 0 && gone_for.is_some_and(|s| s > skip) {
            continue;
        }
        match judge(pod, f.force, f.ignore_daemonsets, f.delete_emptydir_data) {
            Verdict::Take(note) => {
                note.into_iter()
                    .for_each(|n| warnings.entry(n).or_default().push(shown.clone()));
                out.push(pod.clone());
            }
            Verdict::Stay(note) => note
                .into_iter()
                .for_each(|n| warnings.entry(n).or_default().push(shown.clone())),
            Verdict::Refuse(why) => refusals.entry(why).or_default().push(shown),
        }
    }
    if !refusals.is_empty() {
        let texts = refusals
            .iter()
            .map(|(why, pods)| message!("{why}: {}", pods.join(", ")))
            .collect();
        return Err(Error::Many(texts));
    }
    if !warnings.is_empty() {
        eprintln!(
            "Warning: {}",
            warnings
                .iter()
                .map(|(w, p)| format!("{w}: {}", p.join(", ")))
                .collect::<Vec<_>>()
                .join("; ")
        );
    }
    Ok(out)
}

async fn drain(ctx: &With<Flags>, node: &Info) -> Result<()> {
    let f = ctx.flags();
    let pods = pods_of(ctx, &node.name).await?;
    let verb = if f.disable_eviction {
        "deleting"
    } else {
        "evicting"
    };
    if ctx.dry_run()? == DryRun::Client {
        return pods
            .iter()
            .map(id)
            .try_for_each(|(ns, n)| say(&format!("evicting pod {ns}/{n} (dry run)")));
    }
    let limit = f.timeout;
    let end = (limit > 0.0).then(|| Instant::now() + seconds(limit));
    for pod in &pods {
        let (ns, name) = id(pod);
        loop {
            say(&format!(
                "{verb} pod {ns}/{name}{}",
                ctx.dry_run()?.suffix()
            ))?;
            match take(ctx, pod).await {
                Ok(()) => break,
                Err(e) if e.is_not_found() => break,
                Err(e) if e.reason() == "TooManyRequests" => {
                    eprintln!(
                        "error when evicting pods/{} -n {} (will retry after 5s): {e}",
                        quote(&name),
                        quote(&ns)
                    );
                    if end.is_some_and(|t| Instant::now() + Duration::from_secs(5) >= t) {
                        bail!(
                            "error when evicting pods/{} -n {}: global timeout reached: {}",
                            quote(&name),
                            quote(&ns),
                            crate::print::age::go_duration(limit as i64)
                        );
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                Err(e) => {
                    bail!(
                        "error when {verb} pods/{} -n {}: {e}",
                        quote(&name),
                        quote(&ns)
                    );
                }
            }
        }
    }
    if ctx.dry_run()? == DryRun::None {
        wait_gone(ctx, &pods, end, limit, verb).await
    } else {
        Ok(())
    }
}

async fn take(ctx: &With<Flags>, pod: &Value) -> Result<()> {
    let f = ctx.flags();
    let (ns, name) = id(pod);
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}",
        segment(&ns),
        segment(&name)
    );
    let mut options = json!({});
    if f.grace_period >= 0 {
        options["gracePeriodSeconds"] = json!(f.grace_period);
    }
    let server = ctx.dry_run()? == DryRun::Server;
    if server {
        options["dryRun"] = json!(["All"]);
    }
    let client = ctx.client()?;
    if f.disable_eviction {
        options["kind"] = json!("DeleteOptions");
        options["apiVersion"] = json!("v1");
        client
            .json(&Call::with(http::Method::DELETE, path, &options))
            .await?;
    } else {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": ns}, "deleteOptions": options});
        client
            .json(&Call::with(
                http::Method::POST,
                format!("{path}/eviction"),
                &body,
            ))
            .await?;
    }
    Ok(())
}

async fn wait_gone(
    ctx: &Ctx,
    pods: &[Value],
    end: Option<Instant>,
    limit: f64,
    verb: &str,
) -> Result<()> {
    for pod in pods {
        let (ns, name) = id(pod);
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            segment(&ns),
            segment(&name)
        );
        loop {
            match ctx.client()?.json(&Call::get(path.clone())).await {
                Err(e) if e.is_not_found() => break,
                Ok(now) if now.at("metadata").at("uid") != pod.at("metadata").at("uid") => break,
                Ok(_) => {}
                Err(e) => return Err(e),
            }
            if end.is_some_and(|t| Instant::now() >= t) {
                bail!(
                    "error when waiting for pod {} in namespace {} to terminate: global timeout reached: {}",
                    quote(&name),
                    quote(&ns),
                    crate::print::age::go_duration(limit as i64)
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        say(&format!(
            "pod/{name} {}",
            if verb == "evicting" {
                "evicted"
            } else {
                "deleted"
            }
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_judged() {
        let owned = |kind: &str| json!({"metadata": {"ownerReferences": [{"controller": true, "kind": kind}]}, "spec": {}, "status": {"phase": "Running"}});
        assert!(matches!(
            judge(&owned("ReplicaSet"), false, false, false),
            Verdict::Take(None)
        ));
        assert!(matches!(
            judge(&owned("DaemonSet"), false, false, false),
            Verdict::Refuse(DAEMONSET_FATAL)
        ));
        assert!(matches!(
            judge(&owned("DaemonSet"), false, true, false),
            Verdict::Stay(Some(_))
        ));
        let bare = json!({"metadata": {}, "spec": {"volumes": [{"emptyDir": {}}]}, "status": {"phase": "Running"}});
        assert!(matches!(
            judge(&bare, false, false, false),
            Verdict::Refuse(LOCAL_FATAL)
        ));
        assert!(matches!(
            judge(&bare, false, false, true),
            Verdict::Refuse(UNMANAGED_FATAL)
        ));
        assert!(matches!(
            judge(&bare, true, false, true),
            Verdict::Take(Some(_))
        ));
        assert!(matches!(
            judge(
                &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
                false,
                false,
                false
            ),
            Verdict::Stay(None)
        ));
    }
}
