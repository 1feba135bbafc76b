//! The spec of a definition as upstream's hub type has it: what all versions say alike stands once, beside the versions, and is told of under
//! that path (`spec.validation` of a definition with one version).
//!
//! Invariant: nothing is copied; what stands above the versions stands in none of them. So upstream's errors about what stands twice cannot arise.
//! Follows `pkg/apis/apiextensions/{types.go,v1/conversion.go,helpers.go}` of apiextensions-apiserver.

use crate::kinds::prelude::*;

/// A spec. Its fields that are no lists of versions are read from `value`.
pub struct Spec<'v> {
    pub value: &'v Value,
    pub versions: Vec<Version<'v>>,
    /// What stands above the versions; its schema is `validation` there.
    pub shared: Described<'v>,
}

/// A version.
pub struct Version<'v> {
    pub value: &'v Value,
    /// Without what stands above it.
    pub own: Described<'v>,
}

/// What is said of objects by a version, or above the versions of all.
pub struct Described<'v> {
    /// `schema`.
    pub schema: Option<&'v Value>,
    pub subresources: Option<&'v Value>,
    pub columns: &'v [Value],
    pub selectable: &'v [Value],
}

impl<'v> Described<'v> {
    /// The schema within `schema`.
    pub fn open_api(&self) -> Option<&'v Value> {
        self.schema.and_then(open_api)
    }
}

impl<'v> Spec<'v> {
    /// That of a definition.
    pub fn of(definition: &'v Value) -> Spec<'v> {
        let value = definition.at("spec");
        let all = value.list("versions");
        let alike = |name: &str| {
            let mut each = all.iter().map(|version| version.some(name));
            let first = each.next().flatten();
            each.all(|other| same_or_empty(first, other))
        };
        let once = |name: &str| alike(name).then(|| all.first()?.some(name)).flatten();
        let list = |name: &str| {
            once(name)
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        let shared = ["schema", "subresources", COLUMNS, SELECTABLE].map(alike);
        let versions = all.iter().map(|version| Version {
            value: version,
            own: Described {
                schema: version.some("schema").filter(|_| !shared[0]),
                subresources: version.some("subresources").filter(|_| !shared[1]),
                columns: unless(shared[2], version.list(COLUMNS)),
                selectable: unless(shared[3], version.list(SELECTABLE)),
            },
        });
        Spec {
            value,
            versions: versions.collect(),
            shared: Described {
                schema: once("schema"),
                subresources: once("subresources"),
                columns: list(COLUMNS),
                selectable: list(SELECTABLE),
            },
        }
    }

    /// `preserveUnknownFields`.
    pub fn preserves(&self) -> bool {
        self.value.flag("preserveUnknownFields")
    }

    /// All schemas, that above the versions first.
    pub fn schemas(&self) -> impl Iterator<Item = &'v Value> {
        let of_versions = self.versions.iter().map(|version| &version.own);
        let all = std::iter::once(&self.shared).chain(of_versions);
        all.filter_map(Described::open_api)
    }

    /// The name of the first version, which the hub type tells once more.
    pub fn version(&self) -> &'v str {
        self.versions
            .first()
            .map_or("", |version| version.value.text("name"))
    }

    /// The `schema` of a version, wherever it stands; `None` where there is no such version.
    pub fn schema_of(&self, version: &str) -> Option<Option<&'v Value>> {
        if self.versions.iter().all(|one| one.own.schema.is_none()) {
            return Some(self.shared.schema);
        }
        let found = self
            .versions
            .iter()
            .find(|one| one.value.text("name") == version)?;
        Some(found.own.schema)
    }

    /// Subresources of a version, wherever they stand.
    pub fn subresources_of(&self, version: &Version<'v>) -> Option<&'v Value> {
        let mut versions = self.versions.iter();
        if versions.all(|one| one.own.subresources.is_none()) {
            return self.shared.subresources;
        }
        // of several of one name the first
        self.versions
            .iter()
            .find(|one| one.value.text("name") == version.value.text("name"))?
            .own
            .subresources
    }

    /// The versions as messages show them.
    pub fn shown_versions(&self) -> String {
        if self.value.some("versions").is_some() && self.versions.is_empty() {
            return "[]".into();
        }
        let stripped: Vec<Value> = self.versions.iter().map(Version::stripped).collect();
        internal::json_list(&stripped, "apiextensions.CustomResourceDefinitionVersion")
    }
}

const COLUMNS: &str = "additionalPrinterColumns";
const SELECTABLE: &str = "selectableFields";

impl Version<'_> {
    fn stripped(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(map) = value.as_object_mut() {
            let gone = [
                ("schema", self.own.schema.is_none()),
                ("subresources", self.own.subresources.is_none()),
                (COLUMNS, self.own.columns.is_empty()),
                (SELECTABLE, self.own.selectable.is_empty()),
            ];
            for (name, _) in gone.iter().filter(|(_, gone)| *gone) {
                map.remove(*name);
            }
        }
        value
    }
}

/// The schema within a `schema`.
pub fn open_api(validation: &Value) -> Option<&Value> {
    validation.some("openAPIV3Schema")
}

fn unless(shared: bool, list: &[Value]) -> &[Value] {
    if shared { &[] } else { list }
}

/// Whether two values of fields are the same to Go, which takes an empty list for none.
fn same_or_empty(a: Option<&Value>, b: Option<&Value>) -> bool {
    let none = |value: Option<&Value>| {
        value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
    };
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        _ => none(a) && none(b),
    }
}

/// Whether two values are the same, `1` and `1.0` being one number.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Whether a condition of a definition is true.
pub fn is_true(definition: &Value, condition: &str) -> bool {
    definition
        .at("status")
        .list("conditions")
        .iter()
        .find(|one| one.text("type") == condition)
        .is_some_and(|one| one.text("status") == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_versions_say_alike_stands_above_them() {
        let schema = |kind: &str| json!({"openAPIV3Schema": {"type": kind}});
        let one = json!({"spec": {"versions": [{"name": "v1", "schema": schema("object"), "selectableFields": [{"jsonPath": ".a"}]}]}});
        let spec = Spec::of(&one);
        assert!(spec.shared.schema.is_some() && spec.versions[0].own.schema.is_none());
        assert_eq!(spec.shared.selectable.len(), 1);
        assert_eq!(spec.version(), "v1");
        assert!(
            spec.shown_versions()
                .contains(r#""Schema":null,"Subresources":null"#)
        );
        let two = json!({"spec": {"versions": [
            {"name": "v1", "schema": schema("object"), "subresources": {"status": {}}},
            {"name": "v2", "schema": schema("string"), "subresources": {"status": {}}, "additionalPrinterColumns": []}]}});
        let spec = Spec::of(&two);
        assert!(spec.shared.schema.is_none() && spec.shared.subresources.is_some());
        assert_eq!(spec.schemas().count(), 2);
        assert!(spec.schema_of("v2").flatten().is_some() && spec.schema_of("v3").is_none());
    }

    #[test]
    fn lists_of_no_versions_are_shown_as_they_are() {
        for (spec, shown) in [
            (json!({"versions": []}), "[]"),
            (json!({"versions": null}), "null"),
            (json!({}), "null"),
        ] {
            assert_eq!(Spec::of(&json!({"spec": spec})).shown_versions(), shown);
        }
    }
}
