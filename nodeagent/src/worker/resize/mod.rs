//! Resizing a running pod: granted by the node (`grant`), turned into steps (`pod::resize::plan`), which are taken (`enact`).

pub mod enact;
pub mod grant;
