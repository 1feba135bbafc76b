//! Addresses of mail, as Go's `net/mail.ParseAddress` reads one: `a@b.c`, `"Ann B" <a@b.c>`, with comments and quoted parts.
//!
//! Follows `net/mail/message.go`.

use std::net::{IpAddr, Ipv4Addr};

/// Whether the text is one address.
pub fn is_email(text: &str) -> bool {
    let mut reader = Reader { rest: text };
    reader.address().is_some() && reader.space().is_some() && reader.rest.is_empty()
}

struct Reader<'t> {
    rest: &'t str,
}

/// A sign of an atom.
fn is_atom(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// A sign that is seen, or a space.
fn is_printed(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_graphic()
}

impl<'t> Reader<'t> {
    fn took(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Space and comments. `None`: a comment that does not end.
    fn space(&mut self) -> Option<()> {
        self.blanks();
        while self.rest.starts_with('(') {
            self.comment()?;
            self.blanks();
        }
        Some(())
    }

    fn comment(&mut self) -> Option<()> {
        let mut depth = 0;
        let mut signs = self.rest.char_indices();
        while let Some((at, c)) = signs.next() {
            match c {
                '\\' => {
                    signs.next()?;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = &self.rest[at + 1..];
                return Some(());
            }
        }
        None
    }

    fn address(&mut self) -> Option<()> {
        self.space()?;
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest;
        if self.spec().is_some() {
            return Some(());
        }
        self.rest = start;
        // a name before the address
        if !self.rest.starts_with('<') {
            self.phrase()?;
        }
        self.space()?;
        let bracketed = self.took('<') && self.spec().is_some() && self.took('>');
        bracketed.then_some(())
    }

    /// `local@domain`.
    fn spec(&mut self) -> Option<()> {
        self.space()?;
        let local: &str = if self.rest.starts_with('"') {
            let before = self.rest;
            let length = self.quoted()?;
            // an empty one is none
            (length > 0).then(|| &before[..before.len() - self.rest.len()])?
        } else {
            self.dotted(false)?
        };
        (!local.is_empty()).then_some(())?;
        self.took('@').then_some(())?;
        self.space()?;
        if self.rest.is_empty() {
            return None;
        }
        if self.rest.starts_with('[') {
            self.literal()?;
        } else {
            self.dotted(false)?;
        }
        Some(())
    }

    /// `[127.0.0.1]`.
    fn literal(&mut self) -> Option<()> {
        self.took('[').then_some(())?;
        let (inner, rest) = self.rest.split_once(']')?;
        if inner.is_empty() || inner.contains('[') || inner.contains('\\') {
            return None;
        }
        match inner.strip_prefix("IPv6:") {
            Some(address) => address.parse::<IpAddr>().map(drop).ok()?,
            None => inner.parse::<Ipv4Addr>().map(drop).ok()?,
        }
        self.rest = rest;
        Some(())
    }

    fn phrase(&mut self) -> Option<()> {
        let mut words = 0;
        loop {
            self.space()?;
            let before = self.rest;
            let word = match self.rest.chars().next() {
                None => break,
                Some('"') => self.quoted().map(|_| ()),
                Some(_) => self.dotted(true).map(|_| ()),
            };
            if word.is_none() {
                self.rest = before;
                break;
            }
            words += 1;
        }
        (words > 0).then_some(())
    }

    /// A text within quotes; its length.
    fn quoted(&mut self) -> Option<usize> {
        self.took('"').then_some(())?;
        let mut length = 0;
        let mut signs = self.rest.char_indices();
        while let Some((at, c)) = signs.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(length);
                }
                '\\' => {
                    let (_, escaped) = signs.next()?;
                    (is_printed(escaped) || matches!(escaped, ' ' | '\t')).then_some(())?;
                }
                c if is_printed(c) || matches!(c, ' ' | '\t') => {}
                _ => return None,
            }
            length += 1;
        }
        None
    }

    /// Atoms joined by dots; where it is loose, dots may stand anywhere.
    fn dotted(&mut self, loose: bool) -> Option<&'t str> {
        let end = self
            .rest
            .find(|c| !(is_atom(c) || c == '.'))
            .unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(end);
        if atom.is_empty()
            || (!loose && (atom.starts_with('.') || atom.ends_with('.') || atom.contains("..")))
        {
            return None;
        }
        self.rest = rest;
        Some(atom)
    }
}
