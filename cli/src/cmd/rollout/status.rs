//! `rollout status`: tells how far a rollout is, until it is done.
//! Invariant: a rollout that exceeded its deadline, or an object that was deleted, ends the wait with an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go`.

use super::{find, named};
use crate::cmd::wait;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::flags::seconds;
use crate::print;
use crate::resource::{FILE_FLAGS, SELECTOR};
use crate::typed::Read;
use serde_json::Value;
use tokio::time::Instant;

pub static COMMAND: Command = Command {
    name: "status",
    usage: "(TYPE NAME | TYPE/NAME) [flags]",
    short: "Show the status of the rollout",
    long: "Tell how far the newest rollout is, and wait until it is done; --watch=false looks once.",
    examples: "
      # A deployment
      kubectl rollout status deployment/nginx",
    flags: &[FILE_FLAGS, SELECTOR],
    run: verb!(interruptible run: Flags),
    words: Some(Words::Objects {
        types: &["deployment", "daemonset", "statefulset"],
        several: false,
    }),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Wait until the rollout is done
    #[arg(long, short, default_value = "true")]
    watch: bool,
    /// Only if this is the revision that is rolled out; 0 for the newest
    #[arg(long)]
    revision: i64,
    /// How long to wait; 0 means as long as it takes
    #[arg(long)]
    timeout: f64,
}

/// What to say of an object, and whether its rollout is done.
pub fn status(kind: &str, o: &Value, revision: i64) -> Result<(String, bool)> {
    let n = |path: &str| o.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let name = quote(o.at("metadata").text("name"));
    let observed = n("/metadata/generation") <= n("/status/observedGeneration");
    match kind {
        "Deployment" => {
            if revision > 0 {
                let running: i64 = o
                    .at("metadata")
                    .at("annotations")
                    .text_ptr("deployment.kubernetes.io/revision")
                    .and_then(|r| r.parse().ok())
                    .unwrap_or(0);
                if running != revision {
                    bail!(
                        "desired revision ({revision}) is different from the running revision ({running})"
                    );
                }
            }
            if !observed {
                return Ok((
                    "Waiting for deployment spec update to be observed...\n".into(),
                    false,
                ));
            }
            deployment(o, &name)
        }
        "DaemonSet" => {
            if o.at("spec").at("updateStrategy").text("type") != "RollingUpdate" {
                bail!("rollout status is only available for RollingUpdate strategy type");
            }
            if !observed {
                return Ok((
                    "Waiting for daemon set spec update to be observed...\n".into(),
                    false,
                ));
            }
            let (updated, desired, available) = (
                n("/status/updatedNumberScheduled"),
                n("/status/desiredNumberScheduled"),
                n("/status/numberAvailable"),
            );
            if updated < desired {
                return Ok((
                    format!(
                        "Waiting for daemon set {name} rollout to finish: {updated} out of {desired} new pods have been updated...\n"
                    ),
                    false,
                ));
            }
            if available < desired {
                return Ok((
                    format!(
                        "Waiting for daemon set {name} rollout to finish: {available} of {desired} updated pods are available...\n"
                    ),
                    false,
                ));
            }
            Ok((format!("daemon set {name} successfully rolled out\n"), true))
        }
        "StatefulSet" => stateful_set(o),
        other => Err(message!(
            "no status viewer has been implemented for {other}"
        )),
    }
}

fn deployment(o: &Value, name: &str) -> Result<(String, bool)> {
    let n = |path: &str| o.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let late =
        o.at("status").list("conditions").iter().any(|c| {
            c.text("type") == "Progressing" && c.text("reason") == "ProgressDeadlineExceeded"
        });
    if late {
        bail!("deployment {name} exceeded its progress deadline");
    }
    let (updated, wanted, all, available) = (
        n("/status/updatedReplicas"),
        n("/spec/replicas"),
        n("/status/replicas"),
        n("/status/availableReplicas"),
    );
    let waiting = format!("Waiting for deployment {name} rollout to finish:");
    if updated < wanted {
        return Ok((
            format!("{waiting} {updated} out of {wanted} new replicas have been updated...\n"),
            false,
        ));
    }
    if all > updated {
        return Ok((
            format!(
                "{waiting} {} old replicas are pending termination...\n",
                all - updated
            ),
            false,
        ));
    }
    if available < updated {
        return Ok((
            format!("{waiting} {available} of {updated} updated replicas are available...\n"),
            false,
        ));
    }
    Ok((format!("deployment {name} successfully rolled out\n"), true))
}

fn stateful_set(o: &Value) -> Result<(String, bool)> {
    let n = |path: &str| o.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    if o.at("spec").at("updateStrategy").text("type") != "RollingUpdate" {
        bail!("rollout status is only available for RollingUpdate strategy type");
    }
    if n("/status/observedGeneration") == 0
        || n("/metadata/generation") > n("/status/observedGeneration")
    {
        return Ok((
            "Waiting for statefulset spec update to be observed...\n".into(),
            false,
        ));
    }
    let (wanted, ready, updated, current) = (
        n("/spec/replicas"),
        n("/status/readyReplicas"),
        n("/status/updatedReplicas"),
        n("/status/currentReplicas"),
    );
    if ready < wanted {
        return Ok((
            format!("Waiting for {} pods to be ready...\n", wanted - ready),
            false,
        ));
    }
    if let Some(partition) = o
        .at("spec")
        .at("updateStrategy")
        .at("rollingUpdate")
        .int_ptr("partition")
    {
        if updated < wanted - partition {
            return Ok((
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...\n",
                    wanted - partition
                ),
                false,
            ));
        }
        return Ok((
            format!("partitioned roll out complete: {updated} new pods have been updated...\n"),
            true,
        ));
    }
    let text = |f: &str| o.at("status").text(f).to_string();
    if text("updateRevision") != text("currentRevision") {
        return Ok((
            format!(
                "waiting for statefulset rolling update to complete {updated} pods at revision {}...\n",
                text("updateRevision")
            ),
            false,
        ));
    }
    Ok((
        format!(
            "statefulset rolling update complete {current} pods at revision {}...\n",
            text("currentRevision")
        ),
        true,
    ))
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    named(&ctx)?;
    if f.revision < 0 {
        bail!("revision must be a positive integer: {}", f.revision);
    }
    let mut found = find(&ctx).await?;
    let mut errors = found.failures();
    if found.infos.is_empty() && errors.is_empty() {
        return ctx.tell_none(false);
    }
    let timeout = if f.timeout == 0.0 {
        365.0 * 24.0 * 3600.0
    } else {
        f.timeout
    };
    for info in found.infos {
        errors.next_object();
        let kind = info.resource.kind.clone();
        if !matches!(kind.as_str(), "Deployment" | "DaemonSet" | "StatefulSet") {
            errors.push(message!(
                "no status viewer has been implemented for {}",
                if info.resource.group.is_empty() {
                    kind
                } else {
                    format!("{kind}.{}", info.resource.group)
                }
            ));
            continue;
        }
        let mut seen = false;
        let done = wait::until(&ctx, &info, Instant::now() + seconds(timeout), |o| {
            let Some(o) = o else {
                return if seen {
                    Err(Error::msg("object has been deleted"))
                } else {
                    Ok(false)
                };
            };
            seen = true;
            let (text, done) = status(&kind, o, f.revision)?;
            print::put(&text)?;
            Ok(done || !f.watch)
        })
        .await;
        match done {
            Ok(true) => {}
            Ok(false) => errors.push(Error::msg("timed out waiting for the condition")),
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rollouts_are_told() {
        let d = |status: Value| json!({"metadata": {"name": "x", "generation": 1}, "spec": {"replicas": 3}, "status": status});
        for (s, want, done) in [
            (
                json!({}),
                "Waiting for deployment spec update to be observed...\n",
                false,
            ),
            (
                json!({"observedGeneration": 1, "updatedReplicas": 1}),
                "Waiting for deployment \"x\" rollout to finish: 1 out of 3 new replicas have been updated...\n",
                false,
            ),
            (
                json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 5}),
                "Waiting for deployment \"x\" rollout to finish: 2 old replicas are pending termination...\n",
                false,
            ),
            (
                json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
                "deployment \"x\" successfully rolled out\n",
                true,
            ),
        ] {
            assert_eq!(
                status("Deployment", &d(s), 0).unwrap(),
                (want.to_string(), done)
            );
        }
    }
}
