//! A runtime and an image store over folders of their own, an image with busybox in it, and a look at what is left afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use skiff_nodeagent::{
    image::{ImageStore, Store},
    runtime::{
        ContainerPhase, ContainerSpec, ContainerState, ExecSpec, Runtime, SandboxSpec,
        oci::{OciConfig, OciRuntime},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const IMAGE: &str = "localhost/busybox:test";
pub const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 25] = [
    "sh", "cat", "echo", "sleep", "ls", "id", "grep", "head", "stty", "mount", "mknod", "touch",
    "ps", "kill", "true", "false", "test", "dd", "tail", "hostname", "mkdir", "rmdir", "unshare",
    "pwd", "env",
];

pub struct World {
    pub folder: tempfile::TempDir,
    pub runtime: OciRuntime,
    pub images: Store,
    pub image_id: String,
    pub cgroup: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("skiff-oci-")
            .tempdir()
            .expect("a folder");
        let cgroup = format!(
            "skiff-test-{}/{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::SeqCst)
        );
        let images = Store::open(folder.path().join("images")).expect("an image store");
        let archive = folder.path().join("busybox.tar");
        fs::write(&archive, busybox_archive()).expect("the archive");
        let loaded = images.load(&archive).await.expect("busybox loads");
        fs::remove_file(archive).expect("the archive is there");
        let runtime = open(folder.path(), &cgroup, &images);
        Self {
            image_id: loaded[0].image.id.clone(),
            folder,
            runtime,
            images,
            cgroup,
        }
    }

    /// The same folders with a new runtime, as after a crash of the agent.
    pub fn reopen(&mut self) {
        self.runtime = open(self.folder.path(), &self.cgroup, &self.images);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec {
            pod_uid: "uid".into(),
            namespace: "ns".into(),
            name: "pod".into(),
            hostname: "pod-host".into(),
            log_dir: self.path("logs"),
            cgroup: "burstable/poduid".into(),
            ..Default::default()
        }
    }

    pub fn script(&self, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: "c".into(),
            restart_count: NUMBER.fetch_add(1, Ordering::SeqCst),
            image_id: self.image_id.clone(),
            command: strings(&["sh", "-c", script]),
            ..Default::default()
        }
    }

    pub async fn pod(&self) -> String {
        self.sandbox(self.sandbox_spec()).await
    }

    pub async fn sandbox(&self, spec: SandboxSpec) -> String {
        self.runtime.run_sandbox(spec).await.expect("a sandbox")
    }

    pub async fn created(&self, pod: &str, spec: ContainerSpec) -> String {
        self.runtime
            .create_container(pod, spec)
            .await
            .expect("the container is made")
    }

    /// Why the container is not made.
    pub async fn refused(&self, pod: &str, spec: ContainerSpec) -> String {
        let made = self.runtime.create_container(pod, spec).await;
        made.expect_err("the container is not made").to_string()
    }

    /// Creates and starts.
    pub async fn start(&self, pod: &str, spec: ContainerSpec) -> String {
        let id = self.created(pod, spec).await;
        self.runtime
            .start_container(&id)
            .await
            .expect("the container starts");
        id
    }

    pub async fn stop(&self, container: &str, grace: Duration) {
        self.runtime
            .stop_container(container, grace)
            .await
            .expect("the container stops");
    }

    /// What a command in a container writes to its standard output.
    pub async fn said(&self, container: &str, command: &[&str]) -> String {
        self.exec(container, command, None).await.1
    }

    pub async fn state(&self, container: &str) -> ContainerState {
        let all = self.runtime.list().await.expect("a list");
        all.into_iter()
            .flat_map(|sandbox| sandbox.containers)
            .find(|c| c.id == container)
            .expect("the container is listed")
    }

    pub async fn ended(&self, container: &str) -> ContainerState {
        until("the container ends", async || {
            Some(self.state(container).await).filter(|state| state.phase == ContainerPhase::Exited)
        })
        .await
    }

    /// Runs a script to its end; answers (exit code, log without times).
    pub async fn run(&self, pod: &str, spec: ContainerSpec) -> (i32, String) {
        let id = self.start(pod, spec).await;
        let state = self.ended(&id).await;
        (state.exit_code.expect("an exit code"), log(&state.log_path))
    }

    /// Runs a command in a container; answers (exit code, stdout, stderr).
    pub async fn exec(
        &self,
        container: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> (i32, String, String) {
        let spec = ExecSpec {
            command: strings(command),
            tty: false,
            stdin: input.is_some(),
            stdout: true,
            stderr: true,
        };
        let mut streams = self
            .runtime
            .exec(container, spec)
            .await
            .expect("the command starts");
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (
            streams.stdout.take().expect("stdout"),
            streams.stderr.take().expect("stderr"),
        );
        let stdin = streams.stdin.take();
        let feed = async {
            if let (Some(input), Some(mut stdin)) = (input, stdin) {
                stdin
                    .write_all(input.as_bytes())
                    .await
                    .expect("stdin takes it");
                stdin.shutdown().await.expect("stdin closes");
            }
        };
        let (a, b, ()) = tokio::join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err),
            feed
        );
        a.and(b).expect("the output is read");
        (streams.exit.await.expect("an exit code"), out, err)
    }

    /// Removes all sandboxes, and fails when anything of them is left.
    pub async fn finish(self) {
        for sandbox in self.runtime.list().await.expect("a list") {
            self.runtime
                .stop_sandbox(&sandbox.id)
                .await
                .expect("the sandbox stops");
            self.runtime
                .remove_sandbox(&sandbox.id)
                .await
                .expect("the sandbox is removed");
        }
        self.nothing_is_left();
    }

    pub fn nothing_is_left(&self) {
        let folder = self.folder.path().to_str().expect("a plain path");
        let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
        assert!(!mounts.contains(folder), "mounts are left: {mounts}");
        for part in ["run", "data"] {
            let left: Vec<_> = fs::read_dir(self.path(part))
                .expect(part)
                .flatten()
                .map(|entry| entry.path())
                .collect();
            assert!(left.is_empty(), "files are left: {left:?}");
        }
        let parent = self.cgroup.split('/').next().expect("a name");
        let groups = Command::new("find")
            .args(["/sys/fs/cgroup", "-path", &format!("*{}*", self.cgroup)])
            .output()
            .expect("find");
        assert!(
            groups.stdout.is_empty(),
            "cgroups below {parent} are left: {}",
            String::from_utf8_lossy(&groups.stdout)
        );
        let shims: Vec<String> = processes()
            .into_iter()
            .filter(|line| line.contains(folder))
            .collect();
        assert!(shims.is_empty(), "processes are left: {shims:?}");
    }
}

/// A test that has failed leaves nothing either; one that has passed has nothing left.
impl Drop for World {
    fn drop(&mut self) {
        for sandbox in fs::read_dir(self.path("run"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let shim = fs::read(sandbox.path().join("shim.json"))
                .ok()
                .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
            if let Some(pid) = shim.and_then(|shim| shim["pid"].as_i64()) {
                // Dead already is as good.
                kill(Pid::from_raw(pid as i32), Signal::SIGKILL).ok();
            }
        }
        let script = format!(
            "g='*{}*'; for i in 1 2 3; do find /sys/fs/cgroup -path \"$g\" -name cgroup.procs -exec cat {{}} + 2>/dev/null | sort -u | xargs -r kill -9 2>/dev/null; \
             find /sys/fs/cgroup -depth -path \"$g\" -type d -exec rmdir {{}} + 2>/dev/null; done; \
             grep -o '{}[^ ]*' /proc/mounts | xargs -r umount -l",
            self.cgroup,
            self.folder.path().display()
        );
        let cleared = Command::new("sh").args(["-c", &script]).status();
        cleared
            .map(drop)
            .unwrap_or_else(|error| eprintln!("something may be left: {error}"));
    }
}

fn open(folder: &Path, cgroup: &str, images: &Store) -> OciRuntime {
    let config = OciConfig {
        run_dir: folder.join("run"),
        data_dir: folder.join("data"),
        cgroup: cgroup.to_owned(),
    };
    OciRuntime::open(config, images.clone()).expect("the runtime opens")
}

/// Command lines of all processes.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

pub fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// The log's lines as `stream tag content`, without their times.
pub fn log(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            line.split_once(' ')
                .map_or(line, |(_, rest)| rest)
                .to_owned()
                + "\n"
        })
        .collect()
}

/// Waits until it holds.
pub async fn holds(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || condition().await.then_some(())).await
}

/// Waits for a condition.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the machine has a busybox that runs without libraries: no segment of it names an interpreter.
pub fn has_busybox() -> bool {
    const INTERPRETER: [u8; 4] = 3u32.to_ne_bytes();
    let Ok(bytes) = fs::read(BUSYBOX) else {
        return false;
    };
    let number = |at: usize| {
        bytes
            .get(at..at + 2)
            .map_or(0, |two| usize::from(u16::from_ne_bytes([two[0], two[1]])))
    };
    let (headers, size, count) = (number(32), number(54), number(56));
    bytes.starts_with(b"\x7fELF")
        && (0..count).all(|index| {
            bytes
                .get(headers + index * size..)
                .is_some_and(|header| !header.starts_with(&INTERPRETER))
        })
}

/// A docker-save archive of one image: busybox, its applets, and accounts.
pub fn busybox_archive() -> Vec<u8> {
    let mut layer = Layer::default();
    layer.file("bin/busybox", 0o755, &fs::read(BUSYBOX).expect("busybox"));
    for applet in APPLETS {
        layer.link(&format!("bin/{applet}"), "busybox");
    }
    layer.folder("tmp", 0o1777);
    layer.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    );
    layer.file("etc/group", 0o644, b"root:x:0:\nstaff:x:50:app\n");
    layer.file("gone", 0o644, b"hidden by the layer above");
    let mut upper = Layer::default();
    upper.file(".wh.gone", 0o644, b"");
    upper.file("above", 0o644, b"from the upper layer\n");
    saved_image(
        &[IMAGE],
        &[layer.bytes(), upper.bytes()],
        serde_json::json!({ "Env": ["FROM_IMAGE=yes"], "Cmd": ["sh"] }),
    )
}

/// A docker-save archive of an image with these layers.
pub fn saved_image(tags: &[&str], layers: &[Vec<u8>], config: serde_json::Value) -> Vec<u8> {
    use sha2::Digest;
    let hex = |bytes: &[u8]| hex::encode(sha2::Sha256::digest(bytes));
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| format!("sha256:{}", hex(layer)))
        .collect();
    let document = serde_json::json!({ "architecture": arch, "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let names: Vec<String> = (0..layers.len())
        .map(|i| format!("{i}/layer.tar"))
        .collect();
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": tags, "Layers": names }]);
    let mut archive = Layer::default();
    archive.file("config.json", 0o644, document.to_string().as_bytes());
    archive.file("manifest.json", 0o644, manifest.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        archive.file(name, 0o644, layer);
    }
    archive.bytes()
}

/// A tar stream being written.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Default for Layer {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Layer {
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.entry(tar::EntryType::Regular, path, mode, bytes, None);
    }

    pub fn folder(&mut self, path: &str, mode: u32) {
        self.entry(tar::EntryType::Directory, path, mode, b"", None);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(tar::EntryType::Symlink, path, 0o777, b"", Some(target));
    }

    fn entry(
        &mut self,
        kind: tar::EntryType,
        path: &str,
        mode: u32,
        bytes: &[u8],
        target: Option<&str>,
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        match target {
            Some(target) => self
                .0
                .append_link(&mut header, path, target)
                .expect("a link"),
            None => self
                .0
                .append_data(&mut header, path, bytes)
                .expect("an entry"),
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("a tar stream")
    }
}
