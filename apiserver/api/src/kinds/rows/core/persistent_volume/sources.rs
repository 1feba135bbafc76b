//! What persistent volumes are made of, one row a kind: those of pods, some with a namespace for their secrets, and local disks.
//!
//! Invariant: the rows stand in the order in which upstream looks for them, which decides which of two is the one too many.
//! Follows `ValidatePersistentVolumeSpec` of `pkg/apis/core/validation/validation.go` and the checks that it calls.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{dns_label, no_backsteps, range, subdomain};
use crate::kinds::validation::pod::{
    volume_remote::{csi_driver_name, is_iscsi_name},
    volume_sources::{check, required, secret_ref},
};

/// Checks a source of the volume of this name.
type Check = fn(&Value, &str, &Path, &mut Errors);

struct Source {
    name: &'static str,
    /// What the path is called in the check, where that is not its name.
    place: &'static str,
    /// What the path is called when it is one source too many.
    surplus: &'static str,
    check: Option<Check>,
}

const fn row(name: &'static str) -> Source {
    Source {
        name,
        place: name,
        surplus: name,
        check: None,
    }
}

const fn own(name: &'static str, check: Check) -> Source {
    Source {
        check: Some(check),
        ..row(name)
    }
}

static SOURCES: [Source; 22] = [
    row("hostPath"),
    Source {
        place: "persistentDisk",
        ..row("gcePersistentDisk")
    },
    row("awsElasticBlockStore"),
    own("glusterfs", glusterfs),
    row("flocker"),
    row("nfs"),
    row("rbd"),
    row("quobyte"),
    Source {
        surplus: "cephFS",
        ..row("cephfs")
    },
    own("iscsi", iscsi),
    own("cinder", |source, _, path, errors| {
        check("cinder", source, path, errors);
        secret_namespace(source, path, errors);
    }),
    row("fc"),
    row("flexVolume"),
    own("azureFile", |source, _, path, errors| {
        check("azureFile", source, path, errors);
        if source.text_ptr("secretNamespace") == Some("") {
            errors.required(&path.child("secretNamespace"), "");
        }
    }),
    row("vsphereVolume"),
    row("photonPersistentDisk"),
    row("portworxVolume"),
    row("azureDisk"),
    row("scaleIO"),
    own("local", |source, _, path, errors| {
        match source.text("path") {
            "" => errors.required(&path.child("path"), ""),
            place => no_backsteps(place, &path.child("path"), errors),
        }
    }),
    own("storageos", |source, _, path, errors| {
        check("storageos", source, path, errors);
        secret_namespace(source, path, errors);
    }),
    own("csi", csi),
];

/// The names of all kinds.
pub fn names() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// The source of a volume: one, and good.
pub fn validate(spec: &Value, volume: &str, path: &Path, errors: &mut Errors) {
    let mut found = false;
    for row in &SOURCES {
        let Some(source) = spec.some(row.name) else {
            continue;
        };
        // upstream forgets to ask here
        if found && row.name != "flexVolume" {
            errors.forbidden(
                &path.child(row.surplus),
                "may not specify more than 1 volume type",
            );
        } else {
            let place = path.child(row.place);
            match row.check {
                Some(own) => own(source, volume, &place, errors),
                None => check(row.name, source, &place, errors),
            }
            if row.name == "local" && spec.some("nodeAffinity").is_none() {
                errors.required(
                    &path.child("nodeAffinity"),
                    "Local volume requires node affinity",
                );
            }
        }
        found = true;
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

fn secret_namespace(source: &Value, path: &Path, errors: &mut Errors) {
    if source
        .some("secretRef")
        .is_some_and(|secret| secret.text("namespace").is_empty())
    {
        errors.required(&path.child("secretRef").child("namespace"), "");
    }
}

fn glusterfs(source: &Value, _: &str, path: &Path, errors: &mut Errors) {
    check("glusterfs", source, path, errors);
    let path = path.child("endpointsNamespace");
    match source.text_ptr("endpointsNamespace") {
        None => {}
        Some("") => errors.invalid(
            &path,
            "",
            "if the endpointnamespace is set, it must be a valid namespace name",
        ),
        Some(namespace) => dns_label(namespace, &path, errors),
    }
}

fn iscsi(source: &Value, volume: &str, path: &Path, errors: &mut Errors) {
    const LIMIT: usize = 64;
    const WRONG: &str = "must be valid format";
    let good = |name: &str| {
        ["iqn", "eui", "naa"]
            .iter()
            .any(|start| name.starts_with(start))
            && is_iscsi_name(name)
    };
    required(source, &["targetPortal"], path, errors);
    let (portal, initiator) = (
        source.text("targetPortal"),
        source.text_ptr("initiatorName"),
    );
    if initiator.is_some() && volume.len() + 1 + portal.len() > LIMIT {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(&path.child("targetportal"), portal, why);
    }
    match source.text("iqn") {
        "" => errors.required(&path.child("iqn"), ""),
        name if !good(name) => errors.invalid(&path.child("iqn"), name, WRONG),
        _ => {}
    }
    range(source.int("lun"), 0, 255, &path.child("lun"), errors);
    if (source.flag("chapAuthDiscovery") || source.flag("chapAuthSession"))
        && source.some("secretRef").is_none()
    {
        errors.required(&path.child("secretRef"), "");
    }
    secret_ref(source, path, errors);
    if let Some(name) = initiator.filter(|name| !good(name)) {
        errors.invalid(&path.child("initiatorname"), name, WRONG);
    }
}

fn csi(source: &Value, _: &str, path: &Path, errors: &mut Errors) {
    csi_driver_name(source.text("driver"), &path.child("driver"), errors);
    required(source, &["volumeHandle"], path, errors);
    for name in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = source.some(name) else {
            continue;
        };
        let path = path.child(name);
        match secret.text("name") {
            "" => errors.required(&path.child("name"), ""),
            name => subdomain(name, &path.child("name"), errors),
        }
        match secret.text("namespace") {
            "" => errors.required(&path.child("namespace"), ""),
            namespace => dns_label(namespace, &path.child("namespace"), errors),
        }
    }
}
