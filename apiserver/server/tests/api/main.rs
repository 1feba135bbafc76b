//! What the API server does, asked in process: a server with its state in memory, one file a subject.

mod server;

mod apply;
mod deletion;
mod lists;
mod order;
