//! What FlowSchemas and PriorityLevelConfigurations come to: schemas in the order of matching, and the levels that they lead to.
//!
//! Invariant: the levels `exempt` and `catch-all` and the schemas of these names are always there, as objects or as if they were; a schema whose level
//! is absent takes no requests. A level that goes while it has requests keeps its seats until they are through.
//! Follows `lockAndDigestConfigObjects` of `pkg/util/flowcontrol/apf_controller.go` of `k8s.io/apiserver`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::rows::flowcontrol::bootstrap,
    machinery::{meta::Meta, read::Read},
};
use tokio::sync::Notify;

use super::{
    level::Level,
    queues::{Mode, Queuing},
    schema::Schema,
    shares::{self, Bounds, Share, Wish},
};
use crate::{auth::User, request::RequestInfo};

pub const EXEMPT: &str = "exempt";
pub const CATCH_ALL: &str = "catch-all";

/// A level as it is configured.
#[derive(Clone)]
pub struct Configured {
    pub level: Arc<Level>,
    pub wish: Wish,
    pub mode: Mode,
    pub bounds: Bounds,
    pub share: Share,
    /// It is no longer among the objects.
    pub quiescing: bool,
}

/// What acts; replaced whole.
pub struct Configuration {
    schemas: Vec<Arc<Schema>>,
    catch_all: Arc<Schema>,
    pub levels: BTreeMap<Arc<str>, Configured>,
    pub fair: f64,
}

/// A level as an object says it; `None` where it makes no sense.
fn read(object: &Value) -> Option<(Wish, Mode)> {
    let spec = object.at("spec");
    let number = |of: &Value, name: &str| u32::try_from(of.int(name)).unwrap_or(0);
    if spec.text("type") == "Exempt" {
        let exempt = spec.some("exempt").filter(|_| object.name() == EXEMPT)?;
        let wish = Wish {
            shares: number(exempt, "nominalConcurrencyShares"),
            lendable_percent: number(exempt, "lendablePercent"),
            borrowing_percent: None,
            exempt: true,
        };
        return Some((wish, Mode::Exempt));
    }
    let limited = spec.some("limited").filter(|_| object.name() != EXEMPT)?;
    let response = limited.at("limitResponse");
    let size = |of: &Value, name: &str| usize::try_from(of.int(name)).unwrap_or(0);
    let mode = match (response.text("type"), response.some("queuing")) {
        ("Reject", None) => Mode::Reject,
        ("Queue", Some(queuing)) => Mode::Queue(Queuing {
            queues: size(queuing, "queues"),
            hand: size(queuing, "handSize"),
            length: size(queuing, "queueLengthLimit"),
        }),
        _ => return None,
    };
    let borrowing = limited.some("borrowingLimitPercent");
    let wish = Wish {
        shares: number(limited, "nominalConcurrencyShares"),
        lendable_percent: number(limited, "lendablePercent"),
        borrowing_percent: borrowing.map(|_| number(limited, "borrowingLimitPercent")),
        exempt: false,
    };
    Some((wish, mode))
}

/// A mandatory object as if it was stored: without a uid.
fn imagined(name: &str, spec: Option<Value>) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// The most seats of an estimate: part of what the level has, and no more than leaves each queue of a hand some.
fn widest(mode: Mode, nominal: usize) -> usize {
    let Mode::Queue(queuing) = mode else { return 0 };
    let part = (nominal as f64 * 0.15).ceil() as usize;
    part.min(nominal / queuing.hand.max(1)).max(1)
}

/// What levels are to be: those of the objects by their names, the mandatory ones in any case, and those of before that have requests still.
fn wanted(
    levels: &[Value],
    before: Option<&Configuration>,
) -> BTreeMap<Arc<str>, (Wish, Mode, bool)> {
    let mut wanted = BTreeMap::new();
    for object in levels {
        match read(object) {
            Some((wish, mode)) => {
                wanted.insert(object.name().into(), (wish, mode, false));
            }
            None => tracing::warn!(
                name = object.name(),
                "a PriorityLevelConfiguration is ignored, for its spec is broken"
            ),
        }
    }
    for name in [EXEMPT, CATCH_ALL] {
        let object = imagined(name, bootstrap::mandatory_level(name));
        if let (false, Some((wish, mode))) = (wanted.contains_key(name), read(&object)) {
            wanted.insert(name.into(), (wish, mode, false));
        }
    }
    for (name, old) in before.iter().flat_map(|before| &before.levels) {
        if !wanted.contains_key(name) && !old.level.is_idle() {
            wanted.insert(name.clone(), (old.wish, old.mode, true));
        }
    }
    wanted
}

impl Configuration {
    /// What these objects come to, after what there was before.
    pub fn of(
        levels: &[Value],
        schemas: &[Value],
        seats: usize,
        before: Option<&Configuration>,
        emptied: &Arc<Notify>,
        now: Instant,
    ) -> Configuration {
        let wanted = wanted(levels, before);
        let all = wanted.values().map(|(wish, ..)| u64::from(wish.shares));
        let all_shares = all.sum();
        let configured = |(name, (wish, mode, quiescing)): (Arc<str>, _)| {
            let bounds = shares::bounds(&wish, all_shares, seats);
            let known = before.and_then(|before| before.levels.get(&name));
            let share = known.map_or_else(
                || Share {
                    target: 0.0,
                    seats: shares::begin(&bounds),
                },
                |known| known.share,
            );
            let level = known.map_or_else(
                || Arc::new(Level::new(&name, now, mode, share.seats, emptied)),
                |known| known.level.clone(),
            );
            level.state().quiescing = quiescing;
            let widest = widest(mode, bounds.nominal);
            level.widest.store(widest, Ordering::Relaxed);
            let configured = Configured {
                level,
                wish,
                mode,
                bounds,
                share,
                quiescing,
            };
            (name, configured)
        };
        let of_objects = &levels;
        let levels = wanted.into_iter().map(configured).collect();
        let (schemas, catch_all) = in_order(schemas, &levels, of_objects);
        let configuration = Configuration {
            schemas,
            catch_all,
            levels,
            fair: 0.0,
        };
        configuration.adjusted(now)
    }

    /// The same where levels have what they are due by what they needed lately.
    pub fn adjusted(&self, now: Instant) -> Configuration {
        let all: Vec<&Configured> = self.levels.values().collect();
        let needs: Vec<_> = all
            .iter()
            .map(|of| {
                let queues = &mut of.level.state().queues;
                (of.wish, of.bounds, queues.end_period(now))
            })
            .collect();
        let (shares, fair) = shares::adjust(&needs);
        let with_shares = self.levels.iter().zip(shares);
        let levels = with_shares.map(|((name, of), share)| {
            of.level.configure(now, of.mode, share.seats);
            (
                name.clone(),
                Configured {
                    share,
                    ..of.clone()
                },
            )
        });
        Configuration {
            levels: levels.collect(),
            schemas: self.schemas.clone(),
            catch_all: self.catch_all.clone(),
            fair,
        }
    }

    /// The schema that takes a request.
    pub fn find(&self, user: &User, info: &RequestInfo) -> &Arc<Schema> {
        self.schemas
            .iter()
            .find(|schema| schema.matches(user, info))
            .unwrap_or(&self.catch_all)
    }
}

/// The schemas whose levels are there, in the order of matching, and the last resort.
fn in_order(
    objects: &[Value],
    levels: &BTreeMap<Arc<str>, Configured>,
    level_objects: &[Value],
) -> (Vec<Arc<Schema>>, Arc<Schema>) {
    let uids: HashMap<&str, &str> = level_objects
        .iter()
        .map(|level| (level.name(), level.uid()))
        .collect();
    let of = |object: &Value| {
        let name = object
            .at("spec")
            .at("priorityLevelConfiguration")
            .text("name");
        let found = levels.get(name).filter(|found| !found.quiescing)?;
        let uid = uids.get(name).copied().unwrap_or("");
        Some(Arc::new(Schema::of(object, found.level.clone(), uid)))
    };
    let mut schemas: Vec<Arc<Schema>> = objects.iter().filter_map(of).collect();
    schemas.sort_by(|a, b| a.order().cmp(&b.order()));
    for name in [EXEMPT, CATCH_ALL] {
        if schemas.iter().any(|schema| &*schema.name == name) {
            continue;
        }
        let schema = of(&imagined(name, bootstrap::mandatory_flow(name)));
        let at = if name == EXEMPT { 0 } else { schemas.len() };
        schemas.splice(at..at, schema);
    }
    let last = schemas.iter().find(|schema| &*schema.name == CATCH_ALL);
    let last = last.unwrap_or(&schemas[0]).clone();
    (schemas, last)
}

/// What the condition `Dangling` of a FlowSchema is to say, given the levels that there are.
pub fn condition(schema: &Value, levels: &[Value]) -> Value {
    let level = schema
        .at("spec")
        .at("priorityLevelConfiguration")
        .text("name");
    let is_it = |object: &Value| object.name() == level && read(object).is_some();
    let (status, reason, end) = match levels.iter().any(is_it) {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level} {end}",
        level = GoQuoted(&level)
    );
    json!({"type": "Dangling", "status": status, "reason": reason, "message": message})
}
