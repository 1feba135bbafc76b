//! Priority: a pod's class becomes its number and its preemption policy; one class at most is the default.
//!
//! Follows `plugin/pkg/admission/priority/admission.go`.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::machinery::{meta::Meta, read::Read, status::Status};

use super::plugin::{Attributes, Operation, Plugin};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
const WRITES: [Operation; 2] = [Operation::Create, Operation::Update];

/// The default class is asked for with every pod, and changes with no more than the classes.
#[derive(Default)]
pub struct Priority {
    /// The classes' revision, and the default class at that revision.
    seen: Mutex<Option<(u64, Option<Arc<Value>>)>>,
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&WRITES, "", "pods")
            || attributes.is_one(&WRITES, "scheduling.k8s.io", "priorityclasses")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        match (attributes.kind.plural, attributes.operation) {
            ("pods", Operation::Create) => self.create(attributes),
            ("pods", _) => {
                keep(attributes);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(class) = attributes.object.as_ref().filter(|object| {
            attributes.kind.plural == "priorityclasses" && object.flag("globalDefault")
        }) else {
            return Ok(());
        };
        match self.default_class(attributes)? {
            Some(other)
                if attributes.operation == Operation::Create || other.name() != class.name() =>
            {
                Err(attributes.forbidden(format_args!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    other.name()
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Priority {
    /// The default class; of several that a race left, the one with the lowest number.
    fn default_class(&self, attributes: &Attributes<'_>) -> Result<Option<Arc<Value>>, Status> {
        // read before the list, which may be newer: then it is read again the next time
        let revision = attributes.core.store.resource_revision(CLASSES);
        if let Some((of, class)) = &*self.seen.lock()
            && *of == revision
        {
            return Ok(class.clone());
        }
        let defaults = attributes
            .list(CLASSES, None)?
            .into_iter()
            .filter(|class| class.flag("globalDefault"));
        let class = defaults
            .min_by_key(|class| class.int("value"))
            .map(Arc::new);
        *self.seen.lock() = Some((revision, class.clone()));
        Ok(class)
    }

    fn create(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = &attributes.object else {
            return Ok(());
        };
        let spec = pod.at("spec");
        let class = match spec
            .text_ptr("priorityClassName")
            .filter(|name| !name.is_empty())
        {
            Some(name) => match attributes.look_up(CLASSES, "", name)? {
                Some(class) => Some(Arc::new(class)),
                None => {
                    return Err(attributes
                        .forbidden(format_args!("no PriorityClass with name {name} was found")));
                }
            },
            None => self.default_class(attributes)?,
        };
        let priority = class
            .as_ref()
            .and_then(|class| class.int_ptr("value"))
            .unwrap_or(0);
        if let Some(given) = spec.int_ptr("priority").filter(|given| *given != priority) {
            return Err(attributes.forbidden(format_args!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
            )));
        }
        let policy = match &class {
            Some(class) => class.text_ptr("preemptionPolicy").map(str::to_string),
            None => Some("PreemptLowerPriority".into()),
        };
        if let (Some(policy), Some(given)) = (&policy, spec.text_ptr("preemptionPolicy"))
            && policy != given
        {
            return Err(attributes.forbidden(format_args!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        if let Some(pod) = attributes.object.as_mut() {
            if let Some(class) = class {
                pod["spec"]["priorityClassName"] = class.name().into();
            }
            pod["spec"]["priority"] = priority.into();
            if let Some(policy) = policy {
                pod["spec"]["preemptionPolicy"] = policy.into();
            }
        }
        Ok(())
    }
}

/// An update that leaves out what was computed keeps it.
fn keep(attributes: &mut Attributes<'_>) {
    let (Some(new), Some(old)) = (attributes.object.as_mut(), attributes.old) else {
        return;
    };
    for field in ["priority", "preemptionPolicy"] {
        if new["spec"].get(field).is_none_or(Value::is_null)
            && let Some(value) = old["spec"].get(field)
        {
            new["spec"][field] = value.clone();
        }
    }
}
