//! Go templates, with the two functions that kubectl adds: `exists` and `base64decode`.
//! A library fills templates in, too; where they are wrong it has words of its own, and people read Go's: of it there is `printf`.
//! Invariant: what is wrong with a template, and where it fails, is told as Go tells it.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/printers/template.go`.

mod exec;
mod float;
mod funcs;
mod lex;
mod literals;
mod parse;
mod printf;
mod tree;

use super::order::Order;
use crate::error::{Error, Result, message, quote};
use serde_json::Value;

/// A parsed template.
pub struct Template {
    text: String,
    tree: tree::Tree,
    /// A field that is not there is an error.
    strict: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The mistake, with its line.
    pub fn parse(text: &str, allow_missing: bool) -> Result<Template> {
        let tree = parse::parse(text, &funcs::is_function);
        Ok(Template {
            text: text.to_string(),
            tree: tree.map_err(|why| message!("error parsing template {text}, {why}"))?,
            strict: !allow_missing,
        })
    }

    /// The template filled in from an object; where that fails, the object is told of with its fields in this order.
    ///
    /// # Errors
    /// What the template asks of the object and cannot have.
    pub fn render(&self, object: &Value, order: Order) -> Result<String> {
        let (out, done) = self.filled(object);
        let Err(error) = done else {
            return Ok(out);
        };
        let style = super::json::Style { indent: 0, order };
        let (raw, given) = (super::json::write(object, style), super::go::plain(object));
        super::put(&format!(
            "{out}Error executing template: {error}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\traw data was:\n\t\t{raw}\n\tobject given to template engine was:\n\t\t{given}\n\n",
            self.text
        ))?;
        Err(Error::msg(format!(
            "error executing template {}: {error}",
            quote(&self.text)
        )))
    }

    /// What the template makes, and what ended it early.
    pub(crate) fn filled(&self, object: &Value) -> (String, Result<(), String>) {
        let mut out = String::new();
        let done = exec::execute(&self.text, &self.tree, object, self.strict, &mut out);
        (out, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled_in() {
        let data = json!({"name": "a", "n": 3, "big": 9223372036854775807i64, "l": [{"x": "y"}], "secret": "czNjcmV0"});
        for (template, want) in [
            ("{{.name}}{{\"\\n\"}}", "a\n"),
            ("{{range .l}}{{.x}},{{end}}", "y,"),
            ("{{.n}}", "3"),
            ("{{.big}} {{if eq .n 3}}x{{end}}", "9223372036854775807 x"),
            ("{{.nosuch}}", "<no value>"),
            ("{{.nosuch.x}}", "<no value>"),
            (
                "{{exists . \"l\" 0 \"x\"}} {{exists . \"z\"}}",
                "true false",
            ),
            ("{{.secret | base64decode}}", "s3cret"),
            ("{{.name | printf \"%-4s\"}}|{{len .l}}", "a   |1"),
        ] {
            assert_eq!(
                Template::parse(template, true)
                    .unwrap()
                    .render(&data, Order::Sorted)
                    .unwrap(),
                want,
                "{template}"
            );
        }
        for (template, want) in [
            (
                "{{.nosuch}}",
                "template: output:1:2: executing \"output\" at <.nosuch>: map has no entry for key \"nosuch\"",
            ),
            (
                "a\n{{ .l2.x }}",
                "template: output:2:6: executing \"output\" at <.l2.x>: map has no entry for key \"l2\"",
            ),
        ] {
            let said = Template::parse(template, false)
                .unwrap()
                .render(&data, Order::Sorted)
                .unwrap_err()
                .to_string();
            assert_eq!(
                said,
                format!("error executing template {}: {want}", quote(template))
            );
        }
        for (template, want) in [
            (
                "{{(index .l 1).x}}",
                "3: executing \"output\" at <index .l 1>: error calling index: reflect: slice index out of range",
            ),
            (
                "{{index .l  9 | len}}",
                "2: executing \"output\" at <index .l 9>: error calling index: index out of range: 9",
            ),
            (
                "{{index .nosuch 9}}",
                "2: executing \"output\" at <index .nosuch 9>: error calling index: index of untyped nil",
            ),
            (
                "{{len .nosuch}}",
                "2: executing \"output\" at <len .nosuch>: error calling len: reflect: call of reflect.Value.Type on zero Value",
            ),
        ] {
            let parsed = Template::parse(template, true).unwrap();
            let said = parsed.render(&data, Order::Sorted).unwrap_err().to_string();
            let want = format!(
                "error executing template {}: template: output:1:{want}",
                quote(template)
            );
            assert_eq!(said, want);
        }
        let said = Template::parse("{{nosuch}}", true)
            .and_then(|t| t.render(&data, Order::Sorted))
            .unwrap_err()
            .to_string();
        assert_eq!(
            said,
            "error parsing template {{nosuch}}, template: output:1: function \"nosuch\" not defined"
        );
        assert_eq!(
            Template::parse("{{.bad", true).err().unwrap().to_string(),
            "error parsing template {{.bad, template: output:1: unclosed action"
        );
    }

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        for (template, want) in [
            ("{{.a}", "1: bad character U+007D '}'"),
            ("{{if}}", "1: missing value for if"),
            ("a\n{{range}}", "2: missing value for range"),
            ("{{end}}", "1: unexpected {{end}}"),
            ("{{else}}", "1: unexpected {{else}}"),
            ("{{range .x}}", "1: unexpected EOF"),
            (
                "{{\"a\" | \"b\"}}",
                "1: non executable command in pipeline stage 2",
            ),
            ("{{1.2.3}}", "1: unexpected \".3\" in operand"),
            ("{{\"abc}}", "1: unterminated quoted string"),
            ("{{$x}}", "1: undefined variable \"$x\""),
            (
                "{{with $x := 3}}{{end}}{{$x}}",
                "1: undefined variable \"$x\"",
            ),
            ("{{break}}", "1: {{break}} outside {{range}}"),
            ("{{.k.}}", "1: unexpected <.> in operand"),
            ("{{..x}}", "1: unexpected . after term \".\""),
            ("{{(.x}}", "1: unclosed left paren"),
            ("{{.x)}}", "1: unexpected right paren"),
            ("{{/* c }}", "1: unclosed comment"),
            ("{{$a, $b := .x}}", "1: too many declarations in command"),
        ] {
            let said = Template::parse(template, true).err().unwrap().to_string();
            let want = format!("error parsing template {template}, template: output:{want}");
            assert_eq!(said, want);
        }
    }

    #[test]
    fn failures_are_told_as_go_tells_them() {
        let data = json!({"k": {"s": "v", "n": 2}, "l": [1, "x"]});
        for (template, want) in [
            (
                "{{.k.s.x}}",
                "4: executing \"output\" at <.k.s.x>: can't evaluate field x in type interface {}",
            ),
            (
                "{{(.k.s).x}}",
                "8: executing \"output\" at <(.k.s).x>: can't evaluate field x in type string",
            ),
            (
                "{{index .k 3}}",
                "2: executing \"output\" at <index .k 3>: error calling index: value has type int; should be string",
            ),
            (
                "{{if gt .k.n 1.0}}{{end}}",
                "5: executing \"output\" at <gt .k.n 1.0>: error calling gt: incompatible types for comparison: int64 and float64",
            ),
            (
                "{{and}}",
                "2: executing \"output\" at <and>: wrong number of args for and: want at least 1 got 0",
            ),
            (
                "{{template \"x\"}}",
                "11: executing \"output\" at <{{template \"x\"}}>: template \"x\" not defined",
            ),
            (
                "{{range true}}{{end}}",
                "8: executing \"output\" at <true>: range can't iterate over true",
            ),
            (
                "{{nil}}",
                "2: executing \"output\" at <nil>: nil is not a command",
            ),
            (
                "{{call .k.s}}",
                "2: executing \"output\" at <call .k.s>: error calling call: non-function .k.s of type string",
            ),
        ] {
            let parsed = Template::parse(template, true).unwrap();
            let said = parsed.render(&data, Order::Sorted).unwrap_err().to_string();
            let want = format!(
                "error executing template {}: template: output:1:{want}",
                quote(template)
            );
            assert_eq!(said, want);
        }
        for (template, want) in [
            ("a {{- .k.n -}} b", "a2b"),
            ("{{range $i, $e := .l}}{{$i}}={{$e}};{{end}}", "0=1;1=x;"),
            ("{{range .l}}{{.}}{{break}}{{end}}", "1"),
            (
                "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .k.s}}",
                "<v>",
            ),
            ("{{if false}}a{{else if .k}}b{{else}}c{{end}}", "b"),
            ("{{printf \"%d-%v\" .k.n .l}} {{len .l}}", "2-[1 x] 2"),
            ("{{with $x := 3}}{{$x}}{{end}}{{or 0 \"y\"}}", "3y"),
        ] {
            let parsed = Template::parse(template, true).unwrap();
            assert_eq!(
                parsed.render(&data, Order::Sorted).unwrap(),
                want,
                "{template}"
            );
        }
    }
}
