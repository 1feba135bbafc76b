//! `anyOf`, `oneOf`, `allOf` and `not`.
//!
//! Alternatives are tried in silence first, and told of only when none fits; of those that do not fit, the one is told which most checks agreed with.
//! What stands within them is held to the new value alone: nothing is known of its past.
//!
//! Invariant: a value is held to each alternative twice at most for each level that alternatives are nested.
//! Follows `kube-openapi/pkg/validation/validate/schema_props.go`.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Run,
    fault::{Fault, Place},
};
use crate::machinery::quote::go_quote;
use crate::machinery::structural::node::{Checks, Node};

impl<'s> Run<'s> {
    /// Runs `check` without telling; whether nothing failed, and its answer.
    fn silently<T>(&mut self, check: impl FnOnce(&mut Self) -> T) -> (bool, T) {
        let (failed, silent) = (self.failed, self.silent);
        self.silent = true;
        let answer = check(self);
        let fits = self.failed == failed;
        (self.failed, self.silent) = (failed, silent);
        (fits, answer)
    }

    pub(super) fn alternatives(&mut self, value: &Value, checks: &'s Checks, place: &Place) -> u32 {
        let mut agreed = 0;
        if !checks.any_of.is_empty() {
            agreed += self.any_of(value, checks, place);
        }
        if !checks.one_of.is_empty() {
            agreed += self.one_of(value, checks, place);
        }
        if !checks.all_of.is_empty() {
            agreed += self.all_of(value, checks, place);
        }
        if let Some(not) = &checks.not {
            let (fits, _) = self.silently(|run| run.node(value, not, place, None));
            if fits {
                self.fail(|| {
                    Fault::of_whole(place, |name| {
                        format!("{} must not validate the schema (not)", go_quote(name))
                    })
                });
            }
        }
        agreed
    }

    fn any_of(&mut self, value: &Value, checks: &'s Checks, place: &Place) -> u32 {
        for schema in &checks.any_of {
            let (fits, agreed) = self.silently(|run| run.node(value, schema, place, None));
            if fits {
                return agreed;
            }
        }
        self.fail(|| {
            Fault::of_whole(place, |name| {
                format!(
                    "{} must validate at least one schema (anyOf)",
                    go_quote(name)
                )
            })
        });
        self.best(value, &checks.any_of, place)
    }

    fn one_of(&mut self, value: &Value, checks: &'s Checks, place: &Place) -> u32 {
        let mut fitting = 0;
        let mut first = 0;
        for schema in &checks.one_of {
            let (fits, agreed) = self.silently(|run| run.node(value, schema, place, None));
            if fits && fitting == 0 {
                first = agreed;
            }
            fitting += usize::from(fits);
        }
        if fitting == 1 {
            return first;
        }
        self.fail(|| {
            Fault::of_whole(place, |name| {
                let found = match fitting {
                    0 => "Found none valid".into(),
                    fitting => format!("Found {fitting} valid alternatives"),
                };
                format!(
                    "{} must validate one and only one schema (oneOf). {found}",
                    go_quote(name)
                )
            })
        });
        match fitting {
            0 => self.best(value, &checks.one_of, place),
            _ => 0,
        }
    }

    /// Of alternatives none of which fits, tells what is wrong with the first of those that most agrees with.
    fn best(&mut self, value: &Value, schemas: &'s [Arc<Node>], place: &Place) -> u32 {
        if self.silent {
            // nobody asks how near what does not fit came to fit
            return 0;
        }
        let told = self.faults.len();
        let mut best: Option<(u32, Vec<Fault>)> = None;
        for schema in schemas {
            let agreed = self.node(value, schema, place, None);
            let faults = self.faults.split_off(told);
            if best.as_ref().is_none_or(|best| agreed > best.0) {
                best = Some((agreed, faults));
            }
        }
        let (agreed, faults) = best.unwrap_or_default();
        self.faults.extend(faults);
        agreed
    }

    fn all_of(&mut self, value: &Value, checks: &'s Checks, place: &Place) -> u32 {
        let mut agreed = 0;
        let mut fitting = 0;
        for schema in &checks.all_of {
            let failed = self.failed;
            agreed += self.node(value, schema, place, None);
            fitting += usize::from(self.failed == failed);
        }
        if fitting < checks.all_of.len() {
            self.fail(|| {
                Fault::of_whole(place, |name| {
                    let none = if fitting == 0 { ". None validated" } else { "" };
                    format!(
                        "{} must validate all the schemas (allOf){none}",
                        go_quote(name)
                    )
                })
            });
        }
        agreed
    }
}
