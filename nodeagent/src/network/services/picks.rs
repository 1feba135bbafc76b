//! The chains that pick one of so many endpoints, for all services with so many: one for each number that there is.
//!
//! Invariant: there is a chain for each number that is in use, and for each small one. One for a larger number that nobody uses any more stays for a moment
//! with its rule, as a packet may be on its way through it, and goes then.

use std::{collections::HashMap, time::Instant};

use super::{
    super::{
        family::IpFamily,
        nft::{Batch, Change, Field, Rule, Statement},
    },
    base::by_ip,
    elements::{Shared, pick, table},
    resting::Resting,
};

/// For up to so many endpoints there are chains from the beginning: to make one among many endpoints takes the kernel some milliseconds.
pub const PICKED: u32 = 32;

/// Who uses which of them.
#[derive(Debug, Default)]
pub struct Picks {
    family: IpFamily,
    users: HashMap<u32, usize>,
    resting: Resting<u32>,
}

impl Picks {
    pub fn new(family: IpFamily) -> Self {
        Picks {
            family,
            ..Self::default()
        }
    }

    /// One more user; the chain is added if it is not there.
    pub fn hold(&mut self, batch: &mut Batch, count: u32) {
        let users = self.users.entry(count).or_default();
        *users += 1;
        if *users == 1 && count > PICKED && !self.resting.wake(&count) {
            add(batch, self.family, count);
        }
    }

    /// One user less.
    pub fn let_go(&mut self, count: u32, now: Instant) {
        let Some(users) = self.users.get_mut(&count) else {
            return;
        };
        *users -= 1;
        if *users == 0 {
            self.users.remove(&count);
            if count > PICKED {
                self.resting.rest(count, now);
            }
        }
    }

    /// Deletes the chains that have rested long enough.
    pub fn sweep(&mut self, batch: &mut Batch, now: Instant) {
        let table = table(self.family);
        for count in self.resting.due(now) {
            batch.push(&table, Change::FlushChain(pick(count)));
            batch.push(&table, Change::DeleteChain(pick(count)));
        }
    }

    /// When the next sweep is due.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.resting.next()
    }
}

/// Adds the chains for small numbers.
pub fn add_small(batch: &mut Batch, family: IpFamily) {
    for count in 1..=PICKED {
        add(batch, family, count);
    }
}

fn add(batch: &mut Batch, family: IpFamily, count: u32) {
    let which = by_ip(family)
        .into_iter()
        .chain([Field::Random(count)])
        .collect();
    let pick_one = Statement::DnatByMap(family, which, Shared::Endpoints.name().into());
    let rule = Rule::new().then(pick_one);
    batch.chain(&table(family), &pick(count), None, vec![rule]);
}
