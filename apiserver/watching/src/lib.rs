//! How a client of the API follows it: requests, reflectors, one shared typed cache a kind, work queues, events, the clock.
//!
//! Invariant: what is typed is decoded and encoded here, so that each kind's code is compiled once. Follows k8s.io/client-go/tools.

pub mod amend;
pub mod api;
pub mod client;
pub mod clock;
pub mod decode;
pub mod error;
pub mod events;
pub mod follow;
pub mod informer;
pub mod key;
pub mod outcome;
pub mod queue;
pub mod reflect;
pub mod status;
pub mod sweep;
pub mod tally;
pub mod task;
pub mod tls;
pub mod typed;
pub mod unreadable;

pub use error::Error;
