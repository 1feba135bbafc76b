//! What an operation costs among 1,000, 10,000 and 100,000 objects that it does not touch: the same, whatever their number.

use std::time::Instant;

use anyhow::Context;

use crate::{
    program::Program,
    report,
    requests::{ALONE, Call, IN_FLIGHT, config_map, load, runtime},
};

const FILLED: &str = "/api/v1/namespaces/kube-system/configmaps";
const HERE: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const ROUNDS: usize = 1_000;

/// An operation, and the call of a round.
type Operation = (&'static str, fn(usize) -> Call);

const OPERATIONS: [Operation; 7] = [
    ("create", |n| {
        Call::create(HERE, config_map(&format!("new-{n}")))
    }),
    ("GET", |n| Call::get(format!("{HERE}/new-{n}"))),
    ("merge patch", |n| {
        let body = format!(r#"{{"data":{{"n":"{n}"}}}}"#);
        Call::merge_patch(format!("{HERE}/new-{n}"), body)
    }),
    ("list of a namespace with one object", |_| {
        Call::get("/api/v1/namespaces/kube-public/configmaps".into())
    }),
    ("a page of 10 of all", |_| {
        Call::get(format!("{FILLED}?limit=10"))
    }),
    ("create a Service", |n| {
        let body =
            format!(r#"{{"metadata":{{"name":"s-{n}"}},"spec":{{"ports":[{{"port":1}}]}}}}"#);
        Call::create(SERVICES, body)
    }),
    ("delete", |n| Call::delete(format!("{HERE}/new-{n}"))),
];

/// Each operation, one at a time, beside ever more objects of its kind, in µs of the server's CPU.
pub fn many() -> anyhow::Result<()> {
    let mut found: Vec<Vec<String>> = vec![Vec::new(); OPERATIONS.len() + 1];
    for count in [1_000, 10_000, 100_000] {
        let folder = tempfile::tempdir()?;
        let program = Program::server(folder.path().into(), ALONE)?;
        runtime()?.block_on(async {
            load(&program, IN_FLIGHT, count, |n| {
                Call::create(FILLED, config_map(&format!("old-{n}")))
            })
            .await?;
            let mut client = program.client().await?;
            let public = "/api/v1/namespaces/kube-public/configmaps";
            client.create(public, config_map("alone")).await?;
            program.settle()?;
            for (at, (_, call)) in OPERATIONS.iter().enumerate() {
                let took = load(&program, 1, ROUNDS, *call).await?;
                let each = took.cpu.as_secs_f64() * 1e6 / ROUNDS as f64;
                found[at].push(format!("{each:.0}"));
            }
            let mut watch = client
                .stream(&format!("{HERE}?watch=1&resourceVersion=0"))
                .await?;
            let mut other = program.client().await?;
            let begun = Instant::now();
            other.create(HERE, config_map("told")).await?;
            http_body_util::BodyExt::frame(&mut watch)
                .await
                .context("the watch ended")??;
            found[OPERATIONS.len()].push(format!("{:.0}", begun.elapsed().as_secs_f64() * 1e6));
            anyhow::Ok(())
        })?;
        program.end()?;
    }
    let names = OPERATIONS.iter().map(|(name, _)| *name);
    for (name, found) in names
        .chain(["a create is told to a watcher, by the clock"])
        .zip(found)
    {
        report(name, format!("{} µs", found.join(", ")), "the same");
    }
    Ok(())
}
