//! Reads JSONPath templates.
//! Invariant: what is read is exactly what upstream's parser reads, its oddities included.
//! Behaviour follows `staging/src/k8s.io/client-go/util/jsonpath/parser.go`.

use super::{Node, Part};
use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::GoNumbered;

/// Reads a whole template, ranges nested.
pub fn template(text: &str) -> Result<Vec<Part>, Problem> {
    let mut flat = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        if at > 0 {
            flat.push(Part::Text(rest[..at].to_string()));
        }
        let mut p = Parser {
            chars: rest[at + 1..].chars().collect(),
            pos: 0,
        };
        let nodes = p.action()?;
        flat.push(Part::Action(nodes));
        let used: usize = p.chars[..p.pos].iter().map(|c| c.len_utf8()).sum();
        rest = &rest[at + 1 + used..];
    }
    if !rest.is_empty() {
        flat.push(Part::Text(rest.to_string()));
    }
    let mut parts = flat.into_iter();
    Ok(nest(&mut parts, 0))
}

fn nest(parts: &mut std::vec::IntoIter<Part>, depth: usize) -> Vec<Part> {
    let mut out = Vec::new();
    while let Some(part) = parts.next() {
        let Part::Action(nodes) = &part else {
            out.push(part);
            continue;
        };
        match nodes.first() {
            Some(Node::Identifier(word)) if word == "range" => {
                out.push(Part::Range(nodes[1..].to_vec(), nest(parts, depth + 1)))
            }
            Some(Node::Identifier(word)) if word == "end" && depth > 0 => return out,
            _ => out.push(part),
        }
    }
    out
}

struct Parser {
    chars: Vec<char>,
    pos: usize,
}

fn ends_word(c: Option<char>) -> bool {
    c.is_none_or(|c| {
        matches!(
            c,
            ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}'
        )
    })
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.pos).copied()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.pos += usize::from(c.is_some());
        c
    }
    fn starts(&self, text: &str) -> bool {
        self.chars[self.pos..]
            .iter()
            .zip(text.chars())
            .filter(|(a, b)| **a == *b)
            .count()
            == text.chars().count()
    }
    fn slice(&self, from: usize) -> String {
        self.chars[from..self.pos].iter().collect()
    }

    /// Reads up to and with the closing brace.
    fn action(&mut self) -> Result<Vec<Node>, Problem> {
        let mut out = Vec::new();
        loop {
            if self.starts("}") {
                self.pos += 1;
                return Ok(out);
            }
            if self.starts("[?(") {
                out.push(self.filter()?);
                continue;
            }
            if self.starts("..") {
                if out.last() == Some(&Node::Recursive) {
                    return Err("invalid multiple recursive descent".into());
                }
                self.pos += 2;
                out.push(Node::Recursive);
                if self.peek().is_some_and(|c| c == '_' || c.is_alphanumeric()) {
                    out.push(self.field());
                }
                continue;
            }
            match self.next() {
                None | Some('\r' | '\n') => return Err("unclosed action".into()),
                Some(' ' | '@' | '$') => {}
                Some('[') => self.array(&mut out)?,
                Some(q @ ('"' | '\'')) => out.push(self.quote(q)?),
                Some('.') => out.push(self.field()),
                Some(c) if c == '+' || c == '-' || c.is_ascii_digit() => {
                    self.pos -= 1;
                    out.push(self.number()?);
                }
                Some(c) if c == '_' || c.is_alphanumeric() => {
                    self.pos -= 1;
                    out.push(self.word());
                }
                Some(c) => {
                    return Err(problem!(
                        "unrecognized character in action: {}",
                        GoNumbered(c)
                    ));
                }
            }
        }
    }

    fn word(&mut self) -> Node {
        let from = self.pos;
        while !ends_word(self.peek()) {
            self.pos += 1;
        }
        match self.slice(from).as_str() {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            // whether it means anything is found out when it is evaluated
            other => Node::Identifier(other.into()),
        }
    }

    fn field(&mut self) -> Node {
        let mut name = String::new();
        let mut escaped = false;
        loop {
            match self.peek() {
                Some('\\') => {
                    escaped = true;
                    self.pos += 1;
                    name.extend(self.next());
                }
                c if ends_word(c) => break,
                _ => name.extend(self.next()),
            }
        }
        if name == "*" && !escaped {
            Node::Wildcard
        } else {
            Node::Field(name)
        }
    }

    fn number(&mut self) -> Result<Node, Problem> {
        let from = self.pos;
        self.pos += usize::from(matches!(self.peek(), Some('+' | '-')));
        while self.peek().is_some_and(|c| c == '.' || c.is_ascii_digit()) {
            self.pos += 1;
        }
        let text = self.slice(from);
        let plain = text.strip_prefix('+').unwrap_or(&text);
        plain
            .parse()
            .map(Node::Int)
            .or_else(|_| plain.parse().map(Node::Float))
            .map_err(|_| problem!("cannot parse number {text}"))
    }

    fn quote(&mut self, end: char) -> Result<Node, Problem> {
        let mut out = String::new();
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == end => return Ok(Node::Text(out)),
                Some('\\') => out.push(self.escape()?),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let bad = || Problem::from("unquote string error invalid syntax");
        Ok(match self.next().ok_or_else(bad)? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            c @ ('\\' | '"' | '\'') => c,
            c @ ('x' | 'u' | 'U') => {
                let length = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let digits: String = (0..length).filter_map(|_| self.next()).collect();
                u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(bad)?
            }
            _ => return Err(bad()),
        })
    }

    fn array(&mut self, out: &mut Vec<Node>) -> Result<(), Problem> {
        let from = self.pos;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated array".into()),
                Some(']') => break,
                _ => {}
            }
        }
        self.pos -= 1;
        let text = self.slice(from);
        self.pos += 1;
        out.extend(index(&text)?);
        Ok(())
    }

    fn filter(&mut self) -> Result<Node, Problem> {
        self.pos += 3;
        let from = self.pos;
        let mut quote: Option<char> = None;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated filter".into()),
                Some(c @ ('"' | '\'')) => match quote {
                    None => quote = Some(c),
                    Some(q) if q == c && self.chars[self.pos - 2] != '\\' => quote = None,
                    Some(_) => {}
                },
                Some(')') if quote.is_none() => break,
                _ => {}
            }
        }
        self.pos -= 1;
        let text = self.slice(from);
        self.pos += 1;
        if self.next() != Some(']') {
            return Err("unclosed array expect ]".into());
        }
        let is_sign = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let start = text.find(is_sign).filter(|s| *s > 0);
        let Some(start) = start else {
            return Ok(Node::Filter {
                left: inner(&text)?,
                right: vec![],
                operator: "exists".into(),
            });
        };
        // where nothing stands on the right, the last sign does
        let signs = text[start..].find(|c| !is_sign(c));
        let length = signs.unwrap_or(text.len() - start - 1);
        let (operator, right) = text[start..].split_at(length);
        if operator.is_empty() {
            return Ok(Node::Filter {
                left: inner(&text)?,
                right: vec![],
                operator: "exists".into(),
            });
        }
        Ok(Node::Filter {
            left: inner(&text[..start])?,
            right: inner(right)?,
            operator: operator.into(),
        })
    }
}

fn inner(text: &str) -> Result<Vec<Node>, Problem> {
    Parser {
        chars: format!("{text}}}").chars().collect(),
        pos: 0,
    }
    .action()
}

/// What stands between brackets.
fn index(text: &str) -> Result<Vec<Node>, Problem> {
    let text = if text == "*" { ":" } else { text };
    if text.contains(',') {
        let members: Result<Vec<Vec<Node>>, Problem> = text
            .split(',')
            .map(|t| index(t.trim_matches(' ')))
            .collect();
        return Ok(vec![Node::Union(members?)]);
    }
    if let Some(key) = text
        .strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .filter(|k| !k.contains('\''))
    {
        return inner(&format!(".{key}"));
    }
    let bad = || problem!("invalid array index {text}");
    let pieces: Vec<&str> = text.split(':').collect();
    if pieces.len() > 3
        || !pieces.iter().all(|p| {
            p.strip_prefix('-')
                .unwrap_or(p)
                .bytes()
                .all(|b| b.is_ascii_digit())
        })
    {
        return Err(bad());
    }
    let number = |i: usize| match pieces.get(i) {
        None | Some(&"") => Ok(None),
        Some(t) => t
            .parse::<i64>()
            .map(Some)
            .map_err(|_| problem!("array index {t} is not a number")),
    };
    let (start, end, step) = (number(0)?, number(1)?, number(2)?);
    let derived = pieces.len() == 1;
    let end = if derived {
        Some(start.unwrap_or(0) + 1)
    } else {
        end
    };
    Ok(vec![Node::Slice {
        start,
        end,
        derived,
        step,
    }])
}
