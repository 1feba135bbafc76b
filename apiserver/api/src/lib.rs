//! skiff-api

pub mod machinery;
