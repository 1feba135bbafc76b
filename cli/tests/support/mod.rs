//! What the tests from outside share: a cluster of the built program in a folder of its own, commands against it, waiting.
//!
//! Invariant: no more clusters run at a time than get along (`Turn`); when one has ended, nothing of it is left on the machine.

pub mod images;
pub mod machine;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_skiff");

use machine::{Marks, Turn, held};
pub use skiff_testing::skipped as skip;

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A program on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// What is missing on this machine of what real nodes need, besides the test's own `programs`.
pub fn missing(programs: &[&str]) -> Option<String> {
    if !is_root() {
        return Some("real nodes need root".into());
    }
    programs
        .iter()
        .find(|name| on_path(name).is_none())
        .map(|name| format!("{name} is not installed"))
}

/// Clusters come up one after the other: each looks for addresses that nobody has.
static STARTING: Mutex<()> = Mutex::new(());

/// The turn to bring a cluster up, for a program that does it by itself.
pub fn starting() -> MutexGuard<'static, ()> {
    held(STARTING.lock())
}

/// A running `skiff up`.
pub struct Cluster {
    child: Option<Child>,
    pub folder: PathBuf,
    said: String,
    pub marks: Marks,
    /// What lay on the machine before it, of whoever.
    before: Vec<String>,
    _temporary: tempfile::TempDir,
    _turn: Turn,
}

impl Cluster {
    /// `skiff up` with `flags`, once it is ready and, if it has containers, once the one before it has ended.
    pub fn start(flags: &[&str]) -> Cluster {
        let simulated = flags.iter().any(|flag| flag.starts_with("--simulate"));
        let turn = if simulated {
            Turn::default()
        } else {
            Turn::one()
        };
        Cluster::with(turn, flags)
    }

    /// The same with containers for a test that has its turn.
    pub fn with(turn: Turn, flags: &[&str]) -> Cluster {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_path_buf();
        let mut cluster = Cluster {
            child: None,
            said: String::new(),
            marks: Marks::of(&folder.join("data")),
            folder,
            before: machine::things(),
            _temporary: temporary,
            _turn: turn,
        };
        cluster.up(flags);
        cluster
    }

    /// Starts the program over the folder, whatever it holds, and waits until it is ready.
    pub fn up(&mut self, flags: &[&str]) {
        let _starting = starting();
        let mut child = Command::new(PROGRAM)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data())
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.folder.join("stderr"))
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        self.said.clear();
        while !self.said.contains("Ctrl-C ends it.") {
            if out.read_line(&mut self.said).unwrap() == 0 {
                panic!(
                    "the cluster did not start:\n{}\n{}",
                    self.said,
                    self.errors()
                );
            }
        }
        // what it says later is read, so that it never waits for us
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// What `up` printed until it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Megabytes that its process holds of its own: pages of the program itself are the machine's, which keeps them for as long as it likes.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    }

    /// A command with this cluster's kubeconfig and a home of its own.
    pub fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
            .envs([("HOME", &self.folder), ("TMPDIR", &self.folder)])
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn output(&self, program: impl AsRef<Path>, args: &[&str]) -> Output {
        self.command(program, args).output().unwrap()
    }

    /// Runs it; panics unless it succeeds; what it printed.
    pub fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> String {
        let output = self.output(program.as_ref(), args);
        let (out, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "{} {args:?}: {}\n{out}\n{errors}",
            program.as_ref().display(),
            output.status
        );
        out.into_owned()
    }

    /// A line of the shell in the cluster's folder, in which `kubectl` (and `skiff`) is that program, with a home and a cache of its own.
    pub fn shell(&self, program: &Path, line: &str) -> Output {
        self.in_shell(program, line).output().unwrap()
    }

    /// The command of `shell`, not yet run.
    pub fn in_shell(&self, program: &Path, line: &str) -> Command {
        let bin = self.folder.join(format!(
            "as-{}",
            program.file_name().unwrap_or_default().to_string_lossy()
        ));
        if !bin.exists() {
            std::fs::create_dir_all(bin.join("tmp")).unwrap();
            ["kubectl", "skiff"]
                .iter()
                .for_each(|name| std::os::unix::fs::symlink(program, bin.join(name)).unwrap());
        }
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(&self.folder)
            .env_clear()
            .stdin(Stdio::null());
        command
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .envs([("HOME", &bin), ("TMPDIR", &bin.join("tmp"))])
            .env("KUBECONFIG", self.kubeconfig());
        command.envs([("KUBE_EDITOR", "true"), ("TZ", "UTC"), ("NO_COLOR", "1")]);
        command
    }

    /// `skiff` itself.
    pub fn skiff(&self, args: &[&str]) -> String {
        self.run(PROGRAM, args)
    }

    /// Applies a manifest that is given as text.
    pub fn apply(&self, manifest: &str) {
        let mut child = self
            .command(PROGRAM, &["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(manifest.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Asks until the answer holds `text`.
    pub fn until(&self, limit: Duration, text: &str, args: &[&str]) -> String {
        let mut last = String::new();
        wait(limit, &format!("{text:?} in skiff {args:?}"), || {
            let output = self.output(PROGRAM, args);
            last = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if last.contains(text) {
                Ok(())
            } else {
                Err(last.clone())
            }
        });
        last
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it as Ctrl-C does: within 5 s, and nothing is left of it.
    pub fn end(mut self) {
        self.interrupt();
        let left = self.left();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Ends it as Ctrl-C does; the folder stays.
    pub fn interrupt(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGINT);
    }

    /// Ends it by a signal; the folder stays.
    pub fn signal(&mut self, signal: nix::sys::signal::Signal) {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        wait(
            Duration::from_secs(5),
            "the end of the cluster",
            || match child.try_wait().unwrap() {
                Some(_) => Ok(()),
                None => Err(format!("it runs {:?} after {signal}", begun.elapsed())),
            },
        );
    }

    /// Ends it as `skiff down` does; the folder stays.
    pub fn down(&mut self) {
        let data = self.data();
        let said = self.skiff(&["down", "--data-dir", data.to_str().unwrap()]);
        assert!(said.contains("has ended"), "{said}");
        let mut child = self.child.take().unwrap();
        wait(Duration::from_secs(20), "the end of the process", || {
            child
                .try_wait()
                .unwrap()
                .ok_or_else(|| "it runs".to_string())
        });
    }

    /// What of it is still on the machine: processes, mounts, interfaces, tables.
    pub fn left(&self) -> Vec<String> {
        self.marks.left(&self.before)
    }
}

impl Drop for Cluster {
    /// For tests that fail: nothing is left of them either.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(child.id() as i32),
                nix::sys::signal::Signal::SIGINT,
            );
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(10)
                && child.try_wait().ok().flatten().is_none()
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a program said on its way to success, or all that it said on its way to failure.
pub fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// Tries until it succeeds; panics with the last reason.
pub fn wait<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if begun.elapsed() > limit => panic!("waited {limit:?} for {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(30)),
        }
    }
}

/// One HTTP request over a connection of its own: the body of a 200.
pub fn http_get(address: &str, path: &str) -> Result<String, String> {
    let limit = Duration::from_secs(5);
    let target = address
        .parse()
        .map_err(|error| format!("{address}: {error}"))?;
    let mut stream =
        TcpStream::connect_timeout(&target, limit).map_err(|error| format!("connect: {error}"))?;
    stream
        .set_read_timeout(Some(limit))
        .map_err(|error| error.to_string())?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .map_err(|error| format!("write: {error}"))?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .map_err(|error| format!("read: {error}"))?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.into()),
        _ => Err(format!("answered {:?}", text.lines().next().unwrap_or(""))),
    }
}
