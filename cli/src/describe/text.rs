//! Pieces that many kinds show alike: labels, annotations, selectors, conditions.
//! Invariant: what is empty shows as `<none>` or `<unset>`, never as nothing.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use crate::typed::Read;
use serde_json::Value;

/// A number or a text, as a text.
pub fn scalar(v: &Value) -> String {
    match v {
        Value::String(t) => t.clone(),
        Value::Null => String::new(),
        v => v.to_string(),
    }
}

/// `a=b` of each entry of a map.
pub fn pairs(map: &Value) -> Vec<String> {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(k, v)| format!("{k}={}", scalar(v))).collect()
}

/// Lines after a title, `<none>` if there are none. Spaces before the title are kept.
pub fn multiline(out: &mut Out, title: &str, lines: &[String]) {
    out.field(title, lines.first().map_or("<none>", String::as_str));
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

/// `a=b,c=d`, empty for none.
pub fn labels_selector(map: &Value) -> String {
    pairs(map).join(",")
}

/// A label selector as it is written on a command line, sorted by key; empty if it selects everything.
pub fn selector(v: &Value) -> String {
    let labels = v.at("matchLabels").as_object().into_iter().flatten();
    let mut parts: Vec<(&str, String)> = labels
        .map(|(key, value)| (key.as_str(), format!("{key}={}", scalar(value))))
        .collect();
    for e in v.list("matchExpressions") {
        let (key, mut values) = (e.text("key"), e.texts("values").collect::<Vec<_>>());
        values.sort_unstable();
        let text = match e.text("operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        };
        parts.push((key, text));
    }
    parts.sort_by_key(|(key, _)| *key);
    let texts = parts.into_iter().map(|(_, text)| text);
    texts.collect::<Vec<_>>().join(",")
}

/// The owner that controls an object.
pub fn controller(object: &Value) -> Option<&Value> {
    let owners = object.at("metadata").list("ownerReferences");
    owners.iter().find(|owner| owner.flag("controller"))
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
        multiline(&mut out, "Labels", &pairs(&json!({"a": "1", "b": "2"})));
        annotations(&mut out, "Annotations", &json!({"k": "line\nmore"}));
        assert_eq!(
            out.finish(),
            "Labels:       a=1\n              b=2\nAnnotations:  k:\n                line\n                more\n"
        );
    }
}
