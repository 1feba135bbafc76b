//! A node on another machine: `skiff agent` joins by a token. The other machine is a network namespace.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::{PROGRAM, http_get, machine::Marks, missing, on_path, said, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const HOST: &str = "10.99.77.1";
const OTHER: &str = "10.99.77.2";

fn ip(args: &[&str]) {
    let output = Command::new(on_path("ip").unwrap())
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Another machine: a namespace with one cable to this one. Gone when dropped.
struct Machine(String);

impl Machine {
    fn new() -> Machine {
        let name = format!("other-{}", std::process::id());
        ip(&["netns", "add", &name]);
        let machine = Machine(name);
        ip(&[
            "link",
            "add",
            "othercable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            &machine.0,
        ]);
        ip(&["address", "add", &format!("{HOST}/24"), "dev", "othercable"]);
        ip(&["link", "set", "othercable", "up"]);
        for args in [
            &["address", "add", "10.99.77.2/24", "dev", "cable"][..],
            &["link", "set", "cable", "up"],
            &["link", "set", "lo", "up"],
            &["route", "add", "default", "via", HOST],
        ] {
            ip(&[&["-n", &machine.0][..], args].concat());
        }
        machine
    }

    fn command(&self, args: &[&str]) -> Command {
        // not `ip netns exec`, which hides the cgroups behind a /sys of its own
        let mut command = Command::new(on_path("nsenter").unwrap());
        command
            .arg(format!("--net=/run/netns/{}", self.0))
            .arg(PROGRAM)
            .args(args)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .output();
        let _ = Command::new("ip")
            .args(["link", "delete", "othercable"])
            .output();
    }
}

/// A program that runs until it is dropped, and is ended by Ctrl-C then.
struct Running(Child);

impl Running {
    /// Once it has printed `word`; that line.
    fn start(mut command: Command, word: &str) -> (Running, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let running = Running(child);
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(
                out.read_line(&mut line).unwrap() > 0,
                "it ended before it said {word:?}"
            );
        }
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        (running, line)
    }

    fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.0.id() as i32),
            nix::sys::signal::Signal::SIGINT,
        );
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(8) && self.0.try_wait().ok().flatten().is_none()
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Server {
    _running: Running,
    url: String,
    kubeconfig: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let kubeconfig = folder.join("kubeconfig");
        let data = folder.join("server");
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "server",
                "--bind-address",
                HOST,
                "--secure-port",
                "0",
                "--allocate-node-cidrs",
                "--data-dir",
            ])
            .arg(data)
            .arg("--kubeconfig")
            .arg(&kubeconfig);
        let (running, line) = Running::start(command, "Serving on");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("https://"))
            .unwrap()
            .to_string();
        Server {
            _running: running,
            url,
            kubeconfig,
        }
    }

    fn skiff(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(PROGRAM)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.kubeconfig.parent().unwrap())
            .output()
            .unwrap();
        said(&output)
    }
}

#[test]
fn another_machine_joins_by_a_token() {
    if let Some(why) = missing(&["ip", "nsenter"]) {
        return skip(&why);
    }
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let server = Server::start(folder.path());
    let data = folder.path().join("agent");
    Marks::of(&data);
    let agent = |token: Option<&str>| {
        let mut args = vec![
            "agent",
            "--server",
            &server.url,
            "--node-name",
            "other",
            "--data-dir",
            data.to_str().unwrap(),
        ];
        args.extend(token.iter().flat_map(|token| ["--token", *token]));
        machine.command(&args)
    };
    let refused = |token: Option<&str>, why: &str| {
        let output = agent(token).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains(why),
            "{said}"
        );
    };
    refused(Some("nonsense"), "small letters or digits");
    refused(
        Some("abcdef.0123456789abcdef"),
        "run `skiff token create` there first",
    );
    let line = server.skiff(&["token", "create"]).unwrap();
    let token = line.trim().rsplit(' ').next().unwrap().to_string();
    assert_eq!(
        line.trim(),
        format!("skiff agent --server {} --token {token}", server.url)
    );
    refused(None, "--token is needed");
    refused(
        Some("abcdef.0123456789abcdef"),
        "does not know the token abcdef",
    );
    refused(
        Some(&format!("{}.0123456789abcdef", &token[..6])),
        "the secret of the token",
    );

    let (running, _) = Running::start(agent(Some(&token)), "Running");
    let ready = || {
        server.skiff(&["get", "nodes"]).and_then(|text| {
            if text.contains(" Ready ") {
                Ok(text)
            } else {
                Err(text)
            }
        })
    };
    wait(MINUTE, "the node", ready);
    let ip = server
        .skiff(&[
            "get",
            "node",
            "other",
            "-o",
            "jsonpath={.status.addresses[0].address}",
        ])
        .unwrap();
    assert_eq!(ip, OTHER);
    wait(MINUTE, "the default account", || {
        server.skiff(&["get", "serviceaccount", "default"])
    });
    server
        .skiff(&["run", "stock", "--image=skiff.local/shop:v1", "--", "stock"])
        .unwrap();
    server
        .skiff(&[
            "wait",
            "--for=condition=Ready",
            "pod/stock",
            "--timeout=60s",
        ])
        .unwrap();
    // the server reaches the node by the certificate that the node asked for
    assert!(
        server
            .skiff(&["logs", "stock"])
            .unwrap()
            .contains("listens on port")
    );
    let failed = server.skiff(&["exec", "stock", "--", "/shop"]).unwrap_err();
    assert!(
        failed.contains("command terminated with exit code 1"),
        "{failed}"
    );
    running.end();
    server.skiff(&["token", "create", "--ingress"]).unwrap();
    for args in [
        &["expose", "pod", "stock", "--port=80", "--target-port=8080"][..],
        &["create", "ingress", "stock", "--rule=test/*=stock:80"],
    ] {
        server.skiff(args).unwrap();
    }

    // without a token: it has its certificates
    let (running, _) = Running::start(agent(None), "Running");
    let back = || {
        server.skiff(&["get", "pod", "stock"]).and_then(|text| {
            if text.contains("1/1") {
                Ok(())
            } else {
                Err(text)
            }
        })
    };
    wait(MINUTE, "the pod again", back);
    // it asked for another identity, which sees Ingresses, and was given it
    wait(MINUTE, "the ingress", || {
        let said = http_get(&format!("{OTHER}:80"), "/")?;
        let told = server.skiff(&["get", "ingress", "stock"])?;
        if said.contains("left") && told.contains(OTHER) {
            Ok(())
        } else {
            Err(told)
        }
    });
    let requests = server.skiff(&["get", "csr"]).unwrap();
    assert!(
        requests.contains("kubernetes.io/kube-apiserver-client "),
        "{requests}"
    );
    running.end();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(data.to_str().unwrap()), "{mounts}");
}
