//! Runs clusters: what `up`, `server`, `agent`, `status`, `down` and `image` share.
//!
//! Invariant: whatever a command started, it ends, whichever way it is told to stop.

pub mod background;
pub mod balancers;
pub mod control_plane;
pub mod demo;
pub mod folders;
pub mod ingress;
pub mod join;
pub mod kubeconfig;
pub mod left;
pub mod memory;
pub mod networks;
pub mod nodes;
pub mod objects;
pub mod remote;
pub mod shop;
pub mod story;
pub mod volumes;

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::flags::Line;

/// Runs a verb that takes no arguments on a runtime with several threads; `name` is the verb's.
pub fn run_alone<F: Future<Output = anyhow::Result<()>>>(name: &str, line: &Line, work: F) -> i32 {
    if takes_no_arguments(name, line) {
        run(work)
    } else {
        1
    }
}

/// Says so if there are some.
pub fn takes_no_arguments(name: &str, line: &Line) -> bool {
    if !line.args.is_empty() {
        let found = line.args.join(" ");
        eprintln!("error: skiff {name} takes no arguments, found {found:?}");
    }
    line.args.is_empty()
}

/// Runs `work` to its end; its error is told and makes the exit status 1.
pub fn run<F: Future<Output = anyhow::Result<()>>>(work: F) -> i32 {
    logging();
    memory::keep_more_at_hand();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return 1;
        }
    };
    let ended = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ended {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 8)
}

fn logging() {
    use tracing_subscriber::{
        Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
    };
    let wanted = std::env::var("SKIFF_LOG")
        .ok()
        .and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(tracing::Level::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(filter);
    // another subscriber is there already when several clusters run in one process
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Waits a second for tasks that were told to end; those that have not then are broken off.
async fn end_all<T: 'static>(tasks: &mut tokio::task::JoinSet<T>) {
    let limit = std::time::Duration::from_secs(1);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tasks.abort_all();
    }
}

/// A token that Ctrl-C, SIGTERM and a terminal that is closed cancel; the last not where whoever started the program has it ignored, as `nohup` does.
pub fn until_told() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !is_ignored(SignalKind::hangup()) {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let (mut told, token) = (signal(kind)?, stop.clone());
        skiff_watching::task::spawn(async move {
            tokio::select! {
                _ = told.recv() => token.cancel(),
                () = token.cancelled() => {}
            }
        });
    }
    Ok(stop)
}

/// Whether this process was started with the signal ignored.
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
