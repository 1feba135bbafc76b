//! The shop on a real node, by the real kubectl and by `skiff` in its place: the same script.

use std::{
    io::{BufRead, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{Cluster, PROGRAM, http_get, machine::Turn, missing, on_path, skip, wait};

const MANIFEST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../testdata/manifests/shop.yaml"
);
const MINUTE: Duration = Duration::from_secs(60);

/// Asks without pause until it is told to stop.
struct Visitors {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Visitors {
    fn of(address: &str) -> Visitors {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let thread = |_| {
            let (stop, answered, address) = (stop.clone(), answered.clone(), address.to_string());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match http_get(&address, "/") {
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(why) => failures.push(why),
                    }
                }
                failures
            })
        };
        Visitors {
            threads: (0..2).map(thread).collect(),
            stop,
            answered,
        }
    }

    /// How many were answered, and what went wrong.
    fn leave(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

/// `http://IP:PORT/` as `up --demo` told it, without the rest.
fn address_of(cluster: &Cluster) -> String {
    let url = cluster
        .said()
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .expect("an address of the shop");
    url.trim_start_matches("http://")
        .trim_end_matches('/')
        .to_string()
}

fn script(cluster: &Cluster, program: &Path, address: &str) {
    let run = |args: &[&str]| cluster.run(program, args);
    run(&["apply", "-f", MANIFEST]);
    run(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    let wide = run(&["get", "pods,deployments,services", "-o", "wide"]);
    assert!(
        wide.contains("skiff.local/shop:v1") && wide.contains("NODE") && wide.contains("10.96."),
        "{wide}"
    );
    run(&["scale", "deployment/front", "--replicas=10"]);
    run(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    assert_eq!(
        run(&[
            "get",
            "deployment",
            "front",
            "-o",
            "jsonpath={.status.readyReplicas}"
        ]),
        "10"
    );

    let visitors = Visitors::of(address);
    run(&[
        "set",
        "image",
        "deployment/front",
        "front=skiff.local/shop:v2",
    ]);
    run(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    wait(MINUTE, "version 2", || {
        http_get(address, "/").and_then(|body| {
            if body.contains("shop v2") {
                Ok(())
            } else {
                Err(body)
            }
        })
    });
    let (answered, failures) = visitors.leave();
    assert!(
        failures.is_empty(),
        "{} of {} requests failed: {:?}",
        failures.len(),
        answered + failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(answered > 20, "only {answered} requests were made");

    run(&["rollout", "undo", "deployment/front"]);
    run(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    let pods = run(&[
        "get",
        "pods",
        "-l",
        "app=front",
        "--field-selector=status.phase=Running",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{\"\\n\"}{end}",
    ]);
    let pod = pods
        .lines()
        .find(|line| line.split_whitespace().count() == 1)
        .expect("a pod that stays")
        .trim()
        .to_string();

    follow_log(cluster, program, &pod);
    let exit = cluster.output(program, &["exec", &pod, "--", "/shop"]);
    assert_eq!(
        exit.status.code(),
        Some(1),
        "the port is taken: {}",
        String::from_utf8_lossy(&exit.stderr)
    );
    assert!(String::from_utf8_lossy(&exit.stderr).contains("command terminated with exit code 1"));
    forward(cluster, program, &pod);
    let described = run(&["describe", "pod", &pod]);
    assert!(
        described.contains("Successfully assigned default/")
            && described.contains("kube-api-access-"),
        "{described}"
    );
    assert!(run(&["events"]).contains("ScalingReplicaSet"));

    let begun = Instant::now();
    run(&["delete", "pod", &pod, "--wait=false"]);
    wait(MINUTE, "a new pod in its place", || {
        let columns = "jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let pods = run(&["get", "pods", "-l", "app=front", "-o", columns]);
        let ready = pods
            .lines()
            .filter(|line| {
                !line.contains(&pod) && line.split_whitespace().collect::<Vec<_>>()[1..] == ["True"]
            })
            .count();
        if ready == 10 { Ok(()) } else { Err(pods) }
    });
    let replaced = begun.elapsed();
    wait(
        Duration::from_secs(6),
        "the end of the old one, a second after its last visitor, and not when its grace time ends",
        || {
            let names = run(&["get", "pods", "-o", "name"]);
            if names.contains(&pod) {
                Err(names)
            } else {
                Ok(())
            }
        },
    );
    println!(
        "{answered} requests, none failed; a pod replaced after {replaced:?}, gone after {:?} ({})",
        begun.elapsed(),
        program.display()
    );
    run(&["delete", "-f", MANIFEST]);
    wait(MINUTE, "the end of the shop's pods", || {
        match run(&["get", "pods", "-o", "name"]) {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        }
    });
}

fn follow_log(cluster: &Cluster, program: &Path, pod: &str) {
    let mut child = cluster
        .command(program, &["logs", "-f", pod])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(
        child.try_wait().unwrap().is_none(),
        "logs -f ended by itself"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("listens on port 8080"), "{line}");
}

fn forward(cluster: &Cluster, program: &Path, pod: &str) {
    // over WebSocket, and over SPDY alone
    for websockets in ["true", "false"] {
        let mut command = cluster.command(program, &["port-forward", pod, ":8080"]);
        let mut child = command
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // held open: it says more for each connection
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("{line}"))
            .to_string();
        let body = http_get(&format!("127.0.0.1:{port}"), "/");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            body.as_ref().is_ok_and(|body| body.contains(pod)),
            "{body:?} through {}, {}",
            line.trim(),
            program.display()
        );
    }
}

#[test]
fn from_nothing_to_a_shop_and_back() {
    if let Some(why) = missing(&[]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&["--demo"]);
    let address = address_of(&cluster);
    let mut pods = std::collections::BTreeSet::new();
    wait(MINUTE, "answers of all three pods", || {
        let body = http_get(&address, "/")?;
        // Front may be there before stock is.
        if !body.contains("left") {
            return Err(format!("stock is asked by its name: {body}"));
        }
        pods.insert(
            body.lines()
                .find(|line| line.starts_with("pod "))
                .unwrap_or("")
                .to_string(),
        );
        if pods.len() == 3 {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    cluster.skiff(&["delete", "-f", MANIFEST]);
    script(&cluster, Path::new(PROGRAM), &address);
    match on_path("kubectl") {
        Some(kubectl) => script(&cluster, &kubectl, &address),
        None => skip("kubectl is not on PATH; only skiff ran the script"),
    }
    cluster.end();
}

/// The machine may be busy: what a pod said last still leaves its network, and who comes later is refused, not left waiting.
#[test]
fn who_is_connected_to_a_pod_hears_of_its_end() {
    if let Some(why) = missing(&[]) {
        return skip(&why);
    }
    // it asks pods by their addresses
    let cluster = Cluster::with(Turn::alone(), &[]);
    cluster.skiff(&[
        "create",
        "deployment",
        "stock",
        "--image=skiff.local/shop:v1",
        "--replicas=12",
        "--",
        "/shop",
        "stock",
    ]);
    cluster.skiff(&["rollout", "status", "deployment/stock", "--timeout=60s"]);
    let addresses = cluster.skiff(&[
        "get",
        "pods",
        "-o",
        "jsonpath={range .items[*]}{.status.podIP}:8080{\"\\n\"}{end}",
    ]);
    let addresses: Vec<SocketAddr> = addresses
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(addresses.len(), 12);
    // connected, and silent
    let open =
        |address: &SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(5)).unwrap();
    let held: Vec<TcpStream> = addresses
        .iter()
        .flat_map(|address| [open(address), open(address)])
        .collect();
    let busy = Arc::new(AtomicBool::new(true));
    let load = |_| {
        let busy = busy.clone();
        std::thread::spawn(move || while busy.load(Ordering::Relaxed) {})
    };
    let load: Vec<_> = (0..6).map(load).collect();
    let knocking: Vec<_> = addresses
        .into_iter()
        .map(|address| std::thread::spawn(move || failure(address)))
        .collect();
    cluster.skiff(&["delete", "deployment", "stock"]);
    let refused: Vec<_> = knocking
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let mut silent = 0;
    for mut stream in held {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let answer = std::io::Read::read(&mut stream, &mut [0; 16]);
        silent += usize::from(
            !matches!(&answer, Ok(0))
                && !answer.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        );
    }
    busy.store(false, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(
        refused
            .iter()
            .all(|kind| *kind == std::io::ErrorKind::ConnectionRefused),
        "{refused:?}"
    );
    assert_eq!(
        silent, 0,
        "connections that were left open by a pod that is gone"
    );
    cluster.end();
}

/// Connects until that has failed for a while, and answers how it failed last. Probes' paths are asked for, so that nobody is taken for a visitor.
fn failure(address: SocketAddr) -> std::io::ErrorKind {
    let begun = Instant::now();
    let mut first = None;
    while begun.elapsed() < MINUTE {
        let asked = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        match asked.and_then(|mut stream| {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        }) {
            Ok(()) => std::thread::sleep(Duration::from_millis(20)),
            // one that was let in as the program ended
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
                ) => {}
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                return error.kind();
            }
            Err(error) => match first.get_or_insert_with(Instant::now).elapsed() {
                enough if enough > Duration::from_millis(300) => return error.kind(),
                _ => std::thread::sleep(Duration::from_millis(20)),
            },
        }
    }
    panic!("{address} is never gone");
}
