//! How the fields of a type lie in its message.
//!
//! Invariant: made once, when somebody asks for protobuf; what is written for a field that is absent is made here, not while objects are written.

use std::{collections::HashMap, sync::LazyLock};

use super::wire;
use crate::machinery::schema::{Field, Schema, Shape, Type};

/// Go's embedded structs are messages of their own; the numbers that these have in the messages around them.
const EMBEDDED: &[(&str, &str, u16)] = &[
    ("core.v1.Volume", "VolumeSource", 2),
    ("core.v1.PersistentVolumeSpec", "PersistentVolumeSource", 2),
    ("networking.v1.IngressRule", "IngressRuleValue", 2),
    ("admissionregistration.v1.RuleWithOperations", "Rule", 2),
    (
        "admissionregistration.v1.NamedRuleWithOperations",
        "RuleWithOperations",
        2,
    ),
    (
        "admissionregistration.v1.NamedRuleWithOperations",
        "RuleWithOperations.Rule",
        2,
    ),
    (
        "resource.v1.DeviceClaimConfiguration",
        "DeviceConfiguration",
        2,
    ),
    (
        "resource.v1.DeviceAllocationConfiguration",
        "DeviceConfiguration",
        3,
    ),
];

fn embedded_number(of: &str, via: &str) -> u16 {
    EMBEDDED
        .iter()
        .find(|(name, path, _)| *name == of && *path == via)
        .map_or(1, |(_, _, number)| *number)
}

/// The messages of the types of a schema, in its order.
#[derive(Debug)]
pub struct Layouts(Vec<Layout>);

/// The message of a type.
#[derive(Debug)]
pub struct Layout {
    /// All of its fields have numbers, but for `kind` and `apiVersion`, which stand in the envelope.
    pub is_formed: bool,
    /// By number, each embedded struct where its number puts it.
    pub steps: Vec<Step>,
    /// Where each field of the type stands in `steps`.
    pub places: Vec<Option<u16>>,
}

#[derive(Debug)]
pub enum Step {
    Field {
        number: u16,
        /// Its index in the type.
        at: u16,
        /// What is written for none: nothing where Go has a pointer, a list or a map, else the zero of its type.
        absent: Box<[u8]>,
    },
    /// An embedded struct begins; so many steps are those of its fields, and then it is closed.
    Open {
        number: u16,
        within: usize,
    },
    Close,
}

impl Layouts {
    /// Those of the types that are built in: no others have a form in protobuf.
    pub fn builtin() -> &'static Layouts {
        static LAYOUTS: LazyLock<Layouts> = LazyLock::new(|| Layouts::of(Schema::builtin()));
        &LAYOUTS
    }

    fn of(schema: &Schema) -> Layouts {
        let mut layouts = Layouts(schema.types.iter().map(Layout::of).collect());
        let mut zeros = Zeros {
            schema,
            layouts: &layouts,
            known: HashMap::new(),
        };
        let absents: Vec<Vec<Box<[u8]>>> = schema
            .types
            .iter()
            .map(|of| of.fields.iter().map(|field| zeros.absent(field)).collect())
            .collect();
        for (layout, mut absents) in layouts.0.iter_mut().zip(absents) {
            for step in &mut layout.steps {
                if let Step::Field { at, absent, .. } = step {
                    *absent = std::mem::take(&mut absents[usize::from(*at)]);
                }
            }
        }
        layouts
    }

    pub fn get(&self, index: u32) -> &Layout {
        &self.0[index as usize]
    }

    /// Writes the zero of a shape, as that of an item of a list.
    pub fn zero(&self, number: u16, shape: &Shape, out: &mut Vec<u8>) {
        let mut message = |index| {
            let mut message = Vec::new();
            self.get(index).zero(&mut message);
            message
        };
        zero(number, shape, &mut message, out);
    }
}

impl Layout {
    fn of(of: &Type) -> Layout {
        let mut steps = Vec::new();
        part(of, "", &mut steps);
        let mut places = vec![None; of.fields.len()];
        for (place, step) in (0..).zip(&steps) {
            if let Step::Field { at, .. } = step {
                places[usize::from(*at)] = Some(place);
            }
        }
        let unnumbered = |(field, place): (&Field, &Option<u16>)| {
            place.is_none() && !matches!(&*field.name, "kind" | "apiVersion")
        };
        Layout {
            is_formed: !of.fields.iter().zip(&places).any(unnumbered),
            steps,
            places,
        }
    }

    /// Writes the contents of the message of an object none of whose fields is set.
    fn zero(&self, out: &mut Vec<u8>) {
        walk(&self.steps, out, |_, absent, out| {
            out.extend_from_slice(absent)
        });
    }
}

/// The steps of the fields that lie `via` embedded structs down.
fn part(of: &Type, via: &str, steps: &mut Vec<Step>) {
    // the fields here, and the structs that are embedded here
    let mut members: Vec<(u16, Result<u16, String>)> = Vec::new();
    for (at, field) in (0..).zip(&of.fields) {
        if field.number == 0 {
            continue;
        }
        if *field.via == *via {
            members.push((field.number, Ok(at)));
        } else if let Some(path) = below(via, &field.via) {
            let number = embedded_number(&of.name, &path);
            let member = (number, Err(path));
            if !members.contains(&member) {
                members.push(member);
            }
        }
    }
    members.sort_by_key(|(number, _)| *number);
    for (number, member) in members {
        match member {
            Ok(at) => steps.push(Step::Field {
                number,
                at,
                absent: Box::default(),
            }),
            Err(path) => {
                let mut inner = Vec::new();
                part(of, &path, &mut inner);
                steps.push(Step::Open {
                    number,
                    within: inner.len(),
                });
                steps.extend(inner);
                steps.push(Step::Close);
            }
        }
    }
}

/// The path of the struct that is embedded in the one at `via`, on the way to a field at `path`.
fn below(via: &str, path: &str) -> Option<String> {
    let rest = match via {
        "" => Some(path),
        _ => path.strip_prefix(via)?.strip_prefix('.'),
    };
    let step = rest?.split('.').next().filter(|step| !step.is_empty())?;
    Some(match via {
        "" => step.to_owned(),
        _ => format!("{via}.{step}"),
    })
}

/// What Go's zeros are in protobuf, while layouts are made.
struct Zeros<'s> {
    schema: &'s Schema,
    layouts: &'s Layouts,
    known: HashMap<u32, Vec<u8>>,
}

impl Zeros<'_> {
    fn absent(&mut self, field: &Field) -> Box<[u8]> {
        let mut out = Vec::new();
        if !field.pointer {
            zero(
                field.number,
                &field.shape,
                &mut |index| self.message(index),
                &mut out,
            );
        }
        out.into()
    }

    /// The message of a struct none of whose fields is set.
    fn message(&mut self, index: u32) -> Vec<u8> {
        if let Some(known) = self.known.get(&index) {
            return known.clone();
        }
        let of = &self.schema.types[index as usize];
        let steps = &self.layouts.get(index).steps;
        let mut out = Vec::new();
        walk(steps, &mut out, |at, _, out| {
            out.extend_from_slice(&self.absent(&of.fields[usize::from(at)]));
        });
        self.known.insert(index, out.clone());
        out
    }
}

/// Writes the fields of a message as `field` writes each, and the embedded structs around them.
fn walk(steps: &[Step], out: &mut Vec<u8>, mut field: impl FnMut(u16, &[u8], &mut Vec<u8>)) {
    let mut opened = Vec::new();
    for step in steps {
        match step {
            Step::Field { at, absent, .. } => field(*at, absent, out),
            Step::Open { number, .. } => opened.push(wire::open(out, *number)),
            Step::Close => {
                if let Some(from) = opened.pop() {
                    wire::close(out, from);
                }
            }
        }
    }
}

/// Writes the zero of a shape; `message` knows those of structs.
fn zero(number: u16, shape: &Shape, message: &mut dyn FnMut(u32) -> Vec<u8>, out: &mut Vec<u8>) {
    match shape {
        Shape::String(_) => wire::bytes(out, number, b""),
        Shape::Bool | Shape::Int32(_) | Shape::Int64(_) => wire::number(out, number, 0),
        Shape::Float64 => {
            wire::key(out, number, wire::FIXED64);
            out.extend_from_slice(&[0; 8]);
        }
        Shape::Quantity => wire::bytes(out, number, &[0x0a, 1, b'0']),
        Shape::Duration => wire::bytes(out, number, &[0x08, 0]),
        Shape::IntOrString => wire::bytes(out, number, &[0x08, 0, 0x10, 0, 0x1a, 0]),
        Shape::Time | Shape::MicroTime | Shape::Raw | Shape::Json | Shape::Fields => {
            wire::bytes(out, number, b"")
        }
        Shape::Struct(index) => wire::bytes(out, number, &message(*index)),
        Shape::Element(of) => zero(number, &of.0.shape, message, out),
        // Go's nil; a schema or what stands in its place is a pointer
        Shape::Bytes | Shape::List(_) | Shape::Map(_) | Shape::SchemaOr(..) => {}
    }
}
