//! What the pods of a node refer to: the node authorizer's knowledge.
//!
//! Invariant: answers hold for the stored objects of that moment. Pods are found by the node in their selectable fields, those of the asked
//! node and namespace alone are parsed, and only once a revision; volumes are parsed when they change.
//! Follows `plugin/pkg/auth/authorizer/node/graph.go`, `pkg/api/v1/pod/util.go` and `pkg/api/v1/persistentvolume/util.go`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;
use skiff_storage::Object;

use super::node::Referred;
use crate::auth::Objects;

/// More (node, namespace) pairs than this are forgotten at once, so that nodes that are gone do not stay.
const REMEMBERED: usize = 20_000;

const PODS: &str = "pods";
const VOLUMES: &str = "persistentvolumes";

#[derive(Default)]
struct References {
    secrets: HashSet<String>,
    config_maps: HashSet<String>,
    claims: HashSet<String>,
    resource_claims: HashSet<String>,
    service_account: String,
}

/// The pods of one node in one namespace as of a version of all pods.
struct Local {
    version: u64,
    pods: HashMap<Arc<str>, (u64, Arc<References>)>,
}

/// The claims that volumes with a secret are bound to, by the secret's namespace and name, as of a version of all volumes.
#[derive(Default)]
struct VolumeSecrets {
    version: u64,
    claims: HashMap<(String, String), Vec<(String, String)>>,
}

pub struct NodePods {
    objects: Arc<dyn Objects>,
    locals: Mutex<HashMap<(String, String), Arc<Local>>>,
    volume_secrets: Mutex<Arc<VolumeSecrets>>,
}

impl NodePods {
    pub fn new(objects: Arc<dyn Objects>) -> NodePods {
        NodePods {
            objects,
            locals: Mutex::default(),
            volume_secrets: Mutex::default(),
        }
    }

    /// Whether the node has to do with the object, directly or through a pod that is bound to it.
    pub fn refers(&self, node: &str, kind: Referred, namespace: &str, name: &str) -> bool {
        let by_pod = |test: &dyn Fn(&References) -> bool| {
            self.local(node, namespace)
                .pods
                .values()
                .any(|(_, references)| test(references))
        };
        match kind {
            Referred::Pod => self
                .objects
                .get(PODS, namespace, name)
                .is_some_and(|pod| node_name(&pod).as_deref() == Some(node)),
            Referred::VolumeAttachment => {
                self.spec_names("volumeattachments.storage.k8s.io", name, node)
            }
            Referred::ResourceSlice => {
                self.spec_names("resourceslices.resource.k8s.io", name, node)
            }
            Referred::Secret => {
                by_pod(&|pod| pod.secrets.contains(name))
                    || self.through_volume(node, namespace, name)
            }
            Referred::ConfigMap => by_pod(&|pod| pod.config_maps.contains(name)),
            Referred::Claim => by_pod(&|pod| pod.claims.contains(name)),
            Referred::ResourceClaim => by_pod(&|pod| pod.resource_claims.contains(name)),
            Referred::ServiceAccount => by_pod(&|pod| pod.service_account == name),
            Referred::Volume => {
                let claim = self
                    .objects
                    .get(VOLUMES, "", name)
                    .and_then(|volume| claim_of(&parse(&volume)));
                claim.is_some_and(|(namespace, name)| {
                    self.refers(node, Referred::Claim, &namespace, &name)
                })
            }
        }
    }

    fn spec_names(&self, resource: &str, name: &str, node: &str) -> bool {
        self.objects
            .get(resource, "", name)
            .is_some_and(|object| parse(&object)["spec"]["nodeName"] == node)
    }

    fn through_volume(&self, node: &str, namespace: &str, secret: &str) -> bool {
        let volumes = self.volume_secrets();
        let claims = volumes
            .claims
            .get(&(namespace.to_owned(), secret.to_owned()));
        claims
            .into_iter()
            .flatten()
            .any(|(namespace, claim)| self.refers(node, Referred::Claim, namespace, claim))
    }

    fn local(&self, node: &str, namespace: &str) -> Arc<Local> {
        let key = (node.to_owned(), namespace.to_owned());
        let version = self.objects.version(PODS);
        let before = self.locals.lock().get(&key).cloned();
        if let Some(local) = before.as_ref().filter(|local| local.version == version) {
            return local.clone();
        }
        let mut pods = HashMap::new();
        for pod in self.objects.list(PODS, Some(namespace)) {
            if node_name(&pod).as_deref() != Some(node) {
                continue;
            }
            let known = before
                .as_ref()
                .and_then(|before| before.pods.get(&pod.key.name))
                .filter(|(revision, _)| *revision == pod.revision);
            let references = known.map_or_else(
                || Arc::new(references(&pod.key.name, &parse(&pod))),
                |(_, references)| references.clone(),
            );
            pods.insert(pod.key.name.clone(), (pod.revision, references));
        }
        let local = Arc::new(Local { version, pods });
        let mut locals = self.locals.lock();
        if locals.len() >= REMEMBERED {
            locals.clear();
        }
        locals.insert(key, local.clone());
        local
    }

    fn volume_secrets(&self) -> Arc<VolumeSecrets> {
        let mut held = self.volume_secrets.lock();
        let version = self.objects.version(VOLUMES);
        if held.version != version {
            let mut claims: HashMap<_, Vec<_>> = HashMap::new();
            for volume in self.objects.list(VOLUMES, None) {
                let volume = parse(&volume);
                if let Some(claim) = claim_of(&volume) {
                    for secret in volume_secrets(&volume["spec"], &claim.0) {
                        claims.entry(secret).or_default().push(claim.clone());
                    }
                }
            }
            *held = Arc::new(VolumeSecrets { version, claims });
        }
        held.clone()
    }
}

/// What cannot be read refers to nothing.
fn parse(object: &Object) -> Value {
    serde_json::from_slice(&object.bytes).unwrap_or_else(|error| {
        tracing::error!("cannot read {:?}, it admits no node: {error}", object.key);
        Value::Null
    })
}

/// From the selectable fields, or from the object where it has none.
fn node_name(pod: &Object) -> Option<Arc<str>> {
    let attributes = pod.attributes();
    if !attributes.has_fields() {
        return parse(pod)["spec"]["nodeName"].as_str().map(Arc::from);
    }
    attributes.field("spec.nodeName").map(Arc::from)
}

fn claim_of(volume: &Value) -> Option<(String, String)> {
    let claim = volume["spec"].get("claimRef")?;
    Some((
        claim["namespace"].as_str()?.to_owned(),
        claim["name"].as_str()?.to_owned(),
    ))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Volume sources with a secret that a node reads, and where the name stands.
const SECRET_SOURCES: &[(&str, &str)] = &[
    ("azureFile", "/secretName"),
    ("cephfs", "/secretRef/name"),
    ("cinder", "/secretRef/name"),
    ("flexVolume", "/secretRef/name"),
    ("rbd", "/secretRef/name"),
    ("secret", "/secretName"),
    ("scaleIO", "/secretRef/name"),
    ("iscsi", "/secretRef/name"),
    ("storageos", "/secretRef/name"),
    ("csi", "/nodePublishSecretRef/name"),
];

fn references(pod_name: &str, pod: &Value) -> References {
    let spec = &pod["spec"];
    let mut found = References::default();
    // A static pod's mirror may refer to nothing.
    if !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null() {
        return found;
    }
    let add = |to: &mut HashSet<String>, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            to.insert(name.to_owned());
        }
    };
    found.service_account = spec["serviceAccountName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    items(&spec["imagePullSecrets"])
        .for_each(|reference| add(&mut found.secrets, &reference["name"]));
    for container in ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(&spec[list]))
    {
        for from in items(&container["envFrom"]) {
            add(&mut found.secrets, &from["secretRef"]["name"]);
            add(&mut found.config_maps, &from["configMapRef"]["name"]);
        }
        for env in items(&container["env"]) {
            add(
                &mut found.secrets,
                &env["valueFrom"]["secretKeyRef"]["name"],
            );
            add(
                &mut found.config_maps,
                &env["valueFrom"]["configMapKeyRef"]["name"],
            );
        }
    }
    for volume in items(&spec["volumes"]) {
        for (source, path) in SECRET_SOURCES {
            if let Some(name) = volume.get(source).and_then(|source| source.pointer(path)) {
                add(&mut found.secrets, name);
            }
        }
        for source in items(&volume["projected"]["sources"]) {
            add(&mut found.secrets, &source["secret"]["name"]);
            add(&mut found.config_maps, &source["configMap"]["name"]);
        }
        add(&mut found.config_maps, &volume["configMap"]["name"]);
        add(
            &mut found.claims,
            &volume["persistentVolumeClaim"]["claimName"],
        );
        if let (Some(_), Some(name)) = (volume.get("ephemeral"), volume["name"].as_str()) {
            found.claims.insert(format!("{pod_name}-{name}"));
        }
    }
    for claim in items(&spec["resourceClaims"]) {
        add(&mut found.resource_claims, &claim["resourceClaimName"]);
    }
    for made in items(&pod["status"]["resourceClaimStatuses"]) {
        let asked = |claim: &Value| {
            claim["name"] == made["name"] && !claim["resourceClaimTemplateName"].is_null()
        };
        if items(&spec["resourceClaims"]).any(asked) {
            add(&mut found.resource_claims, &made["resourceClaimName"]);
        }
    }
    add(
        &mut found.resource_claims,
        &pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"],
    );
    found
}

/// Secrets that a node reads for a persistent volume, as namespace and name. `claim_namespace` stands in where the source names none.
fn volume_secrets(spec: &Value, claim_namespace: &str) -> Vec<(String, String)> {
    let mut references = Vec::new();
    if let Some(name) = spec["azureFile"]["secretName"].as_str() {
        references.push((
            spec["azureFile"]["secretNamespace"]
                .as_str()
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or(claim_namespace),
            name,
        ));
    }
    let by_claim = ["cephfs", "flexVolume", "rbd", "scaleIO", "iscsi"]
        .map(|source| (source, "secretRef", claim_namespace));
    let explicit = [
        ("cinder", "secretRef", ""),
        ("storageos", "secretRef", ""),
        ("csi", "nodePublishSecretRef", ""),
        ("csi", "nodeStageSecretRef", ""),
        ("csi", "nodeExpandSecretRef", ""),
    ];
    for (source, field, fallback) in by_claim.into_iter().chain(explicit) {
        let reference = &spec[source][field];
        if let Some(name) = reference["name"].as_str() {
            references.push((
                reference["namespace"]
                    .as_str()
                    .filter(|namespace| !namespace.is_empty())
                    .unwrap_or(fallback),
                name,
            ));
        }
    }
    let owned = |(namespace, name): (&str, &str)| (namespace.to_owned(), name.to_owned());
    references
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(owned)
        .collect()
}
