//! What selects among the objects of a kind: labels and fields, by what is kept beside each object or by reading it.
//!
//! Invariant: an object that cannot be read is selected, to be told of.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/selection_predicate.go`.

use skiff_api::{
    kinds::{Kind, SelectableField},
    machinery::{
        selector::{self, FieldSelector, Selector},
        status::Status,
    },
};
use skiff_storage::{Interest, Object};

use crate::{context::Context, stored};

/// What selects among the objects of a kind. Answers from an object's attributes, without its bytes.
#[derive(Clone)]
pub struct Selection {
    pub labels: Selector,
    pub fields: FieldSelector,
    /// Fields that are not kept beside the objects, and are read out of each.
    unindexed: Vec<SelectableField>,
}

/// What a request selects by, read, of which nobody has asked yet whether the kind has such fields.
pub struct Given {
    labels: Selector,
    fields: FieldSelector,
}

impl Given {
    pub fn of(ctx: &Context) -> Result<Given, Status> {
        Self::read(
            ctx.query.text("labelSelector"),
            ctx.query.text("fieldSelector"),
        )
    }

    fn read(labels: &str, fields: &str) -> Result<Given, Status> {
        let unread = |error: selector::SelectorError| Status::bad_request(error.to_string());
        Ok(Given {
            labels: labels.parse().map_err(unread)?,
            fields: fields.parse().map_err(unread)?,
        })
    }

    pub fn of_kind(self, kind: &Kind) -> Result<Selection, Status> {
        let Given { labels, fields } = self;
        let fields = fields.transform(|name, value| {
            let field = field_of(kind, name)
                .ok_or_else(|| Status::bad_request((kind.flags.unknown_field)(name)))?;
            Ok::<_, Status>((field.into(), value.into()))
        })?;
        let unindexed =
            match kind.indexed().len() == kind.selectable.len() || fields.is_everything() {
                true => Vec::new(),
                false => kind.selectable.clone(),
            };
        Ok(Selection {
            labels,
            fields,
            unindexed,
        })
    }
}

impl Selection {
    pub fn of(ctx: &Context, kind: &Kind) -> Result<Selection, Status> {
        let given = Given::of(ctx)?;
        given.of_kind(kind)
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// What a watcher need not be woken for: the events of all objects but these.
    pub fn interest(&self, kind: &Kind, namespace: Option<&str>) -> Interest {
        let mut interest = Interest::default();
        if let Some(namespace) = namespace {
            interest = interest.in_namespace(namespace);
        }
        if let Some(name) = self.fields.requires_exact_match("metadata.name") {
            interest = interest.named(name);
        }
        let wanted = |path: &'static str| {
            self.fields
                .requires_exact_match(path)
                .filter(|value| !value.is_empty())
                .map(|value| (path, value))
        };
        match kind.indexed().iter().find_map(|field| wanted(field.path)) {
            Some((path, value)) => interest.with_field(path, value),
            None => interest,
        }
    }

    /// Whether an object of which there is no more than a name matches.
    pub fn matches_name(&self, name: &str) -> bool {
        self.labels.matches(&serde_json::Value::Null)
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(name),
                _ => None,
            })
    }

    /// Whether an object is among those that a list of what there is now looks at: those of one node are found by its name.
    /// Follows `MatcherIndex`, and what `IndexFields` names of pods and slices of resources.
    pub fn looks_at(&self, object: &Object) -> bool {
        const INDEXED: &str = "spec.nodeName";
        let node = self.fields.requires_exact_match(INDEXED);
        let attributes = object.attributes();
        node.is_none_or(|node| {
            attributes.is_unreadable() || attributes.field(INDEXED).unwrap_or_default() == node
        })
    }

    pub fn matches(&self, object: &Object) -> bool {
        if self.is_everything() {
            return true;
        }
        let attributes = object.attributes();
        if attributes.is_unreadable() {
            // to be told of, not to be missing
            return true;
        }
        if !self.labels.matches(&stored::LabelsOf(attributes)) {
            return false;
        }
        let Ok(read) = self.read_out(object) else {
            return true;
        };
        self.fields.matches(|name| match name {
            "metadata.name" => Some(&*object.key.name),
            "metadata.namespace" => Some(&*object.key.namespace),
            name => match read.iter().find(|(path, _)| *path == name) {
                Some((_, value)) => Some(value),
                None => attributes.field(name),
            },
        })
    }
}

impl Selection {
    /// The values of fields that are not kept.
    fn read_out(&self, object: &Object) -> Result<Vec<(&'static str, String)>, Status> {
        if self.unindexed.is_empty() {
            return Ok(Vec::new());
        }
        let value = stored::value(object)?;
        let fields = self.unindexed.iter();
        Ok(fields
            .map(|field| (field.path, field.value(&value)))
            .collect())
    }
}

/// The selectable field that a selector names.
fn field_of(kind: &Kind, name: &str) -> Option<&'static str> {
    if let Some((_, field)) = kind
        .flags
        .field_names
        .iter()
        .find(|(alias, _)| *alias == name)
    {
        return Some(field);
    }
    match name {
        "metadata.name" => return Some("metadata.name"),
        // cluster-scoped kinds with fields of their own leave it out
        "metadata.namespace" if kind.namespaced || kind.selectable.is_empty() => {
            return Some("metadata.namespace");
        }
        _ => {}
    }
    let own = kind
        .selectable
        .iter()
        .filter(|_| !kind.flags.only_mapped_fields);
    own.map(|field| field.path).find(|path| *path == name)
}
