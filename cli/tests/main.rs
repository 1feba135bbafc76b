//! What the built program does, seen from outside: one test program for all, in which tests that mostly wait run beside those that work.
//!
//! A part by its module's name: `cargo test -p skiff --test outside day::`. On a small machine `-- --test-threads=4` is faster than as many as it has
//! processors; `support` lets no more clusters run at once than get along.

mod support;

mod agent;
mod autoscaling;
mod balancers;
mod black_friday;
mod clients;
mod cycles;
mod day;
mod families;
mod gateways;
mod golden;
mod ingress;
mod left;
mod memory;
mod mistakes;
mod nodes;
mod operators;
mod parity;
mod policies;
mod registry;
mod shells;
mod shop;
mod terminal;
mod volumes;
