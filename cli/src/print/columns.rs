//! Columns of the user's own: `-o custom-columns=NAME:.metadata.name`.
//! Invariant: headers are printed once; a field that is not there shows as `<none>`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/customcolumn.go`.

use super::tabwriter::TabWriter;
use crate::error::{Error, Result};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed, text};

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

    /// The rows of an object or of a list's items.
    ///
    /// # Errors
    /// An expression that does not fit the object.
    pub fn render(&mut self, object: &Value) -> Result<String> {
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
        let mut empty: Vec<&Column> = self.columns.iter().collect();
        for item in items {
            let mut cells = Vec::new();
            for column in &self.columns {
                let found: Vec<_> = column
                    .path
                    .find(item)
                    .map_err(Error::msg)?
                    .into_iter()
                    .flatten()
                    .collect();
                if !found.is_empty() {
                    empty.retain(|known| !std::ptr::eq(*known, column));
                }
                cells.push(if found.is_empty() {
                    "<none>".to_string()
                } else {
                    found
                        .iter()
                        .map(|v| go_value(v))
                        .collect::<Vec<_>>()
                        .join(",")
                });
            }
            self.writer.push(&(cells.join("\t") + "\n"));
        }
        for (column, item) in empty.into_iter().zip(items.iter().cycle()) {
            crate::teach::tell_of_field(&column.expression, item);
        }
        Ok(self.writer.flush())
    }
}

/// A value as Go's `fmt.Sprint` prints it.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Array(l) => format!("[{}]", l.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(m) => format!(
            "map[{}]",
            m.iter()
                .map(|(k, v)| format!("{k}:{}", go_value(v)))
                .collect::<Vec<_>>()
                .join(" ")
        ),
        v => text(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_filled() {
        let mut c =
            CustomColumns::parse("NAME:.metadata.name,X:.x[*],NONE:.nosuch", false).unwrap();
        assert_eq!(
            c.render(&json!({"metadata": {"name": "a"}, "x": [1, 2]}))
                .unwrap(),
            "NAME   X     NONE\na      1,2   <none>\n"
        );
        assert_eq!(
            c.render(&json!({"metadata": {"name": "b"}, "x": []}))
                .unwrap(),
            "b      <none>   <none>\n"
        );
        assert_eq!(
            CustomColumns::parse("bad", false)
                .err()
                .unwrap()
                .to_string(),
            "unexpected custom-columns spec: bad, expected <header>:<json-path-expr>"
        );
        assert_eq!(go_value(&json!({"a": [1, null]})), "map[a:[1 <nil>]]");
    }
}
