//! The flags of the audit log, which bear the names, forms and defaults that kube-apiserver's have.

use anyhow::Context;
use skiff_server::audit::{Batch, LogOptions, Options, Truncate, WebhookOptions};

use crate::flags::seconds;

#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// File that says which requests are told of, and how much: a Policy of audit.k8s.io/v1
    #[arg(long)]
    audit_policy_file: String,
    /// File that events are written to; '-' means standard out
    #[arg(long)]
    audit_log_path: String,
    /// Days for which old log files are kept; 0 keeps them
    #[arg(long, default_value = "366")]
    audit_log_maxage: i64,
    /// How many old log files are kept; 0 keeps all
    #[arg(long, default_value = "100")]
    audit_log_maxbackup: i64,
    /// Megabytes after which a log file is put aside; 0 never does
    #[arg(long, default_value = "100")]
    audit_log_maxsize: i64,
    /// Form of the log: json or legacy
    #[arg(long, default_value = "json")]
    audit_log_format: String,
    /// Pack old log files with gzip
    #[arg(long)]
    audit_log_compress: bool,
    /// Group and version of the log's events
    #[arg(long, default_value = "audit.k8s.io/v1")]
    audit_log_version: String,
    /// How events are written: batch, blocking or blocking-strict
    #[arg(long, default_value = "blocking")]
    audit_log_mode: String,
    /// How many events may wait; only in the mode batch
    #[arg(long, default_value = "10000")]
    audit_log_batch_buffer_size: i64,
    /// How many events are written at once; only in the mode batch
    #[arg(long, default_value = "1")]
    audit_log_batch_max_size: i64,
    /// How long a batch is waited for; only in the mode batch
    #[arg(long)]
    audit_log_batch_max_wait: f64,
    /// Bound the rate of batches; only in the mode batch
    #[arg(long)]
    audit_log_batch_throttle_enable: bool,
    /// Batches a second; only in the mode batch
    #[arg(long, default_value = "0")]
    audit_log_batch_throttle_qps: String,
    /// Batches at once after a rest; only in the mode batch
    #[arg(long)]
    audit_log_batch_throttle_burst: i64,
    /// Cut events that are too large
    #[arg(long)]
    audit_log_truncate_enabled: bool,
    /// Bytes of a batch
    #[arg(long, default_value = "10485760")]
    audit_log_truncate_max_batch_size: i64,
    /// Bytes of an event, which is written without its objects or not at all when it is larger
    #[arg(long, default_value = "102400")]
    audit_log_truncate_max_event_size: i64,
    /// Kubeconfig of a webhook that events are sent to
    #[arg(long)]
    audit_webhook_config_file: String,
    /// How long it takes until a failed request is sent again
    #[arg(long, default_value = "10s")]
    audit_webhook_initial_backoff: f64,
    /// Group and version of the events that are sent
    #[arg(long, default_value = "audit.k8s.io/v1")]
    audit_webhook_version: String,
    /// How events are sent: batch, blocking or blocking-strict
    #[arg(long, default_value = "batch")]
    audit_webhook_mode: String,
    /// How many events may wait; only in the mode batch
    #[arg(long, default_value = "10000")]
    audit_webhook_batch_buffer_size: i64,
    /// How many events are sent at once; only in the mode batch
    #[arg(long, default_value = "400")]
    audit_webhook_batch_max_size: i64,
    /// How long a batch is waited for; only in the mode batch
    #[arg(long, default_value = "30s")]
    audit_webhook_batch_max_wait: f64,
    /// Bound the rate of batches; only in the mode batch
    #[arg(long, default_value = "true")]
    audit_webhook_batch_throttle_enable: bool,
    /// Batches a second; only in the mode batch
    #[arg(long, default_value = "10")]
    audit_webhook_batch_throttle_qps: String,
    /// Batches at once after a rest; only in the mode batch
    #[arg(long, default_value = "15")]
    audit_webhook_batch_throttle_burst: i64,
    /// Cut events that are too large
    #[arg(long)]
    audit_webhook_truncate_enabled: bool,
    /// Bytes of a batch
    #[arg(long, default_value = "10485760")]
    audit_webhook_truncate_max_batch_size: i64,
    /// Bytes of an event, which is sent without its objects or not at all when it is larger
    #[arg(long, default_value = "102400")]
    audit_webhook_truncate_max_event_size: i64,
}

impl Flags {
    /// What they ask for. What cannot be is told by the server.
    ///
    /// # Errors
    /// A rate is no number.
    pub fn options(&self) -> anyhow::Result<Options> {
        let path = |text: &str| Some(text.into()).filter(|_| !text.is_empty());
        let rate = |flag: &str, text: &str| -> anyhow::Result<f64> {
            text.parse()
                .with_context(|| format!("--{flag} takes a number"))
        };
        Ok(Options {
            policy_file: path(&self.audit_policy_file),
            log: LogOptions {
                path: self.audit_log_path.clone(),
                max_age: self.audit_log_maxage,
                max_backup: self.audit_log_maxbackup,
                max_size: self.audit_log_maxsize,
                format: self.audit_log_format.clone(),
                compress: self.audit_log_compress,
                version: self.audit_log_version.clone(),
                batch: Batch {
                    mode: self.audit_log_mode.clone(),
                    buffer_size: self.audit_log_batch_buffer_size,
                    max_size: self.audit_log_batch_max_size,
                    max_wait: seconds(self.audit_log_batch_max_wait),
                    throttle: self.audit_log_batch_throttle_enable,
                    throttle_qps: rate(
                        "audit-log-batch-throttle-qps",
                        &self.audit_log_batch_throttle_qps,
                    )?,
                    throttle_burst: self.audit_log_batch_throttle_burst,
                },
                truncate: Truncate {
                    enabled: self.audit_log_truncate_enabled,
                    max_batch_size: self.audit_log_truncate_max_batch_size,
                    max_event_size: self.audit_log_truncate_max_event_size,
                },
            },
            webhook: WebhookOptions {
                config_file: path(&self.audit_webhook_config_file),
                initial_backoff: seconds(self.audit_webhook_initial_backoff),
                version: self.audit_webhook_version.clone(),
                batch: Batch {
                    mode: self.audit_webhook_mode.clone(),
                    buffer_size: self.audit_webhook_batch_buffer_size,
                    max_size: self.audit_webhook_batch_max_size,
                    max_wait: seconds(self.audit_webhook_batch_max_wait),
                    throttle: self.audit_webhook_batch_throttle_enable,
                    throttle_qps: rate(
                        "audit-webhook-batch-throttle-qps",
                        &self.audit_webhook_batch_throttle_qps,
                    )?,
                    throttle_burst: self.audit_webhook_batch_throttle_burst,
                },
                truncate: Truncate {
                    enabled: self.audit_webhook_truncate_enabled,
                    max_batch_size: self.audit_webhook_truncate_max_batch_size,
                    max_event_size: self.audit_webhook_truncate_max_event_size,
                },
            },
        })
    }
}
