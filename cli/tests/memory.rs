//! The memory that 8,000 pods take, half of them with the volume of a token that admission adds and half without.
//!
//! Invariant: what is measured is the heap, which is the same for every way in which the program was built; pages of the program's file come on top
//! (`docs/performance.md`).

#[allow(dead_code)]
#[path = "../benches/budgets/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../benches/budgets/program.rs"]
mod program;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use program::Program;

const PODS: usize = 8_000;
const FLIGHT: usize = 16;
/// MB; 47 to 49 were seen, and 107 to 111 before pods shared anything.
const MOST: f64 = 60.0;

fn pod(number: usize) -> String {
    let token = number.is_multiple_of(2);
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{number}","labels":{{"app":"bench","tier":"web"}}}},"spec":{{"automountServiceAccountToken":{token},"containers":[{{"name":"main","image":"registry.example/app:1.2.3","env":[{{"name":"MODE","value":"production"}},{{"name":"LEVEL","value":"info"}}],"ports":[{{"name":"http","containerPort":8080}}],"resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}},"limits":{{"cpu":"500m","memory":"128Mi"}}}},"readinessProbe":{{"httpGet":{{"path":"/healthz","port":"http"}},"periodSeconds":5}}}}]}}}}"#
    )
}

async fn create(program: &Program) -> anyhow::Result<()> {
    program.account().await?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FLIGHT {
        let (mut client, next) = (program.client().await?, next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= PODS {
                    return anyhow::Ok(());
                }
                client
                    .create("/api/v1/namespaces/default/pods", pod(number))
                    .await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Waits until the controllers have seen all, and do nothing any more.
fn settled(program: &Program) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        let before = program.cpu()?;
        std::thread::sleep(Duration::from_secs(1));
        if program.cpu()?.saturating_sub(before) < Duration::from_millis(100) {
            return Ok(());
        }
    }
    anyhow::bail!("there is work after two minutes")
}

#[test]
fn eight_thousand_pods_fit() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::server(folder.path().into(), &["--controllers=*,-scheduler"])?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(create(&program))?;
    settled(&program)?;
    let heap = program.anonymous()?;
    assert!(
        heap <= MOST,
        "{PODS} pods take {heap:.1} MB of heap, which is more than {MOST} MB"
    );
    program.end()
}
