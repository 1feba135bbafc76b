//! The store's log as a start finds it: torn, or of garbage. It is read or refused.
//!
//! The checksums of what was changed are made right as long as batches can be told apart, so that what they guard is read.

use std::sync::LazyLock;

use skiff_storage::{Error, Options, Store, redb};

use crate::{Target, seeds};

pub const LOG: Target = Target::new("log", run, begin)
    .bytes()
    // the state of the store, and its database's cache
    .worth(1024);

const HEAD: usize = 20;
const SEGMENT: &str = "00000000000000000002.log";

fn begin() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut batch = Vec::new();
    for (at, object) in seeds::objects().iter().enumerate() {
        let name = object["metadata"]["name"].as_str().unwrap_or("x");
        for (kind, name, bytes) in [
            (0u8, name, object.to_string()),
            (if at % 3 == 0 { 1 } else { 0 }, name, object.to_string()),
        ] {
            batch.push(kind);
            for part in ["things.example.com", "default", name, &bytes] {
                batch.extend((part.len() as u32).to_le_bytes());
                batch.extend(part.as_bytes());
            }
        }
        if at % 4 == 3 {
            let records = std::mem::take(&mut batch);
            let mut one = vec![0; HEAD];
            one[8] = 2;
            one[16] = 8;
            one.extend(records);
            all.push(checked(one));
        }
    }
    all.truncate(16);
    all
}

/// With lengths and checksums as they should be, as far as there are batches.
fn checked(mut data: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while data.len() >= at + HEAD {
        let length = u32::from_le_bytes(data[at + 4..at + 8].try_into().unwrap()) as usize;
        let length = if length < HEAD {
            data.len() - at
        } else {
            length.min(data.len() - at)
        };
        data[at + 4..at + 8].copy_from_slice(&(length as u32).to_le_bytes());
        let sum = crc32fast::hash(&data[at + 4..at + length]);
        data[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at += length;
    }
    data
}

/// The database of a store that has nothing in it.
fn empty() -> &'static [(String, Vec<u8>)] {
    static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        drop(redb::open(folder.path(), Options::default()).unwrap());
        let files = seeds::files(folder.path()).into_iter().map(|path| {
            let name = path
                .strip_prefix(folder.path())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, std::fs::read(path).unwrap())
        });
        files.collect()
    });
    &FILES
}

fn run(data: &[u8]) {
    // the last byte says whether the checksums are made right
    let data = match data.split_last() {
        Some((last, _)) if last % 4 != 0 => checked(data.to_vec()),
        _ => data.to_vec(),
    };
    let folder = tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    })
    .unwrap();
    for (name, bytes) in empty() {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::create_dir_all(folder.path().join("log")).unwrap();
    std::fs::write(folder.path().join("log").join(SEGMENT), data).unwrap();
    match redb::open(folder.path(), Options::default()) {
        Ok(store) => drop(store.revision()),
        Err(Error::Damaged { .. }) => {}
        Err(error) => drop(error.to_string()),
    }
}
