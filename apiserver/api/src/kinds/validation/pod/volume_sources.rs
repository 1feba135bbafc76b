//! Volume sources, one row a kind: its name, what paths call it, its check.
//!
//! Invariant: the rows stand in the order in which upstream looks for them, which decides which of two is the one too many.
//! Follows `pkg/apis/core/validation/validation.go` (validateVolumeSource and the checks it calls).

use super::claim_template::claim_template;
use super::env::{FILE_FIELDS, field_ref, resource_field_ref};
use super::handlers::pull_policy;
use super::resources::quantity;
use super::{Options, projected, volume_remote as remote};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    descending_path, dns_label, no_backsteps, non_reserved_path, unsupported,
};
use crate::machinery::schema::Schema;

/// Checks a source; the path is the source's.
type Check = fn(&Value, &Options, &Path, &mut Errors);

/// One kind of source.
pub struct Source {
    pub name: &'static str,
    /// What the path is called when it is one source too many, where that is not its name.
    surplus: Option<&'static str>,
    /// What the path is called in the check, where that is not its name.
    place: Option<&'static str>,
    check: Check,
}

const fn row(name: &'static str, check: Check) -> Source {
    Source {
        name,
        surplus: None,
        place: None,
        check,
    }
}

/// All kinds.
pub static SOURCES: [Source; 30] = [
    row("emptyDir", empty_dir),
    row("hostPath", host_path),
    row("gitRepo", |v, _, path, errors| {
        required(v, &["repository"], path, errors);
        descending_path(v.text("directory"), &path.child("directory"), errors);
    }),
    Source {
        name: "gcePersistentDisk",
        surplus: None,
        place: Some("persistentDisk"),
        check: |v, _, path, errors| cloud_disk(v, "pdName", path, errors),
    },
    row("awsElasticBlockStore", |v, _, path, errors| {
        cloud_disk(v, "volumeID", path, errors)
    }),
    row("secret", |v, _, path, errors| {
        items(v, "secretName", path, errors)
    }),
    row("nfs", |v, _, path, errors| {
        required(v, &["server", "path"], path, errors);
        if !v.text("path").starts_with('/') {
            errors.invalid(
                &path.child("path"),
                v.text("path"),
                "must be an absolute path",
            );
        }
    }),
    row("iscsi", remote::iscsi),
    row("glusterfs", |v, _, path, errors| {
        required(v, &["endpoints", "path"], path, errors)
    }),
    row("flocker", remote::flocker),
    row("persistentVolumeClaim", |v, _, path, errors| {
        required(v, &["claimName"], path, errors)
    }),
    row("rbd", |v, _, path, errors| {
        required_list(v, "monitors", path, errors);
        required(v, &["image"], path, errors);
    }),
    row("cinder", |v, _, path, errors| {
        required(v, &["volumeID"], path, errors);
        secret_ref(v, path, errors);
    }),
    Source {
        name: "cephfs",
        surplus: Some("cephFS"),
        place: None,
        check: |v, _, path, errors| required_list(v, "monitors", path, errors),
    },
    row("quobyte", remote::quobyte),
    Source {
        name: "downwardAPI",
        surplus: Some("downwarAPI"),
        place: None,
        check: downward_api,
    },
    row("fc", remote::fibre_channel),
    row("flexVolume", remote::flex_volume),
    row("configMap", |v, _, path, errors| {
        items(v, "name", path, errors)
    }),
    row("azureFile", |v, _, path, errors| {
        required(v, &["secretName", "shareName"], path, errors)
    }),
    row("vsphereVolume", |v, _, path, errors| {
        required(v, &["volumePath"], path, errors)
    }),
    row("photonPersistentDisk", |v, _, path, errors| {
        required(v, &["pdID"], path, errors)
    }),
    row("portworxVolume", |v, _, path, errors| {
        required(v, &["volumeID"], path, errors)
    }),
    row("azureDisk", remote::azure_disk),
    row("storageos", remote::storage_os),
    row("projected", projected::validate),
    row("scaleIO", |v, _, path, errors| {
        required(v, &["gateway", "system", "volumeName"], path, errors)
    }),
    row("csi", remote::csi),
    row("ephemeral", |v, _, path, errors| {
        match v.some("volumeClaimTemplate") {
            Some(template) => claim_template(template, &path.child("volumeClaimTemplate"), errors),
            None => errors.required(&path.child("volumeClaimTemplate"), ""),
        }
    }),
    row("image", |v, options, path, errors| {
        if options.is_pod {
            required(v, &["reference"], path, errors);
        }
        pull_policy(v.text("pullPolicy"), &path.child("pullPolicy"), errors);
    }),
];

/// The source of a volume: one, and good. `pod` is the pod's name where it is known.
pub fn validate(volume: &Value, pod: &str, options: &Options, path: &Path, errors: &mut Errors) {
    let mut found = false;
    for row in &SOURCES {
        let Some(source) = volume.some(row.name) else {
            continue;
        };
        if found {
            errors.forbidden(
                &path.child(row.surplus.unwrap_or(row.name)),
                "may not specify more than 1 volume type",
            );
        } else {
            (row.check)(
                source,
                options,
                &path.child(row.place.unwrap_or(row.name)),
                errors,
            );
        }
        names_that_grow(volume, row.name, source, !found, pod, path, errors);
        found = true;
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

/// The check of a kind of source that persistent volumes have, too.
pub fn check(kind: &str, source: &Value, path: &Path, errors: &mut Errors) {
    if let Some(row) = SOURCES.iter().find(|row| row.name == kind) {
        (row.check)(source, &Options::default(), path, errors);
    }
}

/// Names that are made of the volume's must not get too long.
fn names_that_grow(
    volume: &Value,
    kind: &str,
    source: &Value,
    first: bool,
    pod: &str,
    path: &Path,
    errors: &mut Errors,
) {
    const ISCSI_LIMIT: usize = 64;
    let name = volume.text("name");
    match kind {
        "iscsi"
            if source.some("initiatorName").is_some()
                && name.len() + 1 + source.text("targetPortal").len() > ISCSI_LIMIT =>
        {
            let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
            errors.invalid(&path.child("name"), name, why);
        }
        "ephemeral" if first && !pod.is_empty() && !name.is_empty() => {
            let claim = format!("{pod}-{name}");
            for message in names::is_dns1123_subdomain(&claim) {
                errors.invalid(
                    &path.child("name"),
                    name,
                    format!("PVC name \"{claim}\": {message}"),
                );
            }
        }
        _ => {}
    }
}

pub fn required(value: &Value, fields: &[&str], path: &Path, errors: &mut Errors) {
    for name in fields.iter().filter(|name| value.text(name).is_empty()) {
        errors.required(&path.child(name), "");
    }
}

fn required_list(value: &Value, name: &str, path: &Path, errors: &mut Errors) {
    if value.list(name).is_empty() {
        errors.required(&path.child(name), "");
    }
}

pub fn secret_ref(value: &Value, path: &Path, errors: &mut Errors) {
    if value
        .some("secretRef")
        .is_some_and(|secret| secret.text("name").is_empty())
    {
        errors.required(&path.child("secretRef").child("name"), "");
    }
}

/// A file's mode, where it is set.
pub fn mode(value: &Value, name: &str, path: &Path, errors: &mut Errors) {
    if let Some(mode) = value
        .int_ptr(name)
        .filter(|mode| !(0..=0o777).contains(mode))
    {
        errors.invalid(
            &path.child(name),
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn empty_dir(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    if value
        .some("sizeLimit")
        .is_some_and(|limit| quantity(limit).sign() < 0)
    {
        errors.forbidden(
            &path.child("sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        );
    }
}

fn host_path(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    if value.text("path").is_empty() {
        return errors.required(&path.child("path"), "");
    }
    no_backsteps(value.text("path"), &path.child("path"), errors);
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if let Some(kind) = value.text_ptr("type").filter(|kind| !TYPES.contains(kind)) {
        unsupported(kind, TYPES, &path.child("type"), errors);
    }
}

fn cloud_disk(value: &Value, name: &str, path: &Path, errors: &mut Errors) {
    required(value, &[name], path, errors);
    let partition = value.int("partition");
    if !(0..=255).contains(&partition) {
        errors.invalid(
            &path.child("partition"),
            partition,
            names::inclusive_range_error(1, 255),
        );
    }
}

fn items(value: &Value, name: &str, path: &Path, errors: &mut Errors) {
    required(value, &[name], path, errors);
    mode(value, "defaultMode", path, errors);
    let at = path.child("items");
    for (index, item) in value.list("items").iter().enumerate() {
        key_to_path(item, &at.index(index), errors);
    }
}

/// An item of a ConfigMap or Secret.
pub fn key_to_path(item: &Value, path: &Path, errors: &mut Errors) {
    required(item, &["key", "path"], path, errors);
    non_reserved_path(item.text("path"), &path.child("path"), errors);
    mode(item, "mode", path, errors);
}

fn downward_api(value: &Value, _: &Options, path: &Path, errors: &mut Errors) {
    mode(value, "defaultMode", path, errors);
    for file in value.list("items") {
        downward_file(file, path, errors);
    }
}

/// A file that shows a field of the pod. Its path is that of the list (upstream leaves the index out).
pub fn downward_file(file: &Value, path: &Path, errors: &mut Errors) {
    required(file, &["path"], path, errors);
    non_reserved_path(file.text("path"), &path.child("path"), errors);
    match (file.some("fieldRef"), file.some("resourceFieldRef")) {
        (Some(field), other) => {
            field_ref(field, FILE_FIELDS, &path.child("fieldRef"), errors);
            if other.is_some() {
                errors.invalid(
                    path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
        }
        (None, Some(resource)) => {
            resource_field_ref(resource, true, &path.child("resourceFieldRef"), errors)
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file, "mode", path, errors);
}

/// A list of volumes in the order given, with those that are good.
pub fn volumes<'v>(
    list: &'v [Value],
    pod: &str,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) -> Vec<(&'v str, &'v Value)> {
    let mut good: Vec<(&str, &Value)> = Vec::with_capacity(list.len());
    for (index, volume) in list.iter().enumerate() {
        let at = path.index(index);
        let (name, before) = (volume.text("name"), errors.len());
        validate(volume, pod, options, &at, errors);
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            dns_label(name, &at.child("name"), errors);
        }
        if good.iter().any(|(other, _)| *other == name) {
            errors.duplicate(&at.child("name"), name);
        }
        if errors.len() == before {
            good.push((name, volume));
        }
        let claim = volume.at("persistentVolumeClaim").text("claimName");
        let made = |other: &Value| {
            other.some("ephemeral").is_some()
                && claim
                    .strip_prefix(pod)
                    .and_then(|rest| rest.strip_prefix('-'))
                    == Some(other.text("name"))
        };
        if !pod.is_empty()
            && volume.some("persistentVolumeClaim").is_some()
            && list.iter().any(made)
        {
            let at = at.child("persistentVolumeClaim");
            errors.invalid(
                &at.child("claimName"),
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            );
        }
    }
    good
}

/// Metadata of a template of claims: labels and annotations, nothing else.
pub fn refuse_other_metadata(metadata: &Value, path: &Path, errors: &mut Errors) {
    let fields = Schema::builtin().get("meta.v1.ObjectMeta");
    let fields = fields.and_then(|node| node.as_type()).into_iter();
    let other = fields
        .flat_map(|of| of.fields.iter().map(|field| &*field.name))
        .filter(|name| !matches!(*name, "labels" | "annotations") && metadata.some(name).is_some());
    for name in other {
        // upstream makes the name of Go's field, UID, with a small first letter
        let shown = if name == "uid" { "uID" } else { name };
        errors.forbidden(&path.child(shown), "cannot be set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(volume: Value) -> Vec<String> {
        Errors::of(|errors| {
            validate(
                &volume,
                "pod",
                &Options {
                    is_pod: true,
                    ..Options::default()
                },
                &Path::new("v"),
                errors,
            )
        })
        .texts()
    }

    #[test]
    fn sources() {
        for (volume, wanted) in [
            (json!({"name": "a", "emptyDir": {}}), vec![]),
            (
                json!({"name": "a"}),
                vec!["v: Required value: must specify a volume type"],
            ),
            (
                json!({"name": "a", "emptyDir": {}, "cephfs": {}}),
                vec!["v.cephFS: Forbidden: may not specify more than 1 volume type"],
            ),
            (
                json!({"hostPath": {"path": "/a/..", "type": "x"}}),
                vec![
                    "v.hostPath.path: Invalid value: \"/a/..\": must not contain '..'",
                    "v.hostPath.type: Unsupported value: \"x\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
                ],
            ),
            (
                json!({"gcePersistentDisk": {"partition": 256}}),
                vec![
                    "v.persistentDisk.pdName: Required value",
                    "v.persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive",
                ],
            ),
            (
                json!({"configMap": {"name": "a", "defaultMode": 512, "items": [{"key": "", "path": "/a"}]}}),
                vec![
                    "v.configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                    "v.configMap.items[0].key: Required value",
                    "v.configMap.items[0].path: Invalid value: \"/a\": must be a relative path",
                ],
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "a"}]}}),
                vec![
                    "v.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
                ],
            ),
            (
                json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:a", "lun": 256}}),
                vec!["v.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive"],
            ),
            (
                json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.odd"}}),
                vec!["v.iscsi.iqn: Invalid value: \"iqn.odd\": must be valid format"],
            ),
            (
                json!({"quobyte": {"registry": "a", "volume": "b"}}),
                vec![
                    "v.quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas",
                ],
            ),
            (
                json!({"csi": {"driver": "A_b"}}),
                vec![
                    "v.csi.driver: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                json!({"image": {}}),
                vec![
                    "v.image.reference: Required value",
                    "v.image.pullPolicy: Required value",
                ],
            ),
        ] {
            assert_eq!(said(volume), wanted);
        }
    }

    #[test]
    fn lists() {
        let list = [
            json!({"name": "a", "emptyDir": {}}),
            json!({"name": "a", "emptyDir": {}}),
            json!({"name": "e", "ephemeral": {}}),
            json!({"name": "c", "persistentVolumeClaim": {"claimName": "pod-e"}}),
        ];
        let mut errors = Errors::default();
        let good = volumes(
            &list,
            "pod",
            &Options::default(),
            &Path::new("v"),
            &mut errors,
        );
        assert_eq!(
            good.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["a", "c"]
        );
        let said: Vec<String> = errors.texts();
        assert_eq!(said[0], "v[1].name: Duplicate value: \"a\"");
        assert_eq!(
            said[2],
            "v[3].persistentVolumeClaim.claimName: Invalid value: \"pod-e\": must not reference a PVC that gets created for an ephemeral volume"
        );
    }
}
