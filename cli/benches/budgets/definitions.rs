//! What kinds that others bring cost: many definitions with objects, one definition more, one object with and without rules.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use crate::{client::Client, milliseconds, program::Program, report};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Definitions share groups as those of an operator do.
const GROUPS: usize = 10;
/// Over how many creations CPU time, which is counted in hundredths of a second, is measured.
const CREATED: usize = 1_500;

fn group(number: usize) -> String {
    format!("g{}.example.com", number % GROUPS)
}

fn objects(number: usize) -> String {
    format!(
        "/apis/{}/v1/namespaces/default/kind{number}s",
        group(number)
    )
}

/// A definition of ten numbers, a bound for them and a text, with so many rules.
fn definition(number: usize, rules: usize) -> String {
    let (group, mut properties, mut list) = (group(number), String::new(), String::new());
    for at in 0..10 {
        // writing to a text cannot fail
        let _ = write!(properties, r#""a{at}":{{"type":"integer"}},"#);
    }
    for at in 0..rules {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(list, r#"{comma}{{"rule":"self.a{at} <= self.b"}}"#);
    }
    let spec = format!(
        r#"{{"type":"object","properties":{{{properties}"b":{{"type":"integer"}},"text":{{"type":"string","maxLength":2000}}}},"x-kubernetes-validations":[{list}]}}"#
    );
    let names = format!(
        r#"{{"plural":"kind{number}s","singular":"kind{number}","kind":"Kind{number}","listKind":"Kind{number}List"}}"#
    );
    let schema = format!(
        r#"{{"openAPIV3Schema":{{"type":"object","description":"{}","properties":{{"spec":{spec}}}}}}}"#,
        "x".repeat(200)
    );
    format!(
        r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{{"name":"kind{number}s.{group}"}},"spec":{{"group":"{group}","scope":"Namespaced","names":{names},"versions":[{{"name":"v1","served":true,"storage":true,"schema":{schema}}}]}}}}"#
    )
}

fn object(number: usize, name: usize) -> String {
    let fields: String = (0..10).map(|at| format!(r#""a{at}":{at},"#)).collect();
    format!(
        r#"{{"apiVersion":"{}/v1","kind":"Kind{number}","metadata":{{"name":"o{name}"}},"spec":{{{fields}"b":100,"text":"{}"}}}}"#,
        group(number),
        "x".repeat(700)
    )
}

/// A ConfigMap of the size of such an object.
fn config_map(name: usize) -> String {
    let fields: String = (0..10).map(|at| format!(r#""a{at}":"{at}","#)).collect();
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"o{name}"}},"data":{{{fields}"b":"100","text":"{}"}}}}"#,
        "x".repeat(700)
    )
}

/// Until `path` answers with a text that holds `wanted`.
async fn shows(client: &mut Client, path: &str, wanted: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let (status, body) = client.get(path).await?;
        if status == 200 && String::from_utf8_lossy(&body).contains(wanted) {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(10),
            "{path} does not show {wanted}"
        );
    }
}

/// CPU time of the server for one of [`CREATED`] creations, one at a time.
async fn each(
    program: &Program,
    client: &mut Client,
    path: &str,
    body: impl Fn(usize) -> String,
) -> anyhow::Result<Duration> {
    for at in 0..200 {
        client.create(path, body(10_000 + at)).await?;
    }
    let before = program.cpu()?;
    for at in 0..CREATED {
        client.create(path, body(at)).await?;
    }
    Ok((program.cpu()? - before) / u32::try_from(CREATED)?)
}

/// 10, 100 and 300 definitions: what one more, and a change of one, takes; then 5,000 objects, and a restart with all of it.
pub fn definitions() -> anyhow::Result<()> {
    for count in [10, 100, 300] {
        let folder = tempfile::tempdir()?;
        let program = Program::server(folder.path().into(), &[])?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut client = program.client().await?;
            let begun = Instant::now();
            for number in 0..count {
                client.create(DEFINITIONS, definition(number, 0)).await?;
            }
            shows(&mut client, &objects(count - 1), "items").await?;
            report(
                &format!("{count} definitions, all served"),
                milliseconds(begun.elapsed()),
                "-",
            );
            one_more(&program, &mut client, count).await
        })?;
        if count < 300 {
            program.end()?;
            continue;
        }
        runtime.block_on(many_objects(&program, count))?;
        restart(program, folder.path(), &runtime)?;
    }
    Ok(())
}

/// One definition beside so many, and a change of it: documents of the group that are read are made anew, and nothing of the others.
async fn one_more(program: &Program, client: &mut Client, count: usize) -> anyhow::Result<()> {
    let documents = format!("/openapi/v3/apis/{}/v1", group(count));
    // those of the group as they are before are made
    shows(client, &documents, "paths").await?;
    let before = program.cpu()?;
    client.create(DEFINITIONS, definition(count, 0)).await?;
    let begun = Instant::now();
    shows(client, &objects(count), "items").await?;
    let served = begun.elapsed();
    let discovery = format!("/apis/{}/v1", group(count));
    shows(client, &discovery, &format!("kind{count}s")).await?;
    shows(client, &documents, &format!("Kind{count}")).await?;
    report(
        &format!("one beside {count}: served; in discovery and OpenAPI 3"),
        format!(
            "{}; {}",
            milliseconds(served),
            milliseconds(begun.elapsed())
        ),
        "50 ms",
    );
    let name = format!("{DEFINITIONS}/kind{count}s.{}", group(count));
    for at in 0..20 {
        let patch = format!(r#"{{"spec":{{"names":{{"categories":["c{at}"]}}}}}}"#);
        let media = "application/merge-patch+json";
        let (status, _) = client
            .send(http::Method::PATCH, &name, media, patch)
            .await?;
        anyhow::ensure!(status == 200, "{status}");
        shows(client, &discovery, &format!("\"c{at}\"")).await?;
    }
    report(
        &format!("one beside {count}, 20 changes: CPU each"),
        milliseconds((program.cpu()? - before) / 21),
        "the same at 10 and 300",
    );
    Ok(())
}

async fn many_objects(program: &Program, count: usize) -> anyhow::Result<()> {
    let mut client = program.client().await?;
    let plain = each(
        program,
        &mut client,
        "/api/v1/namespaces/default/configmaps",
        config_map,
    )
    .await?;
    let custom = each(program, &mut client, &objects(0), |at| object(0, at)).await?;
    let ruled = count + 1;
    client.create(DEFINITIONS, definition(ruled, 10)).await?;
    shows(&mut client, &objects(ruled), "items").await?;
    let rules = each(program, &mut client, &objects(ruled), |at| {
        object(ruled, at)
    })
    .await?;
    report(
        "a ConfigMap; a custom object of its size (CPU)",
        format!("{} us; {} us", plain.as_micros(), custom.as_micros()),
        "1.5 times",
    );
    report(
        "10 rules on top",
        format!("{} us", rules.saturating_sub(custom).as_micros()),
        "30 us",
    );
    for at in 0..5_000 {
        let number = 2 + at % (count - 2);
        client.create(&objects(number), object(number, at)).await?;
    }
    Ok(())
}

fn restart(
    program: Program,
    folder: &std::path::Path,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<()> {
    program.end()?;
    let program = Program::server(folder.into(), &[])?;
    let served = Instant::now();
    runtime.block_on(async {
        let mut client = program.client().await?;
        shows(&mut client, &objects(299), "\"o").await
    })?;
    report(
        "300 definitions, 8,400 objects: restart to /readyz; read",
        format!(
            "{}; {}",
            milliseconds(program.ready_after),
            milliseconds(served.elapsed())
        ),
        "500 ms",
    );
    std::thread::sleep(Duration::from_secs(5));
    report(
        "resident 5 s later",
        format!("{:.1} MB", program.resident()?),
        "100 MB",
    );
    program.end()
}
