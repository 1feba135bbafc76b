//! The policies and bindings that are stored, compiled.
//!
//! Invariant: what is given out is no older than the question; what did not change is not compiled again. What cannot be read is an error for whoever
//! asks, not an absence.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::machinery::{cel::admission::Compiler, status::Status};
use skiff_storage::Object;

use super::policy::{Binding, Policy};
use crate::{core::Core, stored};

/// Where objects of two kinds are stored, and how the policies among them are read.
pub struct Known<D> {
    policies: &'static str,
    bindings: &'static str,
    compile: fn(&Value, &Compiler) -> D,
    state: ArcSwapOption<State<D>>,
    /// Held by the one who reads anew.
    reading: Mutex<()>,
}

/// An object, and the revision at which it was read.
type Read<T> = BTreeMap<String, (u64, Arc<T>)>;

/// All that was stored at a revision.
struct State<D> {
    /// Of the last change of policies and of bindings.
    revisions: (u64, u64),
    policies: Read<Policy<D>>,
    bindings: Read<Binding>,
    hooks: Arc<[Hook<D>]>,
}

/// A policy that is bound, with its bindings by name.
pub struct Hook<D> {
    pub policy: Arc<Policy<D>>,
    pub bindings: Vec<Arc<Binding>>,
}

impl<D> Known<D> {
    pub fn new(
        policies: &'static str,
        bindings: &'static str,
        compile: fn(&Value, &Compiler) -> D,
    ) -> Known<D> {
        Known {
            policies,
            bindings,
            compile,
            state: ArcSwapOption::empty(),
            reading: Mutex::default(),
        }
    }

    /// Whether a policy may be bound.
    pub fn any(&self, core: &Core) -> bool {
        let state = self.state.load();
        state.as_ref().is_none_or(|state| {
            !state.bindings.is_empty()
                || state.revisions.1 != core.store.resource_revision(self.bindings)
        })
    }

    /// The bound policies, by name.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn hooks(&self, core: &Core) -> Result<Arc<[Hook<D>]>, Status> {
        if let Some(state) = self.fresh(core) {
            return Ok(state.hooks.clone());
        }
        let _reading = self.reading.lock();
        if let Some(state) = self.fresh(core) {
            return Ok(state.hooks.clone());
        }
        let state = self.read(core)?;
        let hooks = state.hooks.clone();
        self.state.store(Some(Arc::new(state)));
        Ok(hooks)
    }

    fn revisions(&self, core: &Core) -> (u64, u64) {
        let revision = |resource| core.store.resource_revision(resource);
        (revision(self.policies), revision(self.bindings))
    }

    fn fresh(&self, core: &Core) -> Option<Arc<State<D>>> {
        let state = self.state.load_full()?;
        (state.revisions == self.revisions(core)).then_some(state)
    }

    fn read(&self, core: &Core) -> Result<State<D>, Status> {
        // what changes while it is read is seen the next time
        let revisions = self.revisions(core);
        let before = self.state.load_full();
        let bindings = again(
            core,
            self.bindings,
            before.as_ref().map(|state| &state.bindings),
            Binding::read,
        )?;
        let policies = again(
            core,
            self.policies,
            before.as_ref().map(|state| &state.policies),
            |policy| Policy::read(policy, self.compile),
        )?;
        let hooks = policies.iter().filter_map(|(name, (_, policy))| {
            let of_policy = bindings.values().filter(|(_, one)| one.policy == *name);
            let bindings: Vec<Arc<Binding>> = of_policy.map(|(_, one)| one.clone()).collect();
            (!bindings.is_empty()).then(|| Hook {
                policy: policy.clone(),
                bindings,
            })
        });
        Ok(State {
            revisions,
            hooks: hooks.collect(),
            policies,
            bindings,
        })
    }
}

/// All objects of a resource, those that did not change as they were read before.
fn again<T>(
    core: &Core,
    resource: &str,
    before: Option<&Read<T>>,
    read: impl Fn(&Value) -> T,
) -> Result<Read<T>, Status> {
    let one = |object: Arc<Object>| {
        let name = object.key.name.to_string();
        let known = before.and_then(|before| before.get(&name));
        let found = match known.filter(|(revision, _)| *revision == object.revision) {
            Some((_, known)) => known.clone(),
            None => Arc::new(read(&stored::value(&object)?)),
        };
        Ok((name, (object.revision, found)))
    };
    core.store
        .snapshot(resource)
        .range(None, None)
        .map(one)
        .collect()
}
