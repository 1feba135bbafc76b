//! What the command line says of the audit log, and what is wrong with it.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/server/options/audit.go` for defaults and messages.

use std::{path::PathBuf, time::Duration};

const MODES: [&str; 3] = ["batch", "blocking", "blocking-strict"];
const FORMATS: [&str; 2] = ["legacy", "json"];
const GROUP_VERSION: &str = "audit.k8s.io/v1";

/// What is told to whom.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--audit-policy-file`; without it nothing is told.
    pub policy_file: Option<PathBuf>,
    pub log: LogOptions,
    pub webhook: WebhookOptions,
}

/// `--audit-log-…`.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `-` is the standard output; empty: there is no log.
    pub path: String,
    /// Days for which old files are kept; 0: as long as there are not too many.
    pub max_age: i64,
    /// How many old files are kept; 0: any number.
    pub max_backup: i64,
    /// Megabytes after which a file is put aside; 0: never.
    pub max_size: i64,
    /// `json` or `legacy`.
    pub format: String,
    /// Files that were put aside are packed with gzip.
    pub compress: bool,
    pub version: String,
    pub batch: Batch,
    pub truncate: Truncate,
}

/// `--audit-webhook-…`.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// A kubeconfig that says where the webhook is; `None`: there is none.
    pub config_file: Option<PathBuf>,
    pub initial_backoff: Duration,
    pub version: String,
    pub batch: Batch,
    pub truncate: Truncate,
}

/// How events are handed on.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `batch`, `blocking` or `blocking-strict`.
    pub mode: String,
    pub buffer_size: i64,
    pub max_size: i64,
    pub max_wait: Duration,
    pub throttle: bool,
    /// Batches a second.
    pub throttle_qps: f64,
    pub throttle_burst: i64,
}

/// Bounds of sizes, in bytes.
#[derive(Clone, Debug)]
pub struct Truncate {
    pub enabled: bool,
    pub max_batch_size: i64,
    pub max_event_size: i64,
}

impl Default for Truncate {
    fn default() -> Truncate {
        Truncate {
            enabled: false,
            max_batch_size: 10 * 1024 * 1024,
            max_event_size: 100 * 1024,
        }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            path: String::new(),
            max_age: 366,
            max_backup: 100,
            max_size: 100,
            format: "json".into(),
            compress: false,
            version: GROUP_VERSION.into(),
            batch: Batch {
                mode: "blocking".into(),
                buffer_size: 10_000,
                max_size: 1,
                max_wait: Duration::ZERO,
                throttle: false,
                throttle_qps: 0.0,
                throttle_burst: 0,
            },
            truncate: Truncate::default(),
        }
    }
}

impl Default for WebhookOptions {
    fn default() -> WebhookOptions {
        WebhookOptions {
            config_file: None,
            initial_backoff: Duration::from_secs(10),
            version: GROUP_VERSION.into(),
            batch: Batch {
                mode: "batch".into(),
                buffer_size: 10_000,
                max_size: 400,
                max_wait: Duration::from_secs(30),
                throttle: true,
                throttle_qps: 10.0,
                throttle_burst: 15,
            },
            truncate: Truncate::default(),
        }
    }
}

/// An option that cannot be.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum OptionError {
    #[error(
        "invalid audit {plugin} mode {mode}, allowed modes are \"batch,blocking,blocking-strict\""
    )]
    Mode { plugin: &'static str, mode: String },
    #[error("invalid audit batch {plugin} {what} {given}, must be a positive number")]
    Batch {
        plugin: &'static str,
        what: &'static str,
        given: String,
    },
    #[error("invalid audit truncate {plugin} max event size {given}, must be a positive number")]
    EventSize { plugin: &'static str, given: i64 },
    #[error(
        "invalid audit truncate {plugin} max batch size {batch}, must be greater than max event size ({event})"
    )]
    BatchSize {
        plugin: &'static str,
        batch: i64,
        event: i64,
    },
    #[error("invalid group version, allowed versions are [\"audit.k8s.io/v1\"]")]
    Version,
    #[error("invalid audit log format {0}, allowed formats are \"legacy,json\"")]
    Format(String),
    #[error("--audit-log-{flag} {given} can't be a negative number")]
    Negative { flag: &'static str, given: i64 },
}

impl Batch {
    fn validate(&self, plugin: &'static str) -> Result<(), OptionError> {
        if !MODES.contains(&self.mode.as_str()) {
            let mode = self.mode.clone();
            return Err(OptionError::Mode { plugin, mode });
        }
        if self.mode != "batch" {
            return Ok(());
        }
        let throttled = |wrong: bool| self.throttle && wrong;
        for (wrong, what, given) in [
            (
                self.buffer_size <= 0,
                "buffer size",
                self.buffer_size.to_string(),
            ),
            (
                self.max_size <= 0,
                "max batch size",
                self.max_size.to_string(),
            ),
            (
                throttled(self.throttle_qps <= 0.0),
                "throttle QPS",
                self.throttle_qps.to_string(),
            ),
            (
                throttled(self.throttle_burst <= 0),
                "throttle burst",
                self.throttle_burst.to_string(),
            ),
        ] {
            if wrong {
                return Err(OptionError::Batch {
                    plugin,
                    what,
                    given,
                });
            }
        }
        Ok(())
    }
}

impl Truncate {
    fn validate(&self, plugin: &'static str) -> Result<(), OptionError> {
        let (batch, event) = (self.max_batch_size, self.max_event_size);
        if event <= 0 {
            let given = event;
            return Err(OptionError::EventSize { plugin, given });
        }
        match batch < event {
            true => Err(OptionError::BatchSize {
                plugin,
                batch,
                event,
            }),
            false => Ok(()),
        }
    }
}

impl Options {
    /// Whether there is somebody to tell.
    pub fn tells(&self) -> bool {
        !self.log.path.is_empty() || self.webhook.config_file.is_some()
    }

    /// All that is wrong with what is on.
    pub fn validate(&self) -> Vec<OptionError> {
        let mut wrong = Vec::new();
        let version = |given: &str| match given == GROUP_VERSION {
            true => Ok(()),
            false => Err(OptionError::Version),
        };
        let log = &self.log;
        if !log.path.is_empty() {
            let format = match FORMATS.contains(&log.format.as_str()) {
                true => Ok(()),
                false => Err(OptionError::Format(log.format.clone())),
            };
            let found = [
                log.batch.validate("log"),
                log.truncate.validate("log"),
                version(&log.version),
                format,
            ];
            wrong.extend(found.into_iter().filter_map(Result::err));
            let numbers = [
                ("maxage", log.max_age),
                ("maxbackup", log.max_backup),
                ("maxsize", log.max_size),
            ];
            let negative = numbers.into_iter().filter(|(_, given)| *given < 0);
            wrong.extend(negative.map(|(flag, given)| OptionError::Negative { flag, given }));
        }
        let webhook = &self.webhook;
        if webhook.config_file.is_some() {
            let found = [
                webhook.batch.validate("webhook"),
                webhook.truncate.validate("webhook"),
                version(&webhook.version),
            ];
            wrong.extend(found.into_iter().filter_map(Result::err));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Options)) -> Vec<String> {
        let mut options = Options::default();
        options.log.path = "-".into();
        options.webhook.config_file = Some("x".into());
        change(&mut options);
        let wrong = options.validate();
        wrong.iter().map(OptionError::to_string).collect()
    }

    #[test]
    fn what_cannot_be() {
        type Change = fn(&mut Options);
        let cases: [(Change, &[&str]); 10] = [
            (|_| {}, &[]),
            (
                |o| o.log.batch.mode = "fast".into(),
                &[
                    "invalid audit log mode fast, allowed modes are \"batch,blocking,blocking-strict\"",
                ],
            ),
            (
                |o| o.webhook.batch.buffer_size = -1,
                &["invalid audit batch webhook buffer size -1, must be a positive number"],
            ),
            // not looked at where it means nothing
            (|o| o.log.batch.buffer_size = 0, &[]),
            (
                |o| o.webhook.batch.throttle_qps = 0.0,
                &["invalid audit batch webhook throttle QPS 0, must be a positive number"],
            ),
            (
                |o| o.log.truncate.max_batch_size = 1,
                &[
                    "invalid audit truncate log max batch size 1, must be greater than max event size (102400)",
                ],
            ),
            (
                |o| o.log.version = "audit.k8s.io/v1beta1".into(),
                &["invalid group version, allowed versions are [\"audit.k8s.io/v1\"]"],
            ),
            (
                |o| o.log.format = "xml".into(),
                &["invalid audit log format xml, allowed formats are \"legacy,json\""],
            ),
            (
                |o| (o.log.max_age, o.log.max_size) = (-1, -2),
                &[
                    "--audit-log-maxage -1 can't be a negative number",
                    "--audit-log-maxsize -2 can't be a negative number",
                ],
            ),
            (
                |o| (o.log.path, o.log.format) = (String::new(), "xml".into()),
                &[],
            ),
        ];
        for (at, (change, wanted)) in cases.into_iter().enumerate() {
            assert_eq!(wrong(change), wanted, "{at}");
        }
    }
}
