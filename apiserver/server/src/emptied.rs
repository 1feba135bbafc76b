//! What a request gave that holds nothing: it is as if it was absent, but for what refuses an object.

use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::Errors,
        schema::{
            Decoded, conform,
            emptied::{self, Step},
        },
        status::Status,
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
        self.restored(value, |_| true)
            .is_some_and(|shown| desired(&shown) != desired(value))
    }

    /// The object as words show it; `None`: just as it is.
    fn shown(&self, value: &Value) -> Option<Value> {
        self.restored(value, |one| one.told)
    }

    /// The object with what was given; `None`: it is just that.
    fn restored(&self, value: &Value, counts: impl Fn(&emptied::Emptied) -> bool) -> Option<Value> {
        let all = self.0.lock();
        let mut counting = all.iter().filter(|one| counts(one)).peekable();
        counting.peek()?;
        let mut shown = value.clone();
        counting.for_each(|one| one.restore(&mut shown));
        Some(shown)
    }

    /// Lets `prepare` see the object as it was given, of kinds that are judged as that, so that what it takes away does not come back.
    pub fn prepared(
        &self,
        kind: &Kind,
        value: &mut Value,
        prepare: impl FnOnce(&mut Value),
    ) -> Result<(), Status> {
        let shown = match kind.flags.judged_as_given {
            true => self.shown(value),
            false => None,
        };
        let Some(shown) = shown else {
            prepare(value);
            return Ok(());
        };
        *value = shown;
        prepare(value);
        let decoded = conform(value, kind.node());
        self.note(&decoded.map_err(|error| Status::internal(error.to_string()))?);
        Ok(())
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
