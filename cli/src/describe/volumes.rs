//! Volumes of pods, and sources of persistent volumes: what each kind of source shows stands in one table.
//! Invariant: a source that has no row here is told to be unknown.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use super::form::Line::{self, All, Do, Each, Field, If, In, Text};
use super::form::put;
use super::storage;
use super::text::pairs;
use crate::typed::Read;
use serde_json::Value;

const READ_ONLY: Line = Field("    ReadOnly", "readOnly|flag");
const OPTIONAL: Line = Field("    Optional", "optional|flag");
const FS_TYPE: Line = Field("    FSType", "fsType");
const SECRET: Line = Field("    SecretRef", "secretRef|secret name");
const PERSISTENT_SECRET: Line = Field("    SecretRef", "secretRef|secret");

/// What a kind of source is, and what is shown of it.
type Source = (&'static str, &'static str, &'static [Line]);

/// The sources of pods' volumes.
const SOURCES: &[Source] = &[
    (
        "hostPath",
        "HostPath (bare host directory volume)",
        &[
            Field("    Path", "path"),
            Field("    HostPathType", "type?<none>"),
        ],
    ),
    (
        "emptyDir",
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        &[
            Field("    Medium", "medium"),
            Field("    SizeLimit", "sizeLimit?<unset>"),
        ],
    ),
    (
        "gcePersistentDisk",
        "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
        &[
            Field("    PDName", "pdName"),
            FS_TYPE,
            Field("    Partition", "partition?0"),
            READ_ONLY,
        ],
    ),
    (
        "awsElasticBlockStore",
        "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
        &[
            Field("    VolumeID", "volumeID"),
            FS_TYPE,
            Field("    Partition", "partition?0"),
            READ_ONLY,
        ],
    ),
    (
        "gitRepo",
        "GitRepo (a volume that is pulled from git when the pod is created)",
        &[
            Field("    Repository", "repository"),
            Field("    Revision", "revision"),
        ],
    ),
    (
        "secret",
        "Secret (a volume populated by a Secret)",
        &[Field("    SecretName", "secretName"), OPTIONAL],
    ),
    (
        "configMap",
        "ConfigMap (a volume populated by a ConfigMap)",
        &[Field("    Name", "name"), OPTIONAL],
    ),
    (
        "nfs",
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        &[
            Field("    Server", "server"),
            Field("    Path", "path"),
            READ_ONLY,
        ],
    ),
    (
        "iscsi",
        "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)",
        &[
            All(ISCSI),
            SECRET,
            Field("    InitiatorName", "initiatorName?<none>"),
        ],
    ),
    (
        "glusterfs",
        "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)",
        &[
            Field("    EndpointsName", "endpoints"),
            Field("    Path", "path"),
            READ_ONLY,
        ],
    ),
    (
        "persistentVolumeClaim",
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        &[Field("    ClaimName", "claimName"), READ_ONLY],
    ),
    (
        "ephemeral",
        "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        &[In("volumeClaimTemplate", storage::TEMPLATE)],
    ),
    (
        "rbd",
        "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)",
        &[All(RBD), SECRET, READ_ONLY],
    ),
    (
        "quobyte",
        "Quobyte (a Quobyte mount on the host that shares a pod's lifetime)",
        &[
            Field("    Registry", "registry"),
            Field("    Volume", "volume"),
            READ_ONLY,
        ],
    ),
    (
        "downwardAPI",
        "DownwardAPI (a volume populated by information about the pod)",
        &[
            Text("    Items:"),
            Each(
                "items",
                &[
                    If("fieldRef", &[Text("      {fieldRef.fieldPath} -> {path}")]),
                    If(
                        "resourceFieldRef",
                        &[Text("      {resourceFieldRef.resource} -> {path}")],
                    ),
                ],
            ),
        ],
    ),
    (
        "azureDisk",
        "AzureDisk (an Azure Data Disk mount on the host and bind mount to the pod)",
        &[
            Field("    DiskName", "diskName"),
            Field("    DiskURI", "diskURI"),
            Text("    Kind: \t{kind}"),
            FS_TYPE,
            Field("    CachingMode", "cachingMode"),
            READ_ONLY,
        ],
    ),
    (
        "vsphereVolume",
        "vSphereVolume (a Persistent Disk resource in vSphere)",
        &[
            Field("    VolumePath", "volumePath"),
            FS_TYPE,
            Field("    StoragePolicyName", "storagePolicyName"),
        ],
    ),
    (
        "cinder",
        "Cinder (a Persistent Disk resource in OpenStack)",
        &[
            Field("    VolumeID", "volumeID"),
            FS_TYPE,
            READ_ONLY,
            SECRET,
        ],
    ),
    (
        "photonPersistentDisk",
        "PhotonPersistentDisk (a Persistent Disk resource in photon platform)",
        &[Field("    PdID", "pdID"), FS_TYPE],
    ),
    (
        "portworxVolume",
        "PortworxVolume (a Portworx Volume resource)",
        &[Field("    VolumeID", "volumeID")],
    ),
    (
        "scaleIO",
        "ScaleIO (a persistent volume backed by a block device in ScaleIO)",
        &[All(SCALE_IO), FS_TYPE, READ_ONLY],
    ),
    (
        "cephfs",
        "CephFS (a CephFS mount on the host that shares a pod's lifetime)",
        &[All(CEPH_FS), SECRET, READ_ONLY],
    ),
    (
        "storageos",
        "StorageOS (a StorageOS Persistent Disk resource)",
        &[
            Field("    VolumeName", "volumeName"),
            Field("    VolumeNamespace", "volumeNamespace"),
            FS_TYPE,
            READ_ONLY,
        ],
    ),
    (
        "fc",
        "FC (a Fibre Channel disk)",
        &[
            Field("    TargetWWNs", "targetWWNs|list"),
            Field("    LUN", "lun?<none>"),
            FS_TYPE,
            READ_ONLY,
        ],
    ),
    (
        "azureFile",
        "AzureFile (an Azure File Service mount on the host and bind mount to the pod)",
        &[
            Field("    SecretName", "secretName"),
            Field("    ShareName", "shareName"),
            READ_ONLY,
        ],
    ),
    (
        "flexVolume",
        "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)",
        &[
            Field("    Driver", "driver"),
            FS_TYPE,
            SECRET,
            READ_ONLY,
            Field("    Options", "options|go?map[]"),
        ],
    ),
    (
        "flocker",
        "Flocker (a Flocker volume mounted by the Flocker agent)",
        &[
            Field("    DatasetName", "datasetName"),
            Field("    DatasetUUID", "datasetUUID"),
        ],
    ),
    (
        "projected",
        "Projected (a volume that contains injected data from multiple sources)",
        &[Each(
            "sources",
            &[
                In("secret", &[Field("    SecretName", "name"), OPTIONAL]),
                If("downwardAPI", &[Text("    DownwardAPI:\ttrue")]),
                In("configMap", &[Field("    ConfigMapName", "name"), OPTIONAL]),
                In(
                    "serviceAccountToken",
                    &[Field("    TokenExpirationSeconds", "expirationSeconds")],
                ),
            ],
        )],
    ),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[
            Field("    Driver", "driver"),
            FS_TYPE,
            READ_ONLY,
            Do(attributes),
        ],
    ),
    (
        "image",
        "Image (a container image or OCI artifact)",
        &[
            Field("    Reference", "reference"),
            Field("    PullPolicy", "pullPolicy"),
        ],
    ),
];

/// The sources of persistent volumes that show other things than those of pods' volumes, or are theirs alone.
const PERSISTENT: &[Source] = &[
    (
        "iscsi",
        "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)",
        &[
            All(ISCSI),
            PERSISTENT_SECRET,
            Field("    InitiatorName", "initiatorName?<none>"),
        ],
    ),
    (
        "glusterfs",
        "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)",
        &[
            Field("    EndpointsName", "endpoints"),
            Field("    EndpointsNamespace", "endpointsNamespace?<unset>"),
            Field("    Path", "path"),
            READ_ONLY,
        ],
    ),
    (
        "rbd",
        "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)",
        &[All(RBD), PERSISTENT_SECRET, READ_ONLY],
    ),
    (
        "cinder",
        "Cinder (a Persistent Disk resource in OpenStack)",
        &[
            Field("    VolumeID", "volumeID"),
            FS_TYPE,
            READ_ONLY,
            PERSISTENT_SECRET,
        ],
    ),
    (
        "scaleIO",
        "ScaleIO (a persistent volume backed by a block device in ScaleIO)",
        &[
            All(SCALE_IO),
            Field("    SecretName", "secretRef.name"),
            Field("    SecretNamespace", "secretRef.namespace"),
            FS_TYPE,
            READ_ONLY,
        ],
    ),
    (
        "local",
        "LocalVolume (a persistent volume backed by local storage on a node)",
        &[Field("    Path", "path")],
    ),
    (
        "cephfs",
        "CephFS (a CephFS mount on the host that shares a pod's lifetime)",
        &[All(CEPH_FS), PERSISTENT_SECRET, READ_ONLY],
    ),
    (
        "azureFile",
        "AzureFile (an Azure File Service mount on the host and bind mount to the pod)",
        &[
            Field("    SecretName", "secretName"),
            Field("    SecretNamespace", "secretNamespace"),
            Field("    ShareName", "shareName"),
            READ_ONLY,
        ],
    ),
    (
        "flexVolume",
        "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)",
        &[
            Field("    Driver", "driver"),
            FS_TYPE,
            PERSISTENT_SECRET,
            READ_ONLY,
            Field("    Options", "options|go?map[]"),
        ],
    ),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[
            Field("    Driver", "driver"),
            FS_TYPE,
            Field("    VolumeHandle", "volumeHandle"),
            READ_ONLY,
            Do(attributes),
        ],
    ),
];

const ISCSI: &[Line] = &[
    Field("    TargetPortal", "targetPortal"),
    Field("    IQN", "iqn"),
    Field("    Lun", "lun?0"),
    Text("    ISCSIInterface\t{iscsiInterface}"),
    FS_TYPE,
    READ_ONLY,
    Field("    Portals", "portals|go?[]"),
    Field("    DiscoveryCHAPAuth", "chapAuthDiscovery|flag"),
    Field("    SessionCHAPAuth", "chapAuthSession|flag"),
];
const RBD: &[Line] = &[
    Field("    CephMonitors", "monitors|go?[]"),
    Field("    RBDImage", "image"),
    FS_TYPE,
    Field("    RBDPool", "pool"),
    Field("    RadosUser", "user"),
    Field("    Keyring", "keyring"),
];
const SCALE_IO: &[Line] = &[
    Field("    Gateway", "gateway"),
    Field("    System", "system"),
    Field("    Protection Domain", "protectionDomain"),
    Field("    Storage Pool", "storagePool"),
    Field("    Storage Mode", "storageMode"),
    Field("    VolumeName", "volumeName"),
];
const CEPH_FS: &[Line] = &[
    Field("    Monitors", "monitors|go?[]"),
    Field("    Path", "path"),
    Field("    User", "user"),
    Field("    SecretFile", "secretFile"),
];

/// All volumes of a pod.
pub fn all(out: &mut Out, volumes: &[Value], space: &str) {
    let none = if volumes.is_empty() { "\t<none>" } else { "" };
    out.put(0, format!("{space}Volumes:{none}\n"));
    let indent = if space.is_empty() { "" } else { " " };
    for volume in volumes {
        out.put(1, format!("{indent}{}:\n", volume.text("name")));
        source(out, volume, SOURCES.iter());
    }
}

/// The source of a persistent volume, by its `spec`.
pub fn of_persistent_volume(out: &mut Out, spec: &Value) {
    source(out, spec, PERSISTENT.iter().chain(SOURCES));
}

fn source<'a>(out: &mut Out, volume: &Value, mut sources: impl Iterator<Item = &'a Source>) {
    let Some((field, kind, lines)) = sources.find(|(field, ..)| volume.some(field).is_some())
    else {
        return out.put(1, "<unknown>\n");
    };
    out.put(2, format!("Type:\t{kind}\n"));
    put(out, volume.at(field), lines);
}

/// Attributes that a driver of volumes is given.
fn attributes(out: &mut Out, source: &Value) {
    let pairs = pairs(source.at("volumeAttributes"));
    below(out, "VolumeAttributes", &pairs, "<none>");
}

/// Lines after a title, below each other, each indented anew as upstream's nested writers do.
pub fn below(out: &mut Out, title: &str, lines: &[String], none: &str) {
    out.put(2, format!("{title}:\t"));
    if lines.is_empty() {
        out.put(0, format!("{none}\n"));
    }
    for (i, line) in lines.iter().enumerate() {
        let before = if i == 0 { "" } else { "    \t" };
        out.put(if i == 0 { 0 } else { 2 }, format!("{before}    {line}\n"));
    }
}
