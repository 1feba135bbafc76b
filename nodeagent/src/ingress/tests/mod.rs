//! What Ingresses make of the proxy: certificates, classes, plans, and what is told of it. The proxy's own tests are in its crate.

pub mod certificates;
mod classes;
pub mod plans;
mod telling;
