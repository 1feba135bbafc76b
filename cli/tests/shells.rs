//! What a person does at a terminal: words that bash and zsh complete, programs in pods that ask and are answered, an editor, a line that tells how far
//! things are.
//!
//! Invariant: it is a terminal for all of them (`script` makes one), and what is typed is typed only when its question stands there.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::support::{Cluster, PROGRAM, images, missing, on_path, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const IMAGE: &str = "test.local/shell:1";
const READY: &str = "what-next> ";
const ENTER: &str = "\r";

/// A line of the shell that runs at a terminal.
struct Screen {
    child: Child,
    keys: ChildStdin,
    shown: mpsc::Receiver<Vec<u8>>,
    /// All that was shown since something was last found.
    text: String,
}

impl Screen {
    fn of(cluster: &Cluster, line: &str) -> Screen {
        let mut command = cluster.in_shell(Path::new(PROGRAM), "");
        Screen::open(&mut command, line)
    }

    /// `command` gives the surroundings.
    fn open(command: &mut Command, line: &str) -> Screen {
        let mut script = Command::new("script");
        script
            .args(["-qefc", line, "/dev/null"])
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(command.get_current_dir().unwrap())
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh"), ("PS1", READY)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let (keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                if tell.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Screen {
            child,
            keys,
            shown,
            text: String::new(),
        }
    }

    fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until a text stands there, and forgets all until there.
    fn shows(&mut self, wanted: &str) {
        let (shown, text) = (&self.shown, &mut self.text);
        let end = wait(MINUTE, wanted, || {
            for bytes in shown.try_iter() {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            let found = text.find(wanted).map(|at| at + wanted.len());
            found.ok_or_else(|| text.clone())
        });
        self.text.drain(..end);
    }

    /// Waits until it has ended by itself: its status.
    fn ends(mut self) -> i32 {
        wait(MINUTE, "its end", || {
            let ended = self.child.try_wait().unwrap();
            ended
                .and_then(|status| status.code())
                .ok_or_else(|| self.text.clone())
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What is typed after the prompt, and what the line that came of it prints.
const COMPLETED: &[(&str, &str)] = &[
    ("kubectl get configm\ton\t-o name", "configmap/only-one"),
    ("kubectl get cm/on\t-o name", "configmap/only-one"),
    ("kubectl get -n sh\tcm of\t-o name", "configmap/of-the-shop"),
    (
        "kubectl rollout rest\tdeploy/we\t",
        "deployment.apps/web restarted",
    ),
    ("kubectl config get-con\t-o name", "skiff"),
    ("kubectl get nodes --no-hea\t", "node-1"),
    (
        "kubectl delete cm only-one tw\t--dry-run=client",
        "\"two\" deleted",
    ),
];

#[test]
fn shells_complete() {
    let cluster = Cluster::start(&["--simulate=1"]);
    cluster.skiff(&["create", "namespace", "shop"]);
    for (name, space) in [
        ("only-one", "default"),
        ("two", "default"),
        ("of-the-shop", "shop"),
    ] {
        cluster.skiff(&["create", "configmap", name, "-n", space]);
    }
    cluster.skiff(&["create", "deployment", "web", "--image=skiff.local/shop:v1"]);
    for (shell, begin) in [
        (
            "bash --norc --noprofile -i",
            "source <(kubectl completion bash)",
        ),
        (
            "zsh -f -i",
            "autoload -U compinit && compinit -u -D && source <(kubectl completion zsh)",
        ),
    ] {
        let name = shell.split(' ').next().unwrap();
        if on_path(name).is_none() {
            skip(format!("{name} is not installed"));
            continue;
        }
        let mut screen = Screen::of(&cluster, shell);
        screen.shows(READY);
        screen.types(&format!("{begin}{ENTER}"));
        screen.shows(READY);
        for (line, wanted) in COMPLETED {
            screen.types(line);
            screen.types(ENTER);
            screen.shows(wanted);
            screen.shows(READY);
        }
        // where there are several, they are shown
        screen.types("kubectl get configmap \t\t");
        screen.shows("kube-root-ca.crt");
        screen.shows("two");
    }
    cluster.end();
}

/// A line in a pod's shell, and what comes of it.
fn asks(screen: &mut Screen) {
    screen.shows("# ");
    screen.types(&format!("echo six times seven is $((6*7)){ENTER}"));
    screen.shows("is 42");
    screen.shows("# ");
}

#[test]
fn programs_in_pods_at_a_terminal() {
    if let Some(why) = missing(&["busybox"]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&["--nodes=1"]);
    let archive = cluster.folder.join("shell.tar");
    images::busybox(&archive, IMAGE).unwrap();
    let (archive, data) = (archive.to_str().unwrap(), cluster.data());
    cluster.skiff(&[
        "image",
        "load",
        archive,
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let image = format!("--image={IMAGE}");
    cluster.skiff(&["run", "box", &image]);
    let shell = "--overrides={\"spec\":{\"containers\":[{\"name\":\"shell\",\"image\":\"test.local/shell:1\",\"command\":[\"sh\"],\"stdin\":true,\"tty\":true}]}}";
    cluster.skiff(&["run", "shell", &image, shell]);
    cluster.skiff(&[
        "wait",
        "pod/box",
        "pod/shell",
        "--for=condition=Ready",
        "--timeout=30s",
    ]);

    let mut screen = Screen::of(&cluster, "kubectl exec -it box -- sh");
    asks(&mut screen);
    screen.types(&format!("exit 7{ENTER}"));
    screen.shows("command terminated with exit code 7");
    assert_eq!(screen.ends(), 7);

    // what interrupts is for the program in the pod
    let mut screen = Screen::of(
        &cluster,
        "kubectl exec -it box -- sh -c 'echo asleep; sleep 1000'",
    );
    screen.shows("asleep");
    screen.types("\x03");
    assert_eq!(screen.ends(), 130);

    // who detaches leaves the program where it is
    let mut screen = Screen::of(&cluster, "kubectl attach -it shell");
    screen.shows("If you don't see a command prompt, try pressing enter.");
    screen.types(ENTER);
    asks(&mut screen);
    screen.types("\x10\x11");
    assert_eq!(screen.ends(), 0);

    let mut screen = Screen::of(&cluster, "kubectl attach -it shell");
    screen.shows("If you don't see a command prompt, try pressing enter.");
    screen.types(ENTER);
    asks(&mut screen);
    screen.types(&format!("exit{ENTER}"));
    screen.shows(
        "Session ended, resume using 'kubectl attach shell -c shell -n default -i -t' command",
    );
    assert_eq!(screen.ends(), 0);

    let line = format!("kubectl run once -it --rm --restart=Never {image} -- sh");
    let mut screen = Screen::of(&cluster, &line);
    screen.shows("try pressing enter.");
    screen.types(ENTER);
    asks(&mut screen);
    screen.types(&format!("exit 3{ENTER}"));
    screen.shows("pod \"once\" deleted from default namespace");
    assert_eq!(screen.ends(), 3);

    let line = format!("kubectl debug -it box {image} --target=box -- sh");
    let mut screen = Screen::of(&cluster, &line);
    screen.shows("try pressing enter.");
    screen.types(ENTER);
    asks(&mut screen);
    // the other container's processes are seen
    screen.types(&format!("cat /proc/1/cmdline{ENTER}"));
    screen.shows("while :; do sleep 1; done");
    screen.types(&format!("exit{ENTER}"));
    assert_eq!(screen.ends(), 0);

    std::fs::write(cluster.folder.join("sent"), "from here").unwrap();
    let line = "kubectl cp sent box:/tmp/sent && kubectl cp box:/tmp/sent back";
    assert_eq!(Screen::of(&cluster, line).ends(), 0);
    let back = std::fs::read_to_string(cluster.folder.join("back")).unwrap();
    assert_eq!(back, "from here");
    cluster.end();
}

#[test]
fn an_editor_and_a_line_that_tells_how_far_it_is() {
    if on_path("busybox").is_none() {
        return skip("busybox is not installed");
    }
    let cluster = Cluster::start(&["--simulate=1"]);
    cluster.skiff(&["create", "configmap", "text", "--from-literal=word=old"]);
    let mut screen = Screen::of(
        &cluster,
        "KUBE_EDITOR='busybox vi' kubectl edit configmap text",
    );
    screen.shows("word: old");
    screen.types(&format!(":%s/word: old/word: new/{ENTER}"));
    screen.shows("word: new");
    screen.types(&format!(":wq{ENTER}"));
    screen.shows("configmap/text edited");
    assert_eq!(screen.ends(), 0);
    let word = cluster.skiff(&["get", "configmap", "text", "-o", "jsonpath={.data.word}"]);
    assert_eq!(word, "new");

    // a pod that nobody gives a node
    let overrides = "--overrides={\"spec\":{\"schedulerName\":\"nobody\"}}";
    cluster.skiff(&["run", "waits", "--image=skiff.local/shop:v1", overrides]);
    let wait = |name: &str| format!("{name} wait pod/waits --for=condition=Ready --timeout=2s");
    let mut screen = Screen::of(&cluster, &wait("skiff"));
    screen.shows("\r\x1b[Kpods/waits: Pending");
    screen.shows("(1s)");
    screen.shows("\r\x1b[Kerror: timed out waiting for the condition on pods/waits");
    assert_eq!(screen.ends(), 1);
    // as kubectl, and elsewhere than at a terminal, nothing but how it ends
    for plain in [
        cluster.shell(Path::new(PROGRAM), &wait("kubectl")),
        cluster.shell(Path::new(PROGRAM), &wait("skiff")),
    ] {
        let said = String::from_utf8_lossy(&plain.stderr);
        let (first, _) = said.split_once('\n').unwrap();
        assert_eq!(
            first,
            "error: timed out waiting for the condition on pods/waits"
        );
    }
    cluster.end();
}
