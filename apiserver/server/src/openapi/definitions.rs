//! The definitions of OpenAPI: the types of the schema table under upstream's names.
//!
//! Follows kube-openapi's `pkg/generators/openapi.go` and the markers in `staging/src/k8s.io/api`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::schema::{Field, ListType, Omit, Schema, Shape, Type},
};

use super::{
    Version, custom,
    descriptions::{self, Described},
    enumerations, fixed,
    names::{META, definition_of, name_of, reference},
};

/// The definitions that documents of some kinds may refer to. Each is made when it is asked for: the document of one group needs few of a thousand.
pub struct Definitions<'k> {
    version: Version,
    told: HashMap<&'static str, Described>,
    tags: BTreeMap<String, Vec<Value>>,
    types: HashMap<String, &'static Type>,
    /// Kinds that are not built in, and those that are listed, by the names of their definitions.
    others: HashMap<String, &'k Kind>,
    lists: HashMap<String, &'k Kind>,
    scalars: Map<String, Value>,
}

impl<'k> Definitions<'k> {
    /// `within`: the group and version whose document it is, if it is not the document of all.
    pub fn of(
        kinds: &'k Registry,
        version: Version,
        within: Option<(&str, &str)>,
    ) -> Definitions<'k> {
        let told = descriptions::all();
        let spoken = Schema::builtin().types.iter().filter(|of| !of.unspoken);
        let all = kinds.all().iter().map(Arc::as_ref);
        let others = all.clone().filter(|kind| !kind.is_builtin());
        let listed = all.filter(|kind| kind.verbs.has("list"));
        Definitions {
            version,
            tags: group_version_kinds(kinds, within),
            types: spoken.map(|of| (name_of(&of.name), of)).collect(),
            others: others.map(|kind| (definition_of(kind), kind)).collect(),
            lists: listed
                .map(|kind| (format!("{}List", definition_of(kind)), kind))
                .collect(),
            scalars: scalars(&told, version),
            told,
        }
    }

    /// The definition of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Value> {
        let tags = self.tags.get(name);
        if let Some(row) = self.lists.get(name) {
            return Some(self.list_of(row, tags));
        }
        if let Some(kind) = self.others.get(name) {
            return match kind.definition() {
                Some(definition) => {
                    Some(custom::object(kind, definition, &self.told, self.version))
                }
                None => {
                    let of = kind.node().as_type()?;
                    let schema = kind.node().schema();
                    Some(self.shown(schema).object(of, None, tags))
                }
            };
        }
        match self.types.get(name) {
            Some(of) => {
                let told = self.told.get(name);
                Some(self.shown(Schema::builtin()).object(of, told, tags))
            }
            None => self.scalars.get(name).cloned(),
        }
    }

    fn list_of(&self, row: &Kind, tags: Option<&Vec<Value>>) -> Value {
        let item = definition_of(row);
        let meta = |field: &str| custom::said(&self.told, &format!("{META}.Status"), field);
        let end = if row.is_builtin() { "." } else { "" };
        let mut list = json!({
            "description": format!("{} is a list of {}{end}", row.list_kind, row.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": meta("apiVersion")},
                "kind": {"type": "string", "description": meta("kind")},
                "metadata": {"$ref": format!("#/definitions/{META}.ListMeta"), "description": meta("metadata")},
                "items": {"type": "array", "items": reference(&item), "description": format!("The {} of the list.", row.plural)},
            },
        });
        if self.version == Version::Three && row.is_builtin() {
            list["properties"]["metadata"]["default"] = json!({});
        }
        if let Some(tags) = tags {
            list["x-kubernetes-group-version-kind"] = tags.clone().into();
        }
        custom::tell_selectable(&mut list, row);
        list
    }

    fn shown<'s>(&self, schema: &'s Schema) -> Shown<'s> {
        Shown {
            schema,
            version: self.version,
        }
    }

    /// All of them.
    pub fn all(&self) -> Map<String, Value> {
        let names = (self.types.keys())
            .chain(self.others.keys())
            .chain(self.lists.keys())
            .chain(self.scalars.keys());
        names
            .filter_map(|name| Some((name.clone(), self.get(name)?)))
            .collect()
    }
}

const API_VERSION: &str = "The group and version whose schema the object follows, such as apps/v1.";
const KIND: &str = "The kind of the object, in CamelCase. It cannot be updated.";

/// Types that are no structs.
fn scalars(told: &HashMap<&str, Described>, version: Version) -> Map<String, Value> {
    let plain = [
        (
            format!("{META}.Time"),
            json!({"type": "string", "format": "date-time"}),
        ),
        (
            format!("{META}.MicroTime"),
            json!({"type": "string", "format": "date-time"}),
        ),
        (format!("{META}.Duration"), json!({"type": "string"})),
        (format!("{META}.FieldsV1"), json!({"type": "object"})),
        (format!("{META}.Patch"), json!({"type": "object"})),
        (name_of("apiextensions.v1.JSON"), json!({})),
        (
            name_of("apiextensions.v1.JSONSchemaPropsOrArray"),
            json!({}),
        ),
        (name_of("apiextensions.v1.JSONSchemaPropsOrBool"), json!({})),
        (
            name_of("apiextensions.v1.JSONSchemaPropsOrStringArray"),
            json!({}),
        ),
        (
            "io.k8s.apimachinery.pkg.api.resource.Quantity".into(),
            json!({"type": "string"}),
        ),
        (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString".into(),
            json!({"type": "string", "format": "int-or-string"}),
        ),
        (
            "io.k8s.apimachinery.pkg.runtime.RawExtension".into(),
            json!({"type": "object"}),
        ),
    ];
    let info = fixed::version_info(told.get(fixed::VERSION), version);
    let plain = plain.into_iter().chain([(fixed::VERSION.into(), info)]);
    let told = plain.map(|(name, mut definition)| {
        if let Some(described) = told.get(&*name) {
            definition["description"] = described.words.clone().into();
        }
        (name, definition)
    });
    told.collect()
}

/// Which kinds a definition is: those of the rows, their lists, what subresources speak, and the types that all groups share.
fn group_version_kinds(
    kinds: &Registry,
    within: Option<(&str, &str)>,
) -> BTreeMap<String, Vec<Value>> {
    let mut tags: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let tag = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    for row in kinds.all() {
        tags.entry(definition_of(row))
            .or_default()
            .push(tag(row.group, row.version, row.kind));
        if row.verbs.has("list") {
            tags.entry(format!("{}List", definition_of(row)))
                .or_default()
                .push(tag(row.group, row.version, row.list_kind));
        }
    }
    for (definition, group, kind) in [
        ("policy.v1.Eviction", "policy", "Eviction"),
        (
            "authentication.v1.TokenRequest",
            "authentication.k8s.io",
            "TokenRequest",
        ),
        ("autoscaling.v1.Scale", "autoscaling", "Scale"),
    ] {
        tags.entry(name_of(definition))
            .or_default()
            .push(tag(group, "v1", kind));
    }
    for kind in [
        "Status",
        "APIGroup",
        "APIGroupList",
        "APIResourceList",
        "APIVersions",
    ] {
        tags.entry(format!("{META}.{kind}"))
            .or_default()
            .push(tag("", "v1", kind));
    }
    for kind in ["DeleteOptions", "WatchEvent"] {
        let list = tags.entry(format!("{META}.{kind}")).or_default();
        list.push(tag("", "v1", kind));
        let told = |known: &(&str, &str)| match within {
            None => true,
            Some(within) if known_versions().any(|known| known == within) => within == *known,
            Some(_) => !UNKNOWN_TO_DEFINITIONS.contains(&known.0),
        };
        for (group, version) in known_versions().filter(told) {
            list.push(tag(group, version, kind));
        }
    }
    tags
}

/// Groups that are not told of in the document of what a definition brought, which has the types of most groups: those of servers of their own in
/// upstream, and those of which there is nothing but questions.
const UNKNOWN_TO_DEFINITIONS: [&str; 4] = [
    "admission.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "imagepolicy.k8s.io",
];

/// Groups and versions that types are known in, whether they are served or not.
fn known_versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("versions.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.flat_map(|line| {
        let mut words = line.split(' ');
        let group = words.next().unwrap_or("");
        words.map(move |version| (group, version))
    })
}

/// What `x-kubernetes-unions` says of a type.
fn union_of(name: &str) -> Option<Value> {
    let lines = include_str!("unions.txt").lines();
    let mut rows = lines.filter(|line| !line.starts_with('#'));
    let (says, fields) = rows
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?
        .split_once(' ')?;
    let fields = fields.split(' ').filter_map(|field| field.split_once('='));
    let fields: Map<String, Value> = fields
        .map(|(field, called)| (field.into(), called.into()))
        .collect();
    let mut union = json!({"fields-to-discriminateBy": fields});
    if says != "-" {
        union["discriminator"] = says.into();
    }
    Some(json!([union]))
}

/// Fields that the server takes as any JSON and that have types of their own in Go: what stands before and the type's name.
const LOOSE: &[(&str, &str, (&str, &str))] = &[
    (
        "apiextensions.v1.JSONSchemaProps",
        "default",
        ("", "apiextensions.v1.JSON"),
    ),
    (
        "apiextensions.v1.JSONSchemaProps",
        "enum",
        ("items", "apiextensions.v1.JSON"),
    ),
    (
        "apiextensions.v1.JSONSchemaProps",
        "example",
        ("", "apiextensions.v1.JSON"),
    ),
];

/// Types of a schema as one version of OpenAPI shows them.
#[derive(Clone, Copy)]
struct Shown<'s> {
    schema: &'s Schema,
    version: Version,
}

impl Shown<'_> {
    fn object(
        self,
        definition: &Type,
        told: Option<&Described>,
        tags: Option<&Vec<Value>>,
    ) -> Value {
        let mut out = json!({"type": "object"});
        if let Some(described) = told.filter(|told| !told.words.is_empty()) {
            out["description"] = described.words.clone().into();
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in &definition.fields {
            let other = LOOSE
                .iter()
                .find(|(of, name, _)| **of == *definition.name && **name == *field.name)
                .map(|(.., shape)| *shape);
            let told = told.and_then(|told| told.fields.get(&*field.name));
            properties.insert(field.name.to_string(), self.property(field, told, other));
            if field.required {
                required.push(Value::from(&*field.name));
            }
        }
        if !properties.is_empty() {
            out["properties"] = properties.into();
        }
        if !required.is_empty() {
            out["required"] = required.into();
        }
        if definition.atomic {
            out["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some(tags) = tags {
            out["x-kubernetes-group-version-kind"] = tags.clone().into();
        }
        if let Some(union) = union_of(&name_of(&definition.name)) {
            out["x-kubernetes-unions"] = union;
        }
        out
    }
    fn property(self, field: &Field, told: Option<&String>, other: Option<(&str, &str)>) -> Value {
        let mut out = match other {
            Some(("", name)) => reference(&name_of(name)),
            Some((place @ "items", name)) => {
                json!({"type": "array", place: reference(&name_of(name))})
            }
            Some((place, name)) => json!({"type": "object", place: reference(&name_of(name))}),
            None => self.shape(&field.shape),
        };
        let description = told.map(String::as_str).or(match &*field.name {
            "apiVersion" => Some(API_VERSION),
            "kind" => Some(KIND),
            _ => None,
        });
        if let Some(description) = description {
            out["description"] = description.into();
        }
        if let Some(values) = values_of(&field.shape) {
            let words = description.unwrap_or("");
            out["description"] = enumerations::told(words, values).into();
        }
        if self.version == Version::Three
            && let Some(default) = default_of(field)
        {
            out["default"] = default;
        }
        match field.list {
            ListType::Unset => {}
            ListType::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
            ListType::Set => out["x-kubernetes-list-type"] = "set".into(),
            ListType::Map => {
                out["x-kubernetes-list-type"] = "map".into();
                out["x-kubernetes-list-map-keys"] =
                    field.keys.iter().map(|key| Value::from(&**key)).collect();
            }
        }
        if field.atomic && matches!(field.shape, Shape::Bytes) {
            out["x-kubernetes-list-type"] = "atomic".into();
        } else if field.atomic {
            out["x-kubernetes-map-type"] = "atomic".into();
        } else if field.granular {
            out["x-kubernetes-map-type"] = "granular".into();
        }
        let strategies: Vec<&str> = [
            (field.merge, "merge"),
            (field.retain_keys, "retainKeys"),
            (field.replace, "replace"),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| name)
        .collect();
        if !strategies.is_empty() {
            out["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if let Some(key) = &field.merge_key {
            out["x-kubernetes-patch-merge-key"] = (&**key).into();
        }
        out
    }

    fn shape(self, shape: &Shape) -> Value {
        match shape {
            Shape::String(_) => match values_of(shape) {
                Some(values) => json!({"type": "string", "enum": values}),
                None => json!({"type": "string"}),
            },
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Int32(_) => json!({"type": "integer", "format": "int32"}),
            Shape::Int64(_) => json!({"type": "integer", "format": "int64"}),
            Shape::Float64 => json!({"type": "number", "format": "double"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Quantity => reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Shape::Time => reference(&format!("{META}.Time")),
            Shape::MicroTime => reference(&format!("{META}.MicroTime")),
            Shape::Duration => reference(&format!("{META}.Duration")),
            Shape::IntOrString => reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Shape::Raw => reference("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            Shape::Json => json!({}),
            Shape::SchemaOr(or, _) => {
                reference(&name_of(&format!("apiextensions.v1.{}", or.name())))
            }
            Shape::Fields => reference(&format!("{META}.FieldsV1")),
            Shape::Struct(index) => {
                let of = &self.schema.types[*index as usize];
                match Schema::builtin().get(&of.name) {
                    Some(_) => reference(&name_of(&of.name)),
                    // what a definition brings has no name that others know
                    None => self.object(of, None, None),
                }
            }
            Shape::Element(of) => self.property(&of.0, None, None),
            Shape::List(of) => json!({"type": "array", "items": self.shape(of)}),
            Shape::Map(of) => json!({"type": "object", "additionalProperties": self.shape(of)}),
        }
    }
}

/// The values of a field that is an enumeration.
fn values_of(shape: &Shape) -> Option<&'static [&'static str]> {
    match shape {
        Shape::String(name) => enumerations::values(name.as_deref()?),
        _ => None,
    }
}

/// What a field has when nobody says anything: what is said of it, or Go's zero of what is always written.
fn default_of(field: &Field) -> Option<Value> {
    if field.default.is_some() || field.pointer {
        return field.default.clone();
    }
    match field.shape {
        Shape::Struct(_) => Some(json!({})),
        _ if field.omit != Omit::Never => None,
        Shape::String(_) => Some("".into()),
        Shape::Bool => Some(false.into()),
        Shape::Int32(_) | Shape::Int64(_) | Shape::Float64 => Some(0.into()),
        _ => None,
    }
}
