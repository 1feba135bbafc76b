//! How many requests are answered at once: so many that read and so many that write; watches and streams do not count. This is all there is where
//! priority and fairness is turned off.
//!
//! Invariant: a place is given back when its request's answer has been sent or was given up. Two counters, no lock and no queue.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/filters/maxinflight.go`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{auth, request::RequestInfo};

/// `--max-requests-inflight` and `--max-mutating-requests-inflight`; 0 is no limit here, and the sum of both is what priority and fairness shares out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub reading: usize,
    pub mutating: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            reading: 400,
            mutating: 200,
        }
    }
}

#[derive(Default)]
struct Counts {
    reading: AtomicUsize,
    mutating: AtomicUsize,
}

pub struct InFlight {
    limits: Limits,
    counts: Arc<Counts>,
}

/// A request's place; dropped, it is free again.
pub struct Place(Option<(Arc<Counts>, bool)>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((counts, mutating)) = self.0.take() {
            counts.of(mutating).fetch_sub(1, Ordering::Release);
        }
    }
}

impl Counts {
    fn of(&self, mutating: bool) -> &AtomicUsize {
        if mutating {
            &self.mutating
        } else {
            &self.reading
        }
    }
}

impl InFlight {
    pub fn new(limits: Limits) -> InFlight {
        InFlight {
            limits,
            counts: Arc::default(),
        }
    }

    /// A place for a request of `user`; `None` when all are taken. Administrators always get one, and who asks whether the server is well needs none:
    /// nobody is to end it for being busy (upstream's flow schema `probes`).
    pub fn enter(&self, info: &RequestInfo, user: &auth::User) -> Option<Place> {
        if info.verb == "get" && matches!(info.path.as_str(), "/healthz" | "/livez" | "/readyz") {
            return Some(Place(None));
        }
        let mutating = is_mutating(info);
        let limit = if mutating {
            self.limits.mutating
        } else {
            self.limits.reading
        };
        if limit == 0 {
            return Some(Place(None));
        }
        let count = self.counts.of(mutating);
        if count.fetch_add(1, Ordering::Acquire) >= limit && !user.in_group(auth::SYSTEM_MASTERS) {
            count.fetch_sub(1, Ordering::Release);
            return None;
        }
        Some(Place(Some((self.counts.clone(), mutating))))
    }

    /// How many are being answered: reading and mutating.
    pub fn current(&self) -> [(&'static str, usize); 2] {
        [("mutating", true), ("readOnly", false)]
            .map(|(name, mutating)| (name, self.counts.of(mutating).load(Ordering::Relaxed)))
    }
}

pub fn is_mutating(info: &RequestInfo) -> bool {
    !matches!(info.verb.as_str(), "get" | "list" | "watch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    fn info(method: &str, path: &str) -> RequestInfo {
        RequestInfo::read(&method.parse().unwrap(), path, &Query::read(None))
    }

    #[test]
    fn places_are_given_back() {
        let places = InFlight::new(Limits {
            reading: 1,
            mutating: 2,
        });
        let (anybody, admin) = (
            auth::User::new("a", &[]),
            auth::User::new("b", &[auth::SYSTEM_MASTERS]),
        );
        let (read, write) = (info("GET", "/api/v1/pods"), info("POST", "/api/v1/pods"));
        let held = places.enter(&read, &anybody).unwrap();
        assert!(places.enter(&read, &anybody).is_none());
        assert!(
            places.enter(&info("GET", "/version"), &anybody).is_none(),
            "what is no resource counts, too"
        );
        for probe in ["/healthz", "/livez", "/readyz"] {
            assert!(places.enter(&info("GET", probe), &anybody).is_some());
            assert!(
                places
                    .enter(&info("GET", &format!("{probe}/ping")), &anybody)
                    .is_none(),
                "one check is no probe"
            );
        }
        let (_one, _two) = (
            places.enter(&write, &anybody).unwrap(),
            places.enter(&write, &anybody).unwrap(),
        );
        assert!(places.enter(&write, &anybody).is_none());
        let over = places.enter(&read, &admin).unwrap();
        assert_eq!(places.current(), [("mutating", 2), ("readOnly", 2)]);
        drop((held, over));
        assert!(places.enter(&read, &anybody).is_some());
        assert_eq!(places.current(), [("mutating", 2), ("readOnly", 0)]);
    }

    #[test]
    fn no_limit() {
        let places = InFlight::new(Limits {
            reading: 0,
            mutating: 0,
        });
        let held: Vec<_> = (0..1000)
            .map(|_| places.enter(&info("GET", "/api/v1/pods"), &auth::User::default()))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
