//! The kinds of the group `apiregistration`.

pub mod api_service;
