//! The kinds of the group `events`.

pub mod event;
