//! How many seats a request takes, as far as one can tell before: a list by the size of what it reads, a write by who watches what it writes.
//!
//! Follows `pkg/util/flowcontrol/request/{width,list_work_estimator,mutating_work_estimator}.go` of `k8s.io/apiserver`. Here everything is read from
//! memory, as upstream reads what is in its cache; an exact revision costs the same.

use std::{borrow::Cow, time::Duration};

use skiff_storage::Store;

use super::{
    level::{Level, widest},
    watchers::Watchers,
    work::Work,
};
use crate::request::{Query, RequestInfo};

/// The most seats of a list, and of a write.
const LIST: usize = 100;
const WRITE: usize = 10;
/// So much in memory takes a seat.
const BYTES_A_SEAT: usize = 100_000;
/// A list that is sent as it is read holds no more than this.
const AT_ONCE: usize = 1_000_000;
/// So many objects tell how large the others are.
const SAMPLE: usize = 16;
const WATCHERS_A_SEAT: usize = 10;
/// What each ten watchers take a seat for.
const AN_EVENT: Duration = Duration::from_millis(5);

/// What a request is estimated at, and for a write how many watch.
pub fn estimate(
    info: &RequestInfo,
    query: &Query,
    level: &Level,
    store: &dyn Store,
    watchers: &Watchers,
) -> (Work, Option<usize>) {
    match info.verb.as_str() {
        "list" => (list(info, query, level, store), None),
        "watch" if tells_all(query) => (list(info, query, level, store), None),
        "create" | "update" | "patch" | "delete" => {
            if info.resource == "serviceaccounts" && info.subresource == "token" {
                return (Work::ONE, None);
            }
            let watchers = watchers.interested(info);
            (write(watchers, widest(level, WRITE)), Some(watchers))
        }
        _ => (Work::ONE, None),
    }
}

/// A watch that begins with all that there is.
pub fn tells_all(query: &Query) -> bool {
    query.flag("sendInitialEvents") || matches!(query.text("resourceVersion"), "" | "0")
}

fn list(info: &RequestInfo, query: &Query, level: &Level, store: &dyn Store) -> Work {
    if !info.name.is_empty() || !info.is_resource {
        return Work::ONE;
    }
    let resource = match info.group.as_str() {
        "" => Cow::Borrowed(info.resource.as_str()),
        group => Cow::Owned(format!("{}.{group}", info.resource)),
    };
    let snapshot = store.snapshot(&resource);
    let stored = snapshot.len(None);
    let limit = query.integer("limit").ok().flatten().unwrap_or(0);
    let read = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit.min(stored),
        _ => stored,
    };
    if read == 0 {
        return Work::ONE;
    }
    let sample = snapshot.range(None, None).take(SAMPLE);
    let (count, bytes) = sample.fold((0, 0), |(count, bytes), object| {
        (count + 1, bytes + object.bytes.len())
    });
    let bytes = (bytes / count.max(1)).saturating_mul(read).min(AT_ONCE);
    Work::seats(bytes.div_ceil(BYTES_A_SEAT).clamp(1, widest(level, LIST)))
}

fn write(watchers: usize, widest: usize) -> Work {
    if watchers < WATCHERS_A_SEAT {
        return Work::ONE;
    }
    let last = watchers.div_ceil(WATCHERS_A_SEAT);
    let told = Work {
        initial: 1,
        last,
        lingers: AN_EVENT,
    };
    told.narrowed(widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_takes_seats_for_its_watchers() {
        assert_eq!(write(9, 10), Work::ONE);
        let work = write(45, 10);
        assert_eq!((work.initial, work.last, work.lingers), (1, 5, AN_EVENT));
        let work = write(1000, 10);
        assert_eq!((work.last, work.lingers.as_millis()), (10, 50));
        assert_eq!(write(1000, 1).width(), 1);
    }
}
