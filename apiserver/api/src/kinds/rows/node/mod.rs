//! The kinds of the group `node`.

pub mod runtime_class;
