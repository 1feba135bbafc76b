//! describe
pub mod quantity;
