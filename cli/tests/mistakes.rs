//! That failures teach: common mistakes with what is said of each, in `testdata/mistakes/all.yaml`.
//!
//! Invariant: by its own name the program says what it says by kubectl's, and below that at least one line by which the next try succeeds; by kubectl's name
//! it says nothing more. `SKIFF_UPDATE=1` writes what is said.

use std::path::Path;

use serde_json::{Value, json};
use skiff_api::machinery::yaml;

use crate::golden::{Server, copied};
use crate::support::PROGRAM;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/mistakes/all.yaml");
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/parity/files");
/// So many there are at the least.
const LEAST: usize = 60;
/// What is there before the mistakes are made.
const BEFORE: &str = "kubectl create namespace mistakes && kubectl create namespace other \
    && kubectl create serviceaccount default && kubectl create deployment web --image=shop:1 \
    && kubectl create configmap settings --from-literal=a=b && kubectl create -n other configmap far \
    && kubectl create quota small --hard=services=0 && kubectl label configmap settings app=web \
    && kubectl create secret generic fixed --from-literal=a=b \
    && kubectl patch secret fixed --type=merge -p '{\"immutable\":true}' \
    && kubectl create -f node.json && kubectl create -f pod.json && kubectl taint node n1 key=v:NoSchedule";
const NODE: &str = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}"#;
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","labels":{"app":"web"}},"spec":{"automountServiceAccountToken":false,"nodeName":"n1","containers":[{"name":"c","image":"shop:1"}]}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_teach() {
    let folder = tempfile::tempdir().unwrap();
    let (server, running) = Server::start(folder.path(), PROGRAM).await;
    std::os::unix::fs::symlink(PROGRAM, folder.path().join("bin/skiff")).unwrap();
    let wrong = tokio::task::spawn_blocking(move || all(&server))
        .await
        .unwrap();
    running.stop().await;
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn all(server: &Server) -> Vec<String> {
    let home = server.folder.join("mistakes");
    std::fs::create_dir(&home).unwrap();
    copied(Path::new(MANIFESTS), &home.join("work"));
    for (name, text) in [("node.json", NODE), ("pod.json", POD)] {
        std::fs::write(home.join("work").join(name), text).unwrap();
    }
    std::fs::write(home.join("config"), server.kubeconfig("mistakes")).unwrap();
    let made = server.shell(&home, "mistakes", BEFORE);
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(FILE).unwrap();
    let cases = yaml::read(&text).unwrap().remove(0).value;
    let cases = cases.as_array().unwrap().clone();
    assert!(cases.len() >= LEAST, "{} mistakes", cases.len());
    let (mut wrong, mut told) = (Vec::new(), Vec::new());
    for case in &cases {
        let run = case["run"].as_str().unwrap();
        let said = said(server, &home, run);
        let plain = self::said(server, &home, &run.replace("skiff ", "kubectl "));
        if let Some(why) = lacks(&said, &plain) {
            wrong.push(format!("{run}: {why}\n{said}"));
        } else if std::env::var_os("SKIFF_UPDATE").is_none() && case["err"] != json!(said) {
            wrong.push(format!("{run}\nwanted:\n{}\ngot:\n{said}", case["err"]));
        }
        told.push(json!({"run": run, "err": said}));
    }
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        std::fs::write(FILE, yaml::write(&Value::Array(told))).unwrap();
    }
    wrong
}

/// What a line says of its failure.
fn said(server: &Server, home: &Path, run: &str) -> String {
    let done = server.shell(home, "mistakes", run);
    assert!(!done.status.success(), "{run} is no mistake");
    server.shown(home, &String::from_utf8_lossy(&done.stderr))
}

/// What is missing in what is said by the program's own name, beside what is said by kubectl's.
fn lacks(said: &str, plain: &str) -> Option<&'static str> {
    // What the log says of discovery is said by kubectl's name alone.
    let by_name = |text: &str| {
        let lines = text.split_inclusive('\n');
        let lines = lines.filter(|line| !line.starts_with("<log> memcache.go"));
        let text = lines.collect::<String>().replace("skiff", "kubectl");
        text.replace("<no newline>\n", "")
    };
    let (said, plain) = (by_name(said), by_name(plain));
    match said.strip_prefix(plain.trim_end()) {
        None => Some("does not begin with kubectl's words"),
        Some(more) if more.trim().is_empty() && !plain.contains("Did you mean") => {
            Some("teaches nothing")
        }
        Some(_) => None,
    }
}
