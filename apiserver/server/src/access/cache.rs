//! What others said, for as long as it may be believed.
//!
//! Invariant: it holds no more than it was made for; what is too old is not found. Follows the use of `LRUExpireCache` in
//! `staging/src/k8s.io/apiserver/plugin/pkg/authorizer/webhook/webhook.go` and `pkg/authentication/token/cache`.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

pub struct Cache<K, V> {
    most: usize,
    held: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub fn new(most: usize) -> Cache<K, V> {
        Cache {
            most,
            held: Mutex::default(),
        }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<V> {
        let held = self.held.lock();
        let (value, until) = held.get(key)?;
        (now < *until).then(|| value.clone())
    }

    /// Nothing is kept for no time at all.
    pub fn put(&self, key: K, value: V, ttl: Duration) {
        self.put_at(key, value, ttl, Instant::now());
    }

    fn put_at(&self, key: K, value: V, ttl: Duration, now: Instant) {
        if ttl.is_zero() {
            return;
        }
        let mut held = self.held.lock();
        if held.len() >= self.most {
            held.retain(|_, (_, until)| now < *until);
        }
        if held.len() >= self.most {
            // whoever fills it makes it forget, and no more than that
            held.clear();
        }
        held.insert(key, (value, now + ttl));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_and_what_is_too_much_goes() {
        let (cache, second, begin) = (Cache::new(2), Duration::from_secs(1), Instant::now());
        for (key, value, ttl) in [
            (1, "a", second),
            (2, "b", second * 3),
            (9, "never", Duration::ZERO),
        ] {
            cache.put_at(key, value, ttl, begin);
        }
        assert_eq!(cache.get_at(&1, begin), Some("a"));
        assert_eq!(cache.get_at(&9, begin), None);
        let later = begin + second * 2;
        assert_eq!(cache.get_at(&1, later), None);
        assert_eq!(cache.get_at(&2, later), Some("b"));
        cache.put_at(3, "c", second, later);
        assert_eq!(cache.get_at(&2, later), Some("b"));
        assert_eq!(cache.get_at(&3, later), Some("c"));
        cache.put_at(4, "d", second, later);
        assert_eq!(cache.get_at(&3, later), None);
        assert_eq!(cache.get_at(&4, later), Some("d"));
    }
}
