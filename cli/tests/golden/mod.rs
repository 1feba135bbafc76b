//! What each verb prints, beside golden files: `testdata/cli/<verb>/<case>.{cmd,out,err}`, by the built program called `kubectl`, against one
//! API server of this process that has no controllers.
//!
//! Invariant: a case has a namespace, a folder, a kubeconfig and a home of its own, so that no case sees another; every verb of `kubectl --help` has a
//! folder. `SKIFF_UPDATE=1` writes the files anew, `SKIFF_ONLY=get/` runs a part, `SKIFF_KUBECTL=FILE` runs another kubectl.
//!
//! A `.cmd` holds lines for the shell: two spaces go on with the line before, `#` is a comment, `!` begins what must succeed and is not shown. `$CASE` is the
//! namespace's name, and `testdata/cli/files` lie in the folder. `.out` and `.err` hold, under `$ LINE`, what each line printed, masked where runs differ.

mod mask;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mask::Masks;
use skiff_server::{Config, Data};

const PROGRAM: &str = env!("CARGO_BIN_EXE_skiff");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/cli");
/// Folders that are no verb's.
const BESIDE: &[&str] = &["files", "root", "options"];
/// Verbs that have nothing to show without containers or a terminal.
const NEEDS_MORE: &[&str] = &["proxy"];

/// Cases that run at a time: most of them wait now and then.
const AT_ONCE: usize = 8;

pub struct Server {
    pub address: String,
    pub folder: PathBuf,
    masks: Masks,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prints_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::var("SKIFF_KUBECTL").unwrap_or_else(|_| PROGRAM.into());
    let (server, running) = Server::start(folder.path(), &program).await;
    let cases = cases();
    let differences = tokio::task::spawn_blocking(move || server.all(&cases))
        .await
        .unwrap();
    running.stop().await;
    assert!(
        differences.is_empty(),
        "{} cases differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn every_verb_has_cases() {
    let help = Command::new("bash")
        .args(["-c", "exec -a kubectl \"$0\" --help", PROGRAM])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (mut verbs, mut in_group) = (BTreeSet::new(), false);
    for line in help.lines() {
        match line.strip_prefix("  ").and_then(|l| l.split_once(' ')) {
            Some((verb, _)) if in_group && !verb.is_empty() => drop(verbs.insert(verb)),
            _ => in_group = line.contains("Commands") || line == "Other Commands:",
        }
    }
    assert!(verbs.len() > 30, "{verbs:?}");
    let bare: Vec<_> = verbs
        .iter()
        .filter(|verb| !NEEDS_MORE.contains(verb) && !Path::new(CASES).join(verb).is_dir())
        .collect();
    assert!(bare.is_empty(), "verbs without a case: {bare:?}");
    for folder in std::fs::read_dir(CASES).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let known = verbs.contains(name.as_str()) || BESIDE.contains(&name.as_str());
        assert!(known, "testdata/cli/{name} is no verb's");
    }
}

/// `verb/case`, in order.
fn cases() -> Vec<String> {
    let only = std::env::var("SKIFF_ONLY").unwrap_or_default();
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let mut all = Vec::new();
    for verb in names(Path::new(CASES)).iter().filter(|v| *v != "files") {
        let files = names(&Path::new(CASES).join(verb));
        for file in &files {
            match file.split_once('.').unwrap() {
                (case, "cmd") => all.push(format!("{verb}/{case}")),
                (case, _) => assert!(
                    files.contains(&format!("{case}.cmd")),
                    "{verb}/{file} belongs to no case"
                ),
            }
        }
    }
    all.retain(|case| case.starts_with(&only));
    all.sort();
    all
}

impl Server {
    /// An API server without controllers, and the program that is called `kubectl` beside it.
    pub async fn start(folder: &Path, program: &str) -> (Server, skiff_server::Running) {
        let tokens = folder.join("tokens.csv");
        std::fs::write(&tokens, "admin-token,admin,u-admin,system:masters\n").unwrap();
        let mut config = Config::new(Data::Memory, folder.join("pki"));
        config.token_file = Some(tokens);
        let running = skiff_server::start(config).await.unwrap();
        let bin = folder.join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(program, bin.join("kubectl")).unwrap();
        let server = Server {
            address: format!("https://{}", running.addresses[0]),
            folder: folder.to_path_buf(),
            masks: Masks::new(),
        };
        (server, running)
    }

    /// Runs the cases, some at a time; what differs.
    fn all(&self, cases: &[String]) -> Vec<String> {
        let (next, differences) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = self.case(case);
                        differences.lock().unwrap().extend(found);
                    }
                });
            }
        });
        let mut differences = differences.into_inner().unwrap();
        differences.sort();
        differences
    }

    /// Runs one case; what differs of it.
    fn case(&self, case: &str) -> Vec<String> {
        let name = case.replace('/', "-");
        let home = self.folder.join(&name);
        let work = home.join("work");
        std::fs::create_dir(&home).unwrap();
        copied(&Path::new(CASES).join("files"), &work);
        std::fs::write(home.join("config"), self.kubeconfig(&name)).unwrap();
        let set_up = "kubectl create namespace $CASE && kubectl create serviceaccount default";
        let script = std::fs::read_to_string(format!("{CASES}/{case}.cmd")).unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        for line in std::iter::once(format!("!{set_up}")).chain(lines(&script)) {
            let quiet = line.strip_prefix('!');
            let done = self.shell(&home, &name, quiet.unwrap_or(&line));
            let errors = String::from_utf8_lossy(&done.stderr);
            if quiet.is_some() {
                if done.status.success() {
                    continue;
                }
                return vec![format!("{case}: cannot be set up: {line}\n  {errors}")];
            }
            let heading = format!("$ {}\n", line.replace('\n', "\n  "));
            out += &heading;
            out += &self.shown(&home, &String::from_utf8_lossy(&done.stdout));
            if !errors.is_empty() || !done.status.success() {
                err += &heading;
                err += &self.shown(&home, &errors);
            }
            if !done.status.success() {
                err += &format!("= {}\n", done.status.code().unwrap_or(-1));
            }
        }
        [compared(case, "out", &out), compared(case, "err", &err)]
            .into_iter()
            .flatten()
            .collect()
    }

    pub fn shown(&self, home: &Path, text: &str) -> String {
        let home = home.to_string_lossy();
        let text = text
            .replace(&*home, "<home>")
            .replace(&self.address, "<server>")
            .replace(self.address.trim_start_matches("https://"), "<address>");
        let masked = self.masks.apply(&text);
        if masked.is_empty() || masked.ends_with('\n') {
            masked
        } else {
            masked + "<no newline>\n"
        }
    }

    pub fn shell(&self, home: &Path, case: &str, line: &str) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.folder.join("bin").display());
        Command::new("timeout")
            .args(["20", "bash", "-c", line])
            .current_dir(home.join("work"))
            .env_clear()
            .envs([("PATH", path.as_str()), ("CASE", case)])
            .envs([
                ("HOME", home.to_path_buf()),
                ("KUBECONFIG", home.join("config")),
            ])
            .envs([
                ("TERM", "dumb"),
                ("TZ", "UTC"),
                ("NO_COLOR", "1"),
                ("KUBE_EDITOR", "true"),
            ])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub fn kubeconfig(&self, namespace: &str) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "rec",
            "clusters": [{"name": "rec", "cluster": {"server": self.address, "insecure-skip-tls-verify": true}}],
            "users": [{"name": "admin", "user": {"token": "admin-token"}}],
            "contexts": [{"name": "rec", "context": {"cluster": "rec", "user": "admin", "namespace": namespace}}],
        })
        .to_string()
    }
}

/// The command lines of a script.
fn lines(script: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in script.lines() {
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(more), Some(last)) => *last += &format!("\n{more}"),
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => lines.push(line.into()),
        }
    }
    lines
}

pub fn copied(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The first line in which a text differs from its golden file, which is written anew when that is asked for.
fn compared(case: &str, kind: &str, got: &str) -> Option<String> {
    let path = PathBuf::from(format!("{CASES}/{case}.{kind}"));
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden == got {
        return None;
    }
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        if got.is_empty() {
            std::fs::remove_file(path).unwrap();
        } else {
            std::fs::write(path, got).unwrap();
        }
        return None;
    }
    let (mut wanted, mut found, mut heading) = (golden.lines(), got.lines(), "");
    loop {
        let (wanted, found) = (wanted.next(), found.next());
        if wanted != found || wanted.is_none() {
            return Some(format!(
                "{case}.{kind}: {heading}\n  wanted: {wanted:?}\n  got:    {found:?}"
            ));
        }
        heading = wanted.filter(|l| l.starts_with("$ ")).unwrap_or(heading);
    }
}
