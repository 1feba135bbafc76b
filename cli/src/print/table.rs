//! Tables that the server makes, laid out as kubectl lays them out.
//! Invariant: headers stand once above the rows that they belong to; hidden columns show only with `-o wide`.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/printers/tableprinter.go`.

use super::go;
use crate::typed::Read;
use serde_json::{Value, json};
use std::borrow::Cow;

/// What is shown beside the server's columns.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub no_headers: bool,
    pub namespace: bool,
    pub wide: bool,
    pub show_labels: bool,
    pub label_columns: Vec<String>,
    /// `kind.group`, put before names.
    pub kind: Option<String>,
}

/// Turns tables into lines with tabs between the cells.
#[derive(Default)]
pub struct TablePrinter {
    options: Options,
    last_columns: Vec<Value>,
    printed_headers: bool,
}

impl TablePrinter {
    pub fn new(options: Options) -> Self {
        TablePrinter {
            options,
            ..TablePrinter::default()
        }
    }

    /// The lines of a table; `event` goes before each row.
    pub fn lines(&mut self, table: &Value, event: Option<&str>) -> String {
        let own;
        let table = if table.text("kind") == "Table" {
            table
        } else {
            own = plain_table(table);
            &own
        };
        let empty = Vec::new();
        let columns = table.at("columnDefinitions").as_array().unwrap_or(&empty);
        let rows = table.at("rows").as_array().unwrap_or(&empty);
        let mut hide = self.options.no_headers
            || (self.printed_headers && (columns.is_empty() || *columns == self.last_columns));
        if !columns.is_empty() && *columns != self.last_columns {
            self.last_columns = columns.clone();
            hide = self.options.no_headers;
        }
        if rows.is_empty() {
            return String::new();
        }
        self.printed_headers = true;
        let shown: Vec<usize> = (0..self.last_columns.len())
            .filter(|i| self.options.wide || self.last_columns[*i].int("priority") == 0)
            .collect();
        let name_column = self
            .last_columns
            .iter()
            .position(|c| c.text("format") == "name" && c.text("type") == "string");
        let mut out = String::new();
        if !hide {
            out += &(self.headers(&shown, event.is_some()).join("\t") + "\n");
        }
        for row in rows {
            self.line(row, &shown, name_column, event, &mut out);
        }
        out
    }

    fn headers(&self, shown: &[usize], event: bool) -> Vec<String> {
        let o = &self.options;
        let mut out = Vec::new();
        out.extend(event.then(|| "EVENT".to_string()));
        out.extend(o.namespace.then(|| "NAMESPACE".to_string()));
        out.extend(
            shown
                .iter()
                .map(|i| self.last_columns[*i].text("name").to_uppercase()),
        );
        out.extend(
            o.label_columns
                .iter()
                .map(|l| l.rsplit('/').next().unwrap_or(l).to_uppercase()),
        );
        out.extend(o.show_labels.then(|| "LABELS".to_string()));
        out
    }

    fn line(
        &self,
        row: &Value,
        shown: &[usize],
        name_column: Option<usize>,
        event: Option<&str>,
        out: &mut String,
    ) {
        let o = &self.options;
        let (meta, cells) = (row.at("object").at("metadata"), row.at("cells"));
        let start = out.len();
        let mut next = |text: &str| {
            out.push_str(text);
            out.push('\t');
        };
        if let Some(e) = event {
            next(&format!("{e:<8}"));
        }
        if o.namespace {
            next(meta.text("namespace"));
        }
        for i in shown {
            let text = cell(&cells[*i]);
            match &o.kind {
                Some(k) if name_column == Some(*i) => next(&format!("{k}/{text}")),
                _ => next(&text),
            }
        }
        let labels = meta.at("labels");
        for label in &o.label_columns {
            next(labels[label].as_str().unwrap_or(""));
        }
        if o.show_labels {
            next(&label_list(labels));
        }
        if out.len() > start {
            out.pop();
        }
        out.push('\n');
    }
}

/// One cell: its first line, with what would steer a terminal made harmless.
fn cell(value: &Value) -> Cow<'_, str> {
    const ODD: [char; 5] = ['\n', '\r', '\x0c', '\x1b', '\t'];
    let text = match value {
        Value::Null => return Cow::Borrowed(""),
        Value::String(s) if !s.contains(ODD) => return Cow::Borrowed(s),
        Value::String(s) => Cow::Borrowed(s.as_str()),
        v => Cow::Owned(go::plain(v)),
    };
    let end = text.find(['\n', '\r', '\x0c']);
    let line = escape_terminal(&text[..end.unwrap_or(text.len())]).replace('\t', " ");
    Cow::Owned(if end.is_some() { line + "..." } else { line })
}

/// Replaces the escape character, which begins a terminal's commands.
pub fn escape_terminal(text: &str) -> String {
    text.replace('\x1b', "^[").replace('\r', "\\r")
}

/// `a=b,c=d`, or `<none>`.
pub fn label_list(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
        .collect();
    if pairs.is_empty() {
        "<none>".into()
    } else {
        pairs.join(",")
    }
}

/// The table of a server that makes none: names and ages.
fn plain_table(object: &Value) -> Value {
    let items = if crate::resource::is_list(object) {
        object.at("items").as_array().cloned().unwrap_or_default()
    } else {
        vec![object.clone()]
    };
    let row = |o: &Value| json!({"cells": [o.at("metadata").at("name"), super::age::since(o.at("metadata").at("creationTimestamp"))], "object": o});
    json!({
        "kind": "Table",
        "columnDefinitions": [{"name": "Name", "type": "string", "format": "name", "priority": 0}, {"name": "Age", "type": "string", "priority": 0}],
        "rows": items.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Value {
        json!({"kind": "Table",
            "columnDefinitions": [{"name": "Name", "type": "string", "format": "name", "priority": 0}, {"name": "IP", "type": "string", "priority": 1}, {"name": "N", "type": "integer", "priority": 0}],
            "rows": [{"cells": ["a", "1.2.3.4", 5], "object": {"metadata": {"namespace": "ns", "labels": {"x.y/app": "q"}}}}, {"cells": ["b\nc", null, 6], "object": {"metadata": {}}}]})
    }

    #[test]
    fn rows_and_headers() {
        let lines = |o: Options| TablePrinter::new(o).lines(&table(), None);
        assert_eq!(lines(Options::default()), "NAME\tN\na\t5\nb...\t6\n");
        assert_eq!(
            lines(Options {
                wide: true,
                no_headers: true,
                ..Options::default()
            }),
            "a\t1.2.3.4\t5\nb...\t\t6\n"
        );
        let all = Options {
            namespace: true,
            show_labels: true,
            label_columns: vec!["x.y/app".into()],
            kind: Some("pod".into()),
            ..Options::default()
        };
        assert_eq!(
            lines(all),
            "NAMESPACE\tNAME\tN\tAPP\tLABELS\nns\tpod/a\t5\tq\tx.y/app=q\n\tpod/b...\t6\t\t<none>\n"
        );
    }

    #[test]
    fn headers_stand_once() {
        let mut p = TablePrinter::new(Options::default());
        p.lines(&table(), None);
        assert_eq!(
            p.lines(&table(), Some("ADDED")),
            "ADDED   \ta\t5\nADDED   \tb...\t6\n"
        );
    }
}
