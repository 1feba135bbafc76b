//! `--admission-control-config-file`: what plugins are configured with.
//!
//! Invariant: a section for a plugin that takes none is refused, not passed over.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/config.go`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::pod_security;
use crate::config_file::{self as file, FileError};
use skiff_api::machinery::quote::GoQuoted;

const KIND: file::Kind = file::Kind {
    group: file::SERVER,
    name: "AdmissionConfiguration",
    scheme: "k8s.io/apiserver/pkg/admission/config.go:44",
};

/// Why plugins cannot be configured so.
#[derive(thiserror::Error, Debug)]
pub enum ConfigurationError {
    #[error("unable to read admission control configuration from {path} [{why}]", path = GoQuoted(.path.to_string_lossy()))]
    File { path: PathBuf, why: FileError },
    #[error("failed to read plugin config: {0}")]
    Content(FileError),
    #[error("couldn't init admission plugin {plugin}: {why}", plugin = GoQuoted(.plugin))]
    Plugin { plugin: String, why: String },
    #[error("admission plugin {} takes no configuration here", GoQuoted(.0))]
    Plain(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionConfiguration {
    plugins: Option<Vec<Section>>,
}

#[derive(Deserialize)]
struct Section {
    name: String,
    path: String,
    configuration: Option<Value>,
}

/// What plugins are configured with.
#[derive(Default)]
pub struct Configuration {
    pub pod_security: pod_security::Configuration,
}

impl Configuration {
    /// As a file says.
    ///
    /// # Errors
    /// It, or a file that it names, cannot be read, or asks for what cannot be.
    pub fn read(path: &Path) -> Result<Configuration, ConfigurationError> {
        let data = file::read(path).map_err(|why| ConfigurationError::File {
            path: path.into(),
            why,
        })?;
        let file: AdmissionConfiguration =
            file::decode(&data, &KIND).map_err(ConfigurationError::Content)?;
        let mut configuration = Configuration::default();
        for section in file.plugins.unwrap_or_default() {
            let fault = |why: String| ConfigurationError::Plugin {
                plugin: section.name.clone(),
                why,
            };
            if section.name != pod_security::NAME {
                return Err(ConfigurationError::Plain(section.name));
            }
            // relative to this file
            let beside = path.parent().unwrap_or(Path::new("")).join(&section.path);
            let data = match &section.configuration {
                Some(value) => value.to_string().into_bytes(),
                None if section.path.is_empty() => Vec::new(),
                None => file::read(&beside).map_err(|why| fault(why.to_string()))?,
            };
            configuration.pod_security =
                pod_security::Configuration::read(&data).map_err(|why| fault(why.to_string()))?;
        }
        Ok(configuration)
    }
}
