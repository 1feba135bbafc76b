//! Objects as events hold them: compact JSON, without managed fields where nobody wants them.
//!
//! Follows `copyWithoutManagedFields` of `staging/src/k8s.io/apiserver/pkg/audit/request.go`.

/// What a value is, by where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An object, a list of objects, a table or a row of one.
    Object,
    Metadata,
    /// Objects, one after another.
    Objects,
    Other,
}

impl Place {
    fn of(self, name: &[u8]) -> Place {
        match (self, name) {
            (Place::Object, b"metadata") => Place::Metadata,
            (Place::Object, b"items" | b"rows") => Place::Objects,
            // of a table's row
            (Place::Object, b"object") => Place::Object,
            _ => Place::Other,
        }
    }
}

/// Copies valid JSON without the white space in it, and without managed fields where they are to be `omitted`.
pub fn compact(json: &[u8], omitted: bool) -> Vec<u8> {
    let mut copy = Copy {
        rest: json,
        out: Vec::with_capacity(json.len()),
        omitted,
    };
    copy.value(Place::Object);
    copy.out
}

struct Copy<'j> {
    rest: &'j [u8],
    out: Vec<u8>,
    omitted: bool,
}

impl<'j> Copy<'j> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn copy(&mut self) {
        let taken = self.take();
        self.out.extend(taken);
    }

    /// The string that comes next, its quotes left out.
    fn text(&mut self) -> &'j [u8] {
        let mut escaped = false;
        let within = &self.rest[1..];
        let end = within.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        let end = end.unwrap_or(within.len());
        self.rest = &within[(end + 1).min(within.len())..];
        &within[..end]
    }

    fn value(&mut self, place: Place) {
        self.skip_space();
        match self.rest.first() {
            Some(b'{') => self.parts(place, b'}'),
            Some(b'[') => self.parts(place, b']'),
            Some(b'"') => {
                let text = self.text();
                self.out.push(b'"');
                self.out.extend_from_slice(text);
                self.out.push(b'"');
            }
            _ => {
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.out.extend_from_slice(word);
                self.rest = rest;
            }
        }
    }

    /// What stands in braces or brackets.
    fn parts(&mut self, place: Place, end: u8) {
        self.copy();
        let begun = self.out.len();
        loop {
            self.skip_space();
            match self.rest.first() {
                None => return,
                Some(byte) if *byte == end => {
                    self.copy();
                    return;
                }
                Some(b',') => drop(self.take()),
                Some(_) => self.part(place, end, begun),
            }
        }
    }

    fn part(&mut self, place: Place, end: u8, begun: usize) {
        let before = self.out.len();
        if before > begun {
            self.out.push(b',');
        }
        let mut of = match place {
            Place::Objects => Place::Object,
            _ => Place::Other,
        };
        let mut gone = false;
        if end == b'}' {
            let name = self.text();
            gone = self.omitted && place == Place::Metadata && name == b"managedFields";
            of = place.of(name);
            self.out.push(b'"');
            self.out.extend_from_slice(name);
            self.out.extend_from_slice(b"\":");
            self.skip_space();
            // the colon
            self.take();
        }
        self.value(of);
        if gone {
            self.out.truncate(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        for (json, whole, cut) in [
            (
                r#"{ "a" : [ 1 , "b \" { ,", { } ] }"#,
                r#"{"a":[1,"b \" { ,",{}]}"#,
                "",
            ),
            ("true\n", "true", ""),
            (
                "{\n  \"metadata\": {\"name\": \"x\", \"managedFields\": [{\"a\": [1]}]},\n \"z\": {\"managedFields\": 1}}",
                r#"{"metadata":{"name":"x","managedFields":[{"a":[1]}]},"z":{"managedFields":1}}"#,
                r#"{"metadata":{"name":"x"},"z":{"managedFields":1}}"#,
            ),
            (
                r#"{"items":[{"metadata":{"managedFields":[],"name":"x"}},{"spec":{"metadata":{"managedFields":[]}}}]}"#,
                "",
                r#"{"items":[{"metadata":{"name":"x"}},{"spec":{"metadata":{"managedFields":[]}}}]}"#,
            ),
            (
                r#"{"kind":"Table","rows":[{"cells":["managedFields"],"object":{"metadata":{"managedFields":[]}}}]}"#,
                "",
                r#"{"kind":"Table","rows":[{"cells":["managedFields"],"object":{"metadata":{}}}]}"#,
            ),
        ] {
            let copied = |omitted| String::from_utf8(compact(json.as_bytes(), omitted)).unwrap();
            let whole = if whole.is_empty() { json } else { whole };
            assert_eq!(copied(false), whole);
            assert_eq!(copied(true), if cut.is_empty() { whole } else { cut });
        }
    }
}
