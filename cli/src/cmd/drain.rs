//! `drain`: closes nodes and moves their pods away.
//! Invariant: no pod is touched if one of the node's pods may not be.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/drain` and `pkg/cmd/drain`.

use super::cordon::{mark, nodes, say};
use crate::client::{Call, Pages, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{DryRun, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::flags::seconds;
use crate::print::{Format, Printer};
use crate::resource::{CHUNKS, DRY_RUN, Info, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::selector::Selector;
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
    let f = ctx.flags();
    let no_selector = f.pod_selector.parse::<Selector>().is_err();
    if no_selector && (ctx.args().is_empty() || ctx.selector().is_empty()) {
        bail!("--pod-selector=<pod_selector> must be a valid label selector");
    }
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

/// The pods of a node that have to go; `tell` warns of those that are special.
async fn pods_of(ctx: &With<Flags>, node: &str, tell: bool) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let field = format!("spec.nodeName={node}");
    let mut asked = vec![("fieldSelector", field.as_str())];
    if !f.pod_selector.is_empty() {
        asked.push(("labelSelector", f.pod_selector.as_str()));
    }
    let mut pages = Pages::new("/api/v1/pods", &asked, ctx.shared().chunks.chunk_size);
    let mut pods = Vec::new();
    while let Some(page) = ctx.client()?.page(&mut pages).await? {
        pods.extend_from_slice(page.list("items"));
    }
    let (mut out, mut warnings, mut refusals): (
        Vec<Value>,
        BTreeMap<&str, Vec<String>>,
        BTreeMap<&str, Vec<String>>,
    ) = (vec![], BTreeMap::new(), BTreeMap::new());
    let skip = f.skip_wait_for_delete_timeout;
    for pod in &pods {
        let (ns, name) = id(pod);
        let shown = format!("{ns}/{name}");
        if skip > 0 && gone_for(pod).is_some_and(|s| s > skip) {
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
    if tell && !warnings.is_empty() {
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

/// When the time of the whole command is over, and how long it is.
#[derive(Clone, Copy)]
struct Limit {
    seconds: f64,
    end: Option<Instant>,
}

impl Limit {
    fn is_over(self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

async fn drain(ctx: &With<Flags>, node: &Info) -> Result<()> {
    let f = ctx.flags();
    let pods = pods_of(ctx, &node.name, true).await?;
    if ctx.dry_run()? == DryRun::Client {
        return pods
            .iter()
            .map(id)
            .try_for_each(|(ns, n)| say(&format!("evicting pod {ns}/{n} (dry run)")));
    }
    let limit = Limit {
        seconds: f.timeout,
        end: (f.timeout > 0.0).then(|| Instant::now() + seconds(f.timeout)),
    };
    let done = if f.disable_eviction {
        delete(ctx, &pods, limit).await
    } else {
        // side by side: one that a budget holds back holds no other back
        let all = pods.iter().map(|pod| evict(ctx, pod, limit));
        let all = futures::future::join_all(all).await;
        let failed: Vec<Error> = all.into_iter().filter_map(Result::err).collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Error::Many(failed)),
        }
    };
    if let Err(why) = &done {
        pending(ctx, &node.name, why).await;
    }
    done
}

/// Tells which pods are still on a node that could not be drained.
async fn pending(ctx: &With<Flags>, node: &str, why: &Error) {
    match pods_of(ctx, node, false).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => {
            let node = quote(node);
            eprintln!("There are pending pods in node {node} when an error occurred: {why}");
            left.iter().for_each(|pod| eprintln!("pod/{}", id(pod).1));
        }
        Err(more) => {
            eprint!("Following errors occurred while getting the list of pods to delete:\n{more}")
        }
    }
}

/// Deletes the pods, and waits until all are gone.
async fn delete(ctx: &With<Flags>, pods: &[Value], limit: Limit) -> Result<()> {
    for pod in pods {
        match take(ctx, pod).await {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
    }
    if ctx.dry_run()? != DryRun::None {
        return Ok(());
    }
    wait_gone(
        ctx,
        pods.to_vec(),
        limit.end,
        ("deleted", "deletion failed"),
    )
    .await
}

/// Evicts a pod, as often as a budget refuses it, and waits until it is gone.
async fn evict(ctx: &With<Flags>, pod: &Value, limit: Limit) -> Result<()> {
    let (ns, name) = id(pod);
    let suffix = ctx.dry_run()?.suffix();
    loop {
        say(&format!("evicting pod {ns}/{name}{suffix}"))?;
        if limit.is_over() {
            bail!(
                "error when evicting pods/{} -n {}: global timeout reached: {}",
                quote(&name),
                quote(&ns),
                crate::print::age::go_duration(limit.seconds as i64)
            );
        }
        match take(ctx, pod).await {
            Ok(()) => break,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) if e.reason() == "TooManyRequests" => {
                eprintln!(
                    "error when evicting pods/{} -n {} (will retry after 5s): {e}",
                    quote(&name),
                    quote(&ns)
                );
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Err(e) => bail!(
                "error when evicting pods/{} -n {}: {e}",
                quote(&name),
                quote(&ns)
            ),
        }
    }
    if ctx.dry_run()? != DryRun::None {
        return Ok(());
    }
    let gone = wait_gone(
        ctx,
        vec![pod.clone()],
        limit.end,
        ("evicted", "eviction failed"),
    )
    .await;
    gone.map_err(|why| {
        message!(
            "error when waiting for pod {} in namespace {} to terminate: {why}",
            quote(&name),
            quote(&ns)
        )
    })
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

/// Waits until pods are gone or others of their names; looks every second, as kubectl does.
async fn wait_gone(
    ctx: &With<Flags>,
    mut pods: Vec<Value>,
    end: Option<Instant>,
    (done, failed): (&str, &str),
) -> Result<()> {
    let skip = ctx.flags().skip_wait_for_delete_timeout;
    loop {
        let mut left = Vec::new();
        for pod in pods {
            let (ns, name) = id(&pod);
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                segment(&ns),
                segment(&name)
            );
            match ctx.client()?.json(&Call::get(path)).await {
                Err(e) if !e.is_not_found() => {
                    say(&format!("pod/{name} {failed}"))?;
                    return Err(e);
                }
                Ok(now) if now.at("metadata").at("uid") == pod.at("metadata").at("uid") => {
                    if skip > 0 && gone_for(&now).is_some_and(|s| s > skip) {
                        say(&format!(
                            "pod {} has DeletionTimestamp older than {skip} seconds, skipping",
                            quote(&name)
                        ))?;
                    } else {
                        left.push(pod);
                    }
                }
                _ => say(&format!("pod/{name} {done}"))?,
            }
        }
        pods = left;
        if pods.is_empty() {
            return Ok(());
        }
        if end.is_some_and(|end| Instant::now() + Duration::from_secs(1) >= end) {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            tokio::time::sleep(left.unwrap_or_default()).await;
            bail!("context deadline exceeded");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How many seconds ago a pod was deleted.
fn gone_for(pod: &Value) -> Option<i64> {
    crate::print::age::time(pod.at("metadata").at("deletionTimestamp"))
        .map(|t| crate::print::age::now().as_second() - t.as_second())
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
