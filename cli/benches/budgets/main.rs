//! Measures the program against its budgets: start, memory, requests over TLS, watches, scheduling, the CLI, restart.
//!
//! Run `cargo bench -p skiff --bench budgets`, or a part: `cargo bench -p skiff --bench budgets -- start requests`. Each part starts
//! the built program on a data folder and a port of its own and ends it. The client shares the machine with the server, so on two cores
//! the figures are those of both together.
//!
//! `BENCH_SERVER="PORT TOKEN PID …"` measures a server that runs already, upstream's for one, by the same client: `requests`, `list` and `watch`, once each, as
//! what they make stays there.
//!
//! Parts: `start`, `requests`, `pods`, `list`, `watch`, `schedule`, `cli`, `restart`, `definitions`, `many`.

mod client;
mod definitions;
mod many;
mod program;
mod requests;
mod scale;

use std::time::Duration;

/// One measured line.
pub fn report(what: &str, measured: String, budget: &str) {
    println!("{what:<50} {measured:>28}   budget {budget}");
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub fn rate(count: usize, time: Duration) -> String {
    format!("{:.0}/s", count as f64 / time.as_secs_f64())
}

type Part = (&'static str, fn() -> anyhow::Result<()>);

const PARTS: &[Part] = &[
    ("start", scale::start),
    ("requests", requests::small_objects),
    ("pods", requests::pods),
    ("list", requests::list),
    ("watch", requests::watch),
    ("schedule", scale::schedule),
    ("cli", scale::command_line),
    ("restart", scale::restart),
    ("definitions", definitions::definitions),
    ("many", many::many),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    // `cargo test --all-targets` runs benches too
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("skipped: figures are measured by `cargo bench -p skiff --bench budgets`");
        return Ok(());
    }
    if let [one] = &wanted[..]
        && let Some((name, part)) = PARTS.iter().find(|(name, _)| name == one)
    {
        if let Err(error) = part() {
            println!("{name}: not measured: {error:#}");
        }
        return Ok(());
    }
    // a process each: what one part holds is not counted as another's
    for (name, _) in PARTS
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name))
    {
        std::process::Command::new(std::env::current_exe()?)
            .args(["--bench", name])
            .status()?;
    }
    Ok(())
}
