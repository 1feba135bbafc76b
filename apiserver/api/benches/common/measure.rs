//! What something costs on this thread. Times are those that the thread spent on a processor, so that a busy machine does not blur them.
//! Linux only.

/// Nanoseconds that this thread has spent on a processor.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}

pub fn measure(name: &str, mut once: impl FnMut()) {
    const TIMES: u64 = 20_000;
    (0..TIMES / 10).for_each(|_| once());
    let before = spent();
    (0..TIMES).for_each(|_| once());
    println!("{name:<28} {:>8} ns", (spent() - before) / TIMES);
}
