//! Asking again where it may have been bad luck.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/util/webhook/webhook.go` (WithExponentialBackoff, DefaultShouldRetry) and
//! `pkg/server/options/authentication.go` (DefaultAuthWebhookRetryBackoff).

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::client::Client;
use crate::{dial::DialError, webhook::AskError};

/// How often is asked.
const STEPS: u32 = 5;
const FIRST: Duration = Duration::from_millis(500);
const FACTOR: f64 = 1.5;
const JITTER: f64 = 0.2;

/// Sends a document to a webhook and gives the answer's; each time it may take as long as `patience`.
///
/// # Errors
/// The last that went wrong.
pub async fn post(
    client: &Client,
    document: &Bytes,
    patience: Duration,
) -> Result<Bytes, AskError> {
    let mut pause = FIRST.as_secs_f64();
    let mut step = 1;
    loop {
        match client.post(document.clone(), patience).await {
            Err(why) if step < STEPS && is_transient(&why) => {
                let jitter = 1.0 + rand::rng().random_range(0.0..JITTER);
                tokio::time::sleep(Duration::from_secs_f64(pause * jitter)).await;
                pause *= FACTOR;
                step += 1;
            }
            answer => return answer,
        }
    }
}

fn is_transient(why: &AskError) -> bool {
    match why {
        AskError::Refused { code, later, .. } => *later || matches!(code.as_u16(), 429 | 500 | 504),
        AskError::Dial { why, .. } => was_reset(why),
        _ => false,
    }
}

/// The other side broke a connection off.
fn was_reset(why: &DialError) -> bool {
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    match why {
        DialError::Connect { source, .. } => reset(source),
        DialError::Http(error) => {
            let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
            while let Some(error) = at {
                if error.downcast_ref().is_some_and(reset) {
                    return true;
                }
                at = error.source();
            }
            false
        }
        _ => false,
    }
}
