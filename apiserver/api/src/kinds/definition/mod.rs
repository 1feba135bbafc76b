//! Kinds that a CustomResourceDefinition brings: what it says of names, columns and subresources becomes [`Kind`]s, and its schema becomes what their
//! objects are held to.
//!
//! Invariant: a definition's kinds come by the same door as those that are built in; all that is particular to them stands in [`Definition`].
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go` (what is made of a definition) and
//! `pkg/registry/customresource/{strategy,status_strategy,validator}.go` (what its objects are held to).

mod conditions;
pub(crate) mod rules;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

pub use conditions::{CLEANUP, find, is_condition, set, terminate};

use self::rules::Rules;
use super::{
    Alias, Flags, Generation, Kind, PathColumn, Printer, Scale, SchemaOf, SelectableField,
    Strategy, Subresource, Verbs, Warnings, default_columns, name,
};
use crate::machinery::{
    field::{self, Error, Errors, Path},
    meta::Meta,
    names,
    patch::go::{GoValue, go_type},
    problem::Problem,
    read::Read,
    schema::{self, Schema},
    structural::{Malformed, Reader, Structural},
};

/// The bytes of a stored definition, shared with the store.
pub type Written = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What a definition says of the values of one version's objects.
pub struct Definition {
    written: Written,
    version: &'static str,
    /// What its schema is made into when it is first asked: most definitions of a cluster have no objects.
    made: OnceLock<Made>,
    /// Objects stored up to this revision may have been written by another schema, or in another version.
    pub since: u64,
    /// It is being deleted: nothing more is made.
    pub terminating: bool,
    /// `group/version` and kind, as each object is to say.
    api_version: &'static str,
    kind: &'static str,
    scale: Option<ScalePaths>,
    /// A webhook converts between its versions.
    by_webhook: bool,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Definition({} {})", self.api_version, self.kind)
    }
}

/// What is made of a schema.
struct Made {
    structural: Structural,
    /// What it says of the status.
    status: Option<Structural>,
    /// The types of its objects, and which of them is the whole.
    schema: Schema,
    root: u32,
    rules: OnceLock<Rules>,
    /// Why it could not be read. Nothing is written of such a kind.
    broken: Option<Problem>,
}

/// Where `/scale` reads and writes, as the definition writes it: with a dot before.
#[derive(Debug)]
struct ScalePaths {
    spec_replicas: String,
    status_replicas: String,
    selector: Option<String>,
}

/// The kinds of a definition, in the order of their versions: those that are served, and the one that is stored, if it is not served.
#[derive(Debug, Default)]
pub struct Brought {
    pub served: Vec<Arc<Kind>>,
    pub unserved: Vec<Arc<Kind>>,
}

/// The kinds of a definition whose names were accepted. `written` are its bytes, which keep what nobody asks for often; `since` is the revision at which its schema came to be what it is.
///
/// # Errors
/// What of it cannot be read; upstream's validation lets none of that be stored.
pub fn kinds_of(definition: &Value, written: &Written, since: u64) -> Result<Brought, Problem> {
    let spec = definition.at("spec");
    let versions = spec.list("versions");
    let stored = versions
        .iter()
        .find(|version| version.flag("storage"))
        .ok_or_else(|| Problem::from("no version is stored"))?
        .text("name");
    let mut brought = Brought::default();
    for version in versions {
        let is_stored = version.text("name") == stored;
        if !version.flag("served") && !is_stored {
            continue;
        }
        let (mut kind, mut held) = kind_of(definition, version, written)?;
        held.since = since;
        kind.definition = Some(Arc::new(held));
        let names = (kind.group, kind.version, kind.kind);
        kind.storage_version = Some(name(&format!("{}/{stored}/{}", names.0, names.2)));
        if !is_stored {
            kind.stored_as = Some(Alias {
                resource: name(&kind.resource()),
                version: name(stored),
                to_stored: |_| {},
                from_stored: |_| {},
                worked_on_as_stored: false,
            });
        }
        match version.flag("served") {
            true => brought.served.push(Arc::new(kind)),
            false => brought.unserved.push(Arc::new(kind)),
        }
    }
    Ok(brought)
}

fn kind_of(
    definition: &Value,
    version: &Value,
    written: &Written,
) -> Result<(Kind, Definition), Problem> {
    let spec = definition.at("spec");
    let accepted = definition.at("status").at("acceptedNames");
    let texts = |field: &str| accepted.texts(field).map(name).collect();
    let mut kind = Kind::named(
        name(spec.text("group")),
        name(version.text("name")),
        name(accepted.text("plural")),
        name(accepted.text("kind")),
    );
    kind.singular = name(accepted.text("singular"));
    kind.list_kind = name(accepted.text("listKind"));
    kind.short_names = texts("shortNames");
    kind.categories = texts("categories");
    kind.namespaced = spec.text("scope") == "Namespaced";
    kind.verbs = Verbs::Custom;

    kind.schema = SchemaOf::Defined;
    let columns = version.list("additionalPrinterColumns");
    kind.printer = Printer::Paths(match columns {
        [] => default_columns(),
        columns => columns.iter().map(column).collect::<Result<_, _>>()?,
    });
    for field in version.list("selectableFields") {
        kind.selectable
            .push(SelectableField::at(field.text("jsonPath"))?);
    }
    let scale = subresources(&mut kind, version.at("subresources"));
    kind.flags = flags(&kind, version);
    kind.strategy = STRATEGY;
    let by_webhook = spec.at("conversion").text("strategy") == "Webhook";
    let held = Definition {
        by_webhook,
        written: written.clone(),
        version: kind.version,
        made: OnceLock::new(),
        since: 0,
        terminating: is_condition(definition, "Terminating", "True"),
        api_version: name(&kind.api_version()),
        kind: kind.kind,
        scale,
    };
    Ok((kind, held))
}

fn column(written: &Value) -> Result<PathColumn, Problem> {
    let mut column = PathColumn::new(
        written.text("name"),
        written.text("type"),
        written.text("jsonPath"),
    )?;
    column.format = written.text("format").into();
    if let Some(told) = written
        .text_ptr("description")
        .filter(|told| !told.is_empty())
    {
        column.description = told.into();
    }
    column.priority = i32::try_from(written.int("priority")).unwrap_or_default();
    Ok(column)
}

fn subresources(kind: &mut Kind, written: &Value) -> Option<ScalePaths> {
    if written.some("status").is_some() {
        kind.subresources.push(Subresource::Status);
    }
    let scale = written.some("scale")?;
    kind.subresources.push(Subresource::Scale);
    let selector = scale.text("labelSelectorPath");
    let undotted = |path: &str| name(path.trim_start_matches('.'));
    kind.scale = Some(Scale {
        spec_replicas: undotted(scale.text("specReplicasPath")),
        status_replicas: undotted(scale.text("statusReplicasPath")),
        selector: undotted(selector),
    });
    Some(ScalePaths {
        spec_replicas: scale.text("specReplicasPath").into(),
        status_replicas: scale.text("statusReplicasPath").into(),
        selector: Some(selector.to_string()).filter(|path| !path.is_empty()),
    })
}

fn flags(kind: &Kind, version: &Value) -> Flags {
    let deprecation = version.flag("deprecated").then(|| {
        let told = version.text("deprecationWarning");
        name(&match told {
            "" => format!("{} {} is deprecated", kind.api_version(), kind.kind),
            told => told.to_string(),
        })
    });
    Flags {
        generation: Generation::Counted,
        any_finalizers: true,
        allow_unconditional_update: false,
        status_reset: vec!["metadata", "spec"],
        deprecation,
        untyped: true,
        unknown_field: |field| format!("field label not supported: {field}"),
        ..Flags::default()
    }
}

/// What all of them have.
const STRATEGY: Strategy = Strategy {
    prepare_for_status_update: |new, old| {
        let managed = new.meta_mut().remove("managedFields");
        new["metadata"] = old.at("metadata").clone();
        match managed {
            Some(managed) => new.meta_mut().insert("managedFields".into(), managed),
            None => new.meta_mut().remove("managedFields"),
        };
    },
    ..Strategy::DEFAULT
};

impl Made {
    fn of(definition: &Definition) -> Result<Made, Problem> {
        let structural = Structural::read_served(&mut Reader::default(), &definition.schema()?)?;
        let (group, version) = definition
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", definition.api_version));
        let (schema, root) = structural.schema(group, version, definition.kind)?;
        Ok(Made {
            status: structural.part(&["status"]),
            structural,
            schema,
            root,
            rules: OnceLock::new(),
            broken: None,
        })
    }

    /// Of a schema that cannot be read, which upstream's validation does not let through.
    fn broken(why: Problem) -> Made {
        let any =
            serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let structural = Structural::read(&any)
            .unwrap_or_else(|why| panic!("a schema that says nothing is read: {why}"));
        let (schema, root) = structural
            .schema("", "", "Unreadable")
            .unwrap_or_else(|why| panic!("a schema that says nothing has types: {why}"));
        Made {
            status: None,
            structural,
            schema,
            root,
            rules: OnceLock::new(),
            broken: Some(why),
        }
    }
}

impl Definition {
    fn made(&self) -> &Made {
        self.made
            .get_or_init(|| Made::of(self).unwrap_or_else(Made::broken))
    }

    fn structural(&self) -> &Structural {
        &self.made().structural
    }

    /// The type of the kind's objects.
    pub fn node(&self) -> schema::Node<'_> {
        let made = self.made();
        made.schema.root(made.root)
    }

    /// The schema as it was written: what OpenAPI shows.
    ///
    /// # Errors
    /// The definition cannot be read.
    pub fn schema(&self) -> Result<Value, Problem> {
        let bytes: &[u8] = (*self.written).as_ref();
        let mut definition: Value =
            serde_json::from_slice(bytes).map_err(|error| Problem(error.to_string()))?;
        let versions = definition.pointer_mut("/spec/versions");
        let versions = versions.and_then(Value::as_array_mut);
        let of = versions
            .into_iter()
            .flatten()
            .find(|version| version.text("name") == self.version);
        Ok(of
            .and_then(|version| version.pointer_mut("/schema/openAPIV3Schema"))
            .map(Value::take)
            .unwrap_or_default())
    }

    /// Takes out what the schema does not know, nulls where nothing may be null, and brings embedded objects into form; the paths of what was unknown.
    ///
    /// # Errors
    /// The first kind, version or metadata of an embedded object that cannot be read.
    pub fn coerce(&self, value: &mut Value) -> Result<Vec<String>, Error> {
        self.structural().coerce(value, Malformed::Refused)
    }

    /// What the schema has for what is absent.
    pub fn defaults(&self, value: &mut Value) {
        self.structural().default(value);
    }

    /// Makes what was stored by another schema what it is by this one.
    ///
    /// # Errors
    /// Those of [`Definition::coerce`], but for metadata: what of that cannot be read is let go. It is of another version, which a webhook would convert.
    pub fn reshape(&self, value: &mut Value) -> Result<(), Problem> {
        let given = value.text("apiVersion");
        if self.by_webhook && given != self.api_version {
            return Err(Problem(format!(
                "conversion webhook for {given}, Kind={} failed: this server asks no conversion webhooks",
                self.kind
            )));
        }
        value["apiVersion"] = self.api_version.into();
        value["kind"] = self.kind.into();
        self.structural()
            .coerce(value, Malformed::Dropped)
            .map_err(|error| Problem(error.to_string()))?;
        self.structural().default(value);
        Ok(())
    }

    /// It says that it is what its path says.
    fn type_meta(&self, value: &Value) -> Errors {
        let mut errors = Errors::default();
        for (field, wanted) in [("kind", self.kind), ("apiVersion", self.api_version)] {
            let given = value.text(field);
            if given != wanted {
                errors.invalid(&Path::new(field), given, format!("must be {wanted}"));
            }
        }
        errors
    }

    pub fn validate(&self, value: &Value) -> Errors {
        let mut errors = self.type_meta(value);
        if !errors.is_empty() {
            return errors;
        }
        errors.extend(self.structural().validate(value, &Path::WHOLE));
        errors.extend(self.scale_of(value, true));
        errors.extend(self.structural().validate_metadata(value, &Path::WHOLE));
        errors.extend(self.structural().validate_list_types(value, &Path::WHOLE));
        self.ruled(value, None, errors)
    }

    /// `(new, old)`.
    pub fn validate_update(&self, new: &Value, old: &Value) -> Errors {
        let mut errors = self.type_meta(new);
        if !errors.is_empty() {
            return errors;
        }
        errors.extend(self.structural().validate_update(new, old, &Path::WHOLE));
        errors.extend(self.scale_of(new, true));
        errors.extend(self.structural().validate_metadata(new, &Path::WHOLE));
        errors.extend(self.list_types(new, old));
        self.ruled(new, Some(old), errors)
    }

    /// `(new, old)`.
    pub fn validate_status_update(&self, new: &Value, old: &Value) -> Errors {
        let mut errors = self.type_meta(new);
        if !errors.is_empty() {
            return errors;
        }
        if let (Some(schema), Some(status)) = (&self.made().status, new.get("status")) {
            let old = old.get("status").unwrap_or(&Value::Null);
            errors.extend(schema.validate_update(status, old, &Path::new("status")));
        }
        errors.extend(self.scale_of(new, false));
        errors.extend(self.list_types(new, old));
        self.ruled(new, Some(old), errors)
    }

    /// Elements that stand twice, unless some did before.
    fn list_types(&self, new: &Value, old: &Value) -> Errors {
        let found = self.structural().validate_list_types(new, &Path::WHOLE);
        match found.is_empty()
            || self
                .structural()
                .validate_list_types(old, &Path::WHOLE)
                .is_empty()
        {
            true => found,
            false => Errors::default(),
        }
    }

    /// With what the rules of the schema have against it, if what was found so far lets them be asked.
    fn ruled(&self, new: &Value, old: Option<&Value>, mut errors: Errors) -> Errors {
        const BLOCKING: [field::Kind; 5] = [
            field::Kind::NotSupported,
            field::Kind::Required,
            field::Kind::TooLong,
            field::Kind::TooMany,
            field::Kind::TypeInvalid,
        ];
        if errors.0.iter().any(|error| BLOCKING.contains(&error.kind)) {
            errors.invalid(
                &Path::new("<nil>"),
                Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            );
            return errors;
        }
        errors.extend(self.rules_against(new, old, &mut |_| {}));
        errors
    }

    fn rules_against(
        &self,
        new: &Value,
        old: Option<&Value>,
        warn: &mut dyn FnMut(&Error),
    ) -> Errors {
        let made = self.made();
        if let Some(why) = &made.broken {
            let why = format!("the schema of its definition cannot be read: {why}");
            return Errors::of(|errors| errors.invalid(&Path::new("<nil>"), "object", why));
        }
        if !made.structural.root().is_ruled() {
            return Errors::default();
        }
        let rules = match made.rules.get() {
            Some(rules) => rules,
            None => match self.schema() {
                Ok(schema) => made
                    .rules
                    .get_or_init(|| Rules::of(&made.structural, &schema)),
                Err(why) => {
                    let why = format!("rule compiler initialization error: {why}");
                    return Errors::of(|errors| errors.invalid(&Path::new("<nil>"), "object", why));
                }
            },
        };
        rules.check(&made.structural, new, old, warn)
    }

    /// What the rules have against what was so before: it is told, and lets the update pass.
    fn ratcheted(&self, new: &Value, old: &Value) -> Warnings {
        let mut warnings = Warnings::new();
        self.rules_against(new, Some(old), &mut |error| {
            warnings.push(error.to_string())
        });
        warnings
    }

    /// Of a write of the whole object: `(new, old)`.
    pub fn warnings(&self, new: &Value, old: Option<&Value>) -> Warnings {
        let mut warnings = old.map_or_else(Warnings::new, |old| self.ratcheted(new, old));
        warnings.extend(finalizer_warnings(new, old));
        warnings
    }

    /// What `/scale` shows can be shown.
    fn scale_of(&self, value: &Value, spec: bool) -> Errors {
        let mut errors = Errors::default();
        let Some(scale) = &self.scale else {
            return errors;
        };
        if spec {
            count(value, &scale.spec_replicas, &mut errors);
        }
        count(value, &scale.status_replicas, &mut errors);
        if let Some(path) = &scale.selector
            && let Err(why) = at_path(value, path).and_then(|found| match found {
                None | Some(Value::String(_)) => Ok(()),
                Some(other) => Err(accessor(path, other, "string")),
            })
        {
            errors.invalid(&Path::new(path), "", why);
        }
        errors
    }
}

/// What stands at a path with a dot before it; nothing where something on the way is absent.
fn at_path<'v>(value: &'v Value, path: &str) -> Result<Option<&'v Value>, String> {
    let mut at = value;
    let mut come = String::new();
    for field in path.trim_start_matches('.').split('.') {
        come.push('.');
        come.push_str(field);
        match at {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(field) {
                Some(next) => at = next,
                None => return Ok(None),
            },
            other => {
                return Err(accessor(&come, other, "map[string]interface{}"));
            }
        }
    }
    Ok(Some(at))
}

/// What Go says of a value of another type than was looked for.
fn accessor(path: &str, found: &Value, expected: &str) -> String {
    let (shown, of) = (GoValue(found), go_type(found));
    format!("{path} accessor error: {shown} is of the type {of}, expected {expected}")
}

/// What stands at the path is a count of replicas.
fn count(value: &Value, path: &str, errors: &mut Errors) {
    let at = Path::new(path);
    let found = match at_path(value, path) {
        Ok(None) => return,
        Ok(Some(found)) => found.as_i64().ok_or_else(|| accessor(path, found, "int64")),
        Err(why) => Err(why),
    };
    match found {
        Err(why) => errors.invalid(&at, 0, why),
        Ok(count) if count < 0 => errors.invalid(&at, count, "should be a non-negative integer"),
        Ok(count) if count > i64::from(i32::MAX) => errors.invalid(
            &at,
            count,
            format!("should be less than or equal to {}", i32::MAX),
        ),
        Ok(_) => {}
    }
}

/// Of finalizers that this write adds: names that others may take for theirs.
fn finalizer_warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let had: Vec<&str> = old.into_iter().flat_map(Meta::finalizers).collect();
    let added: BTreeSet<&str> = new
        .finalizers()
        .filter(|name| !had.contains(name))
        .collect();
    let mut warnings = Warnings::new();
    for finalizer in added {
        let mut warn =
            |why: &str| warnings.push(format!("metadata.finalizers: {finalizer:?}: {why}"));
        names::is_qualified_name(finalizer)
            .iter()
            .for_each(|why| warn(why));
        let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer);
        match (finalizer.contains('/') || standard, finalizer.contains('.')) {
            (true, _) => {}
            (_, true) => warn(
                "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
            ),
            _ => warn(
                "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers",
            ),
        }
    }
    warnings
}
