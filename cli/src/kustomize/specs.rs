//! Which fields of which kinds a transformation touches, and how they are reached.
//! Invariant: lists on a path are entered whether it says so or not; nothing is made in a list.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/fieldspec` and `api/internal/konfig/builtinpluginconsts`.

use super::item::Id;
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Map, Value};

/// One field of the objects that fit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spec {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub path: String,
    pub create: bool,
}

/// The fields that refer to objects of a kind by name.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub fields: Vec<Spec>,
}

/// All that is known of fields; kustomizations add to it with `configurations`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub name_prefix: Vec<Spec>,
    pub name_suffix: Vec<Spec>,
    pub namespace: Vec<Spec>,
    pub common_labels: Vec<Spec>,
    pub labels: Vec<Spec>,
    pub template_labels: Vec<Spec>,
    pub common_annotations: Vec<Spec>,
    pub name_reference: Vec<References>,
    pub var_reference: Vec<Spec>,
    pub images: Vec<Spec>,
    pub replicas: Vec<Spec>,
}

impl Spec {
    /// From words: `PATH[!] [KIND [GROUP [VERSION]]]`, where `!` says that what is missing is made and `-` stands for nothing.
    fn of(words: &str) -> Spec {
        let mut words = words.split_whitespace();
        let mut next = || words.next().filter(|w| *w != "-").unwrap_or("").to_string();
        let (path, kind, group, version) = (next(), next(), next(), next());
        Spec {
            create: path.ends_with('!'),
            path: path.trim_end_matches('!').into(),
            group,
            version,
            kind,
        }
    }

    pub fn read(value: &Value) -> Spec {
        let text = |name: &str| value.text(name).to_string();
        Spec {
            group: text("group"),
            version: text("version"),
            kind: text("kind"),
            path: text("path"),
            create: value.flag("create"),
        }
    }

    pub fn selects(&self, id: &Id) -> bool {
        id.is_selected(&self.group, &self.version, &self.kind)
    }

    /// Visits the field in an object, if the object fits.
    ///
    /// # Errors
    /// Something on the way that is neither a map nor a list.
    pub fn visit(
        &self,
        object: &mut Value,
        make: Option<fn() -> Value>,
        set: &mut dyn FnMut(&mut Value) -> Result<()>,
    ) -> Result<()> {
        let id = Id::of(object);
        if !self.selects(&id) {
            return Ok(());
        }
        let parts = split(&self.path);
        let make = make.filter(|_| self.create);
        walk(object, &parts, make, set)
            .map_err(|why| message!("considering field '{}' of object {id}: {why}", self.path))
    }
}

/// Visits the fields in an object.
///
/// # Errors
/// As `Spec::visit`.
pub fn visit_all(
    specs: &[Spec],
    object: &mut Value,
    make: Option<fn() -> Value>,
    mut set: impl FnMut(&mut Value) -> Result<()>,
) -> Result<()> {
    specs
        .iter()
        .try_for_each(|spec| spec.visit(object, make, &mut set))
}

/// An empty map, for fields that hold one.
pub fn a_map() -> Value {
    Value::Object(Map::new())
}

/// Nothing yet, for fields that hold one value.
pub fn a_scalar() -> Value {
    Value::Null
}

/// A path's parts; a slash behind a backslash is none between parts.
fn split(path: &str) -> Vec<String> {
    let hidden = path.replace("\\/", "\u{0}");
    let parts = hidden.split('/').filter(|part| !part.is_empty());
    parts.map(|part| part.replace('\u{0}', "/")).collect()
}

fn walk(
    value: &mut Value,
    path: &[String],
    make: Option<fn() -> Value>,
    set: &mut dyn FnMut(&mut Value) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = path.split_first() else {
        return set(value);
    };
    match value {
        Value::Null => Ok(()),
        Value::Array(list) => list
            .iter_mut()
            .try_for_each(|one| walk(one, path, make, set)),
        Value::Object(map) => {
            let name = first.trim_end_matches("[]");
            if name.is_empty() {
                bail!("cannot set or create an empty field name");
            }
            let missing = map.get(name).is_none_or(Value::is_null);
            if missing && let Some(make) = make.filter(|_| name == first) {
                let made = if rest.is_empty() { make() } else { a_map() };
                map.insert(name.into(), made);
            }
            match map.get_mut(name) {
                Some(field) => walk(field, rest, make, set),
                None => Ok(()),
            }
        }
        _ => bail!("expected sequence or mapping node"),
    }
}

/// Kinds with pods in them, and where.
const PODS: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];
/// The kinds in whose pods claims, accounts and priorities are looked for.
const CLAIMING: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
];
const SCALED: &[&str] = &[
    "Deployment",
    "ReplicationController",
    "ReplicaSet",
    "StatefulSet",
];

fn specs(lines: &[&str]) -> Vec<Spec> {
    lines.iter().map(|line| Spec::of(line)).collect()
}

fn in_pods(pods: &[(&str, &str)], fields: &[&str]) -> Vec<Spec> {
    let each = pods.iter().flat_map(|(kind, at)| {
        fields
            .iter()
            .map(move |f| Spec::of(&format!("{at}/{f} {kind}")))
    });
    each.collect()
}

fn references(to: &str, fields: Vec<Spec>) -> References {
    let to = Spec::of(&format!("- {to}"));
    References {
        group: to.group,
        version: to.version,
        kind: to.kind,
        fields,
    }
}

/// Where labels of metadata stand.
const METADATA_LABELS: &[&str] = &[
    "metadata/labels!",
    "spec/template/metadata/labels! ReplicationController - v1",
    "spec/template/metadata/labels! Deployment",
    "spec/template/metadata/labels! ReplicaSet",
    "spec/template/metadata/labels! DaemonSet",
    "spec/template/metadata/labels! StatefulSet apps",
    "spec/volumeClaimTemplates[]/metadata/labels! StatefulSet apps",
    "spec/template/metadata/labels! Job batch",
    "spec/jobTemplate/metadata/labels! CronJob batch",
    "spec/jobTemplate/spec/template/metadata/labels! CronJob batch",
];
/// Where selectors stand.
const SELECTORS: &[&str] = &[
    "spec/selector! Service - v1",
    "spec/selector! ReplicationController - v1",
    "spec/selector/matchLabels! Deployment",
    "spec/selector/matchLabels! ReplicaSet",
    "spec/selector/matchLabels! DaemonSet",
    "spec/selector/matchLabels! StatefulSet apps",
    "spec/selector/matchLabels Job batch",
    "spec/jobTemplate/spec/selector/matchLabels CronJob batch",
    "spec/selector/matchLabels PodDisruptionBudget policy",
    "spec/podSelector/matchLabels NetworkPolicy networking.k8s.io",
    "spec/ingress/from/podSelector/matchLabels NetworkPolicy networking.k8s.io",
    "spec/egress/to/podSelector/matchLabels NetworkPolicy networking.k8s.io",
];
/// Selectors inside of pods, of Deployments and StatefulSets.
const POD_SELECTORS: &[&str] = &[
    "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "topologySpreadConstraints/labelSelector/matchLabels",
];
const ANNOTATIONS: &[&str] = &[
    "metadata/annotations!",
    "spec/template/metadata/annotations! ReplicationController - v1",
    "spec/template/metadata/annotations! Deployment",
    "spec/template/metadata/annotations! ReplicaSet",
    "spec/template/metadata/annotations! DaemonSet",
    "spec/template/metadata/annotations! StatefulSet",
    "spec/template/metadata/annotations! Job batch",
    "spec/jobTemplate/metadata/annotations! CronJob batch",
    "spec/jobTemplate/spec/template/metadata/annotations! CronJob batch",
];
const NAMESPACES: &[&str] = &[
    "metadata/name! Namespace",
    "spec/service/namespace! APIService apiregistration.k8s.io",
    "spec/conversion/webhook/clientConfig/service/namespace CustomResourceDefinition apiextensions.k8s.io",
];
const IMAGES: &[&str] = &[
    "spec/containers[]/image!",
    "spec/initContainers[]/image!",
    "spec/volumes[]/image/reference!",
    "spec/template/spec/containers[]/image!",
    "spec/template/spec/initContainers[]/image!",
    "spec/template/spec/volumes[]/image/reference!",
];

impl Config {
    /// What is known without configuration.
    pub fn builtin() -> Config {
        let pod_selectors = ["Deployment", "StatefulSet"].iter().flat_map(|kind| {
            let fields = POD_SELECTORS.iter();
            fields.map(move |f| Spec::of(&format!("spec/template/spec/{f} {kind} apps")))
        });
        let mut common_labels = specs(SELECTORS);
        common_labels.extend(pod_selectors);
        common_labels.extend(specs(METADATA_LABELS));
        let scaled = [
            "Deployment",
            "StatefulSet",
            "ReplicaSet",
            "ReplicationController",
        ];
        let replicas = scaled
            .iter()
            .map(|kind| Spec::of(&format!("spec/replicas! {kind}")));
        Config {
            name_prefix: specs(&["metadata/name"]),
            name_suffix: specs(&["metadata/name"]),
            namespace: specs(NAMESPACES),
            common_labels,
            labels: Vec::new(),
            template_labels: specs(METADATA_LABELS),
            common_annotations: specs(ANNOTATIONS),
            name_reference: name_references(),
            var_reference: variables(),
            images: specs(IMAGES),
            replicas: replicas.collect(),
        }
    }

    /// Adds what a file of configuration says.
    pub fn add(&mut self, more: &Value) {
        let read = |field: &str| more.list(field).iter().map(Spec::read).collect::<Vec<_>>();
        for (list, field) in [
            (&mut self.name_prefix, "namePrefix"),
            (&mut self.name_suffix, "nameSuffix"),
            (&mut self.namespace, "namespace"),
            (&mut self.common_labels, "commonLabels"),
            (&mut self.labels, "labels"),
            (&mut self.template_labels, "templateLabels"),
            (&mut self.common_annotations, "commonAnnotations"),
            (&mut self.var_reference, "varReference"),
            (&mut self.images, "images"),
            (&mut self.replicas, "replicas"),
        ] {
            merge(list, read(field));
        }
        for entry in more.list("nameReference") {
            let to = Spec::read(entry);
            let fields: Vec<Spec> = entry.list("fieldSpecs").iter().map(Spec::read).collect();
            let same = |r: &&mut References| {
                (&r.group, &r.version, &r.kind) == (&to.group, &to.version, &to.kind)
            };
            match self.name_reference.iter_mut().find(same) {
                Some(known) => merge(&mut known.fields, fields),
                None => self.name_reference.push(References {
                    group: to.group,
                    version: to.version,
                    kind: to.kind,
                    fields,
                }),
            }
        }
    }

    /// Adds what another knows.
    pub fn merge(&mut self, other: Config) {
        for (mine, theirs) in [
            (&mut self.name_prefix, other.name_prefix),
            (&mut self.name_suffix, other.name_suffix),
            (&mut self.namespace, other.namespace),
            (&mut self.common_labels, other.common_labels),
            (&mut self.labels, other.labels),
            (&mut self.template_labels, other.template_labels),
            (&mut self.common_annotations, other.common_annotations),
            (&mut self.var_reference, other.var_reference),
            (&mut self.images, other.images),
            (&mut self.replicas, other.replicas),
        ] {
            merge(mine, theirs);
        }
        for theirs in other.name_reference {
            let same = |r: &&mut References| {
                (&r.group, &r.version, &r.kind) == (&theirs.group, &theirs.version, &theirs.kind)
            };
            match self.name_reference.iter_mut().find(same) {
                Some(mine) => merge(&mut mine.fields, theirs.fields),
                None => self.name_reference.push(theirs),
            }
        }
    }
}

/// Adds fields that are not among them yet.
pub fn merge(into: &mut Vec<Spec>, more: Vec<Spec>) {
    for spec in more {
        if !into.contains(&spec) {
            into.push(spec);
        }
    }
}

fn name_references() -> Vec<References> {
    let scaled = |kind: &&str| {
        references(
            kind,
            specs(&["spec/scaleTargetRef/name HorizontalPodAutoscaler"]),
        )
    };
    let mut all: Vec<References> = SCALED.iter().map(scaled).collect();
    let rules = [
        "rules/resourceNames Role",
        "rules/resourceNames ClusterRole",
    ];
    let mut config_maps = in_pods(
        PODS,
        &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
    );
    config_maps.extend(specs(&["spec/configSource/configMap Node"]));
    config_maps.extend(specs(&rules));
    config_maps.extend(specs(&[
        "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap Ingress",
    ]));
    all.push(references("ConfigMap - v1", config_maps));
    let mut secrets = in_pods(
        PODS,
        &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
    );
    secrets.extend(specs(&[
        "spec/tls/secretName Ingress",
        "metadata/annotations/ingress.kubernetes.io\\/auth-secret Ingress",
        "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret Ingress",
        "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret Ingress",
        "imagePullSecrets/name ServiceAccount",
        "parameters/secretName StorageClass",
        "parameters/adminSecretName StorageClass",
        "parameters/userSecretName StorageClass",
        "parameters/secretRef StorageClass",
        "spec/template/spec/containers/env/valueFrom/secretKeyRef/name Service serving.knative.dev v1",
        "spec/azureFile/secretName PersistentVolume",
    ]));
    secrets.extend(specs(&rules));
    all.push(references("Secret - v1", secrets));
    all.extend(other_references());
    all
}

fn other_references() -> Vec<References> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let hooks =
        |kind: &str| format!("webhooks/clientConfig/service {kind} admissionregistration.k8s.io");
    let bound = |path: &str, kind: &str| Spec::of(&format!("{path} {kind} {RBAC}"));
    let mut services = specs(&[
        "spec/serviceName StatefulSet apps",
        "spec/rules/http/paths/backend/serviceName Ingress",
        "spec/backend/serviceName Ingress",
        "spec/rules/http/paths/backend/service/name Ingress",
        "spec/defaultBackend/service/name Ingress",
        "spec/service/name APIService apiregistration.k8s.io",
    ]);
    services.push(Spec::of(&hooks("ValidatingWebhookConfiguration")));
    services.push(Spec::of(&hooks("MutatingWebhookConfiguration")));
    let mut accounts = vec![
        bound("subjects", "RoleBinding"),
        bound("subjects", "ClusterRoleBinding"),
    ];
    accounts.extend(in_pods(CLAIMING, &["serviceAccountName"]));
    vec![
        references("Service - v1", services),
        references(
            &format!("Role {RBAC}"),
            vec![bound("roleRef/name", "RoleBinding")],
        ),
        references(
            &format!("ClusterRole {RBAC}"),
            vec![
                bound("roleRef/name", "RoleBinding"),
                bound("roleRef/name", "ClusterRoleBinding"),
            ],
        ),
        references("ServiceAccount - v1", accounts),
        references(
            "PersistentVolumeClaim - v1",
            in_pods(CLAIMING, &["volumes/persistentVolumeClaim/claimName"]),
        ),
        references(
            "PersistentVolume - v1",
            specs(&[
                "spec/volumeName PersistentVolumeClaim",
                "rules/resourceNames ClusterRole",
            ]),
        ),
        references(
            "StorageClass storage.k8s.io v1",
            specs(&[
                "spec/storageClassName PersistentVolume",
                "spec/storageClassName PersistentVolumeClaim",
                "spec/volumeClaimTemplates/spec/storageClassName StatefulSet",
            ]),
        ),
        references(
            "PriorityClass scheduling.k8s.io v1",
            in_pods(CLAIMING, &["priorityClassName"]),
        ),
        // The group that is written there is none that an object has.
        references(
            "IngressClass networking.k8s.io/v1 v1",
            specs(&["spec/ingressClassName Ingress"]),
        ),
        references(
            "ValidatingAdmissionPolicy admissionregistration.k8s.io",
            specs(&[
                "spec/policyName ValidatingAdmissionPolicyBinding admissionregistration.k8s.io",
            ]),
        ),
    ]
}

/// Where `$(NAME)` is replaced.
fn variables() -> Vec<Spec> {
    const FIELDS: &[&str] = &[
        "containers/args",
        "containers/command",
        "containers/env/value",
        "containers/volumeMounts/mountPath",
        "initContainers/args",
        "initContainers/command",
        "initContainers/env/value",
        "initContainers/volumeMounts/mountPath",
        "volumes/nfs/server",
    ];
    let pods: Vec<_> = PODS
        .iter()
        .filter(|(kind, _)| *kind != "PodTemplate")
        .copied()
        .collect();
    let mut all = in_pods(&pods, FIELDS);
    all.extend(specs(&[
        "spec/template/metadata/annotations Deployment",
        "spec/rules/host Ingress",
        "spec/tls/hosts Ingress",
        "spec/tls/secretName Ingress",
        "spec/ports/port Service",
        "spec/ports/targetPort Service",
        "spec/volumeClaimTemplates/spec/nfs/server StatefulSet",
        "spec/nfs/server PersistentVolume",
        "metadata/labels",
        "metadata/annotations",
    ]));
    all
}
