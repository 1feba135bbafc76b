//! The webhook that events are sent to, as a kubeconfig names it.
//!
//! Follows `plugin/pkg/audit/webhook/webhook.go` and `pkg/util/webhook/webhook.go` of apiserver: whatever goes wrong is tried again.

use std::{path::Path, time::Duration};

use bytes::Bytes;

use crate::{
    access::{Client, KubeconfigError, client_of_kubeconfig},
    webhook::AskError,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried, and how much longer each wait is than the one before.
const ATTEMPTS: u32 = 5;
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.2;

/// A kubeconfig that names no webhook.
#[derive(thiserror::Error, Debug)]
#[error("initializing audit webhook: {0}")]
pub struct ConfigError(#[from] KubeconfigError);

/// Why events were not taken.
#[derive(thiserror::Error, Debug)]
pub enum SendError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the webhook answered {0}")]
    Refused(http::StatusCode),
}

pub struct Webhook {
    client: Client,
    backoff: Duration,
}

impl Webhook {
    /// Reads a kubeconfig; its current context is the webhook.
    ///
    /// # Errors
    /// It cannot be read, or names none.
    pub fn open(path: &Path, backoff: Duration) -> Result<Webhook, ConfigError> {
        let client = client_of_kubeconfig(path, None)?;
        Ok(Webhook { client, backoff })
    }

    /// Sends events, as long as it takes them to arrive or too often to fail.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn send(&self, events: &[Vec<u8>]) -> Result<(), SendError> {
        let head = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;
        let list: Bytes = [&head[..], &events.join(&b','), b"]}\n"].concat().into();
        let mut wait = self.backoff;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            let Err(error) = self.post(list.clone()).await else {
                return Ok(());
            };
            if left == 0 {
                return Err(error);
            }
            tracing::debug!(%error, "audit events will be sent again");
            tokio::time::sleep(wait.mul_f64(1.0 + JITTER * rand::random::<f64>())).await;
            wait = wait.mul_f64(GROWTH);
        }
    }

    /// An answer that is a success may be empty.
    async fn post(&self, list: Bytes) -> Result<(), SendError> {
        let reply = self.client.send(list, PATIENCE).await?;
        match reply.status.is_success() {
            true => Ok(()),
            false => Err(SendError::Refused(reply.status)),
        }
    }
}
