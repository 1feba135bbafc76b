//! Columns of the user's own: `-o custom-columns=NAME:.metadata.name`.
//! Invariant: headers are printed once; a field that is not there shows as `<none>`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/customcolumn.go`.

use super::{go, tabwriter::TabWriter};
use crate::error::{Error, Result};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed};

/// A column, as it was written and as it is read.
struct Column {
    header: String,
    expression: String,
    path: JsonPath,
}

/// Headers and what stands under them.
pub struct CustomColumns {
    columns: Vec<Column>,
    headers: bool,
    writer: TabWriter,
}

impl CustomColumns {
    fn new(pairs: Vec<(String, String)>, no_headers: bool) -> Result<Self> {
        let mut columns = Vec::new();
        for (header, expression) in pairs {
            let expression = relaxed(&expression).map_err(Error::msg)?;
            let path = JsonPath::parse(&expression).map_err(Error::msg)?;
            columns.push(Column {
                header,
                expression,
                path: path.allow_missing(true),
            });
        }
        Ok(CustomColumns {
            columns,
            headers: !no_headers,
            writer: TabWriter::table(),
        })
    }

    /// `HEADER:EXPRESSION,…`
    ///
    /// # Errors
    /// A column without an expression, an expression that cannot be read.
    pub fn parse(spec: &str, no_headers: bool) -> Result<Self> {
        let pair = |part: &str| {
            let (h, e) = part.split_once(':').ok_or_else(|| {
                Error::msg(format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                ))
            })?;
            Ok((h.to_string(), e.to_string()))
        };
        Self::new(
            spec.split(',').map(pair).collect::<Result<_>>()?,
            no_headers,
        )
    }

    /// A line of headers, a line of expressions.
    ///
    /// # Errors
    /// As `parse`, and lines that do not match.
    pub fn parse_file(text: &str, no_headers: bool) -> Result<Self> {
        let mut lines = text.lines();
        let mut line = |what: &str| {
            lines.next().map(|l| l.split_whitespace().map(String::from).collect::<Vec<_>>()).ok_or_else(|| {
                Error::msg(format!(
                    "invalid template, missing {what} line. Expected format is one line of space separated headers, one line of space separated column specs."
                ))
            })
        };
        let (headers, specs) = (line("header")?, line("spec")?);
        if headers.len() != specs.len() {
            return Err(Error::msg(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                headers.len(),
                specs.len()
            )));
        }
        Self::new(headers.into_iter().zip(specs).collect(), no_headers)
    }

    /// The rows of an object or of a list's items, up to the first that cannot be made.
    ///
    /// # Errors
    /// Beside the rows: an expression that does not fit an object.
    pub fn render(&mut self, object: &Value) -> (String, Result<()>) {
        if std::mem::take(&mut self.headers) {
            let line: Vec<&str> = self.columns.iter().map(|c| c.header.as_str()).collect();
            self.writer.push(&(line.join("\t") + "\n"));
        }
        let items = if crate::resource::is_list(object) {
            object
                .at("items")
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
        } else {
            std::slice::from_ref(object)
        };
        let mut filled = vec![false; self.columns.len()];
        for item in items {
            match self.row(item, &mut filled) {
                Ok(row) => self.writer.push(&row),
                Err(why) => return (self.writer.flush(), Err(why)),
            }
        }
        let empty = self
            .columns
            .iter()
            .zip(filled)
            .filter(|(_, filled)| !filled);
        for ((column, _), item) in empty.zip(items.iter().cycle()) {
            crate::teach::tell_of_field(&column.expression, item);
        }
        (self.writer.flush(), Ok(()))
    }

    /// One row; notes which columns have something in it.
    fn row(&self, item: &Value, filled: &mut [bool]) -> Result<String> {
        let mut cells = Vec::new();
        for (column, filled) in self.columns.iter().zip(filled) {
            let lists = column.path.find(item).map_err(Error::msg)?;
            let mut cell = Vec::new();
            // the first part of an expression that finds nothing says so, whatever the others find
            if lists.first().is_none_or(Vec::is_empty) {
                cell.push("<none>".to_string());
            }
            let found = lists.iter().flatten();
            cell.extend(found.map(|value| go::plain(value)));
            *filled |= lists.iter().any(|list| !list.is_empty());
            cells.push(cell.join(","));
        }
        Ok(cells.join("\t") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_made_before_a_failure_is_shown() {
        let mut c = CustomColumns::parse("NAME:.name,X:.x[0]", false).unwrap();
        let list = json!({"kind": "List", "items": [{"name": "a", "x": [1]}, {"name": "b", "x": []}, {"name": "c", "x": [2]}]});
        let (shown, told) = c.render(&list);
        assert_eq!(shown, "NAME   X\na      1\n");
        assert!(told.is_err());
    }

    #[test]
    fn columns_are_filled() {
        let mut c =
            CustomColumns::parse("NAME:.metadata.name,X:.x[*],NONE:.nosuch", false).unwrap();
        assert_eq!(
            c.render(&json!({"metadata": {"name": "a"}, "x": [1, 2]})).0,
            "NAME   X     NONE\na      1,2   <none>\n"
        );
        assert_eq!(
            c.render(&json!({"metadata": {"name": "b"}, "x": []})).0,
            "b      <none>   <none>\n"
        );
        assert_eq!(
            CustomColumns::parse("bad", false)
                .err()
                .unwrap()
                .to_string(),
            "unexpected custom-columns spec: bad, expected <header>:<json-path-expr>"
        );
    }
}
