//! What tests of the built program share: a cluster of simulated nodes in a temporary folder on a free port, and command lines against it.
//! Invariant: everything that a test started is gone when its `Cluster` is dropped, whether the test passed or not.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");

/// A `skiff up --simulate` that runs.
pub struct Cluster {
    child: Child,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    ///
    /// # Panics
    /// It ended, or was not ready in 30 s.
    pub fn simulated(nodes: usize) -> Cluster {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(SKIFF)
            .args(["up", &format!("--simulate={nodes}"), "--listen=127.0.0.1:0"])
            .arg(format!("--data-dir={}", folder.path().join("data").display()))
            .arg(format!("--kubeconfig={}", folder.path().join("kubeconfig").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("skiff starts");
        let mut cluster = Cluster { child, folder };
        let end = Instant::now() + Duration::from_secs(30);
        while !cluster.log().contains("Ready after") {
            assert!(cluster.child.try_wait().expect("its state").is_none(), "the cluster ended:\n{}", cluster.log());
            assert!(Instant::now() < end, "the cluster is not ready:\n{}", cluster.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        cluster
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A place for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line of the shell, in which `kubectl` (and `skiff`) is this program, with the cluster's kubeconfig and a cache of its own.
    pub fn run(&self, program: &Path, line: &str) -> Output {
        let bin = self.path(&format!("bin-{}", if program == Path::new(SKIFF) { "skiff" } else { "kubectl" }));
        if !bin.exists() {
            std::fs::create_dir(&bin).expect("a folder for the program");
            ["kubectl", "skiff"].iter().for_each(|name| std::os::unix::fs::symlink(program, bin.join(name)).expect("a link to the program"));
        }
        Command::new("bash")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", &bin)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("KUBE_EDITOR", "true")
            .env("TZ", "UTC")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("bash runs")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Asked to end, so that it takes down what it made; killed if it does not.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real kubectl, if the machine has one.
pub fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}
