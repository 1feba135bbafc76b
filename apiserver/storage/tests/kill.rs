//! A process that is killed at any moment loses nothing that it acknowledged. The test starts itself again as the writer.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use skiff_storage::{Draft, Expect, History, Key, Options, Store, Write, redb};

const FOLDER: &str = "SKIFF_STORAGE_TEST_FOLDER";
const ROUND: &str = "SKIFF_STORAGE_TEST_ROUND";
const TASKS: usize = 16;

fn options() -> Options {
    // Small, so that compaction is also met by the kill.
    Options {
        history: History {
            log_bytes_busy: 64 << 10,
            ..History::default()
        },
        ..Options::default()
    }
}

fn key(name: &str) -> Key {
    Key {
        resource: "configmaps".into(),
        namespace: "ns".into(),
        name: name.into(),
    }
}

fn content(name: &str) -> (String, String) {
    (
        r#"{"metadata":{"resourceVersion":""#.into(),
        format!(r#""}},"data":"{}"}}"#, name.repeat(30)),
    )
}

fn say(line: String) {
    // One write call a line, so that what is read is whole; not through libtest's capture.
    let line = format!("\n{line}\n");
    std::io::stdout()
        .lock()
        .write_all(line.as_bytes())
        .expect("the test reads on");
}

/// Creates objects and removes some of them again, telling what was acknowledged, until killed.
async fn write_forever(store: Arc<dyn Store>, prefix: String) {
    for n in 0_u64.. {
        let name = format!("{prefix}-{n}");
        let (head, tail) = content(&name);
        let draft = Draft {
            bytes: [head.as_bytes(), tail.as_bytes()].concat(),
            revision_at: head.len(),
            attributes: Default::default(),
        };
        let write = Write {
            key: key(&name),
            expect: Expect::Absent,
            draft: Some(draft),
            last: None,
        };
        let created = store.commit(write).await.expect("create");
        say(format!("created {name} {}", created.revision));
        if n % 3 == 0 {
            say(format!("removing {name}"));
            let remove = Write {
                key: key(&name),
                expect: Expect::Revision(created.revision),
                draft: None,
                last: None,
            };
            let removed = store.commit(remove).await.expect("remove");
            say(format!("removed {name} {}", removed.revision));
        }
    }
}

fn be_the_writer(folder: &str, round: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(redb::open(Path::new(folder), options()).unwrap());
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(write_forever(store.clone(), format!("r{round}-t{task}"))))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[derive(Default)]
struct Told {
    created: BTreeMap<String, u64>,
    removing: BTreeSet<String>,
    removed: BTreeSet<String>,
    newest: u64,
}

impl Told {
    fn line(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["created", name, revision] => self
                .created
                .insert(name.into(), revision.parse().unwrap())
                .is_none(),
            ["removing", name] => self.removing.insert(name.into()),
            ["removed", name, _] => self.removed.insert(name.into()),
            _ => return false,
        };
        self.newest = words.get(2).map_or(self.newest, |revision| {
            self.newest.max(revision.parse().unwrap())
        });
        true
    }

    fn check(&self, store: &dyn Store) {
        assert!(
            store.revision() >= self.newest,
            "revision {} is lost, newest is {}",
            self.newest,
            store.revision()
        );
        for (name, revision) in &self.created {
            let object = store.get(&key(name));
            if self.removed.contains(name) {
                assert!(object.is_none(), "{name} is back");
            } else if let Some(object) = object {
                let (head, tail) = content(name);
                assert_eq!(
                    (object.revision, &*object.bytes.whole()),
                    (*revision, format!("{head}{revision}{tail}").as_bytes())
                );
            } else {
                assert!(self.removing.contains(name), "{name} is lost");
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) {
        return be_the_writer(&folder, &round);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for (round, acknowledged) in [1, 150, 700, 1500].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "what_was_acknowledged_survives_kill_9",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        while seen < acknowledged {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the writer ended");
            seen += usize::from(told.line(line.trim_end()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts, but for a line that was cut off.
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        whole.lines().for_each(|line| {
            told.line(line);
        });
        let store = redb::open(folder.path(), options()).unwrap();
        told.check(&store);
    }
    assert!(told.created.len() > 1000 && !told.removed.is_empty());
}
