//! Nothing stays of a cluster, whichever way it ends or fails to begin.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{
    Cluster, PROGRAM,
    machine::{Marks, Turn, things},
    missing, skip,
};

const POD: [&str; 5] = [
    "run",
    "shop",
    "--image=skiff.local/shop:v1",
    "--restart=Always",
    "--port=8080",
];

#[test]
fn what_a_dead_process_left_is_ended_by_down() {
    if let Some(why) = missing(&["nft"]) {
        return skip(&why);
    }
    let mut cluster = Cluster::start(&[]);
    cluster.skiff(&POD);
    cluster.skiff(&["wait", "pod/shop", "--for=condition=Ready", "--timeout=60s"]);
    cluster.kill();
    let (data, text) = (cluster.data(), |output: &std::process::Output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let here = ["--data-dir", data.to_str().unwrap()];
    assert!(
        !cluster.left().is_empty(),
        "containers outlive their program"
    );
    let status = cluster.output(PROGRAM, &[&["status"], &here[..]].concat());
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status).contains("has left"), "{}", text(&status));
    // by the folder's name alone: of the folder, only what is mounted in it is left
    let removed = Command::new("rm").arg("-rf").arg(&data).output();
    assert!(removed.is_ok() && !data.join("cluster.json").exists());
    let said = cluster.skiff(&[&["down"], &here[..]].concat());
    assert!(said.contains("had broken off"), "{said}");
    assert_eq!(cluster.left(), Vec::<String>::new());
    let said = cluster.skiff(&[&["down"], &here[..]].concat());
    assert!(said.contains("No cluster runs"), "{said}");
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    if let Some(why) = missing(&["nft"]) {
        return skip(&why);
    }
    let mut cluster = Cluster::start(&[]);
    cluster.signal(Signal::SIGHUP);
    assert_eq!(cluster.left(), Vec::<String>::new());
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    if let Some(why) = missing(&["nft"]) {
        return skip(&why);
    }
    let _turn = Turn::one();
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = folder.path().join("data");
    let (marks, before) = (Marks::of(&data), things());
    let output = Command::new(PROGRAM)
        .args(["up", "--data-dir"])
        .arg(&data)
        .arg("--kubeconfig")
        .arg(folder.path().join("kubeconfig"))
        .arg(format!("--listen={}", taken.local_addr().unwrap()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
    assert_eq!(marks.left(&before), Vec::<String>::new());
}

#[test]
fn a_reader_that_is_gone_breaks_nothing_off() {
    let cluster = Cluster::start(&["--simulate=1"]);
    let data = cluster.data();
    let mut child = Command::new(PROGRAM)
        .args(["status", "--data-dir"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // either it was written before the pipe was closed, or it ends as SIGPIPE ends others
    assert!(
        matches!(output.status.code(), Some(0 | 141)) && said.is_empty(),
        "{:?} {said}",
        output.status
    );
}
