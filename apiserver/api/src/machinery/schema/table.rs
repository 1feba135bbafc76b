//! Reads `types.txt`. The format is described at its head.

use crate::machinery::problem::{Problem, problem};
use std::collections::HashMap;

use super::{Field, ListType, Omit, Or, Schema, Shape, Type, rules};

pub(super) fn read(text: &str) -> Result<Schema, Problem> {
    let text = spelled_out(text);
    let names: HashMap<&str, u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("type "))
        .enumerate()
        .map(|(index, rest)| (rest.split(' ').next().unwrap_or(rest), index as u32))
        .collect();
    let mut types = Vec::with_capacity(names.len());
    let mut open: Option<(&str, &str, Vec<Field>)> = None;
    let closed = |(name, flags, fields): (&str, &str, Vec<Field>)| {
        let has = |flag: &str| flags.split(' ').any(|word| word == flag);
        Type {
            unspoken: has("unspoken"),
            list_name: flags
                .split(' ')
                .find_map(|flag| flag.strip_prefix("lists="))
                .map(Into::into),
            ..Type::new(name, has("atomic"), false, fields)
        }
    };
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("type ") {
            types.extend(open.take().map(closed));
            let (name, flags) = rest.split_once(' ').unwrap_or((rest, ""));
            open = Some((name, flags, Vec::new()));
        } else if let Some(rest) = line.strip_prefix("  ") {
            let (_, _, fields) = open
                .as_mut()
                .ok_or_else(|| problem!("a field outside a type: {line}"))?;
            fields.push(field(rest, &names).ok_or_else(|| problem!("cannot read {line:?}"))?);
        }
    }
    types.extend(open.take().map(closed));
    Ok(Schema::new(types))
}

/// The table with the fields that all objects begin with, and the lists of those that are listed.
fn spelled_out(text: &str) -> String {
    const META: &str = "  kind string ?\n  apiVersion string ?\n  metadata meta.v1.";
    let mut whole = String::with_capacity(text.len() * 5 / 4);
    let mut lists = String::new();
    for line in text.lines() {
        whole.push_str(line);
        whole.push('\n');
        let Some(header) = line.strip_prefix("type ") else {
            continue;
        };
        let mut words = header.split(' ');
        let name = words.next().unwrap_or(header);
        for flag in words {
            match flag {
                "object" => whole.extend([META, "ObjectMeta ? #1\n"]),
                "listed" => lists.extend([
                    "type ",
                    name,
                    "List\n",
                    META,
                    "ListMeta ? #1\n  items []",
                    name,
                    " ! required #2\n",
                ]),
                _ => {}
            }
        }
    }
    whole + &lists
}

fn field(line: &str, names: &HashMap<&str, u32>) -> Option<Field> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let written = words.next()?;
    let mut field = Field {
        pointer: written.starts_with('*'),
        ..Field::of(name, shape(written.trim_start_matches('*'), names)?)
    };
    let is_list = matches!(field.shape, Shape::List(_));
    let mut found = Vec::new();
    for flag in words {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("?", _) => field.omit = Omit::Empty,
            ("late", _) => field.omit = Omit::Late,
            ("omitzero", _) => field.omit = Omit::Zero,
            ("!", _) => field.omit = Omit::Never,
            ("required", _) => field.required = true,
            ("atomic", _) if is_list => field.list = ListType::Atomic,
            ("atomic", _) => field.atomic = true,
            ("granular", _) => field.granular = true,
            ("set", _) => field.list = ListType::Set,
            ("map", keys) => {
                field.list = ListType::Map;
                field.keys = keys.split(',').map(Into::into).collect();
            }
            ("patch", strategies) => {
                field.merge = strategies.split(',').any(|s| s == "merge");
                field.retain_keys = strategies.split(',').any(|s| s == "retainKeys");
                field.replace = strategies.split(',').any(|s| s == "replace");
            }
            ("merge", key) => field.merge_key = Some(key.into()),
            // `ref(Constant)` names a Go constant; OpenAPI alone would show it
            ("default", value) => field.default = serde_json::from_str(value).ok(),
            ("via", path) => field.via = path.into(),
            ("go", name) => field.go = Some(name.into()),
            _ if flag.starts_with('#') => field.number = flag[1..].parse().ok()?,
            (rule, value) => found.push(rules::read(rule, value, &field)?),
        }
    }
    field.rules = found.into();
    Some(field)
}

fn shape(text: &str, names: &HashMap<&str, u32>) -> Option<Shape> {
    if let Some(of) = text.strip_prefix("[]") {
        return Some(Shape::List(Box::new(shape(
            of.trim_start_matches('*'),
            names,
        )?)));
    }
    if let Some(of) = text.strip_prefix("map:") {
        return Some(Shape::Map(Box::new(shape(
            of.trim_start_matches('*'),
            names,
        )?)));
    }
    let schema_or = |or| {
        Some(Shape::SchemaOr(
            or,
            Box::new(Shape::Struct(
                *names.get("apiextensions.v1.JSONSchemaProps")?,
            )),
        ))
    };
    let (word, go) = text
        .split_once(':')
        .map_or((text, None), |(word, go)| (word, Some(go.into())));
    Some(match word {
        "string" => Shape::String(go),
        "bool" => Shape::Bool,
        "int32" => Shape::Int32(go),
        "int64" => Shape::Int64(go),
        "float64" => Shape::Float64,
        "bytes" => Shape::Bytes,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "duration" => Shape::Duration,
        "intorstring" => Shape::IntOrString,
        "raw" => Shape::Raw,
        "json" => Shape::Json,
        "schemaorarray" => schema_or(Or::Array)?,
        "schemaorbool" => schema_or(Or::Bool)?,
        "schemaorstrings" => schema_or(Or::Strings)?,
        "fields" => Shape::Fields,
        name => Shape::Struct(*names.get(name)?),
    })
}
