//! The autoscaler among a server and pods that are made up.

mod day;
mod decisions;
mod world;
