//! The kinds of the group `apiextensions`.

pub mod custom_resource_definition;
