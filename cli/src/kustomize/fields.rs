//! What a kustomization file, a plugin's file and a file of configuration may hold.
//! Invariant: a field that is in no table here is in none of these files.
//! Behaviour follows `sigs.k8s.io/kustomize/api/types`, `api/internal/builtins` and `api/internal/plugins/builtinconfig`.

use super::schema::Type::{Among, Bool, Int, List, Map, One, Pairs, Text, Texts, Word, Words};
use super::schema::{Fields, Reader};

/// How kustomizations are read.
pub const KUSTOMIZATION: Reader = Reader {
    path: "Kustomization",
    go: "types.Kustomization",
    strict: true,
    cased: false,
    lenient: false,
};
/// How the files of plugins are read.
pub const PLUGIN: Reader = Reader {
    path: "",
    go: "",
    strict: false,
    cased: false,
    lenient: true,
};
/// How files of configuration are read.
pub const CONFIGURATION: Reader = Reader {
    path: "",
    go: "builtinconfig.TransformerConfig",
    strict: true,
    cased: false,
    lenient: true,
};

const TYPE: Fields = &[("apiVersion", Text), ("kind", Text)];
const METADATA: Fields = &[
    ("name", Text),
    ("namespace", Text),
    ("labels", Pairs),
    ("annotations", Pairs),
];
const KIND: Fields = &[("group", Text), ("version", Text), ("kind", Text)];
const ID: Fields = &[("", Among(KIND)), ("name", Text), ("namespace", Text)];
const OPTIONS: Fields = &[
    ("labels", Pairs),
    ("annotations", Pairs),
    ("disableNameSuffixHash", Bool),
    ("immutable", Bool),
];
const SELECTOR: Fields = &[
    ("", Among(ID)),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];
const PATCH: Fields = &[
    ("path", Text),
    ("patch", Text),
    ("target", One("types.Selector", SELECTOR)),
    (
        "options",
        One(
            "types.PatchArgs",
            &[("allowNameChange", Bool), ("allowKindChange", Bool)],
        ),
    ),
];
const SPEC: Fields = &[("", Among(KIND)), ("path", Text), ("create", Bool)];
const SPECS: Fields = &[("fieldSpecs", List("types.FieldSpec", SPEC))];
const IMAGE: Fields = &[
    ("name", Text),
    ("newName", Text),
    ("tagSuffix", Text),
    ("newTag", Text),
    ("digest", Text),
];
const REPLICA: Fields = &[("name", Text), ("count", Int("int64"))];
const GENERATOR: Fields = &[
    ("namespace", Text),
    ("name", Text),
    ("behavior", Text),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", Text),
    ("options", One("types.GeneratorOptions", OPTIONS)),
];
const SECRET: Fields = &[("", Among(GENERATOR)), ("type", Text)];
const FIELD_OPTIONS: Fields = &[
    ("delimiter", Text),
    ("index", Int("int")),
    ("encoding", Text),
    ("create", Bool),
];
/// One replacement, as it stands in a file of its own.
pub const REPLACEMENT: Fields = &[
    (
        "source",
        One(
            "types.SourceSelector",
            &[
                ("", Among(ID)),
                ("fieldPath", Text),
                ("options", One("types.FieldOptions", FIELD_OPTIONS)),
            ],
        ),
    ),
    (
        "targets",
        List(
            "*types.TargetSelector",
            &[
                ("select", One("types.Selector", SELECTOR)),
                ("reject", List("*types.Selector", SELECTOR)),
                ("fieldPaths", Texts),
                ("options", One("types.FieldOptions", FIELD_OPTIONS)),
            ],
        ),
    ),
    ("sourceValue", Text),
];
const REPLACEMENTS: Fields = &[(
    "replacements",
    List(
        "types.ReplacementField",
        &[("", Among(REPLACEMENT)), ("path", Text)],
    ),
)];
const VARIABLE: Fields = &[
    ("name", Text),
    (
        "objref",
        One(
            "types.Target",
            &[
                ("apiVersion", Text),
                ("", Among(KIND)),
                ("name", Text),
                ("namespace", Text),
            ],
        ),
    ),
    (
        "fieldref",
        One("types.FieldSelector", &[("fieldPath", Text)]),
    ),
];
const SORT: Fields = &[
    ("order", Word("types.SortOrder")),
    (
        "legacySortOptions",
        One(
            "types.LegacySortOptions",
            &[("orderFirst", Texts), ("orderLast", Texts)],
        ),
    ),
];
const CHART: Fields = &[
    ("chartHome", Text),
    ("configHome", Text),
    ("name", Text),
    ("version", Text),
    ("repo", Text),
    ("releaseName", Text),
    ("namespace", Text),
    ("additionalValuesFiles", Texts),
    ("valuesFile", Text),
    ("valuesInline", Map),
    ("valuesMerge", Text),
    ("includeCRDs", Bool),
    ("skipHooks", Bool),
    ("apiVersions", Texts),
    ("kubeVersion", Text),
    ("nameTemplate", Text),
    ("skipTests", Bool),
    ("debug", Bool),
    ("devel", Bool),
];
const OLD_CHART: Fields = &[
    ("chartName", Text),
    ("chartVersion", Text),
    ("chartRepoUrl", Text),
    ("chartHome", Text),
    ("chartRepoName", Text),
    ("helmBin", Text),
    ("helmHome", Text),
    ("values", Text),
    ("valuesLocal", Map),
    ("valuesMerge", Text),
    ("releaseName", Text),
    ("releaseNamespace", Text),
    ("extraArgs", Texts),
];

/// A whole kustomization.
pub const KUSTOMIZATION_FIELDS: Fields = &[
    ("", Among(TYPE)),
    ("metadata", One("types.ObjectMeta", METADATA)),
    ("openapi", Pairs),
    ("namePrefix", Text),
    ("nameSuffix", Text),
    ("namespace", Text),
    ("commonLabels", Pairs),
    (
        "labels",
        List(
            "types.Label",
            &[
                ("pairs", Pairs),
                ("includeSelectors", Bool),
                ("includeTemplates", Bool),
                ("fields", List("types.FieldSpec", SPEC)),
            ],
        ),
    ),
    ("commonAnnotations", Pairs),
    ("patchesStrategicMerge", Words("types.PatchStrategicMerge")),
    ("patchesJson6902", List("types.Patch", PATCH)),
    ("patches", List("types.Patch", PATCH)),
    ("images", List("types.Image", IMAGE)),
    ("imageTags", List("types.Image", IMAGE)),
    ("", Among(REPLACEMENTS)),
    ("replicas", List("types.Replica", REPLICA)),
    ("vars", List("types.Var", VARIABLE)),
    ("sortOptions", One("types.SortOptions", SORT)),
    ("resources", Texts),
    ("components", Texts),
    ("crds", Texts),
    ("bases", Texts),
    ("configMapGenerator", List("types.ConfigMapArgs", GENERATOR)),
    ("secretGenerator", List("types.SecretArgs", SECRET)),
    (
        "helmGlobals",
        One(
            "types.HelmGlobals",
            &[("chartHome", Text), ("configHome", Text)],
        ),
    ),
    ("helmCharts", List("types.HelmChart", CHART)),
    (
        "helmChartInflationGenerator",
        List("types.HelmChartArgs", OLD_CHART),
    ),
    ("generatorOptions", One("types.GeneratorOptions", OPTIONS)),
    ("configurations", Texts),
    ("generators", Texts),
    ("transformers", Texts),
    ("validators", Texts),
    ("buildMetadata", Texts),
];

/// A file of configuration.
pub const CONFIGURATION_FIELDS: Fields = &[
    ("namePrefix", List("types.FieldSpec", SPEC)),
    ("nameSuffix", List("types.FieldSpec", SPEC)),
    ("namespace", List("types.FieldSpec", SPEC)),
    ("commonLabels", List("types.FieldSpec", SPEC)),
    ("labels", List("types.FieldSpec", SPEC)),
    ("templateLabels", List("types.FieldSpec", SPEC)),
    ("commonAnnotations", List("types.FieldSpec", SPEC)),
    (
        "nameReference",
        List(
            "builtinconfig.NameBackReferences",
            &[("", Among(KIND)), ("", Among(SPECS))],
        ),
    ),
    ("varReference", List("types.FieldSpec", SPEC)),
    ("images", List("types.FieldSpec", SPEC)),
    ("replicas", List("types.FieldSpec", SPEC)),
];

/// The fields of the file of a built-in plugin; nothing for kinds that are not among them.
pub fn plugin(kind: &str) -> Option<Fields> {
    Some(match kind {
        "ConfigMapGenerator" => &[
            ("metadata", One("types.ObjectMeta", METADATA)),
            ("", Among(GENERATOR)),
        ],
        "SecretGenerator" => &[
            ("metadata", One("types.ObjectMeta", METADATA)),
            ("", Among(SECRET)),
        ],
        "AnnotationsTransformer" => &[("annotations", Pairs), ("", Among(SPECS))],
        "ImageTagTransformer" => &[("imageTag", One("types.Image", IMAGE)), ("", Among(SPECS))],
        "LabelTransformer" => &[("labels", Pairs), ("", Among(SPECS))],
        "NamespaceTransformer" => &[
            ("metadata", One("types.ObjectMeta", METADATA)),
            ("", Among(SPECS)),
            ("unsetOnly", Bool),
            (
                "setRoleBindingSubjects",
                Word("namespace.RoleBindingSubjectMode"),
            ),
        ],
        "PatchJson6902Transformer" => &[
            ("target", One("types.Selector", SELECTOR)),
            ("path", Text),
            ("jsonOp", Text),
        ],
        "PatchStrategicMergeTransformer" => &[
            ("paths", Words("types.PatchStrategicMerge")),
            ("patches", Text),
        ],
        "PatchTransformer" => PATCH,
        "PrefixTransformer" => &[("prefix", Text), ("", Among(SPECS))],
        "SuffixTransformer" => &[("suffix", Text), ("", Among(SPECS))],
        "PrefixSuffixTransformer" => &[("prefix", Text), ("suffix", Text), ("", Among(SPECS))],
        "ReplacementTransformer" => REPLACEMENTS,
        "ReplicaCountTransformer" => &[
            ("replica", One("types.Replica", REPLICA)),
            ("", Among(SPECS)),
        ],
        _ => return None,
    })
}

/// Kinds of plugins that kustomize has, and that are not supported here.
pub const UNSUPPORTED: &[&str] = &[
    "HashTransformer",
    "ValueAddTransformer",
    "IAMPolicyGenerator",
    "HelmChartInflationGenerator",
];
