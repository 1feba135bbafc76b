//! Projected volumes: several sources in one folder. Follows `pkg/apis/core/validation/validation.go` (validateProjectionSources).
//!
//! Invariant: no two sources write the same file. Sources behind feature gates that are off (`clusterTrustBundle`, `podCertificate`)
//! were dropped before.

use super::Options;
use super::volume_sources::{downward_file, key_to_path, mode};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::non_reserved_path;

pub fn validate(volume: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    mode(volume, "defaultMode", path, errors);
    let mut files: Vec<&str> = Vec::new();
    for (index, source) in volume.list("sources").iter().enumerate() {
        let at = path.child("sources");
        one(source, &mut files, options, path, &at.index(index), errors);
    }
}

/// `volume` is the path of the whole, which upstream blames for files that stand twice.
fn one<'v>(
    source: &'v Value,
    files: &mut Vec<&'v str>,
    options: &Options,
    volume: &Path,
    path: &Path,
    errors: &mut Errors,
) {
    let mut found = 0;
    let mut place = |file: &'v str, blamed: &str, errors: &mut Errors| {
        if file.is_empty() {
        } else if files.contains(&file) {
            errors.invalid(volume, blamed, "conflicting duplicate paths");
        } else {
            files.push(file);
        }
    };
    for name in ["secret", "configMap"] {
        let Some(of) = source.some(name) else {
            continue;
        };
        found += 1;
        let at = path.child(name);
        if of.text("name").is_empty() {
            errors.required(&at.child("name"), "");
        }
        for (index, item) in of.list("items").iter().enumerate() {
            key_to_path(item, &at.child("items").index(index), errors);
            place(item.text("path"), of.text("name"), errors);
        }
    }
    if let Some(of) = source.some("downwardAPI") {
        found += 1;
        for file in of.list("items") {
            downward_file(file, &path.child("downwardAPI"), errors);
            place(file.text("path"), file.text("path"), errors);
        }
    }
    if let Some(token) = source.some("serviceAccountToken") {
        found += 1;
        service_account_token(
            token,
            options,
            volume,
            &path.child("serviceAccountToken"),
            errors,
        );
    }
    if found > 1 {
        errors.forbidden(path, "may not specify more than 1 volume type per source");
    }
}

fn service_account_token(
    token: &Value,
    options: &Options,
    volume: &Path,
    path: &Path,
    errors: &mut Errors,
) {
    const SHORTEST: i64 = 10 * 60;
    const LONGEST: i64 = 1 << 32;
    let seconds = token.int("expirationSeconds");
    if seconds < SHORTEST {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 10 minutes",
        );
    }
    if seconds > LONGEST {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    match token.text("path") {
        "" => errors.required(&volume.child("path"), ""),
        file if !options.nonlocal_token_path => {
            non_reserved_path(file, &volume.child("path"), errors)
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (sources, wanted) in [
            (
                json!([{"serviceAccountToken": {"expirationSeconds": 3600, "path": "t"}}]),
                vec![],
            ),
            (
                json!([{"serviceAccountToken": {"expirationSeconds": 1}}]),
                vec![
                    "p.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                    "p.path: Required value",
                ],
            ),
            (
                json!([{"secret": {"name": "s", "items": [{"key": "k", "path": "a"}]}}, {"configMap": {"name": "c", "items": [{"key": "k", "path": "a"}]}}]),
                vec!["p: Invalid value: \"c\": conflicting duplicate paths"],
            ),
            (
                json!([{"secret": {"name": ""}, "configMap": {"name": "c"}}]),
                vec![
                    "p.sources[0].secret.name: Required value",
                    "p.sources[0]: Forbidden: may not specify more than 1 volume type per source",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            validate(
                &json!({"sources": sources}),
                &Options::default(),
                &Path::new("p"),
                &mut errors,
            );
            assert_eq!(errors.texts(), wanted);
        }
    }
}
