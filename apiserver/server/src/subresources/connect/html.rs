//! Finds the attributes of HTML's tags that hold URLs, in a page that comes in pieces.
//!
//! Invariant: everything but the values that are rewritten goes through byte for byte; what is kept back is one unfinished tag at the most, and
//! one that is too long goes through as it is.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/proxy/transport.go` for which attributes; tags are found as HTML's tokenizer finds them.

/// The URL that stands in the place of another; `None` for one that stays as it is.
pub type Rewrite = Box<dyn Fn(&str) -> Option<String> + Send>;

/// The attributes with URLs, by tag.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text up to their own end tag.
const RAW: &[&str] = &[
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
    "script",
    "style",
    "textarea",
    "title",
    "xmp",
];

/// A tag that is longer goes through as it is.
const LONGEST: usize = 64 * 1024;

pub struct Tokenizer {
    rewrite: Rewrite,
    /// What could not be decided yet.
    pending: Vec<u8>,
    /// The element whose raw content is being passed on.
    raw: Option<&'static str>,
}

/// What stands at the beginning of some bytes.
enum Token {
    /// So many bytes that go through.
    Plain(usize),
    /// A start tag of so many bytes.
    Tag(usize),
    /// More is needed to tell.
    Unfinished,
}

impl Tokenizer {
    pub fn new(rewrite: Rewrite) -> Tokenizer {
        Tokenizer {
            rewrite,
            pending: Vec::new(),
            raw: None,
        }
    }

    /// Takes a piece of the page, and gives what is decided of it.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.pending);
        text.extend_from_slice(bytes);
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let length = match self.next(rest) {
                Token::Plain(length) => {
                    out.extend_from_slice(&rest[..length]);
                    length
                }
                Token::Tag(length) => {
                    self.tag(&rest[..length], out);
                    length
                }
                Token::Unfinished if rest.len() > LONGEST => {
                    out.push(rest[0]);
                    1
                }
                Token::Unfinished => break,
            };
            at += length;
        }
        text.drain(..at);
        self.pending = text;
    }

    /// The page's end: what was kept back goes through.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.pending);
    }

    fn next(&mut self, text: &[u8]) -> Token {
        if let Some(element) = self.raw {
            return self.raw_text(element, text);
        }
        match text.iter().position(|byte| *byte == b'<') {
            None => return Token::Plain(text.len()),
            Some(0) => {}
            Some(length) => return Token::Plain(length),
        }
        match text.get(1) {
            None => Token::Unfinished,
            Some(b'!') if text.starts_with(b"<!--") => match find(&text[4..], b"-->") {
                Some(end) => Token::Plain(4 + end + 3),
                None => Token::Unfinished,
            },
            Some(b'!') if b"<!--".starts_with(text) => Token::Unfinished,
            Some(b'!' | b'?' | b'/') => match text.iter().position(|byte| *byte == b'>') {
                Some(end) => Token::Plain(end + 1),
                None => Token::Unfinished,
            },
            Some(byte) if byte.is_ascii_alphabetic() => {
                tag_end(text).map_or(Token::Unfinished, Token::Tag)
            }
            Some(_) => Token::Plain(1),
        }
    }

    /// Text up to `</ELEMENT`.
    fn raw_text(&mut self, element: &'static str, text: &[u8]) -> Token {
        let end = format!("</{element}");
        let same = |at: usize| {
            text[at..].len() >= end.len()
                && text[at..at + end.len()].eq_ignore_ascii_case(end.as_bytes())
        };
        for at in (0..text.len()).filter(|at| text[*at] == b'<') {
            if element != "plaintext" && same(at) {
                self.raw = None;
                return if at == 0 {
                    self.next(text)
                } else {
                    Token::Plain(at)
                };
            }
            if text.len() - at < end.len()
                && end.as_bytes()[..text.len() - at].eq_ignore_ascii_case(&text[at..])
            {
                return if at == 0 {
                    Token::Unfinished
                } else {
                    Token::Plain(at)
                };
            }
        }
        Token::Plain(text.len())
    }

    /// A start tag with its URLs rewritten.
    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let name_end = tag[1..]
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))
            .map_or(tag.len(), |at| at + 1);
        let name = String::from_utf8_lossy(&tag[1..name_end]).to_ascii_lowercase();
        self.raw = RAW.iter().find(|element| **element == name).copied();
        let Some((_, wanted)) = ATTRIBUTES.iter().find(|(tag, _)| *tag == name) else {
            return out.extend_from_slice(tag);
        };
        let mut copied = 0;
        for attribute in attributes(tag, name_end) {
            let key = String::from_utf8_lossy(&tag[attribute.key.clone()]).to_ascii_lowercase();
            let Ok(value) = std::str::from_utf8(&tag[attribute.value.clone()]) else {
                continue;
            };
            if !wanted.contains(&key.as_str()) {
                continue;
            }
            let Some(url) = (self.rewrite)(&unescaped(value)) else {
                continue;
            };
            out.extend_from_slice(&tag[copied..attribute.value.start]);
            let quote = if attribute.quoted { "" } else { "\"" };
            out.extend_from_slice(format!("{quote}{}{quote}", escaped(&url)).as_bytes());
            copied = attribute.value.end;
        }
        out.extend_from_slice(&tag[copied..]);
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// How long the tag is that the text begins with, its `>` included.
fn tag_end(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match quote {
            Some(open) => {
                if *byte == open {
                    quote = None;
                }
            }
            None => match byte {
                b'>' => return Some(at + 1),
                b'"' | b'\'' if after_equals => {
                    quote = Some(*byte);
                    after_equals = false;
                }
                b'=' => after_equals = true,
                byte if byte.is_ascii_whitespace() => {}
                _ => after_equals = false,
            },
        }
    }
    None
}

struct Attribute {
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
    quoted: bool,
}

/// The attributes of a whole tag whose name ends at `at`.
fn attributes(tag: &[u8], mut at: usize) -> Vec<Attribute> {
    let mut found = Vec::new();
    let space = |byte: u8| byte.is_ascii_whitespace();
    let end = tag.len() - 1;
    while at < end {
        if space(tag[at]) || tag[at] == b'/' {
            at += 1;
            continue;
        }
        let key = at..(at + 1..end)
            .find(|i| space(tag[*i]) || matches!(tag[*i], b'/' | b'='))
            .unwrap_or(end);
        at = (key.end..end).find(|i| !space(tag[*i])).unwrap_or(end);
        if at >= end || tag[at] != b'=' {
            continue;
        }
        at = (at + 1..end).find(|i| !space(tag[*i])).unwrap_or(end);
        let quoted = at < end && matches!(tag[at], b'"' | b'\'');
        let value = match quoted {
            true => at + 1..(at + 1..end).find(|i| tag[*i] == tag[at]).unwrap_or(end),
            false => at..(at..end).find(|i| space(tag[*i])).unwrap_or(end),
        };
        at = value.end + usize::from(quoted);
        found.push(Attribute { key, value, quoted });
    }
    found
}

/// The entities that URLs are written with.
const ENTITIES: [(&str, &str); 5] = [
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
];

fn unescaped(text: &str) -> String {
    let plain = ENTITIES
        .iter()
        .fold(text.to_owned(), |text, (entity, plain)| {
            text.replace(entity, plain)
        });
    plain
        .replace("&#x2F;", "/")
        .replace("&#47;", "/")
        .replace("&amp;", "&")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::{
        dial::location::{Location, Scheme, Via},
        request::{Query, RequestInfo},
        subresources::connect::rewrite::Rewriter,
    };

    fn rewritten(page: &str, piece: usize) -> String {
        let info = RequestInfo::read(&Method::GET, "/api/v1/nodes/n/proxy/", &Query::read(None));
        let location = Location {
            scheme: Scheme::Http,
            host: "10.0.0.5".into(),
            port: 80,
            path: "/".into(),
            query: String::new(),
            via: Via::Anybody,
        };
        let rewriter = Rewriter::new(&info, &location, "h");
        let mut tokenizer = Tokenizer::new(Box::new(move |url| rewriter.url(url)));
        let mut out = Vec::new();
        page.as_bytes()
            .chunks(piece)
            .for_each(|bytes| tokenizer.feed(bytes, &mut out));
        tokenizer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links() {
        let p = "/api/v1/nodes/n/proxy";
        for (page, expected) in [
            ("<a href=\"/x\">/x</a>", format!("<a href=\"{p}/x\">/x</a>")),
            (
                "<A HREF='/x?a=1&amp;b=2'>",
                format!("<A HREF='{p}/x?a=1&amp;b=2'>"),
            ),
            (
                "<img src=/x/y.png alt=/z>",
                format!("<img src=\"{p}/x/y.png\" alt=/z>"),
            ),
            (
                "<img alt=\"a > b\" src = \"/x\" />",
                format!("<img alt=\"a > b\" src = \"{p}/x\" />"),
            ),
            ("<a title=/x href=x>", "<a title=/x href=x>".into()),
            ("<p href=\"/x\">", "<p href=\"/x\">".into()),
            (
                "<!-- <a href=\"/x\"> --><a href=\"/y\">",
                format!("<!-- <a href=\"/x\"> --><a href=\"{p}/y\">"),
            ),
            (
                "<script src=\"/x\">\"<a href='/y'>\"</script><a href='/z'>",
                format!("<script src=\"{p}/x\">\"<a href='/y'>\"</script><a href='{p}/z'>"),
            ),
            (
                "<!DOCTYPE html><html manifest=\"/m\">",
                format!("<!DOCTYPE html><html manifest=\"{p}/m\">"),
            ),
            (
                "a < b <3 </ <a href=\"/x\">",
                "a < b <3 </ <a href=\"/x\">".to_string(),
            ),
            ("<a href=\"/unfinished", "<a href=\"/unfinished".into()),
            (
                "<video poster=\"/p\" src=\"/s\">",
                format!("<video poster=\"{p}/p\" src=\"{p}/s\">"),
            ),
            (
                "<a><a =x><a href><a href=><a href=\"\">",
                "<a><a =x><a href><a href=><a href=\"\">".into(),
            ),
        ] {
            for piece in [1, 2, 3, 5, 1000] {
                assert_eq!(
                    rewritten(page, piece),
                    expected,
                    "{page} in pieces of {piece}"
                );
            }
        }
        let long = format!("<a href=\"{}", "x".repeat(3 * LONGEST));
        assert_eq!(rewritten(&long, 4096), long);
    }
}
