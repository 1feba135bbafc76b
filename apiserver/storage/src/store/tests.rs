//! The store as its users see it, in memory.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Attributes, Draft, Error, EventKind, Expect, History, Interest, Key, LocalStore, Options,
    Store, Write, memory,
};

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn draft() -> Draft {
    Draft {
        bytes: br#"{"resourceVersion":""}"#.to_vec(),
        revision_at: 20,
        attributes: Attributes::new(false, "u", [("", ""); 0], [("", ""); 0]),
    }
}

fn create(resource: &str, name: &str) -> Write {
    Write {
        key: key(resource, "ns", name),
        expect: Expect::Absent,
        draft: Some(draft()),
        last: None,
    }
}

fn store(history: History) -> LocalStore {
    memory::open(Options {
        history,
        ..Options::default()
    })
    .unwrap()
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn writes_answer_the_version_they_made() {
    let store = store(History::default());
    let object = store.commit(create("pods", "a")).await.unwrap();
    assert_eq!(
        (
            object.revision,
            &*object.bytes.whole(),
            object.attributes().uid()
        ),
        (2, br#"{"resourceVersion":"2"}"#.as_slice(), "u")
    );
    assert!(
        matches!(store.commit(create("pods", "a")).await, Err(Error::Exists(object)) if object.revision == 2)
    );
    let update = |revision| Write {
        expect: Expect::Revision(revision),
        ..create("pods", "a")
    };
    assert_eq!(store.commit(update(2)).await.unwrap().revision, 3);
    assert!(
        matches!(store.commit(update(2)).await, Err(Error::Conflict(object)) if object.revision == 3)
    );
    let remove = |revision| Write {
        draft: None,
        ..update(revision)
    };
    let last = store.commit(remove(3)).await.unwrap();
    assert_eq!(
        (last.revision, &*last.bytes.whole(), last.attributes().uid()),
        (4, br#"{"resourceVersion":"3"}"#.as_slice(), "u")
    );
    assert!(matches!(
        store.commit(remove(4)).await,
        Err(Error::NotFound)
    ));
    let absent = Write {
        draft: None,
        ..create("pods", "b")
    };
    assert!(matches!(store.commit(absent).await, Err(Error::NotFound)));
    assert_eq!((store.revision(), store.resources().len()), (4, 0));
}

#[tokio::test]
async fn impossible_writes_are_refused() {
    let store = store(History::default());
    let outside = Write {
        draft: Some(Draft {
            revision_at: 99,
            ..draft()
        }),
        ..create("pods", "a")
    };
    let nameless = create("pods", "");
    for write in [outside, nameless] {
        assert!(matches!(
            store.commit(write).await,
            Err(Error::Malformed { .. })
        ));
    }
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn a_watch_waits_and_tells_its_progress() {
    let store = Arc::new(store(History::default()));
    let mut watch = store.watch("pods", store.revision()).unwrap();
    assert!(watch.try_next().unwrap().is_empty());
    let writer = store.clone();
    let task = tokio::spawn(async move {
        for name in ["a", "b"] {
            writer.commit(create("pods", name)).await.unwrap();
        }
        writer.commit(create("nodes", "n")).await.unwrap();
    });
    let first = watch.next().await.unwrap();
    assert_eq!((first.kind, first.revision), (EventKind::Added, 2));
    task.await.unwrap();
    assert_eq!(
        watch.revision(),
        2,
        "the event of revision 3 was not given yet"
    );
    assert_eq!(watch.next_batch().await.unwrap().len(), 1);
    assert_eq!(watch.revision(), 4, "nothing of pods happened at 4");
    // One that begins in the future sees nothing before.
    let mut later = store.watch("pods", 5).unwrap();
    store.commit(create("pods", "c")).await.unwrap();
    store.commit(create("pods", "d")).await.unwrap();
    assert_eq!(&*later.next().await.unwrap().object.key.name, "d");
    assert_eq!(watch.try_next().unwrap().len(), 2);
}

#[tokio::test]
async fn a_slow_watcher_is_told_and_a_quick_one_goes_on() {
    let store = store(History {
        events: 5,
        ..History::default()
    });
    let mut slow = store.watch("pods", 1).unwrap();
    let mut other = store.watch("nodes", 1).unwrap();
    let mut quick = store.watch("pods", 1).unwrap();
    for name in 0..20 {
        store
            .commit(create("pods", &name.to_string()))
            .await
            .unwrap();
        assert_eq!(quick.try_next().unwrap().len(), 1);
    }
    assert!(matches!(
        slow.next().await,
        Err(Error::Compacted {
            asked: 1,
            oldest: 16
        })
    ));
    assert_eq!(slow.revision(), 1);
    assert!(
        other.try_next().unwrap().is_empty(),
        "the history of one resource does not expire the watches of another"
    );
    assert_eq!((other.revision(), quick.revision()), (21, 21));
    assert!(matches!(
        store.watch("pods", 15),
        Err(Error::Compacted { oldest: 16, .. })
    ));
    assert_eq!(
        store.watch("pods", 16).unwrap().try_next().unwrap().len(),
        5
    );
}

/// A watcher of some objects: woken by their events alone, and never told that it is too late because of others'.
#[tokio::test]
async fn a_watcher_of_some_is_not_woken_by_others() {
    let store = store(History {
        events: 5,
        ..History::default()
    });
    let on_node = |name: &str, node: &str| Write {
        draft: Some(Draft {
            attributes: Attributes::new(
                false,
                "",
                std::iter::empty::<(&str, &str)>(),
                [("spec.nodeName", node)],
            ),
            ..draft()
        }),
        ..create("pods", name)
    };
    let interest = Interest::default().with_field("spec.nodeName", "a");
    let mut watch = store.watch_some("pods", 1, interest.clone()).unwrap();
    assert!(watch.try_next().unwrap().is_empty());
    {
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut poll = Context::from_waker(&waker);
        let mut ready = std::pin::pin!(watch.ready());
        assert!(ready.as_mut().poll(&mut poll).is_pending());
        for number in 0..20 {
            store
                .commit(on_node(&format!("b{number}"), "b"))
                .await
                .unwrap();
        }
        assert!(
            !woken.0.load(Ordering::SeqCst),
            "by the pods of another node"
        );
        store.commit(on_node("mine", "a")).await.unwrap();
        assert!(woken.0.load(Ordering::SeqCst) && ready.poll(&mut poll).is_ready());
    }
    let events = watch.next_batch().await.unwrap();
    assert_eq!(
        events
            .iter()
            .map(|event| &*event.object.key.name)
            .collect::<Vec<_>>(),
        ["mine"]
    );
    assert_eq!(watch.revision(), store.revision());

    // it goes to another node, which is an event of both
    let moved = Write {
        expect: Expect::Revision(events[0].revision),
        ..on_node("mine", "b")
    };
    store.commit(moved).await.unwrap();
    assert_eq!(watch.next_batch().await.unwrap().len(), 1);
    for number in 20..40 {
        store
            .commit(on_node(&format!("b{number}"), "b"))
            .await
            .unwrap();
    }
    assert!(watch.try_next().unwrap().is_empty());
    assert_eq!(watch.revision(), store.revision());
    let unreadable = Write {
        draft: Some(Draft {
            attributes: Attributes::unreadable(),
            ..draft()
        }),
        ..create("pods", "odd")
    };
    store.commit(unreadable).await.unwrap();
    assert_eq!(
        watch.next_batch().await.unwrap().len(),
        1,
        "nobody knows whose it is"
    );
    for number in 0..6 {
        store
            .commit(on_node(&format!("a{number}"), "a"))
            .await
            .unwrap();
    }
    assert!(
        matches!(watch.next().await, Err(Error::Compacted { .. })),
        "these were its own"
    );
    let mut last = store
        .watch_some("pods", store.revision(), interest)
        .unwrap();
    store.close().await;
    assert!(matches!(last.next().await, Err(Error::Closed)));
}

#[tokio::test]
async fn history_in_bytes_is_bounded() {
    let store = store(History {
        bytes: 64 << 10,
        ..History::default()
    });
    let large = |revision: Option<u64>| Write {
        expect: revision.map_or(Expect::Absent, Expect::Revision),
        draft: Some(Draft {
            bytes: vec![b' '; 10_000],
            revision_at: 0,
            attributes: Default::default(),
        }),
        ..create("pods", "a")
    };
    let mut revision = store.commit(large(None)).await.unwrap().revision;
    for _ in 0..20 {
        revision = store.commit(large(Some(revision))).await.unwrap().revision;
    }
    let Err(Error::Compacted { oldest, .. }) = store.snapshot_at("pods", 2) else {
        panic!("all was kept")
    };
    assert!(
        (revision - 7..revision - 4).contains(&oldest),
        "{oldest} of {revision}"
    );
}

#[tokio::test]
async fn old_revisions_can_be_read() {
    let store = store(History::default());
    for name in ["a", "b", "c"] {
        store.commit(create("pods", name)).await.unwrap();
    }
    store
        .commit(Write {
            draft: None,
            expect: Expect::Revision(3),
            ..create("pods", "b")
        })
        .await
        .unwrap();
    let names = |revision| -> Vec<String> {
        store
            .snapshot_at("pods", revision)
            .unwrap()
            .range(Some("ns"), None)
            .map(|object| object.key.name.to_string())
            .collect()
    };
    assert_eq!(
        (names(1), names(3), names(4), names(5)),
        (
            vec![],
            vec!["a".into(), "b".into()],
            vec!["a".into(), "b".into(), "c".into()],
            vec!["a".into(), "c".into()]
        )
    );
    assert!(matches!(
        store.snapshot_at("pods", 6),
        Err(Error::Future {
            asked: 6,
            newest: 5
        })
    ));
    assert!(matches!(
        store.snapshot_at("pods", 0),
        Err(Error::Compacted {
            asked: 0,
            oldest: 1
        })
    ));
}

#[tokio::test]
async fn a_read_can_wait_for_a_revision() {
    let store = Arc::new(store(History::default()));
    store.wait_for(1, Duration::ZERO).await.unwrap();
    assert!(matches!(
        store.wait_for(2, Duration::from_millis(5)).await,
        Err(Error::Future {
            asked: 2,
            newest: 1
        })
    ));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .wait_for(3, Duration::from_secs(60))
                .await
                .map(|()| store.revision())
        }
    });
    store.commit(create("pods", "a")).await.unwrap();
    store.commit(create("pods", "b")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn closing_ends_everything_after_what_was_in_line() {
    let store = Arc::new(store(History::default()));
    let mut watch = store.watch("pods", 1).unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(100, Duration::from_secs(60)).await }
    });
    let commits: Vec<_> = (0..50)
        .map(|name| {
            tokio::spawn({
                let store = store.clone();
                async move {
                    store
                        .commit(create("pods", &name.to_string()))
                        .await
                        .is_ok()
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    store.close().await;
    let mut done = 0;
    for commit in commits {
        done += usize::from(commit.await.unwrap());
    }
    assert_eq!(store.snapshot("pods").len(None), done);
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
    for _ in 0..done {
        watch.next().await.unwrap();
    }
    assert!(matches!(watch.next().await, Err(Error::Closed)));
    assert!(matches!(
        store.watch("pods", store.revision()).unwrap().next().await,
        Err(Error::Closed)
    ));
    assert!(matches!(
        store.commit(create("pods", "x")).await,
        Err(Error::Closed)
    ));
}

#[tokio::test]
async fn a_rendering_is_made_once_while_the_event_is_recent() {
    let store = store(History::default());
    let mut watches = [
        store.watch("pods", 1).unwrap(),
        store.watch("pods", 1).unwrap(),
    ];
    for name in 0..300 {
        store
            .commit(create("pods", &name.to_string()))
            .await
            .unwrap();
    }
    let mut made = Vec::new();
    for watch in &mut watches {
        while let Some(event) = watch.try_next().unwrap().first() {
            let slots = [0, 1].map(|slot| {
                event.rendered(slot, || {
                    made.push((event.revision, slot));
                    Ok::<_, ()>(Bytes::from(format!("{} {slot}", event.revision)))
                })
            });
            assert_eq!(slots[1], Ok(Bytes::from(format!("{} 1", event.revision))));
            assert_eq!(
                event.rendered(2, || Err("unreadable")),
                Err("unreadable"),
                "a failure is not kept"
            );
        }
    }
    // 300 events come in batches of 256 and 44: the first one is cold, the 257th is warm.
    assert_eq!(made, [(2, 0), (2, 1), (258, 0), (258, 1), (2, 0), (2, 1)]);
}

/// Many writers, many watchers: each watcher sees each event once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_sees_every_event_in_order() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 50;
    let store = Arc::new(store(History::default()));
    let watchers: Vec<_> = (0..20)
        .map(|_| {
            let mut watch = store.watch("pods", 1).unwrap();
            tokio::spawn(async move {
                for expected in 2..2 + WRITERS * EACH {
                    assert_eq!(watch.next().await.unwrap().revision, expected);
                }
                watch.revision()
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let object = store
                        .commit(create("pods", &format!("{writer}-{n}")))
                        .await
                        .unwrap();
                    assert!(store.revision() >= object.revision);
                    assert!(store.get(&object.key).is_some(), "read your writes");
                }
            })
        })
        .collect();
    for task in writers {
        task.await.unwrap();
    }
    for task in watchers {
        assert_eq!(
            tokio::time::timeout(Duration::from_secs(30), task)
                .await
                .unwrap()
                .unwrap(),
            1 + WRITERS * EACH
        );
    }
}
