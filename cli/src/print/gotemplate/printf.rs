//! `printf`, `print` and `println` of Go templates.
//! Invariant: what a verb cannot write is written as Go writes such a mistake, with the value and its type.
//! Behaviour follows Go's `fmt/print.go` and `fmt/format.go`.

use super::exec::Go;
use super::float;
use crate::error::quote;

/// No width or precision is larger.
const LARGEST: i64 = 1_000_000;

/// Flags, width and precision of one verb.
#[derive(Clone, Copy, Default)]
pub struct Form {
    pub plus: bool,
    pub minus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    /// `%#v`: as Go's source has it.
    pub syntax: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
}

/// Arguments as `print` writes them: divided where neither neighbour is a text.
pub fn print(args: &[&Go]) -> String {
    let mut out = String::new();
    for (at, arg) in args.iter().enumerate() {
        let is_text = |arg: &Go| matches!(arg, Go::Text(_));
        if at > 0 && !is_text(arg) && !is_text(args[at - 1]) {
            out.push(' ');
        }
        out += &value(arg, 'v', Form::default());
    }
    out
}

/// Arguments as `println` writes them.
pub fn println(args: &[&Go]) -> String {
    let each = args.iter().map(|arg| value(arg, 'v', Form::default()));
    each.collect::<Vec<_>>().join(" ") + "\n"
}

/// A format, read from left to right, and the arguments that it takes.
struct Reader<'a, 'b> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    args: &'b [&'b Go<'b>],
    next: usize,
    reordered: bool,
    index_is_good: bool,
}

/// Arguments as a format says.
pub fn printf(format: &str, args: &[&Go]) -> String {
    let mut reader = Reader {
        rest: format.chars().peekable(),
        args,
        next: 0,
        reordered: false,
        index_is_good: true,
    };
    let mut out = String::new();
    while let Some(c) = reader.rest.next() {
        match c {
            '%' => out += &reader.verb(),
            c => out.push(c),
        }
    }
    if !reader.reordered && reader.next < args.len() {
        let extra = args[reader.next..]
            .iter()
            .map(|arg| typed(arg, Form::default()));
        out += &format!("%!(EXTRA {})", extra.collect::<Vec<_>>().join(", "));
    }
    out
}

impl Reader<'_, '_> {
    fn verb(&mut self) -> String {
        let mut form = self.flags();
        self.index_is_good = true;
        let mut after_index = self.index();
        match self.number(&mut after_index) {
            Number::Given(width) => {
                form.minus |= width < 0;
                form.zero &= width >= 0;
                form.width = Some(width.unsigned_abs() as usize);
            }
            Number::Bad => return "%!(BADWIDTH)".to_string() + &self.written(form, after_index),
            Number::None => {}
        }
        if self.rest.next_if_eq(&'.').is_some() {
            self.index_is_good &= !after_index;
            after_index = self.index();
            match self.number(&mut after_index) {
                Number::Given(precision) if precision >= 0 => {
                    form.precision = Some(precision as usize);
                }
                Number::Given(_) | Number::Bad => {
                    return "%!(BADPREC)".to_string() + &self.written(form, after_index);
                }
                Number::None => form.precision = Some(0),
            }
        }
        self.written(form, after_index)
    }

    /// The verb itself, and what it makes of its argument.
    fn written(&mut self, mut form: Form, after_index: bool) -> String {
        if !after_index {
            self.index();
        }
        let Some(verb) = self.rest.next() else {
            return "%!(NOVERB)".into();
        };
        if verb == '%' {
            return "%".into();
        }
        if !self.index_is_good {
            return format!("%!{verb}(BADINDEX)");
        }
        let Some(arg) = self.args.get(self.next) else {
            return format!("%!{verb}(MISSING)");
        };
        self.next += 1;
        if verb == 'v' {
            form.syntax = std::mem::take(&mut form.sharp);
            form.plus = false;
        }
        value(arg, verb, form)
    }

    fn flags(&mut self) -> Form {
        let mut form = Form::default();
        while let Some(flag) = self.rest.next_if(|c| "#0+- ".contains(*c)) {
            match flag {
                '#' => form.sharp = true,
                '0' => form.zero = true,
                '+' => form.plus = true,
                '-' => form.minus = true,
                _ => form.space = true,
            }
        }
        form
    }

    /// `[n]`: which argument is next.
    fn index(&mut self) -> bool {
        if self.rest.next_if_eq(&'[').is_none() {
            return false;
        }
        self.reordered = true;
        let mut digits = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != ']') {
            digits.push(c);
        }
        let closed = self.rest.next().is_some();
        match digits.parse::<usize>() {
            Ok(at) if closed && at >= 1 && at <= self.args.len() => self.next = at - 1,
            _ => self.index_is_good = false,
        }
        true
    }

    fn number(&mut self, after_index: &mut bool) -> Number {
        if self.rest.next_if_eq(&'*').is_some() {
            *after_index = false;
            let arg = self.args.get(self.next);
            self.next += 1;
            return match arg {
                Some(Go::Int(number, "int")) if number.abs() <= LARGEST => Number::Given(*number),
                _ => Number::Bad,
            };
        }
        let mut given = None;
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            let number: i64 = given.unwrap_or(0);
            if number > LARGEST {
                // as Go does, which reads no further
                while self.rest.next().is_some() {}
                return Number::None;
            }
            given = Some(number * 10 + i64::from(digit as u8 - b'0'));
        }
        if *after_index && given.is_some() {
            self.index_is_good = false;
        }
        given.map_or(Number::None, Number::Given)
    }
}

enum Number {
    None,
    Given(i64),
    Bad,
}

/// A value with its type, as mistakes show it.
fn typed(arg: &Go, form: Form) -> String {
    match arg {
        Go::Missing | Go::Nil => "<nil>".into(),
        arg => format!("{}={}", arg.type_name(), value(arg, 'v', form)),
    }
}

fn value(arg: &Go, verb: char, form: Form) -> String {
    let mistaken = || format!("%!{verb}({})", typed(arg, form));
    if verb == 'T' {
        return text(arg.type_name(), 's', form).unwrap_or_default();
    }
    let written = match arg {
        Go::Missing | Go::Nil => (verb == 'v').then(|| padded("<nil>", form)),
        Go::Bool(on) => matches!(verb, 't' | 'v').then(|| padded(&on.to_string(), form)),
        Go::Int(number, _) => integer(*number, verb, form),
        Go::Float(number) => float::write(*number, verb, form),
        Go::Text(words) => text(words, verb, form),
        Go::List(list) => {
            let each = list.iter().map(|item| inner(&Go::of(item), verb, form));
            let each: Vec<String> = each.collect();
            Some(match form.syntax {
                true => format!("[]interface {{}}{{{}}}", each.join(", ")),
                false => format!("[{}]", each.join(" ")),
            })
        }
        Go::Map(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            let each = fields.into_iter().map(|(key, item)| {
                let key = value(&Go::Text(key.clone()), verb, form);
                format!("{key}:{}", inner(&Go::of(item), verb, form))
            });
            let each: Vec<String> = each.collect();
            Some(match form.syntax {
                true => format!("map[string]interface {{}}{{{}}}", each.join(", ")),
                false => format!("map[{}]", each.join(" ")),
            })
        }
    };
    written.unwrap_or_else(mistaken)
}

/// A value inside of another: there, nothing is written whatever the verb.
fn inner(arg: &Go, verb: char, form: Form) -> String {
    match (arg, form.syntax) {
        (Go::Missing | Go::Nil, true) => "interface {}(nil)".into(),
        (Go::Missing | Go::Nil, false) => "<nil>".into(),
        _ => value(arg, verb, form),
    }
}

pub fn padded(text: &str, form: Form) -> String {
    let missing = form.width.unwrap_or(0).saturating_sub(text.chars().count());
    match form.minus {
        true => text.to_string() + &" ".repeat(missing),
        false if form.zero => "0".repeat(missing) + text,
        false => " ".repeat(missing) + text,
    }
}

fn text(words: &str, verb: char, form: Form) -> Option<String> {
    let cut: String = match form.precision {
        Some(most) if matches!(verb, 's' | 'v' | 'q') => words.chars().take(most).collect(),
        _ => words.to_string(),
    };
    match verb {
        's' => Some(padded(&cut, form)),
        'v' if form.syntax => Some(padded(&quote(&cut), form)),
        'v' => Some(padded(&cut, form)),
        'q' if form.sharp && !cut.contains('`') && !cut.chars().any(char::is_control) => {
            Some(padded(&format!("`{cut}`"), form))
        }
        'q' if form.plus => Some(padded(&ascii(&quote(&cut)), form)),
        'q' => Some(padded(&quote(&cut), form)),
        'x' | 'X' => Some(padded(&hexadecimal(words, verb, form), form)),
        _ => None,
    }
}

/// With escapes for all that is not ASCII.
fn ascii(quoted: &str) -> String {
    let each = quoted.chars().map(|c| match u32::from(c) {
        0..=0x7f => c.to_string(),
        code @ 0x80..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    });
    each.collect()
}

fn hexadecimal(words: &str, verb: char, form: Form) -> String {
    let prefix = if form.sharp {
        format!("0{verb}")
    } else {
        String::new()
    };
    let bytes = words.bytes().take(form.precision.unwrap_or(usize::MAX));
    let each: Vec<String> = bytes
        .map(|byte| match verb {
            'x' => format!("{byte:02x}"),
            _ => format!("{byte:02X}"),
        })
        .collect();
    match (each.is_empty(), form.space) {
        (true, _) => String::new(),
        (false, true) => prefix.clone() + &each.join(&format!(" {prefix}")),
        (false, false) => prefix + &each.concat(),
    }
}

fn integer(number: i64, verb: char, form: Form) -> Option<String> {
    let size = number.unsigned_abs();
    let (digits, prefix) = match verb {
        'd' | 'v' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        'c' => return Some(padded(&rune(number).to_string(), form)),
        'q' => {
            let c = rune(number);
            let quoted = quote(&c.to_string());
            let inside = &quoted[1..quoted.len() - 1];
            let inside = match c {
                '\'' => "\\'",
                '"' => "\"",
                _ => inside,
            };
            return Some(padded(&format!("'{inside}'"), form));
        }
        'U' => {
            let shown = match form.sharp {
                true => format!("U+{size:04X} '{}'", rune(number)),
                false => format!("U+{size:04X}"),
            };
            let form = Form {
                zero: false,
                ..form
            };
            return Some(padded(&shown, form));
        }
        _ => return None,
    };
    if form.precision == Some(0) && number == 0 {
        let form = Form {
            zero: false,
            ..form
        };
        return Some(padded("", form));
    }
    let sign = match (number < 0, form.plus, form.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let least = match (form.precision, form.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if form.zero && !form.minus => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    let prefix = match verb {
        'O' => prefix,
        'o' if form.sharp && !zeros.is_empty() => "",
        _ if form.sharp => prefix,
        _ => "",
    };
    let form = Form {
        zero: false,
        ..form
    };
    Some(padded(&format!("{sign}{prefix}{zeros}{digits}"), form))
}

fn rune(number: i64) -> char {
    let code = u32::try_from(number).ok();
    code.and_then(char::from_u32).unwrap_or('\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What kubectl v1.36 writes.
    #[test]
    fn formats_are_gos() {
        let object = json!({"labels": {"app": "shop"}, "list": [1, null, "x"], "count": 3});
        let of = |field: &str| Go::of(&object[field]);
        let text = |text: &str| Go::Text(text.into());
        let int = |number| Go::Int(number, "int");
        let cases: Vec<(&str, Vec<Go>, &str)> = vec![
            ("%99999999d", vec![int(1)], "%!(NOVERB)%!(EXTRA int=1)"),
            ("%.99999999f|", vec![int(1)], "%!(NOVERB)%!(EXTRA int=1)"),
            (
                "%T %T %T",
                vec![of("count"), int(1), text("a")],
                "int64 int string",
            ),
            (
                "%T|%T|%T",
                vec![of("labels"), of("list"), Go::Nil],
                "map[string]interface {}|[]interface {}|<nil>",
            ),
            (
                "%#v",
                vec![of("labels")],
                "map[string]interface {}{\"app\":\"shop\"}",
            ),
            (
                "%v %q",
                vec![of("list"), of("labels")],
                "[1 <nil> x] map[\"app\":\"shop\"]",
            ),
            (
                "%s %.2f",
                vec![of("count"), of("count")],
                "%!s(int64=3) %!f(int64=03)",
            ),
            ("%d", vec![], "%!d(MISSING)"),
            ("a", vec![int(1), Go::Nil], "a%!(EXTRA int=1, <nil>)"),
            ("%z %", vec![int(1)], "%!z(int=1) %!(NOVERB)"),
            ("%*d|%[2]d", vec![int(5), int(3)], "    3|3"),
            (
                "%5d|%-5d|%05d|%+d|%x|%#x|%o",
                vec![int(3), int(3), int(-3), int(3), int(255), int(255), int(8)],
                "    3|3    |-0003|+3|ff|0xff|10",
            ),
            (
                "%-4s|%4s|%.1s|%x|%q",
                vec![text("ab"), text("ab"), text("ab"), text("hi"), text("a\"b")],
                "ab  |  ab|a|6869|\"a\\\"b\"",
            ),
            ("%c%U%q", vec![int(65), int(65), int(97)], "AU+0041'a'"),
            (
                "%6.3v|%v|%5.1f|%e|%g",
                vec![
                    Go::Float(3.24159),
                    Go::Float(1e21),
                    Go::Float(3.24159),
                    Go::Float(1.5),
                    Go::Float(1.5),
                ],
                "  3.24|1e+21|  3.2|1.500000e+00|1.5",
            ),
            (
                "%t %v %d",
                vec![Go::Bool(true), Go::Bool(false), Go::Bool(true)],
                "true false %!d(bool=true)",
            ),
        ];
        for (format, args, wanted) in cases {
            let args: Vec<&Go> = args.iter().collect();
            assert_eq!(printf(format, &args), wanted, "{format}");
        }
        let args = [int(1), int(2), text("a"), text("b"), int(3)];
        let args: Vec<&Go> = args.iter().collect();
        assert_eq!(print(&args), "1 2ab3");
        assert_eq!(println(&args), "1 2 a b 3\n");
    }
}
