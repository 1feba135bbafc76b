//! Replays what a real API server was recorded to answer against this one, in process, and compares.
//!
//! Invariant: the ids in `failing.txt` are those that may differ; an id outside that list that differs fails the test, so the list can
//! only shrink. Whatever a write was answered with, those who read that kind typed can read. `SKIFF_UPDATE=1` writes the list anew; `SKIFF_ONLY=prefix` runs (and shows) a part; `SKIFF_SHOW=n` shows n differences.
//! The recordings are found by `UPSTREAM_DATA`; without it the test says that it was skipped.

#[path = "../support/differences.rs"]
mod differences;
mod json;
#[path = "../support/mask.rs"]
mod mask;
#[path = "../support/typed.rs"]
mod typed;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use differences::{differences, ordered};
use futures::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use jiff::Timestamp;
use mask::Masks;
use serde_json::{Value, json};
use skiff_server::{App, Config, Data};
use skiff_watching::clock::{Clock, Now, SystemClock, TimeSource, until};

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/failing.txt");

/// The day on which most was recorded: what is told of how long ago something was is right on it.
const DAY: &str = "2026-11-23T12:00:00Z";

/// Time that goes on from that day.
struct Then(jiff::SignedDuration);

impl Now for Then {
    fn now(&self) -> Timestamp {
        SystemClock.now() - self.0
    }
}

impl TimeSource for Then {
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(until(self.now(), deadline)))
    }
}

impl Then {
    fn begin() -> Then {
        let day: Timestamp = DAY.parse().unwrap();
        Then(SystemClock.now().duration_since(day))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_upstream() {
    let Some(data) = std::env::var_os("UPSTREAM_DATA").map(PathBuf::from) else {
        skiff_testing::skipped(
            "UPSTREAM_DATA does not name the recorded answers of an upstream server",
        );
        return;
    };
    let folder = data.join("recorded");
    let certs = tempfile::tempdir().unwrap();
    let tokens = certs.path().join("tokens.csv");
    std::fs::write(&tokens, "admin-token,admin,u-admin,system:masters\nalice-token,alice,u-alice,dev\nbob-token,bob,u-bob,\"dev,ops\"\n").unwrap();
    let mut config = Config::new(Data::Memory, certs.path().join("pki"));
    config.token_file = Some(tokens);
    config.clock = Clock::from_source(Then::begin());
    config.service_account_issuer = "https://kubernetes.default.svc".into();
    let running = skiff_server::start(config).await.unwrap();

    let only = std::env::var("SKIFF_ONLY").unwrap_or_default();
    let mut replay = Replay {
        app: running.app.clone(),
        captured: HashMap::new(),
        masks: Masks::new(),
        only: only.clone(),
        show: show(),
        failing: Vec::new(),
        tally: BTreeMap::new(),
        readers: typed::Readers::default(),
    };
    let begun = Instant::now();
    let order = std::fs::read_to_string(folder.join("order.txt")).unwrap();
    for name in order
        .split_whitespace()
        .filter(|name| only.is_empty() || only.starts_with(name.trim_end_matches(".jsonl")))
    {
        replay.file(&folder, name).await;
    }
    running.stop().await;
    replay.report(begun.elapsed());
    replay.readers.all_were_read();
    if !only.is_empty() {
        return;
    }
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        std::fs::write(
            LIST,
            replay
                .failing
                .iter()
                .map(|id| format!("{id}\n"))
                .collect::<String>(),
        )
        .unwrap();
    }
    let known: HashSet<String> = std::fs::read_to_string(LIST)
        .unwrap_or_default()
        .lines()
        .map(str::to_string)
        .collect();
    let new: Vec<&String> = replay
        .failing
        .iter()
        .filter(|id| !known.contains(*id))
        .collect();
    assert!(
        new.is_empty(),
        "{} answers that were equal differ now: {:?}",
        new.len(),
        &new[..new.len().min(20)]
    );
    let failing: HashSet<&String> = replay.failing.iter().collect();
    let better = known.iter().filter(|id| !failing.contains(id)).count();
    if better > 0 {
        println!("{better} answers in failing.txt are equal now: SKIFF_UPDATE=1 takes them out");
    }
}

fn show() -> usize {
    std::env::var("SKIFF_SHOW")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

struct Replay {
    app: Arc<App>,
    captured: HashMap<String, String>,
    masks: Masks,
    only: String,
    show: usize,
    failing: Vec<String>,
    tally: BTreeMap<String, (usize, usize)>,
    readers: typed::Readers,
}

struct Got {
    status: u16,
    warnings: Vec<String>,
    response: Value,
}

impl Replay {
    async fn file(&mut self, folder: &Path, name: &str) {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let mut objects: HashMap<String, Value> = HashMap::new();
        let mut bases: HashMap<String, Value> = HashMap::new();
        let (mut equal, mut total) = (0, 0);
        for line in text.lines() {
            let step: Value = serde_json::from_str(line).unwrap();
            if let Some(object) = step.get("object") {
                objects.insert(step["name"].as_str().unwrap().into(), object.clone());
                continue;
            }
            let id = step["id"].as_str().unwrap().to_string();
            let expected = match step.get("diff") {
                Some(diff) => json::patched(
                    &bases[step["of"].as_str().unwrap()],
                    diff.as_array().unwrap(),
                ),
                None => step["response"].clone(),
            };
            if step.get("keep").is_some_and(|keep| keep != false) {
                bases.insert(id.clone(), expected.clone());
            }
            if step.get("setup").is_none() && !id.starts_with(&self.only) {
                continue;
            }
            let body = match step.get("base") {
                Some(base) => Some(json::patched(
                    &objects[base.as_str().unwrap()],
                    step["set"].as_array().map_or(&[][..], Vec::as_slice),
                )),
                None => step.get("body").filter(|body| !body.is_null()).cloned(),
            };
            let got = match tokio::time::timeout(Duration::from_secs(15), self.answer(&step, body))
                .await
            {
                Ok(got) => got,
                Err(_) => Got {
                    status: 0,
                    warnings: Vec::new(),
                    response: Value::from("no answer within 15 s"),
                },
            };
            if step.get("loose").is_some_and(|loose| loose != false) {
                continue;
            }
            total += 1;
            let expected = json!({"status": step["status"], "warnings": step.get("warnings").cloned().unwrap_or(json!([])), "response": expected});
            let found =
                json!({"status": got.status, "warnings": got.warnings, "response": got.response});
            let wrong = differences(&ordered(&expected), &ordered(&found));
            if wrong.is_empty() {
                equal += 1;
                continue;
            }
            if self.show > 0 {
                self.show -= 1;
                println!(
                    "-- {id} {} {} {}",
                    step["method"],
                    step["path"],
                    step.get("set").map(Value::to_string).unwrap_or_default()
                );
                for one in wrong.iter().take(6) {
                    println!("     {}", one.chars().take(700).collect::<String>());
                }
            }
            self.failing.push(id);
        }
        self.tally.insert(name.into(), (equal, total));
    }

    fn filled(&self, text: &str) -> String {
        let mut out = text.to_string();
        for (name, value) in &self.captured {
            out = out.replace(&format!("{{{{{name}}}}}"), value);
        }
        out
    }

    async fn answer(&mut self, step: &Value, body: Option<Value>) -> Got {
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let got = self.once(step, body.as_ref()).await;
            match step.get("until") {
                Some(wanted) if *wanted != got.status && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                _ => return got,
            }
        }
    }

    async fn once(&mut self, step: &Value, body: Option<&Value>) -> Got {
        if let Some(pause) = step["pause"].as_f64() {
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        }
        let text = body.map(|body| {
            self.filled(
                &body
                    .as_str()
                    .map_or_else(|| json::python_json(body), str::to_string),
            )
        });
        let mut request = Request::builder()
            .method(step["method"].as_str().unwrap())
            .uri(uri(&self.filled(step["path"].as_str().unwrap())));
        let headers = request.headers_mut().unwrap();
        headers.insert("authorization", "Bearer admin-token".parse().unwrap());
        headers.insert("accept", "application/json".parse().unwrap());
        headers.insert("user-agent", "rec/1".parse().unwrap());
        headers.insert("host", "127.0.0.1".parse().unwrap());
        if text.is_some() {
            headers.insert(
                "content-type",
                step["type"]
                    .as_str()
                    .unwrap_or("application/json")
                    .parse()
                    .unwrap(),
            );
        }
        for (name, value) in step["headers"].as_object().into_iter().flatten() {
            let name: http::HeaderName = name.parse().unwrap();
            match value.as_str() {
                Some(value) => headers.insert(name, value.parse().unwrap()),
                None => headers.remove(name),
            };
        }
        match step.get("as") {
            Some(Value::String(token)) => {
                headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            }
            Some(Value::Null) => {
                headers.remove("authorization");
            }
            _ => {}
        }
        let sent = text.clone().unwrap_or_default();
        let request = request.body(Body::from(sent.clone())).unwrap();
        let response = self.app.clone().handle(request).await.unwrap();
        let status = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|w| unquoted(w.to_str().unwrap_or("")))
            .collect();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let raw = String::from_utf8_lossy(&bytes).into_owned();
        if status == 201 {
            self.settled(&raw).await;
        }
        if matches!(status, 200 | 201) && step["method"] != "GET" {
            let id = step["id"].as_str().unwrap();
            self.readers.read(id, &raw);
        }
        let response = if step.get("stream").is_some_and(|stream| stream != false) {
            raw.lines()
                .filter(|l| !l.trim().is_empty())
                .map(|l| {
                    self.masks
                        .masked(&serde_json::from_str(l).unwrap_or(Value::Null), &sent, "")
                })
                .collect()
        } else {
            match serde_json::from_str::<Value>(&raw) {
                Ok(value) => {
                    for (name, place) in step["capture"].as_object().into_iter().flatten() {
                        let at = value
                            .pointer(place.as_str().unwrap_or(""))
                            .cloned()
                            .unwrap_or_default();
                        self.captured.insert(
                            name.clone(),
                            at.as_str().map_or_else(|| at.to_string(), str::to_string),
                        );
                    }
                    self.masks.masked(&value, &sent, "")
                }
                Err(_) => self.masks.masked(&Value::String(raw), &sent, ""),
            }
        };
        Got {
            status,
            warnings,
            response,
        }
    }

    /// Waits for what upstream had told of a new object before it was asked again: whether a flow schema's level is there.
    async fn settled(&self, created: &str) {
        let Ok(object) = serde_json::from_str::<Value>(created) else {
            return;
        };
        if object["kind"] != "FlowSchema" || object["metadata"]["resourceVersion"].is_null() {
            return;
        }
        let name = object["metadata"]["name"].as_str().unwrap_or("");
        let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name}");
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            let request = Request::get(&path)
                .header("authorization", "Bearer admin-token")
                .body(Body::empty())
                .unwrap();
            let response = self.app.clone().handle(request).await.unwrap();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let now: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if now["status"]["conditions"].is_array() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn report(&self, took: Duration) {
        let (mut equal, mut total) = (0, 0);
        for (name, (e, t)) in &self.tally {
            println!("{e:6} of {t:6}  {name}");
            equal += e;
            total += t;
        }
        println!(
            "{equal} of {total} answers equal, in {:.1} s",
            took.as_secs_f64()
        );
    }
}

/// What Python's client sends as it is, an `http::Uri` wants quoted.
fn uri(path: &str) -> String {
    path.chars()
        .map(|c| {
            if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) {
                c.to_string()
            } else {
                c.to_string().bytes().map(|b| format!("%{b:02X}")).collect()
            }
        })
        .collect()
}

fn unquoted(header: &str) -> String {
    header
        .strip_prefix("299 - \"")
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(header)
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
}
