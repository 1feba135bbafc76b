//! A shop's busiest day on real nodes: what `skiff demo black-friday` shows, the page that it writes, in a real browser, and that it leaves nothing behind.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::{
    Cluster, PROGRAM,
    machine::{Marks, Turn, things},
    missing, on_path, skip, starting, wait,
};

const MINUTE: Duration = Duration::from_secs(60);
/// How long the day is, and how much longer all of it may take.
const DAY: Duration = Duration::from_secs(75);
/// So soon after the crowd's coming a till is opened.
const SCALED: f64 = 30.0;
/// So soon there are as many tills as before one was lost, in half of all times.
const HEALED: f64 = 2.0;
/// So soon the tills of a node that was cut off stand elsewhere: a second of silence until it is known, and as long as a till takes to open.
const MOVED: f64 = 4.0;
/// So soon a deleted till is gone: a second after its last customer, and well before its grace time.
const LEFT: f64 = 3.0;
/// Half of all requests are answered within so many milliseconds.
const ANSWERED: f64 = 15.0;
/// So many milliseconds the measure of the machine takes where nobody else works. Where it takes longer, all of the above may take longer by as much, up
/// to so many times.
const USUAL: f64 = 10.0;
const SLOWER: f64 = 3.0;
/// How often the machine is measured, and how much work that is.
const MEASURED: Duration = Duration::from_millis(250);
const ROUNDS: usize = 240;

/// How much slower the machine is than usual, by work of which nothing is the product's.
struct Machine {
    goes_on: mpsc::Sender<()>,
    measuring: JoinHandle<Vec<Duration>>,
}

impl Machine {
    /// Measures from now on.
    fn measure() -> Machine {
        let (goes_on, over) = mpsc::channel::<()>();
        let measuring = std::thread::spawn(move || {
            let text = "é".repeat(32 * 1024).into_bytes();
            let mut took = Vec::new();
            while over.recv_timeout(MEASURED) == Err(mpsc::RecvTimeoutError::Timeout) {
                let begun = Instant::now();
                // the library's own code, which is the same in all builds
                for _ in 0..ROUNDS {
                    std::str::from_utf8(std::hint::black_box(&text)).unwrap();
                }
                took.push(begun.elapsed());
            }
            took
        });
        Machine { goes_on, measuring }
    }

    /// How many times slower than usual it was, in the mean.
    fn slowness(self) -> f64 {
        drop(self.goes_on);
        let took = self.measuring.join().unwrap();
        let sum: Duration = took.iter().sum();
        let mean = sum.as_secs_f64() * 1e3 / took.len() as f64;
        println!(
            "the machine took {mean:.1} ms in the mean of {}",
            took.len()
        );
        (mean / USUAL).clamp(1.0, SLOWER)
    }
}

/// Lines that a program says, as they come.
fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.for_each(|line| {
            eprintln!("{line}");
            let _ = tell.send(line);
        });
    });
    told
}

/// Waits for a line that holds `text`.
fn until(said: &mpsc::Receiver<String>, text: &str) {
    let begun = Instant::now();
    let mut all = String::new();
    while begun.elapsed() < 2 * MINUTE {
        match said.recv_timeout(MINUTE) {
            Ok(line) if line.contains(text) => return,
            Ok(line) => all += &format!("{line}\n"),
            Err(_) => break,
        }
    }
    panic!("{text:?} was not said:\n{all}");
}

/// A demo that runs; it is ended when the test fails.
struct Day(Child);

impl Day {
    fn interrupt(&self) {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT).unwrap();
    }

    fn end(&mut self, limit: Duration) -> std::process::ExitStatus {
        wait(limit, "the end of the day", || {
            self.0
                .try_wait()
                .unwrap()
                .ok_or_else(|| "it goes on".to_owned())
        })
    }
}

impl Drop for Day {
    fn drop(&mut self) {
        if std::thread::panicking() && matches!(self.0.try_wait(), Ok(None)) {
            self.interrupt();
            let _ = self.0.wait();
        }
    }
}

fn number(outcome: &Value, path: &str) -> f64 {
    let found = outcome.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no {path} in {outcome:#}"))
}

/// What the day came to is what is promised; `busy`: how many times slower than usual the machine was.
fn judge(outcome: &Value, busy: f64) {
    let at = |path: &str| number(outcome, path);
    assert_eq!(at("/failed"), 0.0, "{outcome:#}");
    assert!(at("/requests") > 1000.0, "{outcome:#}");
    assert!(at("/failedByCut") < at("/requests") / 50.0, "{outcome:#}");
    assert!(at("/versions/v1") > 0.0 && at("/versions/v2") > 0.0);
    assert_eq!(at("/omitted"), 0.0, "{outcome:#}");

    println!("the machine is taken for {busy:.1} times slower than usual");
    assert!(at("/p50") <= ANSWERED * busy, "{outcome:#}");
    assert!(at("/scaleUp") <= SCALED * busy.sqrt(), "{outcome:#}");
    assert!(at("/tills/1") > at("/tills/0"), "{outcome:#}");
    assert!(at("/scaleDown") > 0.0 && at("/update") > 0.0);
    assert!(at("/healCut") <= MOVED * busy, "{outcome:#}");

    let wounds = outcome["wounds"].as_array().unwrap();
    let healed = wounds.iter().filter(|wound| wound["how"] != "cut");
    let mut healed: Vec<f64> = healed.map(|wound| number(wound, "/healed")).collect();
    healed.sort_by(f64::total_cmp);
    assert_eq!(healed.len(), 5, "{outcome:#}");
    assert!(healed[healed.len() / 2] <= HEALED * busy, "{healed:?}");
    let left = outcome["left"].as_array().unwrap();
    assert!(!left.is_empty());
    for time in left {
        // one that was not measured is nothing
        let gone = time.as_f64().is_some_and(|time| time < LEFT * busy);
        assert!(gone, "{left:?}");
    }

    // that he is kept out says something as long as he knocks, and as others are let in
    assert_eq!(at("/thief/successes"), 0.0, "{outcome:#}");
    assert!(at("/thief/attempts") > 50.0, "{outcome:#}");
    assert!(at("/vault/deliveries") > 10.0, "{outcome:#}");
}

#[test]
fn a_shops_busiest_day() {
    if let Some(why) = missing(&["nft"]) {
        return skip(&why);
    }
    let _turn = Turn::one();
    let temporary = tempfile::tempdir().unwrap();
    let page = temporary.path().join("day.html");
    let before = things();
    let begins = starting();
    let mut child = Command::new(PROGRAM)
        .args(["demo", "black-friday", "--plain", "--output=json"])
        .args(["--nodes=3", "--peak=60", "--lang=fr"])
        .arg(format!("--length={}s", DAY.as_secs()))
        .arg(format!("--report={}", page.display()))
        .env("TMPDIR", temporary.path())
        .env("KUBECONFIG", temporary.path().join("none"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = temporary
        .path()
        .join(format!("skiff-black-friday-{}", child.id()));
    let marks = Marks::of(&folder.join("data"));
    let said = lines(child.stderr.take().unwrap());
    let mut told = child.stdout.take().unwrap();
    let mut day = Day(child);
    until(&said, "La boutique est ouverte");
    drop(begins);
    let machine = Machine::measure();
    let status = day.end(DAY + 3 * MINUTE);
    let busy = machine.slowness();
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{status}: {text}");
    let left = marks.left(&before);
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(!folder.exists());
    println!("{text}");
    judge(&serde_json::from_str(&text).unwrap(), busy);
    match browser() {
        Some(browser) => [360, 1200]
            .into_iter()
            .for_each(|width| look(&browser, &page, width)),
        None => skip("no browser is installed; nobody looked at the page"),
    }
}

fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .find_map(|name| on_path(name))
}

/// What a browser makes of the page when it is so wide, which it is asked by a script that the page itself does not have. A window is never as narrow as
/// a telephone, so the page is made so.
const QUESTION: &str = "<script>(() => {
  const root = document.documentElement;
  root.style.width = WIDTH + 'px';
  const boxes = of => [...document.querySelectorAll(of)].map(one => one.getBoundingClientRect());
  const lines = [...document.querySelectorAll('polyline')].map(line => line.getTotalLength());
  document.title = JSON.stringify({
    overflow: Math.max(root.scrollWidth - innerWidth, ...boxes('body *').map(one => Math.floor(one.right) - WIDTH)),
    plots: boxes('svg').map(plot => Math.round(plot.height)), lines: lines.map(Math.round),
    figures: document.querySelectorAll('#figures tbody tr').length, entries: document.querySelectorAll('#log tr').length,
    asked: performance.getEntriesByType('resource').length, heading: document.querySelector('h1').innerText, language: root.lang });
})();</script>";

/// Looks at the page as wide as this.
fn look(browser: &Path, page: &Path, width: usize) {
    let asked = page.with_file_name("asked.html");
    let text = std::fs::read_to_string(page).unwrap();
    let question = QUESTION.replace("WIDTH", &width.to_string());
    std::fs::write(
        &asked,
        text.replace("</body>", &format!("{question}</body>")),
    )
    .unwrap();
    let profile = page.with_file_name(format!("profile-{width}"));
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--hide-scrollbars",
            "--dump-dom",
            "--virtual-time-budget=5000",
        ])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", asked.display()))
        .env("HOME", page.parent().unwrap())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let title = dom
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .unwrap_or_else(|| panic!("no page: {dom}\n{errors}"))
        .0;
    let seen: Value = serde_json::from_str(title).unwrap_or_else(|_| panic!("{title}\n{errors}"));
    println!("{seen}");
    assert!(
        number(&seen, "/overflow") <= 0.0,
        "wider than the window: {seen}"
    );
    assert_eq!(seen["language"], "fr");
    assert_eq!(seen["heading"], "Black Friday");
    let drawn = |list: &str, least: f64| {
        let sizes = seen[list].as_array().unwrap();
        assert!(
            sizes.iter().all(|size| size.as_f64().unwrap() >= least),
            "{seen}"
        );
        sizes.len()
    };
    assert_eq!(drawn("plots", 60.0), 3, "{seen}");
    assert_eq!(drawn("lines", 200.0), 6, "{seen}");
    assert!(number(&seen, "/figures") >= 16.0 && number(&seen, "/entries") > 10.0);
    assert_eq!(seen["asked"], 0, "it asks for other files");
}

/// On a cluster that runs, in a terminal, and broken off in the midst of it: the cluster is as it was, and so is the terminal. The walls are taken
/// away before that, so that it is seen what they are for.
#[test]
fn a_day_that_is_broken_off() {
    if let Some(why) = missing(&["nft"]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&["--nodes=2"]);
    // a namespace that is somebody else's is left alone
    cluster.skiff(&["create", "namespace", "black-friday"]);
    refused(&cluster, "is not the demo's");
    cluster.skiff(&["delete", "namespace", "black-friday"]);
    let pty = nix::pty::openpty(None, None).unwrap();
    let data = cluster.data();
    let mut child = cluster
        .command(
            PROGRAM,
            &[
                "demo",
                "black-friday",
                "--length=60s",
                "--peak=20",
                "--data-dir",
            ],
        )
        .arg(&data)
        .env("TERM", "xterm")
        .stdout(pty.slave)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = lines(child.stderr.take().unwrap());
    let mut day = Day(child);
    let drawn = drawn(pty.master);
    until(&said, "The shop is open at https://black-friday.example/");
    let mut seen = String::new();
    wait(MINUTE, "a drawing of the day", || {
        seen.extend(drawn.try_iter());
        let whole = seen.contains("\x1b[?1049h") && seen.contains("node-2") && seen.contains('■');
        whole.then_some(()).ok_or_else(|| seen.clone())
    });
    refused(&cluster, "another demo plays in the namespace black-friday");
    // it is the walls that keep the thief out: without them he gets in
    let space = ["-n", "black-friday"];
    let loot = || cluster.skiff(&[&["logs", "thief", "--tail=1"], &space[..]].concat());
    assert!(!loot().contains("opened"), "{}", loot());
    cluster.skiff(&[&["delete", "networkpolicy", "--all"], &space[..]].concat());
    wait(MINUTE, "the thief among the others", || {
        let loot = loot();
        loot.contains("opened").then_some(()).ok_or(loot)
    });
    day.interrupt();
    let status = day.end(MINUTE);
    assert_eq!(status.code(), Some(1));
    until(&said, "error: The day was broken off");
    wait(MINUTE, "the terminal as it was", || {
        seen.extend(drawn.try_iter());
        let (_, after) = seen
            .split_once("\x1b[?25h\x1b[?1049l")
            .ok_or_else(|| seen.clone())?;
        // the table is told there
        let told = after.contains("Doors that opened for him");
        told.then_some(()).ok_or_else(|| after.to_owned())
    });
    let spaces = cluster.skiff(&["get", "namespaces", "-o", "name"]);
    assert!(!spaces.contains("black-friday"), "{spaces}");
    cluster.end();
}

/// A day that cannot begin, and leaves the namespace as it is.
fn refused(cluster: &Cluster, why: &str) {
    let shown = ["get", "namespace", "black-friday", "-o"];
    let uid =
        || cluster.skiff(&[&shown[..], &["jsonpath={.metadata.uid}{.status.phase}"]].concat());
    let before = uid();
    let output = cluster.output(PROGRAM, &["demo", "black-friday", "--plain"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
    assert_eq!(uid(), before);
}

/// What is drawn in the terminal, as it comes.
fn drawn(master: OwnedFd) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut file, mut bytes) = (File::from(master), [0; 4096]);
        let mut rest = Vec::new();
        // it fails when the last one who could write is gone
        while let Ok(length @ 1..) = file.read(&mut bytes) {
            rest.extend_from_slice(&bytes[..length]);
            let whole = match std::str::from_utf8(&rest) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
            let text: Vec<u8> = rest.drain(..whole).collect();
            let _ = tell.send(String::from_utf8_lossy(&text).into_owned());
        }
    });
    told
}
