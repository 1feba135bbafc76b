//! skiff-server

pub mod auth;
