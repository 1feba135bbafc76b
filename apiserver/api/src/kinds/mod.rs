//! The kinds, one folder each.
