//! Ids of nodes, and the place of each.

use crate::ast::Id;
use crate::source::NOWHERE;

/// Gives ids, counted from 1.
pub struct Ids(Vec<u32>);

impl Ids {
    pub fn new() -> Ids {
        Ids(vec![NOWHERE])
    }

    /// A new id for a node at `offset`.
    pub fn id(&mut self, offset: u32) -> Id {
        self.0.push(offset);
        self.0.len() as Id - 1
    }

    pub fn offset(&self, id: Id) -> u32 {
        self.0[id as usize]
    }

    /// The place of each id.
    pub fn positions(self) -> Vec<u32> {
        self.0
    }
}
