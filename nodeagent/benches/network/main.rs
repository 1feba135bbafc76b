//! What the node's network takes, optimised as in the program: `cargo bench -p skiff-nodeagent --bench network -- services connections dns`. Needs root.
//!
//! Everything happens in network namespaces of its own, which go with the process.

mod connections;
mod lookups;
mod many;
mod world;

use std::time::Duration;

/// How long rates are measured.
const SECONDS: Duration = Duration::from_secs(3);

fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| !one.starts_with('-'))
        .collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|one| one == part);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        println!("load before: {}", world::load());
        if wanted("services") {
            many::run().await;
        }
        if wanted("connections") {
            connections::run(SECONDS).await;
        }
        if wanted("dns") {
            lookups::run(SECONDS).await;
        }
    });
}
