//! Webhooks of any sort: where they are, and how they are asked.
//!
//! Invariant: who asks waits no longer than it says, and holds nothing that others need while it waits; a webhook is believed by the authorities of its
//! own configuration alone. Follows `staging/src/k8s.io/apiserver/pkg/util/webhook`.

mod answer;
mod client;
mod endpoint;
mod version;

pub use self::{
    answer::{AnswerError, decoded, review},
    client::{Client, ClientError},
    endpoint::{AskError, Endpoint, Reply, Target, place_of},
    version::Version,
};

/// The longest answer to a question of usual length, in bytes.
pub const LONGEST_ANSWER: usize = 16 * 1024 * 1024;
