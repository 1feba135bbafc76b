//! The Accept header: which clauses it holds, in the order in which they are wanted.
//!
//! Follows `github.com/munnerz/goautoneg`, whose order of clauses with stars is no order by weight alone.

/// One clause: `application/json;as=Table;v=v1;q=0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause<'h> {
    pub kind: &'h str,
    pub subtype: &'h str,
    pub quality: f32,
    /// All parameters but `q`.
    pub parameters: Vec<(&'h str, &'h str)>,
}

impl Clause<'_> {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        // the last of two wins
        self.parameters
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    /// The clause takes this media type.
    pub fn takes(&self, kind: &str, subtype: &str) -> bool {
        self.kind == "*" && self.subtype == "*"
            || self.kind == kind && matches!(self.subtype, s if s == "*" || s == subtype)
    }
}

/// The clauses of a header. Those that cannot be read are passed over.
pub fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut list: Vec<Clause> = header.split(',').filter_map(clause).collect();
    // by insertion, as the comparison is no order: a star makes way for its neighbour whatever both weigh
    for end in 1..list.len() {
        let mut at = end;
        while at > 0 && before(&list[at], &list[at - 1]) {
            list.swap(at, at - 1);
            at -= 1;
        }
    }
    list
}

fn before(a: &Clause, b: &Clause) -> bool {
    a.quality > b.quality || a.kind != "*" && b.kind == "*" || a.subtype != "*" && b.subtype == "*"
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.trim_matches(' ').split(';');
    let media: Vec<&str> = parts.next()?.split('/').collect();
    let (kind, subtype) = match media.as_slice() {
        [kind, ""] | [kind] if kind.trim_matches(' ') == "*" => ("*", "*"),
        [kind, subtype] if !subtype.is_empty() => {
            (kind.trim_matches(' '), subtype.trim_matches(' '))
        }
        _ => return None,
    };
    let mut clause = Clause {
        kind,
        subtype,
        quality: 1.0,
        parameters: Vec::new(),
    };
    for part in parts {
        let Some((name, value)) = part
            .split_once('=')
            .filter(|(_, value)| !value.is_empty() && !value.contains('='))
        else {
            continue;
        };
        match name.trim_matches(' ') {
            "q" => clause.quality = value.parse().unwrap_or(0.0),
            name => clause.parameters.push((name, value.trim_matches(' '))),
        }
    }
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_come_in_the_order_in_which_they_are_wanted() {
        for (header, wanted) in [
            ("application/json", "application/json"),
            (
                "text/html;q=0.5, application/json",
                "application/json text/html",
            ),
            ("*/*, application/yaml;q=0.1", "application/yaml */*"),
            (
                "application/*;q=0.9,application/yaml;q=0.1",
                "application/yaml application/*",
            ),
            ("*", "*/*"),
            ("json, a/b/c, ,;q=1, a/", ""),
            ("a/b;q=x,c/d;q=0.1", "c/d a/b"),
        ] {
            let found: Vec<String> = clauses(header)
                .iter()
                .map(|clause| format!("{}/{}", clause.kind, clause.subtype))
                .collect();
            assert_eq!(found.join(" "), wanted, "{header}");
        }
        let with = clauses("application/json; as=Table ;v=v1;g=\"x\";odd;a=b=c;q=0.5");
        assert_eq!(
            with[0].parameters,
            [("as", "Table"), ("v", "v1"), ("g", "\"x\"")]
        );
        assert_eq!(with[0].quality, 0.5);
    }
}
