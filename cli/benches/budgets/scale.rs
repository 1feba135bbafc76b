//! What is measured of the whole program: start and restart, memory, scheduling, the CLI.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use crate::{
    client::Client,
    milliseconds,
    program::{Program, built},
    report,
    requests::{Call, load, pod},
};

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// A new data folder to `/readyz`, and what the idle process holds.
pub fn start() -> anyhow::Result<()> {
    let mut times = Vec::new();
    for round in 0..5 {
        let folder = tempfile::tempdir()?;
        let program = Program::server(folder.path().into(), &[])?;
        times.push(program.ready_after);
        if round == 4 {
            std::thread::sleep(Duration::from_secs(5));
            report(
                "idle control plane, resident after 5 s",
                format!("{:.1} MB", program.resident()?),
                "25 MB",
            );
        }
        program.end()?;
    }
    times.sort();
    report(
        "new data folder to /readyz, controllers and scheduler on",
        milliseconds(times[2]),
        "100 ms",
    );
    Ok(())
}

/// A Deployment of 3,000 replicas on 100 nodes that nobody runs, until all its pods are bound.
pub fn schedule() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), &["--node-monitor-grace-period=1h"])?;
    runtime()?.block_on(async {
        let mut client = program.client().await?;
        for number in 0..100 {
            node(&mut client, number).await?;
        }
        wait_for_account(&mut client).await?;
        let begun = Instant::now();
        client
            .create(
                "/apis/apps/v1/namespaces/default/deployments",
                deployment(3_000),
            )
            .await?;
        let bound = "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%21%3D&limit=1";
        loop {
            let (_, body) = client.get(bound).await?;
            let page: Value = serde_json::from_slice(&body)?;
            let count = page["items"].as_array().map_or(0, Vec::len)
                + page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) as usize;
            if count >= 3_000 || (count >= 1 && all_bound(&mut client).await?) {
                break;
            }
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(120),
                "not bound within two minutes"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        report(
            "a Deployment of 3,000 replicas, all bound to 100 nodes",
            milliseconds(begun.elapsed()),
            "1,000 ms",
        );
        anyhow::Ok(())
    })?;
    program.end()
}

/// All 3,000 are there and none is without a node.
async fn all_bound(client: &mut Client) -> anyhow::Result<bool> {
    let (_, body) = client
        .get("/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3D&limit=1")
        .await?;
    let page: Value = serde_json::from_slice(&body)?;
    if page["items"]
        .as_array()
        .is_some_and(|items| !items.is_empty())
    {
        return Ok(false);
    }
    let (_, body) = client
        .get("/api/v1/namespaces/default/pods?limit=1")
        .await?;
    let page: Value = serde_json::from_slice(&body)?;
    Ok(page["metadata"]["remainingItemCount"] == 2_999)
}

async fn node(client: &mut Client, number: usize) -> anyhow::Result<()> {
    let name = format!("node-{number}");
    client
        .create(
            "/api/v1/nodes",
            format!(r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}"}}}}"#),
        )
        .await?;
    let status = format!(
        r#"{{"status":{{"capacity":{{"cpu":"32","memory":"64Gi","pods":"110"}},"allocatable":{{"cpu":"32","memory":"64Gi","pods":"110"}},"conditions":[{{"type":"Ready","status":"True","lastHeartbeatTime":"{now}","lastTransitionTime":"{now}","reason":"KubeletReady","message":""}}]}},"spec":{{"taints":null}}}}"#,
        now = "2030-01-01T00:00:00Z"
    );
    let (code, answer) = client
        .send(
            http::Method::PATCH,
            &format!("/api/v1/nodes/{name}/status"),
            "application/merge-patch+json",
            status,
        )
        .await?;
    anyhow::ensure!(code == 200, "{code} {}", String::from_utf8_lossy(&answer));
    let (code, answer) = client
        .send(
            http::Method::PATCH,
            &format!("/api/v1/nodes/{name}"),
            "application/merge-patch+json",
            r#"{"spec":{"taints":null}}"#.to_string(),
        )
        .await?;
    anyhow::ensure!(code == 200, "{code} {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn deployment(replicas: usize) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"wide"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"wide"}}}},"template":{{"metadata":{{"labels":{{"app":"wide"}}}},"spec":{{"containers":[{{"name":"main","image":"registry.example/app:1","resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}}}}}}]}}}}}}}}"#
    )
}

async fn wait_for_account(client: &mut Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    while client
        .get("/api/v1/namespaces/default/serviceaccounts/default")
        .await?
        .0
        != 200
    {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "no service account"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Runs the CLI; its wall time and the most memory that it held, in MB.
fn run(program: &Program, args: &[&str]) -> anyhow::Result<(Duration, f64)> {
    let begun = Instant::now();
    let child = Command::new(built())
        .args(args)
        .arg("--kubeconfig")
        .arg(program.folder.join("kubeconfig"))
        .env("HOME", &program.folder)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
    // SAFETY: both places are valid for the call; the child is reaped here and nowhere else
    let reaped = unsafe {
        libc::wait4(
            libc::pid_t::try_from(child.id())?,
            &mut status,
            0,
            &mut usage,
        )
    };
    anyhow::ensure!(
        reaped > 0 && status == 0,
        "skiff {args:?} ended with {status}"
    );
    Ok((begun.elapsed(), usage.ru_maxrss as f64 / 1e3))
}

/// `get ns default` and `get pods` of 8,000.
pub fn command_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), &["--controllers=-*"])?;
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..11 {
        let (took, most) = run(&program, &["get", "ns", "default"])?;
        times.push(took);
        memory = most;
    }
    times.sort();
    report(
        "get ns default from the CLI",
        format!("{}, {memory:.1} MB", milliseconds(times[5])),
        "5 ms, 10 MB",
    );
    const PODS: &str = "/api/v1/namespaces/default/pods";
    runtime()?.block_on(async {
        program.account().await?;
        load(&program, 64, 8_000, |n| {
            Call::create(PODS, pod(&format!("pod-{n}")))
        })
        .await
    })?;
    let mut best = (Duration::MAX, 0.0);
    for _ in 0..3 {
        let measured = run(&program, &["get", "pods"])?;
        best = if measured.0 < best.0 { measured } else { best };
    }
    report(
        "get pods of 8,000 from the CLI",
        format!("{}, {:.1} MB", milliseconds(best.0), best.1),
        "150 ms, 40 MB",
    );
    program.end()
}

/// Restart with 100,000 objects, after a clean end and after a kill.
pub fn restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().to_path_buf();
    let program = Program::server(place.clone(), &["--controllers=-*"])?;
    const SECRETS: &str = "/api/v1/namespaces/default/configmaps";
    let call = |n: usize| {
        let data = "x".repeat(900);
        Call::create(
            SECRETS,
            format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c-{n}"}},"data":{{"text":"{data}"}}}}"#
            ),
        )
    };
    runtime()?.block_on(load(&program, 64, 100_000, call))?;
    program.end().context("the first end")?;
    let program = Program::server(place.clone(), &[])?;
    report(
        "restart with 100,000 objects, to /readyz",
        milliseconds(program.ready_after),
        "500 ms",
    );
    drop(program);
    let program = Program::server(place, &[])?;
    report(
        "the same after a kill",
        milliseconds(program.ready_after),
        "500 ms",
    );
    program.end()
}
