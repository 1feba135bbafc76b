//! Pieces that many kinds show alike: labels, annotations, selectors, conditions.
//! Invariant: what is empty shows as `<none>` or `<unset>`, never as nothing.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use serde_json::Value;

/// A text field, or an empty text.
pub fn s<'a>(v: &'a Value, field: &str) -> &'a str {
    v[field].as_str().unwrap_or("")
}

/// A number field, or 0.
pub fn n(v: &Value, field: &str) -> i64 {
    v[field].as_i64().unwrap_or(0)
}

/// The items of a list field.
pub fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list field.
pub fn texts(v: &Value, field: &str) -> Vec<String> {
    list(v, field).iter().map(scalar).collect()
}

/// A number or a text, as a text.
pub fn scalar(v: &Value) -> String {
    match v {
        Value::String(t) => t.clone(),
        Value::Null => String::new(),
        v => v.to_string(),
    }
}

/// `True` or `False`.
pub fn yes(v: &Value) -> &'static str {
    if v == &Value::Bool(true) {
        "True"
    } else {
        "False"
    }
}

/// `True`, `False` or `<unset>`.
pub fn yes_or_unset(v: &Value) -> &'static str {
    if v.is_null() { "<unset>" } else { yes(v) }
}

/// Labels, one a line, after a title.
pub fn labels(out: &mut Out, title: &str, map: &Value) {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", scalar(v)))
        .collect();
    multiline(out, title, &pairs);
}

/// Lines after a title, `<none>` if there are none. Spaces before the title are kept.
pub fn multiline(out: &mut Out, title: &str, lines: &[String]) {
    out.put(
        0,
        format!(
            "{title}:\t{}\n",
            lines.first().map_or("<none>", String::as_str)
        ),
    );
    lines
        .iter()
        .skip(1)
        .for_each(|l| out.put(0, format!("\t{l}\n")));
}

const LONGEST: usize = 140;

/// Annotations, long ones on lines of their own.
pub fn annotations(out: &mut Out, title: &str, map: &Value) {
    let shown: Vec<(&String, &Value)> = map
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| *k != crate::generate::LAST_APPLIED)
        .collect();
    if shown.is_empty() {
        out.put(0, format!("{title}:\t<none>\n"));
        return;
    }
    out.put(0, format!("{title}:\t"));
    for (i, (key, value)) in shown.into_iter().enumerate() {
        if i > 0 {
            out.put(0, "\t");
        }
        let full = scalar(value);
        let text = full.strip_suffix('\n').unwrap_or(&full);
        if text.len() + key.len() + 2 > LONGEST || text.contains('\n') {
            out.put(0, format!("{key}:\n"));
            for line in text.split('\n') {
                let short: String = if line.chars().count() > LONGEST - 2 {
                    line.chars().take(LONGEST - 2).collect::<String>() + "..."
                } else {
                    line.into()
                };
                out.put(0, format!("\t  {short}\n"));
            }
        } else {
            out.put(0, format!("{key}: {text}\n"));
        }
    }
}

/// Name, namespace, labels and annotations, as most kinds begin.
pub fn head(out: &mut Out, object: &Value) {
    let m = &object["metadata"];
    out.field("Name", s(m, "name"));
    if m["namespace"].is_string() {
        out.field("Namespace", s(m, "namespace"));
    }
    labels(out, "Labels", &m["labels"]);
    annotations(out, "Annotations", &m["annotations"]);
}

/// `a=b,c=d`, empty for none.
pub fn labels_selector(map: &Value) -> String {
    map.as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", scalar(v)))
        .collect::<Vec<_>>()
        .join(",")
}

/// `a=b,c=d`, or `<none>`.
pub fn format_labels(map: &Value) -> String {
    let t = labels_selector(map);
    if t.is_empty() { "<none>".into() } else { t }
}

/// A label selector as it is written on a command line; empty if it selects everything.
pub fn selector(v: &Value) -> String {
    let mut parts: Vec<String> = v["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, x)| format!("{k}={}", scalar(x)))
        .collect();
    for e in list(v, "matchExpressions") {
        let (key, mut values) = (s(e, "key"), texts(e, "values"));
        values.sort();
        parts.push(match s(e, "operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}

/// A selector, or `<none>`.
pub fn format_selector(v: &Value) -> String {
    let t = selector(v);
    if t.is_empty() { "<none>".into() } else { t }
}

/// `Kind/name` of the owner that controls an object.
pub fn controller(object: &Value) -> Option<String> {
    let o = list(&object["metadata"], "ownerReferences")
        .iter()
        .find(|o| o["controller"] == true)?;
    Some(format!("{}/{}", s(o, "kind"), s(o, "name")))
}

/// Conditions with type, status and reason.
pub fn conditions(out: &mut Out, object: &Value) {
    let all = list(&object["status"], "conditions");
    if all.is_empty() {
        return;
    }
    out.put(0, "Conditions:\n  Type\tStatus\tReason\n");
    out.put(1, "----\t------\t------\n");
    all.iter().for_each(|c| {
        out.put(
            1,
            format!(
                "{} \t{}\t{}\n",
                s(c, "type"),
                s(c, "status"),
                s(c, "reason")
            ),
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_and_annotations() {
        let v = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&v), "a=b,c in (x,y),!d");
        let mut out = Out::default();
        labels(&mut out, "Labels", &json!({"a": "1", "b": "2"}));
        annotations(&mut out, "Annotations", &json!({"k": "line\nmore"}));
        assert_eq!(
            out.finish(),
            "Labels:       a=1\n              b=2\nAnnotations:  k:\n                line\n                more\n"
        );
    }
}
