//! What was converted for one request, for those who cannot wait: who owns which fields is found out in one go, and asks for an object in other versions on
//! the way.
//!
//! Invariant: what is not known yet is noted and told to be absent; whoever asked is to be asked again when [`Memo::learn`] says that more is known now,
//! and what he said before is forgotten.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::{kinds::Kind, machinery::status::Status};

use super::{named, through_webhook};
use crate::core::Core;

/// More answers are needed by nobody: an object has few versions, and an apply looks at few forms of it.
const MOST: usize = 64;

#[derive(Default)]
pub struct Memo(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    known: Vec<(Question, Result<Value, Status>)>,
    open: Vec<Question>,
}

/// What is wanted: a value in another version.
struct Question {
    value: Value,
    to: Arc<Kind>,
}

impl Question {
    fn is(&self, other: &Question) -> bool {
        self.to.version == other.to.version && self.value == other.value
    }
}

impl Memo {
    /// A value of `from` as `to` has it; `None`: it cannot be converted, or is not known yet.
    pub fn get(&self, from: &Kind, to: &Arc<Kind>, value: &Value) -> Option<Value> {
        let mut value = value.clone();
        if to.converter().is_none() || from.version == to.version {
            return from.convert(&mut value, to).ok().map(|()| value);
        }
        named(&mut value, from);
        let question = Question {
            value,
            to: to.clone(),
        };
        let mut notes = self.0.lock();
        if let Some((_, answer)) = notes.known.iter().find(|(known, _)| known.is(&question)) {
            return answer.as_ref().ok().cloned();
        }
        if !notes.open.iter().any(|open| open.is(&question)) {
            notes.open.push(question);
        }
        None
    }

    /// Finds out what was asked for and not known; tells whether there was anything.
    pub async fn learn(&self, core: &Core) -> bool {
        let open = {
            let mut notes = self.0.lock();
            if notes.known.len() > MOST {
                notes.open.clear();
            }
            std::mem::take(&mut notes.open)
        };
        let any = !open.is_empty();
        for question in open {
            let answer = through_webhook(core, &question.to, question.value.clone()).await;
            self.0.lock().known.push((question, answer));
        }
        any
    }

    /// All that was asked for could be told.
    ///
    /// # Errors
    /// That of the first that could not.
    pub fn check(&self) -> Result<(), Status> {
        let notes = self.0.lock();
        let failed = notes
            .known
            .iter()
            .find_map(|(_, answer)| answer.as_ref().err());
        failed.cloned().map_or(Ok(()), Err)
    }
}
