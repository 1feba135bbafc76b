//! Volumes that are on another machine: what says where they are.
//!
//! Follows `pkg/apis/core/validation/validation.go` (`validate*VolumeSource` of each kind).

use super::Options;
use super::volume_sources::{required, secret_ref};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{dns_label, range, subdomain, unsupported};

/// `iqn.2001-04.com.example:storage`, `eui.` or `naa.` and hexadecimal digits.
pub fn is_iscsi_name(name: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => name.len() == 20 && digits(&name[4..], 16),
        Some("naa") => name.len() == 36 && digits(&name[4..], 32),
        _ => true,
    }
}

fn is_iqn(name: &str) -> bool {
    // upstream's expression is not anchored at its start: any `iqn.YYYY-MM.` in the name will do
    name.match_indices("iqn.").any(|(at, _)| {
        let rest = &name.as_bytes()[at + 4..];
        let date = rest.len() > 8
            && rest[..4].iter().all(u8::is_ascii_digit)
            && rest[4] == b'-'
            && rest[5..7].iter().all(u8::is_ascii_digit)
            && rest[7] == b'.';
        let Some((authority, target)) = date
            .then(|| &name[at + 12..])
            .and_then(|rest| rest.split_once(':'))
        else {
            return false;
        };
        let authority_is_good = !authority.is_empty()
            && authority
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        authority_is_good
            && !target.is_empty()
            && !target.contains([',', ';', '*', '&', '$', '|'])
            && !target.contains(char::is_whitespace)
    })
}

pub(super) fn iscsi(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    required(value, &["targetPortal"], path, errors);
    let known = |name: &str| {
        ["iqn", "eui", "naa"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    const START: &str = "must be valid format starting with iqn, eui, or naa";
    let (name, at) = (value.text("iqn"), path.child("iqn"));
    if name.is_empty() {
        errors.required(&at, "");
    } else if !known(name) {
        errors.invalid(&at, name, START);
    } else if !is_iscsi_name(name) {
        errors.invalid(&at, name, "must be valid format");
    }
    range(value.int("lun"), 0, 255, &path.child("lun"), errors);
    if (value.flag("chapAuthDiscovery") || value.flag("chapAuthSession"))
        && value.some("secretRef").is_none()
    {
        errors.required(&path.child("secretRef"), "");
    }
    if let Some(initiator) = value.text_ptr("initiatorName") {
        let at = path.child("initiatorname");
        if !known(initiator) {
            errors.invalid(&at, initiator, START);
        } else if !is_iscsi_name(initiator) {
            errors.invalid(&at, initiator, "must be valid format");
        }
    }
}

pub(super) fn flocker(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    match (value.text("datasetName"), value.text("datasetUUID")) {
        ("", "") => errors.required(path, "one of datasetName and datasetUUID is required"),
        (name, uuid) => {
            if !name.is_empty() && !uuid.is_empty() {
                errors.invalid(
                    path,
                    "resource",
                    "datasetName and datasetUUID can not be specified simultaneously",
                );
            }
            if name.contains('/') {
                errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
            }
        }
    }
}

pub(super) fn quobyte(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    const TENANT_LIMIT: usize = 64;
    let registry = value.text("registry");
    if registry.is_empty() {
        errors.required(&path.child("registry"), PAIRS);
    } else if value.text("tenant").len() > TENANT_LIMIT {
        errors.required(
            &path.child("tenant"),
            "must be a UUID and may not exceed a length of 64 characters",
        );
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_port(pair)) {
            errors.invalid(&path.child("registry"), registry, PAIRS);
        }
    }
    required(value, &["volume"], path, errors);
}

/// As Go's `net.SplitHostPort` takes it.
fn is_host_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else {
        return false;
    };
    let host_is_good = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .is_some_and(|inner| !inner.contains(['[', ']'])),
        None => !host.contains([':', '[', ']']),
    };
    host_is_good && !port.contains(['[', ']'])
}

pub(super) fn fibre_channel(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    let (targets, ids) = (value.list("targetWWNs"), value.list("wwids"));
    let at = path.child("targetWWNs");
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => {
            errors.required(&at, "must specify either targetWWNs or wwids, but not both")
        }
        (false, false) => errors.invalid(
            &at,
            targets.to_vec(),
            "targetWWNs and wwids can not be specified simultaneously",
        ),
        _ => {}
    }
    if !targets.is_empty() {
        match value.int_ptr("lun") {
            Some(lun) => range(lun, 0, 255, &path.child("lun"), errors),
            None => errors.required(
                &path.child("lun"),
                "lun is required if targetWWNs is specified",
            ),
        }
    }
}

pub(super) fn flex_volume(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    required(value, &["driver"], path, errors);
    for (key, _) in value.entries("options") {
        let namespace = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(
                &path.child("options").key(key),
                key,
                "kubernetes.io and k8s.io namespaces are reserved",
            );
        }
    }
}

pub(super) fn azure_disk(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    required(value, &["diskName", "diskURI"], path, errors);
    for (name, supported) in [
        ("cachingMode", ["None", "ReadOnly", "ReadWrite"]),
        ("kind", ["Dedicated", "Managed", "Shared"]),
    ] {
        if let Some(given) = value
            .text_ptr(name)
            .filter(|given| !supported.contains(given))
        {
            unsupported(given, &supported, &path.child(name), errors);
        }
    }
    let uri = value.text("diskURI");
    let (start, shape) = match value.text_ptr("kind") {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    if !uri.starts_with(start) {
        unsupported(uri, &[shape], &path.child("diskURI"), errors);
    }
}

pub(super) fn storage_os(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    required(value, &["volumeName"], path, errors);
    for name in ["volumeName", "volumeNamespace"] {
        let given = value.text(name);
        if !given.is_empty() {
            dns_label(given, &path.child(name), errors);
        }
    }
    secret_ref(value, path, errors);
}

pub(super) fn csi(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    csi_driver_name(value.text("driver"), &path.child("driver"), errors);
    if let Some(secret) = value.some("nodePublishSecretRef") {
        match secret.text("name") {
            "" => errors.required(&path.child("nodePublishSecretRef").child("name"), ""),
            name => subdomain(name, &path.child("name"), errors),
        }
    }
}

/// The name of a CSI driver.
pub fn csi_driver_name(name: &str, path: &Path, errors: &mut Errors) {
    const LONGEST: usize = 63;
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > LONGEST {
        errors.too_long(path, LONGEST as i64);
    }
    errors.invalid_all(
        path,
        name,
        names::is_dns1123_subdomain(&name.to_lowercase()),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (pair, good) in [
            ("a:1", true),
            ("a", false),
            ("[::1]:1", true),
            ("::1:1", false),
            (":1", true),
            ("a:b", true),
        ] {
            assert_eq!(is_host_port(pair), good, "{pair}");
        }
    }
}
