//! What Ingresses make of the proxy: certificates, classes, plans, and what is told of it. The proxy's own tests are in its crate.

mod certificates;
mod classes;
mod plans;
mod telling;
