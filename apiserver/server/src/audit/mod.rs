//! What is told of requests, and to whom: the audit log.
//!
//! Invariant: a server without a policy, and a request that its policy has no use for, pay for a look at an `Option`. What is told of a request is
//! gathered in its [`Trail`], which everything that the request passes may add to; each stage is told once.
//! Follows `staging/src/k8s.io/apiserver/pkg/audit` and `.../pkg/endpoints/filters/{audit,authn_audit}.go`.

mod answer;
mod copy;
mod event;
mod log;
mod options;
mod output;
mod policy;
mod trail;
mod webhook;

use http::HeaderMap;
use skiff_api::machinery::{clock::SharedClock, names};

pub use self::{
    answer::{Negotiated, watched},
    event::{Level, Stage},
    options::{Batch, LogOptions, OptionError, Options, Truncate, WebhookOptions},
    policy::PolicyError,
    trail::{Ending, Request, Trail},
    webhook::ConfigError,
};
use skiff_watching::tally::Counter;

use self::{
    event::Event,
    log::Log,
    output::{Output, Taken, To},
    policy::Policy,
    webhook::Webhook,
};

/// Names a request in what is told of it, in its answer, and to servers behind this one.
/// Marks a request to which this server gave its name, as the client gave it none.
#[derive(Clone, Copy, Debug)]
pub struct OwnId;

pub const AUDIT_ID: http::HeaderName = http::HeaderName::from_static("audit-id");

/// Why there can be no audit log.
#[derive(thiserror::Error, Debug)]
pub enum AuditError {
    #[error("{}", .0.iter().map(OptionError::to_string).collect::<Vec<_>>().join("\n"))]
    Options(Vec<OptionError>),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("ensureLogFile: open {path}: {source}")]
    Log {
        path: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Webhook(#[from] ConfigError),
}

/// The policy, and who is told.
pub struct Audit {
    policy: Policy,
    outputs: Vec<Output>,
    clock: SharedClock,
    /// How many events there were.
    pub told: Counter,
}

impl Audit {
    /// `None`: there is no policy, or nobody to tell. Within a tokio runtime.
    ///
    /// # Errors
    /// The options, the policy or the webhook's configuration are wrong, or the log cannot be written.
    pub fn open(options: &Options, clock: SharedClock) -> Result<Option<Audit>, AuditError> {
        let wrong = options.validate();
        if !wrong.is_empty() {
            return Err(AuditError::Options(wrong));
        }
        let policy = options
            .policy_file
            .as_deref()
            .map(Policy::read)
            .transpose()?;
        let mut outputs = Vec::new();
        let (log, webhook) = (&options.log, &options.webhook);
        if !log.path.is_empty() {
            let opened = Log::open(log, clock.clone()).map_err(|source| AuditError::Log {
                path: log.path.clone(),
                source,
            })?;
            let legacy = log.format == "legacy";
            let to = To::Log {
                log: opened,
                legacy,
            };
            if policy.is_some() {
                outputs.push(Output::new(to, &log.batch, &log.truncate));
            }
        }
        if let (Some(path), Some(_)) = (&webhook.config_file, &policy) {
            let to = To::Webhook(Webhook::open(path, webhook.initial_backoff)?);
            outputs.push(Output::new(to, &webhook.batch, &webhook.truncate));
        }
        let Some(policy) = policy else {
            if options.tells() {
                tracing::info!("No audit policy file provided, no events will be recorded");
            }
            return Ok(None);
        };
        Ok((!outputs.is_empty()).then_some(Audit {
            policy,
            outputs,
            clock,
            told: Counter::default(),
        }))
    }

    fn tell(&self, event: &Event) -> Vec<Taken> {
        self.told.add(1);
        self.outputs
            .iter()
            .map(|output| output.take(event))
            .collect()
    }

    /// Waits, for a bounded time, until all events are handed on.
    pub async fn close(&self) {
        for output in &self.outputs {
            output.close().await;
        }
    }
}

/// Where a request comes from: what proxies say, and whose connection it is.
pub fn source_ips(headers: &HeaderMap, peer: Option<std::net::IpAddr>) -> Vec<String> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("").to_owned()
    };
    let parse =
        |text: &str| names::ip::parse_ip_sloppy(text.trim()).map(|(ip, _)| ip.to_canonical());
    let mut ips: Vec<_> = text("x-forwarded-for")
        .split(',')
        .filter_map(parse)
        .collect();
    ips.extend(parse(&text("x-real-ip")).filter(|ip| !ips.contains(ip)));
    let peer = peer.map(|ip| ip.to_canonical());
    ips.extend(peer.filter(|ip| ips.last() != Some(ip)));
    ips.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (forwarded, real, peer, wanted) in [
            ("", "", "10.0.0.1", vec!["10.0.0.1"]),
            (
                "1.1.1.1, x, 2.2.2.2",
                "",
                "2.2.2.2",
                vec!["1.1.1.1", "2.2.2.2"],
            ),
            ("1.1.1.1", "1.1.1.1", "::1", vec!["1.1.1.1", "::1"]),
            ("", "3.3.3.3", "::ffff:1.2.3.4", vec!["3.3.3.3", "1.2.3.4"]),
        ] {
            let mut headers = HeaderMap::new();
            for (name, text) in [("x-forwarded-for", forwarded), ("x-real-ip", real)] {
                if !text.is_empty() {
                    headers.insert(name, text.parse().unwrap());
                }
            }
            assert_eq!(source_ips(&headers, peer.parse().ok()), wanted);
        }
    }
}
