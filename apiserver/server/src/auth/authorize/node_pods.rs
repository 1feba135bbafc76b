//! What the pods of a node refer to: the node authorizer's knowledge.
//!
//! Invariant: answers hold for the stored objects of that moment. An index follows the events, at no cost but those: pods are found by the node
//! in their selectable fields, those of a node and namespace that are asked about alone are parsed, once a revision; volumes are when they change.
//! Follows `plugin/pkg/auth/authorizer/node/graph.go`, `pkg/api/v1/pod/util.go` and `pkg/api/v1/persistentvolume/util.go`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::machinery::{meta::Meta, read::Read};
use skiff_storage::Object;

use crate::auth::{Change, Follow, Objects};

/// The kinds of objects that pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Referred {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    ResourceClaim,
    ServiceAccount,
    Pod,
    VolumeAttachment,
    ResourceSlice,
}

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

/// Namespace and name.
type Place = (Arc<str>, Arc<str>);

fn place(object: &Object) -> Place {
    (object.key.namespace.clone(), object.key.name.clone())
}

/// The pods of each node.
struct Pods {
    changes: Box<dyn Follow>,
    nodes: HashMap<Arc<str>, HashMap<Place, Pod>>,
    /// Under which node a pod stands.
    at: HashMap<Place, Arc<str>>,
}

/// A pod, and what it refers to once that was asked.
struct Pod {
    object: Arc<Object>,
    references: Option<References>,
}

impl Pods {
    fn catch_up(&mut self) {
        for change in self.changes.since() {
            match change {
                Change::All(pods) => {
                    (self.nodes, self.at) = Default::default();
                    pods.into_iter().for_each(|pod| self.put(pod));
                }
                Change::Put(pod) => self.put(pod),
                Change::Removed(pod) => self.remove(&place(&pod)),
            }
        }
    }

    fn put(&mut self, object: Arc<Object>) {
        let place = place(&object);
        self.remove(&place);
        if let Some(node) = node_name(&object) {
            self.at.insert(place.clone(), node.clone());
            let pod = Pod {
                object,
                references: None,
            };
            self.nodes.entry(node).or_default().insert(place, pod);
        }
    }

    fn remove(&mut self, place: &Place) {
        let Some(node) = self.at.remove(place) else {
            return;
        };
        if let Some(pods) = self.nodes.get_mut(&node) {
            pods.remove(place);
            if pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
    }

    /// Whether this is so of one of a node's pods in a namespace.
    fn any(&mut self, node: &str, namespace: &str, test: impl Fn(&References) -> bool) -> bool {
        self.catch_up();
        let pods = self.nodes.get_mut(node).into_iter().flatten();
        pods.filter(|((of, _), _)| **of == *namespace)
            .any(|(_, pod)| {
                let read = || references(&pod.object.key.name, &parse(&pod.object));
                test(pod.references.get_or_insert_with(read))
            })
    }
}

/// Which claims, by namespace and name, are bound to volumes with a secret.
struct Volumes {
    changes: Box<dyn Follow>,
    /// The claim and the secrets of each volume.
    volumes: HashMap<Arc<str>, (Secret, Vec<Secret>)>,
    /// The volumes that have a secret.
    by_secret: HashMap<Secret, HashSet<Arc<str>>>,
}

/// Namespace and name; also those of a claim.
type Secret = (String, String);

impl Volumes {
    fn catch_up(&mut self) {
        for change in self.changes.since() {
            match change {
                Change::All(volumes) => {
                    (self.volumes, self.by_secret) = Default::default();
                    volumes.iter().for_each(|volume| self.put(volume));
                }
                Change::Put(volume) => self.put(&volume),
                Change::Removed(volume) => self.remove(&volume.key.name),
            }
        }
    }

    fn put(&mut self, object: &Object) {
        let name = &object.key.name;
        self.remove(name);
        let volume = parse(object);
        let Some(claim) = claim_of(&volume) else {
            return;
        };
        let secrets = volume_secrets(volume.at("spec"), &claim.0);
        if secrets.is_empty() {
            return;
        }
        for secret in &secrets {
            let volumes = self.by_secret.entry(secret.clone()).or_default();
            volumes.insert(name.clone());
        }
        self.volumes.insert(name.clone(), (claim, secrets));
    }

    fn remove(&mut self, name: &Arc<str>) {
        for secret in self
            .volumes
            .remove(name)
            .into_iter()
            .flat_map(|(_, all)| all)
        {
            if let Some(volumes) = self.by_secret.get_mut(&secret) {
                volumes.remove(name);
                if volumes.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
    }

    fn claims(&mut self, secret: &Secret) -> Vec<Secret> {
        self.catch_up();
        let volumes = self.by_secret.get(secret).into_iter().flatten();
        volumes
            .filter_map(|name| Some(self.volumes.get(name)?.0.clone()))
            .collect()
    }
}

pub struct NodePods {
    objects: Arc<dyn Objects>,
    pods: Mutex<Pods>,
    volumes: Mutex<Volumes>,
}

impl NodePods {
    pub fn new(objects: Arc<dyn Objects>) -> NodePods {
        NodePods {
            pods: Mutex::new(Pods {
                changes: objects.follow(PODS),
                nodes: HashMap::new(),
                at: HashMap::new(),
            }),
            volumes: Mutex::new(Volumes {
                changes: objects.follow(VOLUMES),
                volumes: HashMap::new(),
                by_secret: HashMap::new(),
            }),
            objects,
        }
    }

    /// Whether the node has to do with the object, directly or through a pod that is bound to it.
    pub fn refers(&self, node: &str, kind: Referred, namespace: &str, name: &str) -> bool {
        let by_pod = |test: &dyn Fn(&References) -> bool| {
            let mut pods = self.pods.lock();
            pods.any(node, namespace, test)
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
            .is_some_and(|object| parse(&object).at("spec").text("nodeName") == node)
    }

    fn through_volume(&self, node: &str, namespace: &str, secret: &str) -> bool {
        let secret = (namespace.to_owned(), secret.to_owned());
        let claims = self.volumes.lock().claims(&secret);
        claims
            .iter()
            .any(|(namespace, claim)| self.refers(node, Referred::Claim, namespace, claim))
    }
}

/// What cannot be read refers to nothing.
fn parse(object: &Object) -> Value {
    serde_json::from_slice(&object.bytes.read()).unwrap_or_else(|error| {
        tracing::error!("cannot read {:?}, it admits no node: {error}", object.key);
        Value::Null
    })
}

/// From the selectable fields, or from the object where it has none.
fn node_name(pod: &Object) -> Option<Arc<str>> {
    let attributes = pod.attributes();
    if attributes.has_fields() {
        return attributes.field("spec.nodeName").map(Arc::from);
    }
    let pod = parse(pod);
    pod.at("spec").text_ptr("nodeName").map(Arc::from)
}

fn claim_of(volume: &Value) -> Option<Secret> {
    let claim = volume.at("spec").some("claimRef")?;
    let text = |name| claim.text_ptr(name).map(str::to_owned);
    Some((text("namespace")?, text("name")?))
}

/// Volume sources with a secret that a node reads, and where its name stands.
const SECRET_SOURCES: &[(&str, &[&str])] = &[
    ("azureFile", &["secretName"]),
    ("cephfs", &["secretRef", "name"]),
    ("cinder", &["secretRef", "name"]),
    ("flexVolume", &["secretRef", "name"]),
    ("rbd", &["secretRef", "name"]),
    ("secret", &["secretName"]),
    ("scaleIO", &["secretRef", "name"]),
    ("iscsi", &["secretRef", "name"]),
    ("storageos", &["secretRef", "name"]),
    ("csi", &["nodePublishSecretRef", "name"]),
];

fn references(pod_name: &str, pod: &Value) -> References {
    let spec = pod.at("spec");
    let mut found = References::default();
    // A static pod's mirror may refer to nothing.
    if pod.annotation("kubernetes.io/config.mirror").is_some() {
        return found;
    }
    let add = |to: &mut HashSet<String>, of: &Value, name: &str| {
        if !of.text(name).is_empty() {
            to.insert(of.text(name).to_owned());
        }
    };
    found.service_account = spec.text("serviceAccountName").to_owned();
    for reference in spec.list("imagePullSecrets") {
        add(&mut found.secrets, reference, "name");
    }
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    for container in lists.iter().flat_map(|list| spec.list(list)) {
        for from in container.list("envFrom") {
            add(&mut found.secrets, from.at("secretRef"), "name");
            add(&mut found.config_maps, from.at("configMapRef"), "name");
        }
        for env in container.list("env") {
            let from = env.at("valueFrom");
            add(&mut found.secrets, from.at("secretKeyRef"), "name");
            add(&mut found.config_maps, from.at("configMapKeyRef"), "name");
        }
    }
    for volume in spec.list("volumes") {
        for (source, path) in SECRET_SOURCES {
            if let Some((name, path)) = path.split_last() {
                let at = path.iter().fold(volume.at(source), |at, name| at.at(name));
                add(&mut found.secrets, at, name);
            }
        }
        for source in volume.at("projected").list("sources") {
            add(&mut found.secrets, source.at("secret"), "name");
            add(&mut found.config_maps, source.at("configMap"), "name");
        }
        add(&mut found.config_maps, volume.at("configMap"), "name");
        let claim = volume.at("persistentVolumeClaim");
        add(&mut found.claims, claim, "claimName");
        if let (Some(_), Some(name)) = (volume.some("ephemeral"), volume.text_ptr("name")) {
            found.claims.insert(format!("{pod_name}-{name}"));
        }
    }
    let claims = spec.list("resourceClaims");
    for claim in claims {
        add(&mut found.resource_claims, claim, "resourceClaimName");
    }
    let status = pod.at("status");
    for made in status.list("resourceClaimStatuses") {
        let asked = |claim: &Value| {
            claim.text("name") == made.text("name")
                && claim.some("resourceClaimTemplateName").is_some()
        };
        if claims.iter().any(asked) {
            add(&mut found.resource_claims, made, "resourceClaimName");
        }
    }
    let extended = status.at("extendedResourceClaimStatus");
    add(&mut found.resource_claims, extended, "resourceClaimName");
    found
}

/// Volume sources of persistent volumes with a secret that a node reads: the field of the reference, and whether the claim's namespace stands in
/// where it names none.
const VOLUME_SECRETS: &[(&str, &str, bool)] = &[
    ("cephfs", "secretRef", true),
    ("flexVolume", "secretRef", true),
    ("rbd", "secretRef", true),
    ("scaleIO", "secretRef", true),
    ("iscsi", "secretRef", true),
    ("cinder", "secretRef", false),
    ("storageos", "secretRef", false),
    ("csi", "nodePublishSecretRef", false),
    ("csi", "nodeStageSecretRef", false),
    ("csi", "nodeExpandSecretRef", false),
];

/// Secrets that a node reads for a persistent volume, as namespace and name.
fn volume_secrets(spec: &Value, claim_namespace: &str) -> Vec<Secret> {
    let azure = spec.at("azureFile");
    let azure = (
        azure.text("secretNamespace"),
        azure.text("secretName"),
        true,
    );
    let others = VOLUME_SECRETS.iter().map(|(source, field, of_claim)| {
        let reference = spec.at(source).at(field);
        (
            reference.text("namespace"),
            reference.text("name"),
            *of_claim,
        )
    });
    [azure]
        .into_iter()
        .chain(others)
        .filter(|(_, name, _)| !name.is_empty())
        .map(|(namespace, name, of_claim)| {
            let namespace = match namespace {
                "" if of_claim => claim_namespace,
                given => given,
            };
            (namespace.to_owned(), name.to_owned())
        })
        .collect()
}
