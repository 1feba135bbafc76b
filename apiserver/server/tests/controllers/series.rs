//! What a text for Prometheus says.

/// The value of a line.
pub fn value(text: &str, line: &str) -> Option<f64> {
    let rest = text.lines().find_map(|one| one.strip_prefix(line))?;
    rest.strip_prefix(' ')?.parse().ok()
}

/// Whether there is a family of this name and kind, and what it is is said.
pub fn is_typed(text: &str, name: &str, kind: &str) -> bool {
    let typed = format!("# TYPE {name} {kind}");
    let helped = format!("# HELP {name} ");
    text.lines().any(|line| line == typed) && text.lines().any(|line| line.starts_with(&helped))
}
