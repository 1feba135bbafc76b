//! Rounds of mutating admission: when something outside of the server changed the object, all plugins see it once more.
//!
//! Invariant: there are two rounds at the most; in the second one only those are asked again that want to be and that an object which they have not
//! seen may concern.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/reinvocation.go` and `.../plugin/webhook/mutating/reinvocationcontext.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

/// What is remembered from one round to the next.
#[derive(Debug, Default)]
pub struct Rounds {
    again: bool,
    wanted: bool,
    by_plugin: BTreeMap<&'static str, Memory>,
}

impl Rounds {
    /// This is the second round.
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// The object was changed by what others may have wanted to see.
    pub fn want_another(&mut self) {
        self.wanted = true;
    }

    /// Begins the second round, if one is wanted.
    pub fn begin_another(&mut self) -> bool {
        let next = self.wanted && !self.again;
        self.again |= next;
        next
    }

    /// What a plugin remembers.
    pub fn of(&mut self, plugin: &'static str) -> &mut Memory {
        self.by_plugin.entry(plugin).or_default()
    }
}

/// What one plugin remembers of whom it asked.
#[derive(Debug, Default)]
pub struct Memory {
    /// Those that were asked and want to see what comes after them.
    asked: BTreeSet<String>,
    /// Those that are to be asked again.
    due: BTreeSet<String>,
    /// What tells the object that the plugin left from others.
    left: Option<u64>,
}

impl Memory {
    /// A round begins with this object.
    pub fn begin(&mut self, again: bool, object: Option<&Value>) {
        // where nobody wants to know, nothing is compared
        if again && !self.asked.is_empty() && self.left != object.map(fingerprint) {
            self.changed();
        }
    }

    /// The object changed: whoever was asked before has not seen it so.
    pub fn changed(&mut self) {
        self.due.append(&mut self.asked);
    }

    /// Somebody was asked who wants to be asked again when it is needed.
    pub fn asked(&mut self, name: &str) {
        self.asked.insert(name.to_string());
    }

    pub fn is_due(&self, name: &str) -> bool {
        self.due.contains(name)
    }

    /// The round ends with this object.
    pub fn end(&mut self, object: Option<&Value>) {
        self.left = match self.asked.is_empty() {
            true => None,
            false => object.map(fingerprint),
        };
    }
}

/// A number that another object does not have.
fn fingerprint(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_asked_again() {
        let (first, second) = (json!({"a": 1}), json!({"a": 2}));
        // what happened in the first round, the object of the second, and whether the first webhook sees it
        for (changed_after, object, due) in [
            (false, &first, false),
            (true, &first, true),
            (false, &second, true),
        ] {
            let mut rounds = Rounds::default();
            assert!(!rounds.begin_another());
            let memory = rounds.of("x");
            memory.begin(false, Some(&first));
            memory.asked("one");
            if changed_after {
                memory.changed();
            }
            memory.end(Some(&first));
            rounds.want_another();
            assert!(rounds.begin_another() && rounds.is_again() && !rounds.begin_another());
            let memory = rounds.of("x");
            memory.begin(true, Some(object));
            assert_eq!((memory.is_due("one"), memory.is_due("two")), (due, false));
        }
    }
}
