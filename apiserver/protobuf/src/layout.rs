//! How the fields of a type lie in its message.
//!
//! Invariant: made once, when somebody asks for protobuf; what is written for a field that is absent is made here, not while objects are written.

use std::{collections::HashMap, sync::LazyLock};

use skiff_api::machinery::schema::{Field, Schema, Shape, Type};

use crate::wire;

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

/// Lists of which Go has a type of its own: a message around the items, as in maps.
const AROUND: &[(&str, &str)] = &[("meta.v1.APIResource", "verbs")];

/// The first eight bytes of a name as a number; those of a short one are read together where they overlap.
fn beginning(name: &[u8]) -> u64 {
    let length = name.len();
    if let Some(whole) = name.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (length - 4));
    }
    let bytes = name.iter().rev();
    bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

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
    /// Which of the fields of the message each field of the type is, and whether it is a list within a message of its own.
    places: Vec<Option<(u16, bool)>>,
    /// The first bytes of the name of each field, in the order of the type, and its length.
    beginnings: Vec<(u64, usize)>,
    /// What is written for the absence of all of them, where no struct is embedded, and where that of each begins in it; at the end, its length.
    zeros: Vec<u8>,
    starts: Vec<usize>,
}

#[derive(Debug)]
pub enum Step {
    Field {
        number: u16,
        /// Its index in the type.
        at: u16,
        /// It is a list within a message of its own.
        around: bool,
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
            layout.join();
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
        let fields = steps.iter().filter_map(|step| match step {
            Step::Field { at, around, .. } => Some((*at, *around)),
            _ => None,
        });
        for (place, (at, around)) in (0..).zip(fields) {
            places[usize::from(at)] = Some((place, around));
        }
        let unnumbered = |(field, place): (&Field, &Option<(u16, bool)>)| {
            place.is_none() && !matches!(&*field.name, "kind" | "apiVersion")
        };
        Layout {
            is_formed: !of.fields.iter().zip(&places).any(unnumbered),
            steps,
            places,
            beginnings: of
                .fields
                .iter()
                .map(|field| (beginning(field.name.as_bytes()), field.name.len()))
                .collect(),
            zeros: Vec::new(),
            starts: Vec::new(),
        }
    }

    fn join(&mut self) {
        for step in &self.steps {
            let Step::Field { absent, .. } = step else {
                self.zeros.clear();
                self.starts.clear();
                return;
            };
            self.starts.push(self.zeros.len());
            self.zeros.extend_from_slice(absent);
        }
        self.starts.push(self.zeros.len());
    }

    /// What is written for the absence of the fields from one place to before another; `None`: a struct is embedded in this one.
    pub fn between(&self, from: usize, to: usize) -> Option<&[u8]> {
        Some(&self.zeros[*self.starts.get(from)?..*self.starts.get(to)?])
    }

    /// The index of a field in the type. Fields come in its order, so it is sought from `next` on first.
    pub fn find(&self, of: &Type, name: &[u8], next: u16) -> Option<u16> {
        let wanted = beginning(name);
        let rest = self.beginnings.get(usize::from(next)..).unwrap_or_default();
        let ahead = (next..).zip(rest).find(|(at, (first, length))| {
            *first == wanted
                && *length == name.len()
                && (name.len() <= 8 || of.fields[usize::from(*at)].name.as_bytes() == name)
        });
        match ahead {
            Some((at, _)) => Some(at),
            None => of.position(std::str::from_utf8(name).ok()?),
        }
    }

    /// Which of the fields of the message a field of the type is, by its index there, and whether it is a list within a message of its own.
    pub fn place(&self, at: u16) -> Option<(u16, bool)> {
        self.places[usize::from(at)]
    }

    /// Writes all fields as `field` writes each, which is told what stands for its absence, and the embedded structs around them.
    pub fn walk(&self, out: &mut Vec<u8>, mut field: impl FnMut(&[u8], &mut Vec<u8>)) {
        walk(&self.steps, out, |_, absent, out| field(absent, out));
    }

    /// Writes the contents of the message of an object none of whose fields is set.
    fn zero(&self, out: &mut Vec<u8>) {
        self.walk(out, |absent, out| out.extend_from_slice(absent));
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
                around: AROUND.contains(&(&*of.name, &*of.fields[usize::from(at)].name)),
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
    // no struct is embedded deeper
    let (mut opened, mut depth) = ([0; 4], 0);
    for step in steps {
        match step {
            Step::Field { at, absent, .. } => field(*at, absent, out),
            Step::Open { number, .. } => {
                opened[depth] = wire::open(out, *number);
                depth += 1;
            }
            Step::Close => {
                depth -= 1;
                wire::close(out, opened[depth]);
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
