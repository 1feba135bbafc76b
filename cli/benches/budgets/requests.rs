//! Requests over TLS: creates, patches, reads, lists, watches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;

use crate::{milliseconds, program::Program, rate, report};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
pub const IN_FLIGHT: usize = 64;
/// The API alone: what is measured is the server.
pub const ALONE: &[&str] = &["--controllers=-*"];

pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

pub fn config_map(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"data":{{"text":"{}"}}}}"#,
        "x".repeat(900)
    )
}

/// A pod of about 2 KB when it is stored.
pub fn pod(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench","tier":"web"}}}},"spec":{{"automountServiceAccountToken":false,"containers":[{{"name":"main","image":"registry.example/app:1.2.3","env":[{{"name":"MODE","value":"production"}},{{"name":"LEVEL","value":"info"}}],"ports":[{{"name":"http","containerPort":8080}}],"resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}},"limits":{{"cpu":"500m","memory":"128Mi"}}}},"readinessProbe":{{"httpGet":{{"path":"/healthz","port":"http"}},"periodSeconds":5}}}}]}}}}"#
    )
}

/// One request of a load.
pub struct Call {
    method: Method,
    path: String,
    media: &'static str,
    body: String,
    expected: u16,
}

impl Call {
    pub fn create(path: &str, body: String) -> Call {
        Call {
            method: Method::POST,
            path: path.into(),
            media: "application/json",
            body,
            expected: 201,
        }
    }
    pub fn get(path: String) -> Call {
        Call {
            method: Method::GET,
            path,
            media: "application/json",
            body: String::new(),
            expected: 200,
        }
    }
    pub fn delete(path: String) -> Call {
        Call {
            method: Method::DELETE,
            path,
            media: "application/json",
            body: String::new(),
            expected: 200,
        }
    }

    pub fn merge_patch(path: String, body: String) -> Call {
        Call {
            method: Method::PATCH,
            path,
            media: "application/merge-patch+json",
            body,
            expected: 200,
        }
    }
}

/// What a load took.
pub struct Took {
    count: usize,
    time: Duration,
    /// The server's, of all its threads.
    pub cpu: Duration,
}

impl Took {
    /// Its rate, and the server's work a call, which says more on a machine that does other things as well.
    fn rate(&self) -> String {
        format!(
            "{}, {:.0} µs of CPU",
            rate(self.count, self.time),
            self.cpu.as_secs_f64() * 1e6 / self.count as f64
        )
    }
}

/// Makes the calls 0 to `count` over `flight` connections, one at a time on each. An answer that was not expected ends it.
pub async fn load(
    program: &Program,
    flight: usize,
    count: usize,
    call: fn(usize) -> Call,
) -> anyhow::Result<Took> {
    let mut clients = Vec::new();
    for _ in 0..flight {
        clients.push(program.client().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (begun, before) = (Instant::now(), program.cpu()?);
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        let next = next.clone();
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let Call {
                    method,
                    path,
                    media,
                    body,
                    expected,
                } = call(number);
                let (status, answer) = client.send(method, &path, media, body).await?;
                anyhow::ensure!(
                    status == expected,
                    "{path}: {status} {}",
                    String::from_utf8_lossy(&answer)
                );
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Took {
        count,
        time: begun.elapsed(),
        cpu: program.cpu()?.saturating_sub(before),
    })
}

/// Creates, patches and reads of 1 KB ConfigMaps.
pub fn small_objects() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), ALONE)?;
    runtime()?.block_on(async {
        let took = load(&program, 1, 3_000, |n| {
            Call::create(CONFIG_MAPS, config_map(&format!("one-{n}")))
        })
        .await?;
        report(
            "create a 1 KB ConfigMap, one at a time",
            took.rate(),
            "3,000/s",
        );
        let took = load(&program, IN_FLIGHT, 40_000, |n| {
            Call::create(CONFIG_MAPS, config_map(&format!("many-{n}")))
        })
        .await?;
        report("the same, 64 in flight", took.rate(), "20,000/s");
        let patch = |n: usize| {
            Call::merge_patch(
                format!("{CONFIG_MAPS}/many-{}", n % 20_000),
                format!(r#"{{"data":{{"n":"{n}"}}}}"#),
            )
        };
        let took = load(&program, IN_FLIGHT, 20_000, patch).await?;
        report("merge patch, 64 in flight", took.rate(), "12,000/s");
        let took = load(&program, IN_FLIGHT, 60_000, |n| {
            Call::get(format!("{CONFIG_MAPS}/many-{}", n % 20_000))
        })
        .await?;
        report("GET, 64 in flight", took.rate(), "40,000/s");
        anyhow::Ok(())
    })?;
    program.end()
}

fn create_pods(program: &Program, count: usize) -> anyhow::Result<Took> {
    runtime()?.block_on(async {
        program.account().await?;
        load(program, IN_FLIGHT, count, |n| {
            Call::create(PODS, pod(&format!("pod-{n}")))
        })
        .await
    })
}

/// Creation of pods, and the memory of 8,000.
pub fn pods() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), &["--controllers=*,-scheduler"])?;
    let took = create_pods(&program, 8_000)?;
    report(
        "create a pod, 64 in flight, controllers running",
        took.rate(),
        "10,000/s",
    );
    std::thread::sleep(Duration::from_secs(5));
    report(
        "resident with 8,000 pods, controllers running",
        format!("{:.0} MB", program.resident()?),
        "90 MB",
    );
    program.end()
}

/// LIST of 10,000 pods.
pub fn list() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), ALONE)?;
    create_pods(&program, 10_000)?;
    runtime()?.block_on(async {
        let mut client = program.client().await?;
        for (name, media, budget) in [
            ("JSON", "application/json", "25 ms"),
            (
                "protobuf",
                "application/vnd.kubernetes.protobuf",
                "JSON's, about",
            ),
        ] {
            let (mut best, mut size) = (Duration::MAX, 0);
            for _ in 0..5 {
                let begun = Instant::now();
                let (status, body) = client.get_as("/api/v1/pods", media).await?;
                anyhow::ensure!(status == 200, "LIST answered {status}");
                (best, size) = (best.min(begun.elapsed()), body.len());
            }
            report(
                &format!("LIST 10,000 pods, {name}, {:.0} MB", size as f64 / 1e6),
                milliseconds(best),
                budget,
            );
        }
        anyhow::Ok(())
    })?;
    program.end()
}

/// Events of 200 creations, to 1,000 watchers.
pub fn watch() -> anyhow::Result<()> {
    const WATCHERS: usize = 1_000;
    const EVENTS: usize = 200;
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), ALONE)?;
    runtime()?.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..WATCHERS {
            let mut client = program.client().await?;
            let mut body = client
                .stream(&format!(
                    "{CONFIG_MAPS}?watch=true&labelSelector=app%3Dbench"
                ))
                .await?;
            tasks.spawn(async move {
                // the connection lives as long as its client
                let _client = client;
                let mut lines = 0;
                while lines < EVENTS {
                    let Some(frame) = body.frame().await else {
                        anyhow::bail!("a watch ended after {lines} events")
                    };
                    lines += frame?.data_ref().map_or(0, |data: &Bytes| {
                        data.iter().filter(|byte| **byte == b'\n').count()
                    });
                }
                anyhow::Ok(())
            });
        }
        let begun = Instant::now();
        load(&program, 16, EVENTS, |n| {
            Call::create(CONFIG_MAPS, config_map(&format!("seen-{n}")))
        })
        .await?;
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        report(
            "watch events delivered, 1,000 watchers over TLS",
            rate(WATCHERS * EVENTS, begun.elapsed()),
            "400,000/s",
        );
        anyhow::Ok(())
    })?;
    program.end()
}
