//! How a kind's objects are shown in tables: as `columns.txt` has it, or by paths that a definition gives.
//!
//! Invariant: one cell a column. Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor/tableconvertor.go`
//! for paths.

use crate::machinery::problem::Problem;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Cell, Column, Columns,
    cells::{UNKNOWN, human_duration},
    columns::{Part, Tables},
};
use crate::machinery::{
    jsonpath::{self, JsonPath},
    read::Read,
    time,
};

/// What `/scale` shows: a type that is no kind of its own.
pub(super) const SCALE: &str = "autoscaling/v1 Scale";

#[derive(Debug, Clone)]
pub enum Printer {
    Builtin(&'static Columns),
    /// The name, and what stands at these paths.
    Paths(Vec<PathColumn>),
}

/// A column of `additionalPrinterColumns`.
#[derive(Debug, Clone)]
pub struct PathColumn {
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    path: JsonPath,
}

impl PathColumn {
    /// A column that is always shown and described by its path.
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn new(name: &str, kind: &str, path: &str) -> Result<PathColumn, Problem> {
        let description = format!("Custom resource definition column (in JSONPath format): {path}");
        let path = JsonPath::parse(&format!("{{{path}}}"))?.allow_missing(true);
        Ok(PathColumn {
            name: name.into(),
            kind: kind.into(),
            format: String::new(),
            description,
            priority: 0,
            path,
        })
    }

    /// The first thing that the path finds, as the column's type has it; else nothing.
    fn cell(&self, object: &Value, now: Timestamp) -> Cell {
        let found = self.path.find(object).unwrap_or_default();
        let Some(value) = found.first().and_then(|results| results.first()) else {
            return Cell::Null;
        };
        match self.kind.as_str() {
            "string" => jsonpath::text(value).into(),
            "integer" => value
                .as_i64()
                .or_else(|| value.as_f64().map(|number| number as i64))
                .into(),
            "number" => value.as_f64().into(),
            "boolean" => value.as_bool().into(),
            "date" => value.as_str().map(|written| since(written, now)).into(),
            _ => Cell::Null,
        }
    }
}

fn since(written: &str, now: Timestamp) -> String {
    match time::parse(written) {
        _ if written.is_empty() || written == "null" => UNKNOWN.into(),
        Ok(at) => human_duration(now.duration_since(at)),
        Err(_) => "<invalid>".into(),
    }
}

impl Printer {
    /// How a Scale is shown, whatever it is of.
    pub fn of_scales() -> Printer {
        Printer::Builtin(Tables::builtin().of(SCALE))
    }

    /// The columns as a Table defines them.
    pub fn definitions(&self) -> Vec<Column<'_>> {
        match self {
            Printer::Builtin(columns) => columns.definitions.clone(),
            Printer::Paths(paths) => {
                let own = paths.iter().map(|column| Column {
                    name: &column.name,
                    kind: &column.kind,
                    format: &column.format,
                    description: &column.description,
                    priority: column.priority,
                });
                Tables::builtin()
                    .usual("Name")
                    .into_iter()
                    .chain(own)
                    .collect()
            }
        }
    }

    /// What of an object cells are made of, and what its row says besides.
    pub fn parts(&self) -> &Part {
        match self {
            Printer::Builtin(columns) => &columns.parts,
            Printer::Paths(_) => &Part::All,
        }
    }

    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Cell> {
        match self {
            Printer::Builtin(columns) => columns.cells(object, now),
            Printer::Paths(paths) => {
                let name = object.at("metadata").at("name").clone();
                std::iter::once(name)
                    .chain(paths.iter().map(|column| column.cell(object, now)))
                    .collect()
            }
        }
    }
}

/// Their columns when a definition names none: the age.
pub fn default_columns() -> Vec<PathColumn> {
    let age = Tables::builtin().usual("Age");
    let column = age.and_then(|age| {
        let column = PathColumn::new(age.name, "date", ".metadata.creationTimestamp").ok()?;
        Some(PathColumn {
            description: age.description.into(),
            ..column
        })
    });
    column.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_what_their_column_says() {
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"text": "x", "whole": 3, "half": 2.5, "yes": true, "list": [{"n": 1}, {"n": 2}], "nothing": null, "odd": "then"}});
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        let cases = [
            ("string", ".spec.text", json!("x")),
            ("string", ".spec.whole", json!("3")),
            ("string", ".spec.list", json!(r#"[{"n":1},{"n":2}]"#)),
            ("string", ".spec.list[1].n", json!("2")),
            ("string", ".spec.absent", Value::Null),
            ("integer", ".spec.whole", json!(3)),
            ("integer", ".spec.half", json!(2)),
            ("integer", ".spec.text", Value::Null),
            ("number", ".spec.whole", json!(3.0)),
            ("boolean", ".spec.yes", json!(true)),
            ("boolean", ".spec.text", Value::Null),
            ("date", ".metadata.creationTimestamp", json!("5m")),
            ("date", ".spec.odd", json!("<invalid>")),
            ("integer", ".spec.nothing", Value::Null),
        ];
        for (kind, path, want) in cases {
            assert_eq!(
                PathColumn::new("A", kind, path).unwrap().cell(&object, now),
                want,
                "{kind} {path}"
            );
        }
        assert!(PathColumn::new("A", "string", ".spec[").is_err());
        let printer = Printer::Paths(default_columns());
        assert_eq!(
            (printer.cells(&object, now), printer.definitions()[1].name),
            (vec![json!("a"), json!("5m")], "Age")
        );
    }
}
