//! How results are shown: names, YAML, JSON, templates and columns of one's own; tables are in `table`.
//! Invariant: one printer lives as long as its command, so that separators and headers come where they must.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/printers` and `genericclioptions/print_flags.go`.

pub mod age;
pub mod columns;
pub mod go;
pub mod gotemplate;
pub mod html;
pub mod json;
pub mod kyaml;
pub mod order;
pub mod sort;
pub mod table;
pub mod tabwriter;

use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::flags::{Group, group};
use crate::typed::Read;
use columns::CustomColumns;
use order::Order;
use serde_json::Value;
use skiff_api::machinery::jsonpath::JsonPath;
use std::io::Write;

/// The flag `-o`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Output {
    /// How to show the result: json, yaml, kyaml, name, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json or jsonpath-file
    #[arg(long, short)]
    pub output: String,
}
/// The flag `--show-managed-fields`.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Managed {
    /// Keep managedFields when printing JSON or YAML
    #[arg(long)]
    pub show_managed_fields: bool,
}
/// The flags of templates.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Templates {
    /// A field that a template asks for and the object lacks is left empty instead of being an error
    #[arg(long, default_value = "true")]
    pub allow_missing_template_keys: bool,
    /// The template, or the file with it, for -o go-template, go-template-file, jsonpath and jsonpath-file
    #[arg(long)]
    pub template: String,
    #[command(flatten)]
    pub managed: Managed,
}
/// The flags of verbs that print what they did.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Flags {
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub templates: Templates,
}

pub const FLAGS: Group = group::<Flags>;
/// What `FLAGS` has beside `-o`.
pub const TEMPLATE_FLAGS: Group = group::<Templates>;
pub const MANAGED_FIELDS: Group = group::<Managed>;

/// A way to show one object after the other.
pub enum Format {
    Name,
    Json,
    Yaml,
    Kyaml,
    JsonPath(JsonPath),
    JsonPathAsJson(JsonPath),
    GoTemplate(gotemplate::Template),
    Columns(CustomColumns),
}

/// Shows objects on standard output.
pub struct Printer {
    format: Format,
    /// What was done, said after the name.
    operation: String,
    keep_managed_fields: bool,
    printed: usize,
    order: Order,
    /// Why nothing can be shown; told with each object.
    fault: Option<String>,
}

/// All formats, as the error for another one lists them.
pub const ALLOWED: &str = "go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,name,template,templatefile,yaml";
/// The same for `get`.
pub const ALLOWED_GET: &str = "custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,name,template,templatefile,wide,yaml";

/// The format that `-o` and `--template` ask for; nothing for the verb's own.
///
/// # Errors
/// A format that is none of `allowed`, a template that cannot be read.
pub fn format(ctx: &Ctx, allowed: &str) -> Result<Option<Format>> {
    let output = ctx.output();
    let templates = &ctx.shared().print.templates;
    let (template_flag, missing_ok) = (
        templates.template.as_str(),
        templates.allow_missing_template_keys,
    );
    let no_headers = ctx.shared().no_headers;
    if output.is_empty() && template_flag.is_empty() {
        return Ok(None);
    }
    let output = if output.is_empty() {
        "go-template"
    } else {
        output
    };
    let (word, inline) = match output.split_once('=') {
        // A template in a flag of its own is not also one in the format.
        Some((w, _)) if !template_flag.is_empty() && !w.contains("columns") => {
            return Err(no_printer(if w.is_empty() { w } else { output }, allowed));
        }
        Some((w, t)) => (w, Some(t)),
        None => (output, None),
    };
    let lower = output.to_lowercase();
    let word = if matches!(lower.as_str(), "json" | "yaml" | "kyaml" | "name") {
        lower.as_str()
    } else {
        word
    };
    let listed = allowed.split(',').any(|a| a == word);
    if !listed
        || (inline.is_some()
            && !(word.contains("template")
                || word.contains("jsonpath")
                || word.contains("columns")))
    {
        return Err(no_printer(output, allowed));
    }
    let template = |what: &str| -> Result<String> {
        let text = inline.unwrap_or(template_flag);
        if text.is_empty() {
            Err(Error::msg(format!(
                "{what} format specified but no {} given",
                what.replace('-', " ")
            )))
        } else {
            Ok(text.to_string())
        }
    };
    let file = |what: &str| -> Result<String> {
        let path = template(what)?;
        std::fs::read_to_string(&path).map_err(|e| {
            Error::msg(format!(
                "error reading {} {path}, open {path}: {}",
                match what {
                    "custom-columns" => "template",
                    _ => "--template",
                },
                crate::error::go_io(&e)
            ))
        })
    };
    let jsonpath = |text: String| {
        JsonPath::parse(&text)
            .map(|p| p.allow_missing(missing_ok))
            .map_err(|e| Error::msg(format!("error parsing jsonpath {text}, {e}")))
    };
    Ok(Some(match word {
        "name" => Format::Name,
        "json" => Format::Json,
        "yaml" => Format::Yaml,
        "kyaml" => Format::Kyaml,
        "jsonpath" => Format::JsonPath(jsonpath(template("template")?)?),
        "jsonpath-as-json" => Format::JsonPathAsJson(jsonpath(template("template")?)?),
        "jsonpath-file" => Format::JsonPath(jsonpath(file("template")?)?),
        "go-template" | "template" => Format::GoTemplate(gotemplate::Template::parse(
            &template("template")?,
            missing_ok,
        )?),
        "go-template-file" | "templatefile" => {
            Format::GoTemplate(gotemplate::Template::parse(&file("template")?, missing_ok)?)
        }
        "custom-columns" => Format::Columns(CustomColumns::parse(
            &template("custom-columns")?,
            no_headers,
        )?),
        "custom-columns-file" => Format::Columns(CustomColumns::parse_file(
            &file("custom-columns")?,
            no_headers,
        )?),
        // `wide` is a table.
        _ => return Ok(None),
    }))
}

/// The error for a format that the verb has not.
pub fn no_printer(output: &str, allowed: &str) -> Error {
    Error::msg(format!(
        "unable to match a printer suitable for the output format {}, allowed formats are: {allowed}",
        quote(output)
    ))
}

impl Printer {
    /// For a verb that says `operation` of each object unless `-o` asks for something else.
    ///
    /// # Errors
    /// As `format`.
    pub fn new(ctx: &Ctx, operation: impl Into<String>) -> Result<Printer> {
        let format = format(ctx, ALLOWED)?;
        let operation = if matches!(format, Some(Format::Name)) {
            String::new()
        } else {
            operation.into()
        };
        Ok(Printer::of(
            format.unwrap_or(Format::Name),
            operation,
            ctx.shows_managed_fields(),
        ))
    }

    pub fn of(format: Format, operation: impl Into<String>, keep_managed_fields: bool) -> Printer {
        Printer {
            format,
            operation: operation.into(),
            keep_managed_fields,
            printed: 0,
            order: Order::Sorted,
            fault: None,
        }
    }

    /// As `new`, for a verb that looks at the format only when it has something to show: a wrong one is told with each object.
    pub fn late(ctx: &Ctx, operation: impl Into<String>) -> Printer {
        match Printer::new(ctx, operation) {
            Ok(printer) => printer,
            Err(fault) => Printer {
                fault: Some(fault.to_string()),
                ..Printer::of(Format::Json, "", false)
            },
        }
    }

    /// Prints JSON and KYAML with fields in this order.
    pub fn ordered(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The same for what is printed from now on.
    pub fn order(&mut self, order: Order) {
        self.order = order;
    }

    /// Says something else of the objects that follow; with `-o name` still nothing.
    pub fn operation(&mut self, operation: &str) {
        self.operation = operation.into();
    }

    /// Shows an object.
    ///
    /// # Errors
    /// A template that does not fit the object.
    pub fn print(&mut self, object: &Value) -> Result<()> {
        if let (Format::Columns(columns), None) = (&mut self.format, &self.fault) {
            let (rows, told) = columns.render(object);
            put(&rows)?;
            return told;
        }
        let text = self.render(object)?;
        put(&text)
    }

    /// Shows what became of an object, as `get --watch --output-watch-events` does.
    ///
    /// # Errors
    /// As `print`.
    pub fn print_event(&mut self, kind: &str, object: &Value) -> Result<()> {
        let style = |indent| json::Style {
            indent,
            order: self.order,
        };
        match self.format {
            Format::Name => self.print(object),
            // on one line, with the fields in the order of Go's struct
            Format::Json => put(&format!(
                "{{\"type\":{},\"object\":{}}}\n",
                json::string(kind, true),
                json::write(object, style(0))
            )),
            Format::Kyaml => {
                self.order(Order::Event);
                self.print(&serde_json::json!({"type": kind, "object": object}))
            }
            _ => self.print(&serde_json::json!({"type": kind, "object": object})),
        }
    }

    /// The text that `print` would write.
    ///
    /// # Errors
    /// As `print`.
    pub fn render(&mut self, object: &Value) -> Result<String> {
        if let Some(fault) = &self.fault {
            return Err(Error::msg(fault.clone()));
        }
        let stripped;
        let structured = matches!(self.format, Format::Json | Format::Yaml | Format::Kyaml);
        let object = if structured && !self.keep_managed_fields {
            stripped = without_managed_fields(object);
            &stripped
        } else {
            object
        };
        self.printed += 1;
        let fail = |e: String| Error::msg(e);
        Ok(match &mut self.format {
            Format::Name => names(object, &self.operation),
            Format::Json => {
                json::write(
                    object,
                    json::Style {
                        indent: 4,
                        order: self.order,
                    },
                ) + "\n"
            }
            Format::Yaml => format!(
                "{}{}",
                if self.printed > 1 { "---\n" } else { "" },
                crate::yaml::write(object)
            ),
            Format::Kyaml => kyaml::write(object, self.order),
            Format::JsonPath(p) => p
                .render(object)
                .map_err(|e| fail(jsonpath_failure(p, &e, object)))?,
            Format::JsonPathAsJson(p) => {
                let lists = p
                    .find(object)
                    .map_err(|e| fail(jsonpath_failure(p, &e, object)))?;
                let lists = lists.into_iter().map(|list| {
                    let values = list.into_iter().map(|v| v.into_owned());
                    json::pretty(&Value::Array(values.collect()))
                });
                lists.collect()
            }
            Format::GoTemplate(t) => t.render(object, self.order)?,
            Format::Columns(c) => {
                let (rows, told) = c.render(object);
                told.map(|()| rows)?
            }
        })
    }

    /// Whether objects are shown only by name and operation.
    pub fn is_name(&self) -> bool {
        matches!(self.format, Format::Name)
    }
}

fn jsonpath_failure(path: &JsonPath, why: &str, object: &Value) -> String {
    let (template, object) = (path.template(), go::syntax(object));
    let told = format!(
        "\ttemplate was:\n\t\t{template}\n\tobject given to jsonpath engine was:\n\t\t{object}\n\n\n"
    );
    format!(
        "error executing jsonpath {}: Error executing template: {why}. Printing more information for debugging the template:\n{told}",
        quote(template)
    )
}

/// Writes to standard output; a reader that went away ends the program quietly, as it ends kubectl.
///
/// # Errors
/// Anything else that keeps it from being written.
pub fn put(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Error::Exit(crate::out::BROKEN_PIPE))
        }
        other => other.map_err(Error::from),
    }
}

/// A copy without `metadata.managedFields`, in lists too.
pub fn without_managed_fields(object: &Value) -> Value {
    let mut copy = object.clone();
    let mut strip = |o: &mut Value| {
        if let Some(m) = o.get_mut("metadata").and_then(Value::as_object_mut) {
            m.remove("managedFields");
        }
    };
    if let Some(items) = copy.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(&mut strip);
    }
    strip(&mut copy);
    copy
}

/// `kind.group/name operation`, a line an object.
fn names(object: &Value, operation: &str) -> String {
    if crate::resource::is_list(object) {
        return object
            .list("items")
            .iter()
            .map(|o| names(o, operation))
            .collect();
    }
    let name = object
        .at("metadata")
        .text_ptr("name")
        .filter(|n| !n.is_empty())
        .unwrap_or("<unknown>");
    let (group, _) = crate::discovery::split_api_version(object.text("apiVersion"));
    let kind = object.text("kind").to_lowercase();
    let dot = if group.is_empty() { "" } else { "." };
    let space = if operation.is_empty() { "" } else { " " };
    format!("{kind}{dot}{group}/{name}{space}{operation}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_say_what_was_done() {
        assert_eq!(
            names(
                &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}),
                "created"
            ),
            "deployment.apps/x created\n"
        );
        assert_eq!(
            names(
                &json!({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}]}),
                ""
            ),
            "pod/p\n"
        );
    }

    #[test]
    fn documents_are_separated() {
        let mut p = Printer::of(Format::Yaml, "", false);
        let o = json!({"a": 1, "metadata": {"managedFields": [], "name": "x"}});
        assert_eq!(p.render(&o).unwrap(), "a: 1\nmetadata:\n  name: x\n");
        assert_eq!(p.render(&o).unwrap(), "---\na: 1\nmetadata:\n  name: x\n");
    }
}
