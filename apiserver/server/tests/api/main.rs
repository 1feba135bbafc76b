//! What the API server does, asked in process: a server with its state in memory, one file a subject.

mod hands;
mod https_server;
mod scales;
mod server;

mod access;
mod addresses;
mod admission;
mod aggregation;
mod apply;
mod audit;
mod beyond_writing;
mod checked;
mod conformance;
mod conversion;
mod definitions;
mod deletion;
#[path = "../support/differences.rs"]
mod differences;
mod encryption;
mod eviction;
mod expiry;
mod families;
mod health;
mod lists;
#[path = "../support/mask.rs"]
mod mask;
mod metrics;
mod openapi;
mod order;
mod policies;
mod protobuf;
mod protobuf_client;
mod read_typed;
mod registry;
mod resource_metrics;
mod said_first;
mod standing;
mod told;
mod told_custom;
#[path = "../support/typed.rs"]
mod typed;
mod unreadable;
mod upstream;
mod verbs;
mod versions;
mod watches;
mod webhook_server;
mod webhooks;
#[path = "../support/widget.rs"]
mod widget;
