//! What the objects of a definition's kinds are held to.
//!
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy,validator}.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Definition, rules::Rules};
use crate::kinds::Warnings;
use crate::machinery::quote::GoQuoted;
use crate::machinery::{
    field::{self, Errors, NIL, Path},
    meta::Meta,
    names, object_meta,
    read::Read,
};

impl Definition {
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
        self.ruled(value, None, errors, &mut |_| {})
    }

    /// `told` hears what is wrong and was so before, which lets the update pass.
    pub fn validate_update(
        &self,
        new: &Value,
        old: &Value,
        told: &mut dyn FnMut(String),
    ) -> Errors {
        let mut errors = self.type_meta(new);
        if !errors.is_empty() {
            return errors;
        }
        errors.extend(self.structural().validate_update(new, old, &Path::WHOLE));
        errors.extend(self.scale_of(new, true));
        errors.extend(self.structural().validate_metadata(new, &Path::WHOLE));
        errors.extend(self.list_types(new, old));
        self.ruled(new, Some(old), errors, told)
    }

    /// As [`Definition::validate_update`], of what `/status` writes.
    pub fn validate_status_update(
        &self,
        new: &Value,
        old: &Value,
        told: &mut dyn FnMut(String),
    ) -> Errors {
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
        self.ruled(new, Some(old), errors, told)
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
    fn ruled(
        &self,
        new: &Value,
        old: Option<&Value>,
        mut errors: Errors,
        told: &mut dyn FnMut(String),
    ) -> Errors {
        const BLOCKING: [field::Kind; 5] = [
            field::Kind::NotSupported,
            field::Kind::Required,
            field::Kind::TooLong,
            field::Kind::TooMany,
            field::Kind::TypeInvalid,
        ];
        let blocks = |errors: &Errors| errors.0.iter().any(|error| BLOCKING.contains(&error.kind));
        // what metadata is refused for is told by whoever checks that of all kinds
        let metadata = object_meta::validate(new, false, |_, _| Vec::new());
        let blocked = blocks(&errors) || blocks(&metadata);
        let made = self.made();
        if blocked && made.broken.is_none() && !made.structural.root().is_ruled() {
            return errors;
        }
        if blocked {
            errors.invalid(
                &Path::new(NIL),
                Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            );
            return errors;
        }
        errors.extend(self.rules_against(new, old, told));
        errors
    }

    fn scale_of(&self, value: &Value, whole: bool) -> Errors {
        let scale = self.scale.as_ref();
        scale.map_or_else(Errors::default, |scale| scale.check(value, whole))
    }

    fn rules_against(
        &self,
        new: &Value,
        old: Option<&Value>,
        told: &mut dyn FnMut(String),
    ) -> Errors {
        let made = self.made();
        let unread =
            |why: String| Errors::of(|errors| errors.invalid(&Path::new(NIL), "object", why));
        if let Some(why) = &made.broken {
            return unread(format!(
                "the schema of its definition cannot be read: {why}"
            ));
        }
        if !made.structural.root().is_ruled() {
            return Errors::default();
        }
        let rules = made
            .rules
            .get_or_init(|| Ok(Rules::of(&made.structural, &self.schema()?)));
        match rules {
            Ok(rules) => rules.check(&made.structural, new, old, &mut |error| {
                told(error.to_string());
            }),
            Err(why) => unread(format!("rule compiler initialization error: {why}")),
        }
    }
}

/// Of finalizers that a write adds: names that others may take for theirs. `old` is absent on creation.
pub fn finalizer_warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let had: Vec<&str> = old.into_iter().flat_map(Meta::finalizers).collect();
    let added: BTreeSet<&str> = new
        .finalizers()
        .filter(|name| !had.contains(name))
        .collect();
    let mut warnings = Warnings::new();
    for finalizer in added {
        let mut warn = |why: &str| {
            warnings.push(format!(
                "metadata.finalizers: {finalizer}: {why}",
                finalizer = GoQuoted(&finalizer)
            ))
        };
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
