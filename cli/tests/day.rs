//! One day of a person's work: the command lines of `day/*.txt`, once with the real kubectl and once with skiff, against two real nodes; a part of it
//! with a kubectl of four minor versions before, as somebody has who did not look for a newer one.
//! Invariant: a step is right when its exit status, its words and what has become of the cluster are right, within its time; and in the evening
//! nothing is left of the day: no namespace, no busy core, no memory, nothing on the machine.

mod script;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use script::{Chapter, Step};

use crate::support::{Cluster, PROGRAM, images, machine::Turn, missing, on_path, skip, wait};

const DAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/day");
/// What of the day an older kubectl does: every command of a workload's life, of pods, and of objects that do nothing.
const OLDER: &[&str] = &[
    "01-arrive",
    "02-deployments",
    "04-sets",
    "05-pods",
    "06-objects",
    "08-access",
];
/// Steps that take longer are told.
const LONG: Duration = Duration::from_secs(4);
const MINUTE: Duration = Duration::from_secs(60);
/// Seconds of CPU that ten seconds may take in which nothing is asked.
const IDLE: f64 = 0.1;
/// What the shell of the day's images has; a web server among it.
const TOOLS: &[&str] = &[
    "sh", "cat", "echo", "env", "sleep", "ls", "id", "true", "false", "tee", "tar", "nslookup",
    "httpd", "wget", "nc", "ps", "seq", "grep", "date", "hostname", "mkdir", "touch", "rm", "kill",
    "head", "wc", "test", "dd", "stty", "printf", "readlink", "mount", "ln", "md5sum", "nproc",
    "cut", "chmod", "whoami",
];
/// What the images run: a page on port 8080, a first line in the log, and an end when they are told.
const SERVE: &str = "trap 'echo ended; exit 0' TERM; httpd -p 8080 -h /www; echo \"begun as $HOSTNAME\"; while :; do sleep 0.2; done";

/// Two images that differ in their page.
fn load_images(cluster: &Cluster) {
    let busybox = on_path("busybox").unwrap();
    let files: BTreeMap<String, PathBuf> = TOOLS
        .iter()
        .map(|name| (format!("/bin/{name}"), busybox.clone()))
        .chain(images::with_libraries(&busybox, "/bin/busybox"))
        .collect();
    for version in ["1", "2"] {
        let archive = cluster.folder.join(format!("day-{version}.tar"));
        let page = format!("page {version}\n");
        images::docker_archive(
            &archive,
            &format!("test.local/day:{version}"),
            &files,
            &[("/www/index.html", &page)],
            &["/bin/sh", "-c", SERVE],
        );
        cluster.skiff(&[
            "image",
            "load",
            archive.to_str().unwrap(),
            "--data-dir",
            cluster.data().to_str().unwrap(),
        ]);
    }
}

/// Who works: a program by the name of kubectl, in a folder of its own.
struct Person<'a> {
    cluster: &'a Cluster,
    program: &'a Path,
    folder: PathBuf,
}

impl<'a> Person<'a> {
    fn new(cluster: &'a Cluster, program: &'a Path) -> Person<'a> {
        let folder = cluster.folder.join("work");
        copy(&Path::new(DAY).join("files"), &folder);
        std::fs::copy(cluster.kubeconfig(), folder.join("kubeconfig")).unwrap();
        Person {
            cluster,
            program,
            folder,
        }
    }

    /// Runs a line of the shell for as long as it may take: its status (none when it took too long) and all that it printed.
    fn shell(&self, line: &str, limit: Duration) -> (Option<i32>, String) {
        use std::os::unix::process::CommandExt;
        let said = self.folder.join(".said");
        let out = std::fs::File::create(&said).unwrap();
        let mut command: Command = self.cluster.in_shell(self.program, line);
        command
            .current_dir(&self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"));
        let mut child = command
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code().or(Some(-1)),
                None if begun.elapsed() > limit => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        // what the line left in the background goes with it
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(child.id() as i32),
            nix::sys::signal::Signal::SIGKILL,
        );
        let _ = child.wait();
        (
            status,
            String::from_utf8_lossy(&std::fs::read(said).unwrap()).into_owned(),
        )
    }

    /// What is wrong with a step, or nothing.
    fn step(&self, step: &Step) -> Result<(), String> {
        let begun = Instant::now();
        let (status, said) = self.shell(&step.line, step.limit);
        if status != Some(step.status) {
            let got = status.map_or_else(
                || format!("no end within {:?}", step.limit),
                |code| format!("status {code}"),
            );
            return Err(format!(
                "wanted status {}, got {got}, and it said:\n{said}",
                step.status
            ));
        }
        if let Some(word) = step.says.iter().find(|word| !said.contains(*word)) {
            return Err(format!("wanted {word:?}, and it said:\n{said}"));
        }
        if let Some(word) = step.never.iter().find(|word| said.contains(*word)) {
            return Err(format!("wanted no {word:?}, and it said:\n{said}"));
        }
        for effect in &step.effects {
            self.comes(effect, begun + step.limit)?;
        }
        Ok(())
    }

    /// Looks for an effect until the time is over.
    fn comes(&self, effect: &script::Effect, until: Instant) -> Result<(), String> {
        loop {
            let (status, said) = self.shell(
                &effect.line,
                until
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_secs(5)),
            );
            if status == Some(0) && effect.is.as_ref().is_none_or(|is| said.trim_end() == is) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "{}\n wanted {:?}, got status {status:?} and:\n{said}",
                    effect.line, effect.is
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// Seconds of CPU that a process has used.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / 100.0
}

fn namespaces(cluster: &Cluster) -> String {
    cluster.skiff(&["get", "namespaces", "-o", "name"])
}

/// What ten seconds take of the CPU, once that is as little as it is to become, or after a minute: others may be at work on the machine.
fn idle(pid: u32) -> f64 {
    let begun = Instant::now();
    loop {
        let before = cpu(pid);
        std::thread::sleep(Duration::from_secs(10));
        let used = cpu(pid) - before;
        if used <= IDLE || begun.elapsed() > MINUTE {
            return used;
        }
    }
}

/// A port of loopback that nobody has.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// The evening: the machine is as it was in the morning.
fn evening(cluster: &Cluster, spaces: &str, megabytes: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    let left = namespaces(cluster);
    if left != spaces {
        wrong.push(format!("the namespaces were\n{spaces}and are\n{left}"));
    }
    let begun = Instant::now();
    while cluster.memory() > megabytes + 30.0 && begun.elapsed() < MINUTE {
        std::thread::sleep(Duration::from_millis(500));
    }
    let now = cluster.memory();
    if now > megabytes + 30.0 {
        wrong.push(format!(
            "{megabytes:.0} MB were held in the morning, {now:.0} MB in the evening"
        ));
    }
    let used = idle(cluster.pid());
    if used > IDLE {
        wrong.push(format!(
            "{used} s of CPU were used in 10 s in which nothing was asked"
        ));
    }
    println!("memory {megabytes:.0} MB, then {now:.0} MB; {used:.2} s of CPU in 10 s");
    wrong
}

/// The chapters of these names, or all.
fn a_day(program: &Path, part: &[&str]) {
    if let Some(why) = missing(&["busybox", "nft", "ip"]) {
        return skip(&why);
    }
    let only = std::env::var("DAY_CHAPTERS").unwrap_or_default();
    let part = match &*only {
        "" => part.to_vec(),
        only => only.split(',').collect(),
    };
    let cluster = Cluster::with(Turn::beside(), &["--nodes=2"]);
    load_images(&cluster);
    let spaces = wait(MINUTE, "the first namespaces", || {
        let names = namespaces(&cluster);
        if names.lines().count() == 4 {
            Ok(names)
        } else {
            Err(names)
        }
    });
    let person = Person::new(&cluster, program);
    // what is made once, when somebody first asks for it, is asked for before memory is looked at
    for line in [
        "kubectl explain pods",
        "kubectl explain deployments",
        "kubectl apply -f limits.yaml -n default --dry-run=server",
        "kubectl api-resources",
    ] {
        let (status, said) = person.shell(line, MINUTE);
        assert_eq!(status, Some(0), "{line}: {said}");
    }
    let megabytes = cluster.memory();
    let (mut count, mut wrong) = (0, Vec::new());
    // two days may be on at once
    let ports = [("@forward@", free_port()), ("@proxy@", free_port())];
    for chapter in Chapter::all(Path::new(DAY), &ports)
        .iter()
        .filter(|chapter| part.is_empty() || part.contains(&&*chapter.name))
    {
        let begun = Instant::now();
        for step in &chapter.steps {
            count += 1;
            let (started, done) = (Instant::now(), person.step(step));
            if started.elapsed() > LONG {
                println!(
                    "{}:{} took {:.1} s",
                    chapter.name,
                    step.number,
                    started.elapsed().as_secs_f64()
                );
            }
            if let Err(why) = done {
                println!("{}:{}: {}\n {why}", chapter.name, step.number, step.line);
                wrong.push(format!(
                    "{}:{}: {}\n {why}",
                    chapter.name, step.number, step.line
                ));
            }
        }
        println!(
            "{}: {} steps in {:.1} s",
            chapter.name,
            chapter.steps.len(),
            begun.elapsed().as_secs_f64()
        );
    }
    if part.is_empty() {
        wrong.extend(evening(&cluster, &spaces, megabytes));
    }
    assert!(
        wrong.is_empty(),
        "{} things of {count} steps are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    cluster.end();
}

#[test]
fn a_day_with_skiff() {
    a_day(Path::new(PROGRAM), &[]);
}

#[test]
fn a_day_with_the_real_kubectl() {
    match on_path("kubectl") {
        Some(kubectl) => a_day(&kubectl, &[]),
        None => skip("kubectl is not installed"),
    }
}

#[test]
fn a_shorter_day_with_an_older_kubectl() {
    match on_path("kubectl1.32") {
        Some(kubectl) => a_day(&kubectl, OLDER),
        None => skip("kubectl1.32 is not installed"),
    }
}
