//! What a definition says of names, columns and subresources, as kinds.
//!
//! Follows `getOrCreateServingInfoFor` of `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go`.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{ConversionWebhook, Definition, Written, is_condition, scale::ScalePaths};
use crate::kinds::{
    Alias, Flags, Generation, Kind, PathColumn, Printer, Scale, SchemaOf, SelectableField,
    Strategy, Subresource, Verbs, default_columns, name,
};
use crate::machinery::{
    meta::Meta,
    problem::{Problem, problem},
    read::Read,
};

/// The kinds of a definition, in the order of their versions: those that are served, and those in which objects may only be stored or have been written.
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
    let webhook = ConversionWebhook::of(definition).map(Arc::new);
    for version in versions {
        let is_stored = version.text("name") == stored;
        let held = Held {
            definition,
            written,
            since,
            webhook: &webhook,
        };
        let mut kind = kind_of(&held, version)?;
        let names = (kind.group, kind.version, kind.kind);
        kind.storage_version = Some(name(&format!("{}/{stored}/{}", names.0, names.2)));
        if !is_stored {
            kind.stored_as = Some(Alias {
                resource: name(&kind.resource()),
                version: name(stored),
                // they differ in their schemas, and are shaped by them
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

/// A definition, its bytes, since when it says what it says, and what converts between its versions.
struct Held<'d> {
    definition: &'d Value,
    written: &'d Written,
    since: u64,
    webhook: &'d Option<Arc<ConversionWebhook>>,
}

fn kind_of(held: &Held<'_>, version: &Value) -> Result<Kind, Problem> {
    let definition = held.definition;
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
    kind.schema = SchemaOf::Defined(Arc::new(Definition {
        written: held.written.clone(),
        version: kind.version,
        made: OnceLock::new(),
        since: held.since,
        terminating: is_condition(definition, "Terminating", "True"),
        api_version: name(&kind.api_version()),
        kind: kind.kind,
        scale,
        webhook: held.webhook.clone(),
    }));
    Ok(kind)
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
    let priority = written.int("priority");
    column.priority =
        i32::try_from(priority).map_err(|_| problem!("{priority} is no priority of a column"))?;
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
