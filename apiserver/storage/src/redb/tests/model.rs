//! Random operations, watches, restarts, power cuts and failing disks, compared with a model that keeps everything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use proptest::prelude::*;

use super::{create, disk::Disk, draft, key, spliced};
use crate::{
    Error, Event, EventKind, Expect, History, Interest, LocalStore, Options, Store, Watch, Write,
};

const RESOURCES: [&str; 3] = ["pods", "services", "deployments.apps"];
/// Events that the store keeps in memory: few, so that watchers fall out.
const EVENTS: usize = 12;

#[derive(Clone, Debug)]
enum Op {
    Write(Intent),
    /// Several writes at once.
    Burst(Vec<Intent>),
    Watch {
        resource: usize,
        back: u64,
        /// Objects of this name alone.
        only: Option<u8>,
    },
    Poll,
    /// The writer has time: so many events are packed together, so many stay loose.
    Pack {
        size: usize,
        loose: usize,
    },
    ReadAt {
        resource: usize,
        back: i64,
    },
    Restart,
    Kill,
    PowerCut(u64),
    Fail(u32),
    Heal,
}

/// A write as it is wished for; what it expects is taken from the model, right or wrong.
#[derive(Clone, Debug)]
struct Intent {
    resource: usize,
    name: u8,
    verb: Verb,
    /// The expectation is wrong on purpose.
    wrong: bool,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Create,
    Update,
    Delete { last: bool },
}

/// One event as the model remembers it.
#[derive(Clone, Debug, PartialEq)]
struct Happened {
    revision: u64,
    kind: EventKind,
    resource: String,
    name: String,
    text: String,
    previous: Option<u64>,
}

impl Happened {
    fn of(event: &Event) -> Self {
        Self {
            revision: event.revision,
            kind: event.kind,
            resource: event.object.key.resource.to_string(),
            name: event.object.key.name.to_string(),
            text: String::from_utf8(event.object.bytes.whole().to_vec()).unwrap(),
            previous: event.previous.as_ref().map(|previous| previous.revision),
        }
    }
}

type State = BTreeMap<(String, String), (u64, String)>;

struct Model {
    disk: Disk,
    store: LocalStore,
    happened: Vec<Happened>,
    state: State,
    /// Revision after which the running store knows all events.
    base: u64,
    watches: Vec<Watcher>,
    /// Texts of writes that were refused by a failing disk since the last write that was not.
    refused: Vec<(EventKind, String, String)>,
    counter: u64,
}

struct Watcher {
    watch: Watch,
    resource: usize,
    only: Option<String>,
    seen: u64,
    polled: bool,
}

impl Watcher {
    fn wants(&self, event: &Happened) -> bool {
        event.revision > self.seen
            && event.resource == RESOURCES[self.resource]
            && self.only.as_ref().is_none_or(|only| *only == event.name)
    }
}

fn name_of(number: u8) -> String {
    format!("n{}", number % 7)
}

fn start(disk: &Disk) -> LocalStore {
    let history = History {
        events: EVENTS,
        log_bytes: 1000,
        log_bytes_busy: 2500,
        ..History::default()
    };
    let options = Options {
        history,
        retry: Duration::ZERO,
        ..Options::default()
    };
    LocalStore::start(Box::new(disk.log()), options).unwrap()
}

/// The oldest revision from which a resource that was never used can be watched.
fn base(store: &LocalStore) -> u64 {
    match store.watch("never", 0) {
        Err(Error::Compacted { asked: 0, oldest }) => oldest,
        _ => panic!("watches from zero"),
    }
}

impl Model {
    fn new() -> Self {
        let disk = Disk::formatted();
        let store = start(&disk);
        Self {
            disk,
            store,
            happened: Vec::new(),
            state: State::new(),
            base: 1,
            watches: Vec::new(),
            refused: Vec::new(),
            counter: 0,
        }
    }

    fn revision(&self) -> u64 {
        self.happened.last().map_or(1, |last| last.revision)
    }

    /// Revision from which `resource` can be read and watched: that of its newest event which is no longer kept.
    fn floor(&self, resource: &str) -> u64 {
        let known = self
            .happened
            .partition_point(|event| event.revision <= self.base);
        let dropped = known.max(self.happened.len().saturating_sub(EVENTS));
        let newest_dropped = self.happened[known..dropped]
            .iter()
            .rfind(|event| event.resource == resource);
        newest_dropped.map_or(self.base, |event| event.revision)
    }

    fn write(&mut self, intent: &Intent) -> Write {
        self.counter += 1;
        let text = format!(
            "text {} {}",
            self.counter,
            "x".repeat(self.counter as usize % 97)
        );
        let resource = RESOURCES[intent.resource];
        let name = name_of(intent.name);
        let stored = self
            .state
            .get(&(resource.into(), name.clone()))
            .map_or(0, |(revision, _)| *revision);
        let (expect, new, last) = match intent.verb {
            Verb::Create => (Expect::Absent, Some(draft(&text)), None),
            Verb::Update => (Expect::Revision(stored), Some(draft(&text)), None),
            Verb::Delete { last } => (Expect::Revision(stored), None, last.then(|| draft(&text))),
        };
        let expect = if intent.wrong {
            Expect::Revision(stored + 1000)
        } else {
            expect
        };
        Write {
            key: key(resource, &name),
            expect,
            draft: new,
            last,
        }
    }

    fn text(write: &Write, revision: u64, stored: Option<&(u64, String)>) -> String {
        match write.draft.as_ref().or(write.last.as_ref()) {
            Some(draft) => {
                let text = String::from_utf8(draft.bytes.clone()).unwrap();
                text.replacen(
                    r#"resourceVersion":""#,
                    &format!(r#"resourceVersion":"{revision}"#),
                    1,
                )
            }
            None => stored.unwrap().1.clone(),
        }
    }

    /// What must become of a write that is not refused by the disk; `Err` names the error.
    fn judge(&self, write: &Write) -> Result<Happened, &'static str> {
        let place = (write.key.resource.to_string(), write.key.name.to_string());
        let stored = self.state.get(&place);
        match (write.expect, stored) {
            (Expect::Absent, Some(_)) => return Err("exists"),
            (Expect::Revision(_), None) => return Err("not found"),
            (Expect::Revision(asked), Some((have, _))) if asked != *have => return Err("changed"),
            (Expect::Absent, None) | (Expect::Revision(_), Some(_)) => {}
        }
        let kind = match (&write.draft, stored) {
            (None, _) => EventKind::Deleted,
            (Some(_), None) => EventKind::Added,
            (Some(_), Some(_)) => EventKind::Modified,
        };
        let revision = self.revision() + 1;
        let text = Self::text(write, revision, stored);
        Ok(Happened {
            revision,
            kind,
            resource: place.0,
            name: place.1,
            text,
            previous: stored.map(|(revision, _)| *revision),
        })
    }

    fn happen(&mut self, event: Happened) {
        let place = (event.resource.clone(), event.name.clone());
        match event.kind {
            EventKind::Deleted => self.state.remove(&place),
            _ => self
                .state
                .insert(place, (event.revision, event.text.clone())),
        };
        self.happened.push(event);
    }

    async fn burst(&mut self, intents: &[Intent]) {
        let writes: Vec<Write> = intents.iter().map(|intent| self.write(intent)).collect();
        let answers = join_all(writes.iter().map(|write| self.store.commit(write.clone()))).await;
        for (write, answer) in writes.iter().zip(answers) {
            match answer {
                Err(Error::Io { .. } | Error::Database { .. } | Error::Damaged { .. }) => {
                    let kind = if write.draft.is_some() {
                        EventKind::Added
                    } else {
                        EventKind::Deleted
                    };
                    self.refused.push((
                        kind,
                        write.key.resource.to_string(),
                        write.key.name.to_string(),
                    ));
                }
                Ok(object) => {
                    let expected = self
                        .judge(write)
                        .expect("the store did what the model refuses");
                    assert_eq!(
                        (object.revision, &*object.bytes.whole()),
                        (expected.revision, expected.text.as_bytes())
                    );
                    self.happen(expected);
                    self.refused.clear();
                }
                Err(error) => assert_eq!(
                    error.to_string(),
                    format!(
                        "object {}",
                        self.judge(write).expect_err("the store refused")
                    )
                    .replace("changed", "was changed"),
                    "{write:?}"
                ),
            }
        }
        self.check();
    }

    /// The newest state is that of the model.
    fn check(&self) {
        assert_eq!(self.store.revision(), self.revision());
        for resource in RESOURCES {
            let snapshot = self.store.snapshot(resource);
            assert_eq!(snapshot.revision(), self.revision());
            assert_eq!(
                contents(snapshot.range(None, None)),
                of_resource(&self.state, resource)
            );
            let newest = self
                .happened
                .iter()
                .rfind(|event| event.revision > self.base && event.resource == resource);
            assert_eq!(
                self.store.resource_revision(resource),
                newest.map_or(self.base, |event| event.revision)
            );
        }
        let mut resources: Vec<&str> = self
            .state
            .keys()
            .map(|(resource, _)| resource.as_str())
            .collect();
        resources.dedup();
        assert_eq!(
            self.store
                .resources()
                .iter()
                .map(|resource| &**resource)
                .collect::<Vec<_>>(),
            resources
        );
    }

    fn watch(&mut self, resource: usize, back: u64, only: Option<u8>) {
        let only = only.map(name_of);
        let interest = only
            .iter()
            .fold(Interest::default(), |interest, name| interest.named(name));
        let from = self.revision().saturating_sub(back);
        let floor = self.floor(RESOURCES[resource]);
        match self.store.watch_some(RESOURCES[resource], from, interest) {
            Ok(watch) => {
                assert!(from >= floor, "watches from {from}, floor {floor}");
                self.watches.push(Watcher {
                    watch,
                    resource,
                    only,
                    seen: from,
                    polled: false,
                });
            }
            Err(Error::Compacted { asked, oldest }) => {
                assert_eq!((asked, oldest), (from, floor));
                assert!(from < floor);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Each watcher is given exactly what happened since, or told that it fell out.
    fn poll(&mut self) {
        let floors: HashMap<&str, u64> = RESOURCES
            .into_iter()
            .map(|resource| (resource, self.floor(resource)))
            .collect();
        let newest = self.revision();
        let happened = &self.happened;
        self.watches.retain_mut(|watcher| {
            let resource = RESOURCES[watcher.resource];
            let mut events = Vec::new();
            loop {
                match watcher.watch.try_next() {
                    Ok(batch) if batch.is_empty() => break,
                    Ok(batch) => events.extend(batch.iter().map(|event| Happened::of(event))),
                    Err(Error::Compacted { asked, oldest }) => {
                        assert!(
                            asked < oldest && oldest == floors[resource],
                            "{asked} {oldest} {floors:?}"
                        );
                        // what others did is no reason
                        assert!(
                            !watcher.polled
                                || happened
                                    .iter()
                                    .any(|event| event.revision <= oldest && watcher.wants(event)),
                            "{asked} {oldest}"
                        );
                        return false;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            let expected: Vec<Happened> = happened
                .iter()
                .filter(|event| watcher.wants(event))
                .cloned()
                .collect();
            assert_eq!(events, expected);
            assert_eq!(watcher.watch.revision(), newest);
            watcher.seen = newest;
            watcher.polled = true;
            true
        });
    }

    fn read_at(&self, resource: usize, back: i64) {
        let asked = self.revision().saturating_add_signed(-back);
        let floor = self.floor(RESOURCES[resource]);
        match self.store.snapshot_at(RESOURCES[resource], asked) {
            Ok(snapshot) => {
                assert!(asked >= floor && asked <= self.revision());
                let mut then = State::new();
                for event in self.happened.iter().filter(|event| event.revision <= asked) {
                    let place = (event.resource.clone(), event.name.clone());
                    match event.kind {
                        EventKind::Deleted => then.remove(&place),
                        _ => then.insert(place, (event.revision, event.text.clone())),
                    };
                }
                assert_eq!(snapshot.revision(), asked);
                assert_eq!(
                    contents(snapshot.range(None, None)),
                    of_resource(&then, RESOURCES[resource])
                );
            }
            Err(Error::Compacted { oldest, .. }) => assert!(asked < floor && oldest == floor),
            Err(Error::Future { newest, .. }) => {
                assert!(asked > newest && newest == self.revision())
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn reopen(&mut self, disk: Disk) {
        disk.heal();
        self.watches.clear();
        self.disk = disk;
        self.store = start(&self.disk);
        self.base = base(&self.store);
        self.adopt();
        assert!(self.base <= self.revision());
        self.check();
    }

    /// Writes that were refused because the disk failed may be there after a crash, but nothing else.
    fn adopt(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        let from = self.revision();
        let mut new: Vec<Arc<Event>> = Vec::new();
        if self.store.revision() > from {
            for resource in RESOURCES {
                new.extend(
                    self.store
                        .watch(resource, from)
                        .unwrap()
                        .try_next()
                        .unwrap(),
                );
            }
        }
        new.sort_by_key(|event| event.revision);
        for event in new {
            let event = Happened::of(&event);
            assert_eq!(event.revision, self.revision() + 1);
            let kind = if event.kind == EventKind::Deleted {
                EventKind::Deleted
            } else {
                EventKind::Added
            };
            assert!(
                refused.contains(&(kind, event.resource.clone(), event.name.clone())),
                "{event:?} came from nowhere"
            );
            self.happen(event);
        }
    }

    async fn run(&mut self, op: &Op) {
        match op {
            Op::Write(intent) => self.burst(std::slice::from_ref(intent)).await,
            Op::Burst(intents) => self.burst(intents).await,
            Op::Watch {
                resource,
                back,
                only,
            } => self.watch(*resource, *back, *only),
            Op::Poll => self.poll(),
            Op::Pack { size, loose } => self.store.pack(*size, *loose),
            Op::ReadAt { resource, back } => self.read_at(*resource, *back),
            Op::Restart => {
                self.store.close().await;
                let disk = self.disk.clone();
                self.reopen(disk);
            }
            Op::Kill => self.reopen(self.disk.after_kill()),
            Op::PowerCut(seed) => self.reopen(self.disk.after_power_cut(*seed)),
            Op::Fail(steps) => self.disk.fail_after(*steps),
            Op::Heal => self.disk.heal(),
        }
    }
}

fn contents(range: crate::Range) -> Vec<(String, u64, String)> {
    range
        .map(|object| {
            (
                object.key.name.to_string(),
                object.revision,
                String::from_utf8(object.bytes.whole().to_vec()).unwrap(),
            )
        })
        .collect()
}

fn of_resource(state: &State, resource: &str) -> Vec<(String, u64, String)> {
    let mine = state.iter().filter(|((have, _), _)| have == resource);
    mine.map(|((_, name), (revision, text))| (name.clone(), *revision, text.clone()))
        .collect()
}

fn intents() -> impl Strategy<Value = Intent> {
    let verbs = prop_oneof![
        4 => Just(Verb::Create),
        4 => Just(Verb::Update),
        2 => any::<bool>().prop_map(|last| Verb::Delete { last }),
    ];
    (
        0..RESOURCES.len(),
        any::<u8>(),
        verbs,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(resource, name, verb, wrong)| Intent {
            resource,
            name,
            verb,
            wrong,
        })
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => intents().prop_map(Op::Write),
        10 => prop::collection::vec(intents(), 2..20).prop_map(Op::Burst),
        8 => (0..RESOURCES.len(), 0..20_u64, any::<Option<u8>>()).prop_map(|(resource, back, only)| Op::Watch { resource, back, only }),
        8 => Just(Op::Poll),
        6 => (1..5_usize, 0..5_usize).prop_map(|(size, loose)| Op::Pack { size, loose }),
        8 => (0..RESOURCES.len(), -2..20_i64).prop_map(|(resource, back)| Op::ReadAt { resource, back }),
        2 => Just(Op::Restart),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(Op::PowerCut),
        3 => (0..30_u32).prop_map(Op::Fail),
        5 => Just(Op::Heal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_as_the_model(ops in prop::collection::vec(ops(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in &ops {
                model.run(op).await;
            }
            model.poll();
        });
    }
}

/// The path that the random walk takes seldom: a batch is on disk although its sync failed, and must not come back.
#[tokio::test]
async fn a_refused_write_does_not_come_back_once_the_disk_works_again() {
    let mut met = 0;
    // In the log's first file that is still to be made, in the middle of a file, and where the next one is begun.
    for before in 0..20 {
        for steps in 0..8 {
            let disk = Disk::formatted();
            let store = start(&disk);
            for n in 0..before {
                store.commit(create(&n.to_string())).await.unwrap();
            }
            disk.fail_after(steps);
            let answer = store.commit(create("refused")).await;
            disk.heal();
            let Err(error) = answer else { continue };
            met += 1;
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert_eq!(
                (store.revision(), store.snapshot("pods").len(None) as u64),
                (1 + before, before)
            );
            assert_eq!(
                store.commit(create("kept")).await.unwrap().revision,
                2 + before
            );
            store.close().await;
            let store = start(&disk.after_power_cut(0));
            assert_eq!(store.snapshot("pods").len(None) as u64, before + 1);
            let kept = store.get(&key("pods", "kept")).unwrap();
            assert_eq!(
                (kept.revision, &*kept.bytes.whole()),
                (2 + before, spliced("kept", 2 + before).as_bytes())
            );
        }
    }
    assert!(met >= 46, "the disk failed {met} times only");
}

/// A program whose disk failed is ended and begun again: what it finds may have been refused and never synced. From then on it stays,
/// whatever happens to the power, and so does what is built on it.
#[tokio::test]
async fn what_a_start_finds_is_durable_before_anybody_sees_it() {
    let mut found = 0;
    for before in 0..20 {
        for steps in 0..8 {
            for seed in 0..4 {
                let disk = Disk::formatted();
                let store = start(&disk);
                for n in 0..before {
                    store.commit(create(&n.to_string())).await.unwrap();
                }
                disk.fail_after(steps);
                let refused = store.commit(create("refused")).await.is_err();
                store.close().await;
                disk.heal();
                let store = start(&disk);
                let revision = store.revision();
                found += usize::from(refused && revision > 1 + before);
                assert_eq!(
                    start(&disk.after_power_cut(seed)).revision(),
                    revision,
                    "{before} {steps} {seed}"
                );
                store.close().await;
                assert_eq!(
                    start(&disk.after_power_cut(seed)).revision(),
                    revision,
                    "{before} {steps} {seed}"
                );
                let store = start(&disk);
                assert_eq!(
                    store.commit(create("kept")).await.unwrap().revision,
                    revision + 1
                );
                let cut = start(&disk.after_power_cut(seed));
                assert_eq!(
                    (cut.revision(), cut.snapshot("pods").len(None) as u64),
                    (revision + 1, revision),
                    "{before} {steps} {seed}"
                );
            }
        }
    }
    assert!(found > 0, "the disk never left a refused write behind");
}
