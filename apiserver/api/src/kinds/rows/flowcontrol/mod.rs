//! The kinds of the group `flowcontrol`.

pub mod bootstrap;
pub mod flow_schema;
pub mod priority_level_configuration;
