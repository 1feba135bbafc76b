//! The order in which an object's fields are printed: sorted, as some document has them, or as Go's structs have them.
//! Invariant: every field is printed, whatever the order says of it.
//! Behaviour follows `encoding/json`, which writes maps sorted and structs in the order of their declaration.

use serde_json::{Map, Value};
use skiff_api::machinery::schema::{Node, Shape};

/// Which order a document has.
#[derive(Clone, Copy, Default)]
pub enum Order {
    #[default]
    Sorted,
    /// These keys first, in every object; the others follow in theirs.
    Keys(&'static [&'static str]),
    /// Of a list of objects the order of Go's `List`; all below is sorted.
    List,
    /// Of an event of a watch: its type first; all below is sorted.
    Event,
    /// Of built-in kinds the order of their structs; of others sorted.
    Typed,
}

/// A place in a document, which knows in what order its fields come.
#[derive(Clone, Copy)]
pub struct Place {
    order: Order,
    node: Option<Node<'static>>,
    /// An object may begin here.
    root: bool,
}

impl Place {
    pub fn root(order: Order) -> Place {
        Place {
            order,
            node: None,
            root: true,
        }
    }

    /// What this place is when this value stands at it.
    fn holding(self, map: &Map<String, Value>) -> Place {
        let embeds = self.root || matches!(self.node.and_then(|n| n.shape()), Some(Shape::Raw));
        match self.order {
            Order::Typed if embeds => {
                let text = |name: &str| map.get(name).and_then(Value::as_str);
                let node = text("apiVersion")
                    .zip(text("kind"))
                    .and_then(|(version, kind)| crate::typed::of(version, kind));
                Place {
                    node,
                    root: false,
                    ..self
                }
            }
            _ => Place {
                root: false,
                ..self
            },
        }
    }

    /// The fields of an object in their order, with the places of their values.
    pub fn fields(self, map: &Map<String, Value>) -> Vec<(&String, &Value, Place)> {
        let here = self.holding(map);
        let in_type = here.node.and_then(|n| n.as_type());
        let place = |name: &str| match here.order {
            Order::Sorted => 0,
            Order::List if self.root => ["kind", "apiVersion", "metadata", "items"]
                .iter()
                .position(|k| *k == name)
                .unwrap_or(4),
            Order::Event if self.root => usize::from(name != "type"),
            Order::List | Order::Event => 0,
            Order::Keys(keys) => keys.iter().position(|k| *k == name).unwrap_or(keys.len()),
            // Lists of objects of any kind have no type of their own.
            Order::Typed if in_type.is_none() && self.root => ["kind", "apiVersion"]
                .iter()
                .position(|k| *k == name)
                .unwrap_or(2),
            Order::Typed => in_type.map_or(0, |t| t.position(name).map_or(usize::MAX, usize::from)),
        };
        let mut fields: Vec<_> = map.iter().collect();
        fields.sort_by_key(|(name, _)| place(name));
        let child = |name: &str| Place {
            node: here.node.and_then(|n| n.child(name)),
            ..here
        };
        // The items of a list that has no type are objects again.
        let items = |name: &str| self.root && name == "items" && child(name).node.is_none();
        fields
            .into_iter()
            .map(|(name, value)| {
                (
                    name,
                    value,
                    if matches!(self.order, Order::List | Order::Event) {
                        Place::root(Order::Sorted)
                    } else if items(name) {
                        Place::root(self.order)
                    } else {
                        child(name)
                    },
                )
            })
            .collect()
    }

    /// The place of a list's elements.
    pub fn element(self) -> Place {
        if self.root {
            self
        } else {
            Place {
                node: self.node.and_then(|n| n.element()),
                ..self
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(place: Place, value: &Value) -> Vec<String> {
        place
            .fields(value.as_object().unwrap())
            .into_iter()
            .map(|(name, ..)| name.clone())
            .collect()
    }

    #[test]
    fn fields_come_as_they_are_declared() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"b": "1", "a": "2"}, "name": "p"}, "spec": {"restartPolicy": "Never", "containers": [{"image": "x", "name": "c", "env": []}]}, "zzz": 1});
        assert_eq!(
            names(Place::root(Order::Typed), &pod),
            ["kind", "apiVersion", "metadata", "spec", "zzz"]
        );
        assert_eq!(
            names(Place::root(Order::Sorted), &pod),
            ["apiVersion", "kind", "metadata", "spec", "zzz"]
        );
        assert_eq!(names(Place::root(Order::Keys(&["spec"])), &pod)[0], "spec");
        let of = |name: &str| {
            Place::root(Order::Typed)
                .fields(pod.as_object().unwrap())
                .into_iter()
                .find(|f| f.0 == name)
                .unwrap()
                .2
        };
        assert_eq!(names(of("metadata"), &pod["metadata"]), ["name", "labels"]);
        assert_eq!(
            names(of("spec"), &pod["spec"]),
            ["containers", "restartPolicy"]
        );
        let containers = of("spec").fields(pod["spec"].as_object().unwrap())[0].2;
        assert_eq!(
            names(containers.element(), &pod["spec"]["containers"][0]),
            ["name", "image", "env"]
        );
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod]});
        let items = Place::root(Order::Typed)
            .fields(list.as_object().unwrap())
            .into_iter()
            .find(|f| f.0 == "items")
            .unwrap()
            .2;
        assert_eq!(names(items.element(), &list["items"][0])[0], "kind");
        assert_eq!(
            names(Place::root(Order::Typed), &list),
            ["kind", "apiVersion", "items"]
        );
    }
}
