//! The fields that kustomize knows of built-in kinds: where their labels, selectors, images and references stand.
//! Invariant: a field stands in one table.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/konfig/builtinpluginconsts`.

use super::specs::{Config, References, Spec};
use std::sync::{Arc, LazyLock};

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
    pub fn builtin() -> Arc<Config> {
        static BUILTIN: LazyLock<Arc<Config>> = LazyLock::new(|| Arc::new(made()));
        BUILTIN.clone()
    }
}

fn made() -> Config {
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
