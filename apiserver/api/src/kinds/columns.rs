//! Reads `columns.txt`: what `kubectl get` prints of the kinds that are built in. The format is described at its head.
//!
//! Invariant: the table is read once, every maker that it names is there, and every column belongs to a maker.
//! Follows `pkg/printers/internalversion/printers.go` and `pkg/printers/tablegenerator.go`.

use std::{collections::HashMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    cells::{Make, Of, maker},
    kind::name,
};
use crate::machinery::read::Read;

/// One column of a Table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    pub name: &'a str,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: &'a str,
    pub format: &'a str,
    pub description: &'a str,
    /// Shown without `-o wide` when 0.
    pub priority: i32,
}

/// A value in a row.
pub type Cell = Value;

/// The columns of a kind, and what fills a row.
#[derive(Debug, Default, Clone)]
pub struct Columns {
    pub definitions: Vec<Column<'static>>,
    sources: Vec<Source>,
    /// What of an object cells are made of, and what its row says besides.
    pub parts: Part,
}

/// What is looked at of a value.
#[derive(Debug, Default, Clone)]
pub enum Part {
    #[default]
    All,
    /// Of an object, or of each object in a list, these fields.
    Fields(Vec<(&'static str, Part)>),
}

impl Part {
    /// Fields by their paths, one after the other.
    fn of(paths: &'static str) -> Part {
        let mut parts = Part::Fields(Vec::new());
        for path in paths.split_whitespace() {
            parts.add(path);
        }
        parts
    }

    fn add(&mut self, path: &'static str) {
        let (field, rest) = path.split_once('.').unwrap_or((path, ""));
        let Part::Fields(fields) = self else { return };
        let place = fields.iter().position(|(name, _)| *name == field);
        let place = place.unwrap_or_else(|| {
            fields.push((field, Part::Fields(Vec::new())));
            fields.len() - 1
        });
        match rest {
            "" => fields[place].1 = Part::All,
            rest => fields[place].1.add(rest),
        }
    }

    /// The part of a field; none of it may be looked at.
    pub fn field(&self, name: &[u8]) -> Option<&Part> {
        match self {
            Part::All => Some(&Part::All),
            Part::Fields(fields) => fields
                .iter()
                .find(|(field, _)| field.as_bytes() == name)
                .map(|(_, part)| part),
        }
    }

    /// A value without the rest.
    #[cfg(test)]
    pub fn keep(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .filter_map(|(name, value)| {
                    let part = self.field(name.as_bytes())?;
                    Some((name.clone(), part.keep(value)))
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.keep(item)).collect(),
            plain => plain.clone(),
        }
    }
}

/// Where a cell, or several, come from.
#[derive(Debug, Clone)]
struct Source {
    make: Make,
    argument: &'static str,
    path: Box<[&'static str]>,
}

impl Columns {
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(self.definitions.len());
        for source in &self.sources {
            let of = Of {
                object,
                at: source.path.iter().fold(object, |at, field| at.at(field)),
                argument: source.argument,
                now,
            };
            match source.make {
                Make::One(make) => cells.push(make(&of)),
                Make::Many(make) => cells.extend(make(&of)),
            }
        }
        cells
    }
}

/// A line of `columns.txt`; without a source, the source before fills it, too.
type Line = (Option<Column<'static>>, Option<Source>);

/// The whole of `columns.txt`.
pub(super) struct Tables {
    usual: HashMap<&'static str, Line>,
    of_kind: HashMap<&'static str, Columns>,
    others: Columns,
}

impl Tables {
    pub fn builtin() -> &'static Tables {
        static TABLES: LazyLock<Tables> = LazyLock::new(|| {
            Tables::read(include_str!("columns.txt"))
                .unwrap_or_else(|line| panic!("columns.txt: cannot read {line:?}"))
        });
        &TABLES
    }

    /// The columns of `apps/v1 Deployment`; those of a kind that is not named are its name and when it was made.
    pub fn of(&self, kind: &str) -> &Columns {
        self.of_kind.get(kind).unwrap_or(&self.others)
    }

    /// The usual column of this name.
    pub fn usual(&self, name: &str) -> Option<Column<'static>> {
        self.usual.get(name)?.0
    }

    /// The kinds that are named.
    #[cfg(test)]
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.of_kind.keys().copied()
    }

    /// Columns of kinds that are not built in, which may name the usual ones; or the line that cannot be read.
    pub fn beside_builtin(text: &'static str) -> Result<Tables, &'static str> {
        let builtin = Tables::builtin();
        let tables = Tables {
            usual: builtin.usual.clone(),
            of_kind: HashMap::new(),
            others: builtin.others.clone(),
        };
        tables.and(text)
    }

    /// The line that cannot be read, if there is one.
    fn read(text: &'static str) -> Result<Tables, &'static str> {
        let none = Tables {
            usual: HashMap::new(),
            of_kind: HashMap::new(),
            others: Columns::default(),
        };
        none.and(text)
    }

    /// These, and what a text says.
    fn and(mut self, text: &'static str) -> Result<Tables, &'static str> {
        let mut section = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some(column) = line.strip_prefix("  ") else {
                section = line;
                continue;
            };
            if let Some(paths) = column.strip_prefix("= ") {
                self.of_kind.entry(section).or_default().parts = Part::of(paths);
                continue;
            }
            let read = self.line(column).ok_or(line)?;
            let columns = match section {
                "usual columns" => {
                    self.usual.insert(read.0.ok_or(line)?.name, read);
                    continue;
                }
                "other kinds" => &mut self.others,
                kind => self.of_kind.entry(kind).or_default(),
            };
            columns.definitions.extend(read.0);
            columns.sources.extend(read.1);
        }
        Ok(self)
    }

    fn line(&self, line: &'static str) -> Option<Line> {
        let mut parts = line.splitn(4, " | ");
        let (called, written, kind) = (parts.next()?, parts.next(), parts.next());
        let usual = self.usual.get(called);
        let source = match written {
            Some("\"") => None,
            Some(written) => Some(source(written)?),
            None => Some(usual?.1.clone()?),
        };
        let column = match kind {
            _ if called == "-" => None,
            None => Some(usual?.0?),
            Some(kind) => {
                let (kind, wide) = kind.strip_suffix(" wide").map_or((kind, 0), |k| (k, 1));
                let (kind, format) = kind.split_once(',').unwrap_or((kind, ""));
                let description = parts.next().unwrap_or("");
                Some(Column {
                    name: called,
                    kind,
                    format,
                    description: match description.contains("\\n") {
                        true => name(&description.replace("\\n", "\n")),
                        false => description,
                    },
                    priority: wide,
                })
            }
        };
        Some((column, source))
    }
}

/// `MAKER[(ARGUMENT)] [PATH]`.
fn source(written: &'static str) -> Option<Source> {
    let (written, path) = written.split_once(" .").unwrap_or((written, ""));
    let (called, argument) = match written.strip_suffix(')') {
        Some(written) => written.split_once('(')?,
        None => (written, ""),
    };
    Some(Source {
        make: maker(called)?,
        argument,
        path: path.split('.').filter(|field| !field.is_empty()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_columns() {
        const TEXT: &str = "usual columns\n  Name | text .metadata.name | string,name | One\\ntwo\nv1 A\n  Name\n  Size | size .spec.list | integer wide | How many\n  - | given(none) .x";
        let tables = Tables::read(TEXT).unwrap_or_else(|line| panic!("{line}"));
        let columns = tables.of("v1 A");
        let shown = |column: &Column<'static>| {
            (
                column.name,
                column.format,
                column.description,
                column.priority,
            )
        };
        let definitions: Vec<_> = columns.definitions.iter().map(shown).collect();
        assert_eq!(
            definitions,
            [("Name", "name", "One\ntwo", 0), ("Size", "", "How many", 1)]
        );
        let object = json!({"metadata": {"name": "a"}, "spec": {"list": [1, 2]}});
        assert_eq!(
            columns.cells(&object, Timestamp::UNIX_EPOCH),
            [json!("a"), json!(2), json!("none")]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "  Nobody",
            "  A | nomaker .a | string | b",
            "  - | text(a .b",
        ] {
            let text: &'static str = name(&format!("v1 A\n{line}"));
            assert_eq!(Tables::read(text).err(), Some(line));
        }
    }
}
