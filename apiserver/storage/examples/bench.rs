//! Measures the store against the budgets of docs/performance.md: `cargo run --release -p skiff-storage --example bench [folder]`.
//! With `open` after the folder it only opens the store that is there, to see time and memory of a fresh process.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use skiff_storage::{Draft, Expect, Key, Options, Store, Write, memory, redb};

fn draft(size: usize) -> Draft {
    let head = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":""#;
    let bytes = format!(
        r#"{head}"}},"data":{{"k":"{}"}}}}"#,
        "x".repeat(size.saturating_sub(head.len() + 18))
    );
    Draft {
        bytes: bytes.into_bytes(),
        revision_at: head.len(),
        attributes: Default::default(),
    }
}

fn create(name: String, size: usize) -> Write {
    let key = Key {
        resource: "configmaps".into(),
        namespace: format!("ns-{}", name.len() % 7).into(),
        name: name.into(),
    };
    Write {
        key,
        expect: Expect::Absent,
        draft: Some(draft(size)),
        last: None,
    }
}

/// Creates `count` objects with `flight` in flight; answers writes a second.
async fn creates(
    store: &Arc<dyn Store>,
    prefix: &str,
    count: usize,
    flight: usize,
    size: usize,
) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..flight)
        .map(|task| {
            let (store, prefix) = (store.clone(), prefix.to_owned());
            tokio::spawn(async move {
                for n in 0..count / flight {
                    store
                        .commit(create(format!("{prefix}-{task}-{n}"), size))
                        .await
                        .expect("create");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Events a second that `watchers` are given while `flight` writers write.
async fn deliveries(store: Arc<dyn Store>, watchers: usize, events: usize, flight: usize) -> f64 {
    let delivered = Arc::new(AtomicU64::new(0));
    let from = store.revision();
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let (mut watch, delivered) = (
                store.watch("configmaps", from).expect("watch"),
                delivered.clone(),
            );
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < events {
                    let batch = watch.next_batch().await.expect("event");
                    for event in &batch {
                        std::hint::black_box(event.rendered(0, || {
                            Ok::<_, std::convert::Infallible>(event.object.bytes.whole())
                        }))
                        .expect("rendered");
                    }
                    seen += batch.len();
                    delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let start = Instant::now();
    creates(&store, &format!("w{flight}"), events, flight, 1024).await;
    for task in tasks {
        task.await.expect("watcher");
    }
    delivered.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("0");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!(
        "{what}: {:.1} ms, resident {} MB",
        start.elapsed().as_secs_f64() * 1e3,
        resident()
    );
    result
}

/// What the disk itself can do: appends of 1 KB, each made durable, a second.
fn disk(folder: &Path) -> f64 {
    use std::{io::Write as _, os::unix::fs::FileExt as _};
    std::fs::create_dir_all(folder).expect("folder");
    let path = folder.join("probe");
    let mut file = std::fs::File::create(&path).expect("file");
    file.write_all(&vec![1; 2 << 20])
        .and_then(|()| file.sync_all())
        .expect("write");
    let start = Instant::now();
    for n in 0..1_000_u64 {
        file.write_all_at(&[2; 1024], n * 1024)
            .and_then(|()| file.sync_data())
            .expect("write");
    }
    std::fs::remove_file(path).expect("file");
    1_000.0 / start.elapsed().as_secs_f64()
}

async fn durable(folder: &Path) {
    let open = || Arc::new(redb::open(folder, Options::default()).expect("open")) as Arc<dyn Store>;
    let store = timed("open a new folder", open);
    println!("the disk alone, appends of 1 KB: {:.0}/s", disk(folder));
    println!(
        "creates of 1 KB, one at a time: {:.0}/s",
        creates(&store, "a", 5_000, 1, 1024).await
    );
    println!("the disk alone, appends of 1 KB: {:.0}/s", disk(folder));
    println!(
        "creates of 1 KB, 8 in flight: {:.0}/s",
        creates(&store, "b", 16_000, 8, 1024).await
    );
    println!(
        "creates of 1 KB, 64 in flight: {:.0}/s",
        creates(&store, "c", 79_360, 64, 1024).await
    );
    println!(
        "resident with {} objects: {} MB",
        store.snapshot("configmaps").len(None),
        resident()
    );
    let start = Instant::now();
    let bytes: usize = store
        .snapshot("configmaps")
        .range(None, None)
        .map(|object| object.bytes.len())
        .sum();
    println!(
        "walk over {} MB: {:.1} ms",
        bytes >> 20,
        start.elapsed().as_secs_f64() * 1e3
    );
    let copy = folder.join("after-kill");
    std::fs::create_dir_all(copy.join("log")).expect("folder");
    std::fs::copy(folder.join("state.redb"), copy.join("state.redb")).expect("copy");
    for file in std::fs::read_dir(folder.join("log"))
        .expect("log")
        .flatten()
    {
        std::fs::copy(file.path(), copy.join("log").join(file.file_name())).expect("copy");
    }
    timed("close", || futures::executor::block_on(store.close()));
    drop(store);
    let store = timed("open with 100,000 objects, log not folded", open);
    tokio::time::sleep(Duration::from_secs(6)).await;
    drop(store);
    let size = std::fs::metadata(folder.join("state.redb")).map_or(0, |file| file.len() >> 20);
    println!("database: {size} MB");
    drop(timed("open with 100,000 objects, log folded", open));
    drop(timed("open with 100,000 objects after a kill", || {
        redb::open(&copy, Options::default()).expect("open")
    }));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let temporary = tempfile::tempdir_in("/var/tmp").expect("folder");
    let folder = std::env::args()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), Into::into);
    if std::env::args().nth(2).as_deref() == Some("open") {
        drop(timed("open", || {
            redb::open(&folder, Options::default()).expect("open")
        }));
        return;
    }
    durable(&folder.join("data")).await;
    for flight in [1, 8, 64] {
        let store: Arc<dyn Store> = Arc::new(memory::open(Options::default()).expect("open"));
        println!(
            "1,000 watchers, {flight} writers, in memory: {:.0} events/s delivered",
            deliveries(store, 1000, 2_048, flight).await
        );
    }
    let store: Arc<dyn Store> =
        Arc::new(redb::open(&folder.join("watched"), Options::default()).expect("open"));
    println!(
        "1,000 watchers, 64 writers, durable: {:.0} events/s delivered",
        deliveries(store, 1000, 4_096, 64).await
    );
}
