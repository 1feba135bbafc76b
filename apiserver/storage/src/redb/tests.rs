//! The database on a real disk, and (in `model`) on one that fails and forgets.

use std::{fs, path::Path};

use super::*;
use crate::{Attributes, Draft, Expect, Key, Store, Write};

mod disk;
mod model;

pub(super) fn key(resource: &str, name: &str) -> Key {
    Key {
        resource: resource.into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

pub(super) fn draft(text: &str) -> Draft {
    let head = r#"{"metadata":{"resourceVersion":""#;
    Draft {
        bytes: format!(r#"{head}"}},"data":"{text}"}}"#).into_bytes(),
        revision_at: head.len(),
        attributes: Default::default(),
    }
}

pub(super) fn spliced(text: &str, revision: u64) -> String {
    format!(r#"{{"metadata":{{"resourceVersion":"{revision}"}},"data":"{text}"}}"#)
}

pub(super) fn create(name: &str) -> Write {
    Write {
        key: key("pods", name),
        expect: Expect::Absent,
        draft: Some(draft(name)),
        last: None,
    }
}

fn refusal(folder: &Path) -> Error {
    match open(folder, Options::default()) {
        Err(error) => error,
        Ok(_) => panic!("{} was opened", folder.display()),
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("made/for/it"), Options::default()).unwrap();
    assert_eq!((store.revision(), store.resources().len()), (1, 0));
    for name in ["b", "a", "c"] {
        store.commit(create(name)).await.unwrap();
    }
    store
        .commit(Write {
            key: key("pods", "a"),
            expect: Expect::Revision(3),
            draft: None,
            last: Some(draft("last")),
        })
        .await
        .unwrap();
    store.close().await;
    assert!(matches!(
        store.commit(create("d")).await,
        Err(Error::Closed)
    ));
    assert_eq!(store.revision(), 5, "a closed store can still be read");

    let indexer: crate::Indexer = std::sync::Arc::new(|key, bytes| {
        Attributes::new(
            false,
            &format!("{}+{}", key.name, bytes.len()),
            [("", ""); 0],
            [("", ""); 0],
        )
    });
    let store = open(
        &folder.path().join("made/for/it"),
        Options {
            indexer: Some(indexer),
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(
        (store.revision(), store.resources()),
        (5, vec!["pods".into()])
    );
    let snapshot = store.snapshot("pods");
    let names: Vec<String> = snapshot
        .range(None, None)
        .map(|object| object.key.name.to_string())
        .collect();
    assert_eq!(names, ["b", "c"]);
    let object = snapshot.get("default", "c").unwrap();
    assert_eq!(
        (object.revision, &*object.bytes.whole()),
        (4, spliced("c", 4).as_bytes())
    );
    assert_eq!(
        object.attributes().uid(),
        format!("c+{}", object.bytes.len())
    );
    let mut watch = store.watch("pods", 2).unwrap();
    let events = watch.try_next().unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.kind,
                event.revision,
                String::from_utf8(event.object.bytes.whole().to_vec()).unwrap(),
            )
        })
        .collect();
    use crate::EventKind::{Added, Deleted};
    assert_eq!(
        seen,
        [
            (Added, 3, spliced("a", 3)),
            (Added, 4, spliced("c", 4)),
            (Deleted, 5, spliced("last", 5))
        ]
    );
    assert_eq!(events[2].previous.as_ref().unwrap().revision, 3);
}

#[tokio::test]
async fn a_folder_has_one_holder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Options::default()).unwrap();
    assert!(
        matches!(refusal(folder.path()), Error::Locked(path) if path == folder.path().display().to_string())
    );
    store.close().await;
    open(folder.path(), Options::default()).unwrap();
}

#[test]
fn a_folder_that_can_not_be_made_or_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(&file.join("data"));
    assert!(
        matches!(
            &error,
            Error::Io {
                what: "create the data folder",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("file/data"), "{error}");

    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    // to root, which passes by permissions, a folder is still no file
    fs::create_dir(sealed.join(LOCK)).unwrap();
    let error = refusal(&sealed);
    assert!(
        matches!(
            &error,
            Error::Io {
                what: "open the lock of the data folder",
                ..
            }
        ),
        "{error}"
    );
}

/// All files of a data folder but the lock.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for part in [folder.to_owned(), folder.join(LOG)] {
        for entry in fs::read_dir(part)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_file() && entry.file_name() != LOCK)
        {
            files.push((
                entry.path().display().to_string(),
                fs::read(entry.path()).unwrap(),
            ));
        }
    }
    files.sort();
    files
}

/// Each of these is damage, and the files stay as they are, to the byte.
#[tokio::test]
async fn a_damaged_database_is_refused_and_left_alone() {
    type Damage = fn(&mut Vec<u8>, name: &str);
    let kinds: [(&str, Damage); 5] = [
        ("empty", |bytes, _| bytes.clear()),
        ("no database", |bytes, _| {
            *bytes = b"not a database at all".repeat(9000)
        }),
        ("cut off", |bytes, name| {
            bytes.truncate(bytes.len().min(place(bytes, name)) / 2)
        }),
        ("zeroed", |bytes, _| bytes.fill(0)),
        ("a flipped bit", |bytes, name| {
            let place = place(bytes, name);
            bytes[place] ^= 1;
        }),
    ];
    // The first objects were folded into the database, the others are in the log.
    let history = crate::History {
        log_bytes_busy: 3000,
        ..crate::History::default()
    };
    let options = Options {
        history,
        ..Options::default()
    };
    for (what, damage) in kinds {
        for (file, name) in [
            (FILE.to_owned(), "3"),
            (format!("{LOG}/{:020}.log", 2), "35"),
            (format!("{LOG}/{:020}.log", 2), "39"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path(), options.clone()).unwrap();
            for name in 0..40 {
                store.commit(create(&name.to_string())).await.unwrap();
            }
            store.close().await;
            let path = folder.path().join(&file);
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes, name);
            fs::write(&path, &bytes).unwrap();
            let before = content(folder.path());
            let error = refusal(folder.path());
            assert!(
                matches!(error, Error::Damaged { .. }),
                "{what} {file}: {error:?}"
            );
            assert!(
                content(folder.path()) == before,
                "{what} {file}: the files were changed"
            );
        }
    }
}

/// Where the name of an object stands in its text.
fn place(bytes: &[u8], name: &str) -> usize {
    let needle = format!(r#""data":"{name}""#);
    bytes
        .windows(needle.len())
        .rposition(|window| window == needle.as_bytes())
        .unwrap()
        + 8
}

#[tokio::test]
async fn a_log_without_its_database_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Options::default()).unwrap();
    store.commit(create("a")).await.unwrap();
    drop(store);
    fs::remove_file(folder.path().join(FILE)).unwrap();
    assert!(matches!(refusal(folder.path()), Error::Damaged { .. }));
    assert!(!folder.path().join(FILE).exists());
}

#[test]
fn a_database_that_was_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NASCENT), "half").unwrap();
    open(folder.path(), Options::default()).unwrap();
    assert!(!folder.path().join(NASCENT).exists());
}

#[tokio::test]
async fn the_log_is_folded_into_the_objects() {
    let folder = tempfile::tempdir().unwrap();
    let history = crate::History {
        log_bytes_busy: 4000,
        ..crate::History::default()
    };
    let options = Options {
        history,
        ..Options::default()
    };
    let store = open(folder.path(), options.clone()).unwrap();
    let mut revision = 0;
    for round in 0..30 {
        let expect = if round == 0 {
            Expect::Absent
        } else {
            Expect::Revision(revision)
        };
        let write = Write {
            key: key("pods", "one"),
            expect,
            draft: Some(draft(&"x".repeat(500))),
            last: None,
        };
        revision = store.commit(write).await.unwrap().revision;
    }
    store.close().await;
    let store = open(folder.path(), options).unwrap();
    assert_eq!(store.get(&key("pods", "one")).unwrap().revision, 31);
    let Err(Error::Compacted { asked: 2, oldest }) = store.watch("pods", 2) else {
        panic!("the whole log is still there")
    };
    assert!((20..=30).contains(&oldest), "{oldest}");
    assert_eq!(
        store
            .watch("pods", oldest)
            .unwrap()
            .try_next()
            .unwrap()
            .len() as u64,
        31 - oldest
    );
}

/// Turns bytes around, and opens nothing without its mark.
struct Turning(char);

impl crate::Cipher for Turning {
    fn seal<'b>(
        &self,
        _: &Key,
        bytes: &'b [u8],
    ) -> Result<std::borrow::Cow<'b, [u8]>, crate::CipherError> {
        let mark = (self.0 as u8, b':');
        let turned = bytes.iter().rev().copied();
        Ok([mark.0, mark.1].into_iter().chain(turned).collect())
    }

    fn open<'b>(
        &self,
        key: &Key,
        revision: u64,
        kept: &'b [u8],
    ) -> Result<std::borrow::Cow<'b, [u8]>, crate::CipherError> {
        match kept.strip_prefix(&[self.0 as u8, b':']) {
            Some(turned) => Ok(turned.iter().rev().copied().collect()),
            None => Err(crate::CipherError(format!("{}@{revision}", key.name))),
        }
    }

    fn is_stale(&self, _: &Key, revision: u64) -> bool {
        revision == 2
    }
}

#[tokio::test]
async fn what_lies_on_disk_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |mark| {
        let options = Options {
            cipher: Some(std::sync::Arc::new(Turning(mark))),
            ..Options::default()
        };
        open(folder.path(), options).unwrap()
    };
    let store = opened('a');
    for name in ["one", "two"] {
        store.commit(create(name)).await.unwrap();
    }
    let one = store.get(&key("pods", "one")).unwrap();
    let text = one.bytes.whole();
    assert!(store.is_stale(&one) && one.sealed().is_none());
    store
        .commit(Write {
            key: key("pods", "two"),
            expect: Expect::Revision(3),
            draft: None,
            last: Some(draft("two")),
        })
        .await
        .unwrap();
    store.close().await;
    let holds = |text: &[u8]| {
        let log = fs::read_dir(folder.path().join("log")).unwrap();
        log.map(|file| fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    assert!(!holds(b"\"data\"") && holds(b"\"atad\""));
    // after a restart, and once the log is folded
    for _ in 0..2 {
        let store = opened('a');
        let one = store.get(&key("pods", "one")).unwrap();
        assert_eq!(one.bytes.whole(), text);
        store.close().await;
    }
    let store = opened('b');
    let one = store.get(&key("pods", "one")).unwrap();
    assert_eq!(one.sealed().as_deref(), Some("one@2"));
    // it can be removed, as it is
    let write = Write {
        key: key("pods", "one"),
        expect: Expect::Revision(2),
        draft: None,
        last: None,
    };
    store.commit(write).await.unwrap();
    store.close().await;
}
