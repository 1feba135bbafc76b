//! What a request gave that holds nothing: it is as if it was absent, but for what refuses an object.

use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::Errors,
        schema::{
            Decoded,
            emptied::{self, Step},
        },
    },
};

/// What a request gave that holds nothing, for the words of refusals. Of an object that is read anew (a patch that is tried again) what was last read counts.
#[derive(Default)]
pub struct Emptied(Mutex<Vec<emptied::Emptied>>);

impl Emptied {
    pub fn note(&self, decoded: &Decoded) {
        self.0.lock().clone_from(&decoded.emptied);
    }

    /// Whether a list or map was given at these names from the object down, and was empty.
    pub fn has(&self, path: &[&str]) -> bool {
        let is = |one: &emptied::Emptied| {
            one.place.len() == path.len()
                && one
                    .place
                    .iter()
                    .zip(path)
                    .all(|(step, name)| matches!(step, Step::Name(step) if &**step == *name))
        };
        self.0.lock().iter().any(is)
    }

    /// Whether what is desired of an object was given with a list or map that is empty.
    pub fn in_desired(&self, value: &Value) -> bool {
        let desired = |value: &Value| {
            let mut value = value.clone();
            for name in ["metadata", "status"] {
                value.as_object_mut().and_then(|all| all.remove(name));
            }
            value
        };
        self.shown(value)
            .is_some_and(|shown| desired(&shown) != desired(value))
    }

    /// The object as it was given; `None`: it is just that.
    fn shown(&self, value: &Value) -> Option<Value> {
        let all = self.0.lock();
        if all.is_empty() {
            return None;
        }
        let mut shown = value.clone();
        all.iter().for_each(|one| one.restore(&mut shown));
        Some(shown)
    }

    /// What `check` has against an object, told of the object as it was given, and of some kinds judged as that, too.
    pub fn told(
        &self,
        kind: &Kind,
        value: &Value,
        mut check: impl FnMut(&Value) -> Errors,
    ) -> Errors {
        if kind.flags.judged_as_given {
            return check(self.shown(value).as_ref().unwrap_or(value));
        }
        let mut errors = check(value);
        if !errors.is_empty()
            && let Some(shown) = self.shown(value)
        {
            errors.reworded(check(&shown));
        }
        errors
    }
}
