//! What the server writes by itself: the same writes as everybody's, without a request.
//!
//! Invariant: the server writes as `system:apiserver`, and each of its parts under the name that upstream's has as a manager of fields.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{meta::Meta, read::Read, schema::conform, status::Status},
};

use crate::{
    admission::{Compute, Statuses},
    audit::Trail,
    auth::{Attributes, SYSTEM_MASTERS, User},
    emptied::Emptied,
    stored,
    write::{self, Call, Options, Part, Update, Warnings, Writer, managed},
};

/// The server to itself.
pub fn user() -> User {
    User::new(
        "system:apiserver",
        &[SYSTEM_MASTERS, "system:authenticated"],
    )
}

/// What a part of the server writes with.
pub struct Own {
    pub writer: Arc<Writer>,
    pub kinds: Arc<Registry>,
    manager: &'static str,
    asked: Attributes,
    /// Nobody is warned.
    warnings: Warnings,
    emptied: Emptied,
    /// Nor told.
    trail: Trail,
}

impl Own {
    pub fn new(writer: &Arc<Writer>) -> Own {
        Own::managing(writer, "kube-apiserver")
    }

    pub fn managing(writer: &Arc<Writer>, manager: &'static str) -> Own {
        Own {
            kinds: writer.core.kinds.load_full(),
            writer: writer.clone(),
            manager,
            asked: Attributes {
                user: Arc::new(user()),
                verb: "create".into(),
                ..Attributes::default()
            },
            warnings: Warnings::default(),
            emptied: Emptied::default(),
            trail: Trail::default(),
        }
    }

    pub fn call(&self) -> Call<'_> {
        let options = Options {
            field_manager: self.manager.into(),
            force: true,
            ..Options::default()
        };
        Call {
            writer: &self.writer,
            kinds: &self.kinds,
            asked: &self.asked,
            options,
            warnings: &self.warnings,
            emptied: &self.emptied,
            trail: &self.trail,
            conversions: Default::default(),
            charged: Default::default(),
        }
    }

    /// The row of `plural.group` that is stored.
    pub fn row(&self, resource: &str) -> Result<&Arc<Kind>, Status> {
        self.kinds
            .stored(resource)
            .ok_or_else(|| Status::internal(format!("no row for {resource}")))
    }

    /// An object as it is stored.
    pub fn stored(&self, row: &Kind, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
        let found = self
            .writer
            .core
            .store
            .get(&stored::key_of(row, namespace, name));
        found
            .map(|object| stored::decoded(row, &object))
            .transpose()
    }

    /// Creates what is absent and leaves what is there.
    pub async fn ensure(&self, resource: &str, value: Value) -> Result<(), Status> {
        let (row, namespace) = (self.row(resource)?, value.namespace().to_string());
        let key = stored::key_of(row, &namespace, value.name());
        if self.writer.core.store.get(&key).is_some() {
            return Ok(());
        }
        match write::create(&self.call(), row, &namespace, ready(row, value)?).await {
            Err(status) if status.reason != "AlreadyExists" => Err(status),
            _ => Ok(()),
        }
    }

    /// Creates what is absent, else replaces all but metadata. What is there as it should be is left alone.
    pub async fn put(&self, resource: &str, value: Value) -> Result<(), Status> {
        let row = self.row(resource)?;
        let (namespace, name) = (value.namespace().to_string(), value.name().to_string());
        let Some(live) = self.stored(row, &namespace, &name)? else {
            return self.ensure(resource, value).await;
        };
        let value = ready(row, value)?;
        let over = |live: &Value| {
            let mut new = value.clone();
            new["metadata"] = live.at("metadata").clone();
            new
        };
        if over(&live) == live {
            return Ok(());
        }
        self.update(row, (&namespace, &name), Part::Whole, &mut |live| {
            Ok(over(live.unwrap_or(&value)))
        })
        .await
    }

    /// Updates what is there; `compute` is called again when another write came between.
    pub async fn update(
        &self,
        row: &Arc<Kind>,
        (namespace, name): (&str, &str),
        part: Part,
        compute: Compute<'_>,
    ) -> Result<(), Status> {
        let how = Update::of(part);
        write::update(&self.call(), row, namespace, name, how, compute)
            .await
            .map(drop)
    }

    /// Updates what is there, and notes who owns what was changed.
    async fn tracked(
        &self,
        row: &Arc<Kind>,
        at: (&str, &str),
        part: Part,
        compute: Compute<'_>,
    ) -> Result<(), Status> {
        let call = self.call();
        self.update(row, at, part, &mut |live| {
            let mut new = compute(live)?;
            let live = live.unwrap_or(&Value::Null);
            if new != *live {
                managed::track_update(&call, row, part, live, &mut new)?;
            }
            Ok(new)
        })
        .await
    }

    /// Changes a part of what is there by `work`, which may leave it as it is. What has gone needs it no more.
    pub async fn change(
        &self,
        row: &Arc<Kind>,
        at: (&str, &str),
        part: Part,
        work: &mut (dyn FnMut(&mut Value) + Send),
    ) -> Result<(), Status> {
        let mut compute = |live: Option<&Value>| {
            let mut new = live.cloned().unwrap_or_default();
            work(&mut new);
            Ok(new)
        };
        match self.tracked(row, at, part, &mut compute).await {
            Err(status) if status.code == 404 => Ok(()),
            done => done,
        }
    }

    /// Applies a status, unless it was `told` before or the object is being deleted.
    pub async fn apply_status(
        &self,
        resource: &str,
        name: &str,
        status: &Value,
        told: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Result<(), Status> {
        let (row, call) = (self.row(resource)?, self.call());
        let part = Part::of(row, "status")?;
        let config = json!({"apiVersion": row.api_version(), "kind": row.kind, "metadata": {"name": name}, "status": status});
        self.update(row, ("", name), part, &mut |live| {
            let live = live.unwrap_or(&Value::Null);
            if live.is_deleting() || told(live) {
                return Ok(live.clone());
            }
            let mut new = managed::apply(&call, row, part, Some(live), &config)?;
            conform(&mut new, row.node()).map_err(|error| Status::internal(error.to_string()))?;
            Ok(new)
        })
        .await
    }

    /// Deletes what is there.
    pub async fn delete(&self, resource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        let options = write::DeleteOptions::default();
        match write::delete(&self.call(), self.row(resource)?, namespace, name, &options).await {
            Err(status) if status.code != 404 => Err(status),
            _ => Ok(()),
        }
    }
}

/// A literal object as its kind has it, with its defaults.
pub fn ready(row: &Kind, mut value: Value) -> Result<Value, Status> {
    conform(&mut value, row.node())
        .map_err(|error| Status::internal(format!("{}: {error}", value.name())))?;
    value["apiVersion"] = row.api_version().into();
    value["kind"] = row.kind.into();
    row.defaults(&mut value);
    Ok(value)
}

#[async_trait]
impl Statuses for Arc<Writer> {
    async fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        compute: Compute<'_>,
    ) -> Result<(), Status> {
        let own = Own::new(self);
        let row = own.row(resource)?;
        let part = Part::of(row, "status")?;
        own.tracked(row, (namespace, name), part, compute).await
    }
}
