//! The file that says what is encrypted and by whom: an EncryptionConfiguration of apiserver.config.k8s.io/v1.
//!
//! Invariant: no secret is shown in what is told of a file.
//! Follows `staging/src/k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go` for messages.

use std::path::Path as File;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    field::{Errors, Path},
    problem::Problem,
    read::Read,
    schema::{Schema, conform},
    yaml,
};

use super::{
    Of, Providers,
    keys::{Method, Provider},
};

const TYPES: &str = include_str!("types.txt");
const METHODS: [Method; 3] = [Method::AesGcm, Method::AesCbc, Method::Secretbox];
/// The providers, as upstream orders and calls them in what it shows.
const PROVIDERS: [(&str, &str); 5] = [
    ("aesgcm", "AESGCM"),
    ("aescbc", "AESCBC"),
    ("secretbox", "Secretbox"),
    ("identity", "Identity"),
    ("kms", "KMS"),
];

/// Why a file cannot be used.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    #[error(
        "error while parsing file: error while loading file: error reading encryption provider configuration file {path}: {source}",
        path = GoQuoted(.path)
    )]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "error while parsing file: error while loading file: encryption provider configuration file {} is empty",
        GoQuoted(.0)
    )]
    Empty(String),
    #[error(
        "error while parsing file: error decoding encryption provider configuration file {path}: {why}",
        path = GoQuoted(.path)
    )]
    Text { path: String, why: Problem },
    #[error("error while parsing file: {0}")]
    Content(String),
    #[error("error while building transformers: {0}")]
    Masked(String),
    #[error(
        "error while building transformers: the provider kms cannot be used yet; use aesgcm, aescbc or secretbox"
    )]
    Kms,
    #[error("unable to read sufficient random bytes")]
    Random,
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or asks for what cannot be.
pub fn read(path: &File) -> Result<Providers, ConfigError> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        path: shown(),
        source,
    })?;
    of(&text, path)
}

/// The same of a text that is, or will be, at `path`.
///
/// # Errors
/// It asks for what cannot be.
pub fn of(text: &str, path: &File) -> Result<Providers, ConfigError> {
    let shown = || path.display().to_string();
    if text.is_empty() {
        return Err(ConfigError::Empty(shown()));
    }
    let config = parse(text).map_err(|why| ConfigError::Text { path: shown(), why })?;
    let errors = validate(&config);
    if !errors.is_empty() {
        return Err(ConfigError::Content(errors.message()));
    }
    providers(&config)
}

fn parse(text: &str) -> Result<Value, Problem> {
    let (mut value, _) = yaml::read_first(text)?;
    let (version, kind) = (value.text("apiVersion"), value.text("kind"));
    if kind.is_empty() || version.is_empty() {
        // the text may hold secrets, and is not shown
        let missing = if kind.is_empty() {
            "Kind"
        } else {
            "apiVersion"
        };
        return Err(format!("Object '{missing}' is missing").into());
    }
    // the second is a slip of upstream's documentation that became a name
    let known = [
        ("apiserver.config.k8s.io/v1", "EncryptionConfiguration"),
        ("v1", "EncryptionConfig"),
    ];
    if !known.contains(&(version, kind)) {
        let scheme = "k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go";
        return Err(format!(
            "no kind {kind} is registered for version {version} in scheme {scheme}",
            kind = GoQuoted(&kind),
            version = GoQuoted(&version),
            scheme = GoQuoted(&scheme)
        )
        .into());
    }
    let schema = Schema::beside_metadata(TYPES)?;
    let decoded = conform(&mut value, schema.root(0)).map_err(|why| Problem::from(why.0))?;
    let remarks: Vec<String> = decoded.remarks().collect();
    match remarks.is_empty() {
        true => Ok(value),
        false => Err(format!("strict decoding error: {}", remarks.join(", ")).into()),
    }
}

/// Resource and group; either may be `*`.
fn parted(resource: &str) -> (&str, &str) {
    resource.split_once('.').unwrap_or((resource, ""))
}

fn validate(config: &Value) -> Errors {
    let mut errors = Errors::default();
    let root = Path::new("resources");
    let needed = |path: &Path, errors: &mut Errors| {
        errors.required(path, format!("at least one {path} is required"));
    };
    if config.list("resources").is_empty() {
        needed(&root, &mut errors);
    }
    for (index, of) in config.list("resources").iter().enumerate() {
        let at = root.index(index);
        let (resources, providers) = (at.child("resources"), at.child("providers"));
        let names: Vec<&str> = of.texts("resources").collect();
        if names.is_empty() {
            needed(&resources, &mut errors);
        }
        overlaps(&names, &resources, &mut errors);
        for (index, name) in names.iter().enumerate() {
            if let Some(why) = wrong_name(name) {
                errors.invalid(&resources.index(index), *name, why);
            }
        }
        if of.list("providers").is_empty() {
            needed(&providers, &mut errors);
        }
        for (index, provider) in of.list("providers").iter().enumerate() {
            validate_provider(provider, &providers.index(index), &mut errors);
        }
    }
    errors
}

fn overlaps(names: &[&str], path: &Path, errors: &mut Errors) {
    let parts: Vec<_> = names.iter().map(|name| parted(name)).collect();
    let (mut twice, mut overlap) = (false, false);
    for (i, one) in parts.iter().enumerate() {
        for (j, other) in parts.iter().enumerate() {
            if i == j {
                continue;
            }
            // the first pair that is equal is no more than that
            if one == other && !twice {
                twice = true;
                continue;
            }
            overlap |= *one == ("*", "*") || one.1 == other.1 && (one.0 == "*" || other.0 == "*");
        }
    }
    if twice {
        let why = "the same resource cannot be specified multiple times";
        errors.invalid(path, names.to_vec(), why);
    }
    if overlap {
        let why = "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked";
        errors.invalid(path, names.to_vec(), why);
    }
}

fn wrong_name(name: &str) -> Option<&'static str> {
    let (resource, group) = parted(name);
    Some(match () {
        () if name.chars().any(char::is_uppercase) => {
            "resource name should not contain capital letters"
        }
        () if name == "*" => {
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        }
        () if matches!(
            name,
            "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations"
        ) =>
        {
            "resources which do not have REST API/s cannot be encrypted"
        }
        () if group == "events.k8s.io" => {
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
        }
        () if group == "extensions" => {
            "'extensions' group has been removed and cannot be used for encryption"
        }
        () if group == "*" && resource != "*" => {
            "encrypting the same resource across groups is not supported"
        }
        () => return None,
    })
}

fn validate_provider(provider: &Value, path: &Path, errors: &mut Errors) {
    let there = PROVIDERS
        .iter()
        .filter(|(name, _)| provider.some(name).is_some());
    match there.count() {
        0 => {
            let shown: Vec<String> = PROVIDERS
                .iter()
                .map(|(_, name)| format!("{name:?}:null"))
                .collect();
            let why = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity";
            errors.invalid_shown(path, &format!("{{{}}}", shown.join(",")), why);
            return;
        }
        1 => {}
        _ => {
            let why = "more than one provider specified in a single element, should split into different list elements";
            errors.invalid(path, "REDACTED", why);
            return;
        }
    }
    for method in METHODS {
        let Some(given) = provider.some(method.name()) else {
            continue;
        };
        let at = path.child(method.name());
        let at = at.child("keys");
        if given.list("keys").is_empty() {
            errors.required(&at, "at least one keys is required");
        }
        for (index, key) in given.list("keys").iter().enumerate() {
            validate_key(key, method, &at.index(index), errors);
        }
    }
}

fn validate_key(key: &Value, method: Method, path: &Path, errors: &mut Errors) {
    if key.text("name").is_empty() {
        errors.required(&path.child("name"), "name is a mandatory field for a key");
    }
    let at = path.child("secret");
    let secret = key.text("secret");
    if secret.is_empty() {
        errors.required(&at, "secret is a mandatory field for a key");
        return;
    }
    match STANDARD.decode(secret) {
        Err(_) => errors.invalid(&at, "REDACTED", "secrets must be base64 encoded"),
        Ok(secret) if !method.lengths().contains(&secret.len()) => {
            let expected: Vec<String> = method.lengths().iter().map(usize::to_string).collect();
            let why = format!(
                "secret is not of the expected length, got {}, expected one of [{}]",
                secret.len(),
                expected.join(" ")
            );
            errors.invalid(&at, "REDACTED", why);
        }
        Ok(_) => {}
    }
}

/// A resource as messages show it.
fn shown(resource: &str, group: &str) -> String {
    match (resource, group) {
        ("*", _) | (_, "*") => format!("{resource}.{group}"),
        (_, "") => resource.into(),
        _ => format!("{resource}.{group}"),
    }
}

/// The providers of a configuration that was found to be right.
fn providers(config: &Value) -> Result<Providers, ConfigError> {
    let mut found: Vec<Of> = Vec::new();
    for of in config.list("resources") {
        for name in of.texts("resources") {
            let (resource, group) = parted(name);
            for (masking, of_group) in [("*", group), ("*", "*")] {
                if found
                    .iter()
                    .any(|one| one.resource == masking && one.group == of_group)
                {
                    let (one, by) = (shown(resource, group), shown(masking, of_group));
                    let why = format!(
                        "resource {one} is masked by earlier rule {by}",
                        one = GoQuoted(&one),
                        by = GoQuoted(&by)
                    );
                    return Err(ConfigError::Masked(why));
                }
            }
            let providers: Result<Vec<Provider>, ConfigError> =
                of.list("providers").iter().map(provider).collect();
            let providers = providers?;
            let known = found
                .iter_mut()
                .find(|one| one.resource == resource && one.group == group);
            match known {
                Some(known) => known.providers.extend(providers),
                None => found.push(Of {
                    group: group.into(),
                    resource: resource.into(),
                    providers,
                }),
            }
        }
    }
    Ok(Providers(found))
}

fn provider(given: &Value) -> Result<Provider, ConfigError> {
    if given.some("kms").is_some() {
        return Err(ConfigError::Kms);
    }
    let method = METHODS
        .into_iter()
        .find(|method| given.some(method.name()).is_some());
    let Some(method) = method else {
        return Ok(Provider::Identity);
    };
    let keys = given.at(method.name()).list("keys").iter().map(|key| {
        let secret = STANDARD
            .decode(key.text("secret"))
            .map_err(|error| ConfigError::Content(error.to_string()))?;
        Ok((format!("{}:", key.text("name")), secret))
    });
    Ok(Provider::Keys {
        method,
        prefix: format!("k8s:enc:{}:v1:", method.name()),
        keys: keys.collect::<Result<_, ConfigError>>()?,
    })
}
