//! `get --sort-by`: orders tables and objects by a field.
//! Invariant: objects that lack the field come first; a field that none has is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/sorter.go`.

use crate::error::{Error, Result, message, quote};
use crate::print::sort::sort_by;
use crate::resource::Info;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed};
use std::cmp::Ordering;

fn path(field: &str) -> Result<(String, JsonPath)> {
    let field = relaxed(field).unwrap_or_else(|_| field.to_string());
    let parsed = JsonPath::parse(&field)
        .map_err(|e| message!("sorting error: {e}"))?
        .allow_missing(true);
    Ok((field, parsed))
}

fn key(path: &JsonPath, object: &Value) -> Result<Option<Value>> {
    Ok(path
        .find(object)
        .map_err(Error::msg)?
        .into_iter()
        .next()
        .and_then(|r| r.into_iter().next())
        .map(|v| v.into_owned()))
}

fn missing(field: &str) -> Error {
    message!(
        "couldn't find any field with path {} in the list of objects",
        quote(field)
    )
}

/// Sorts the rows of each table.
///
/// # Errors
/// A field that no row has.
pub fn sort_tables(infos: &mut Vec<Info>, field: &str) -> Result<()> {
    let sorted = |info: &Info| {
        info.object
            .at("rows")
            .as_array()
            .is_none_or(|rows| rows.len() < 2)
    };
    // one table of one row is in order, whatever the field
    if let [one] = infos.as_slice()
        && sorted(one)
    {
        return Ok(());
    }
    // of several, each is taken for an object of its own, and the field is looked for in the table
    if infos.len() > 1 {
        return sort_objects(infos, field);
    }
    let (field, path) = path(field)?;
    for info in infos {
        let Some(rows) = info.object.get_mut("rows").and_then(Value::as_array_mut) else {
            continue;
        };
        let mut keyed = Vec::new();
        for row in rows.drain(..) {
            keyed.push((key(&path, row.at("object"))?, row));
        }
        if !keyed.is_empty() && keyed.iter().all(|(k, _)| k.is_none()) {
            return Err(missing(&field));
        }
        sort_by(&mut keyed, |a, b| compare(&a.0, &b.0));
        rows.extend(keyed.into_iter().map(|(_, row)| row));
    }
    Ok(())
}

/// Sorts objects.
///
/// # Errors
/// A field that none has.
pub fn sort_objects(infos: &mut Vec<Info>, field: &str) -> Result<()> {
    let (field, path) = path(field)?;
    let mut keyed = Vec::new();
    for info in infos.drain(..) {
        keyed.push((key(&path, &info.object)?, info));
    }
    if !keyed.is_empty() && keyed.iter().all(|(k, _)| k.is_none()) {
        return Err(missing(&field));
    }
    sort_by(&mut keyed, |a, b| compare(&a.0, &b.0));
    infos.extend(keyed.into_iter().map(|(_, i)| i));
    Ok(())
}

/// Sorts plain values, such as events.
pub fn compare(a: &Option<Value>, b: &Option<Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some(Value::Number(a)), Some(Value::Number(b))) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .unwrap_or(Ordering::Equal),
        (Some(Value::String(a)), Some(Value::String(b))) => match (quantity(a), quantity(b)) {
            (Some(x), Some(y)) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
            _ => a.cmp(b),
        },
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
    }
}

fn quantity(text: &str) -> Option<f64> {
    crate::describe::quantity::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_ordered_by_what_they_are() {
        let less = |a: Value, b: Value| compare(&Some(a), &Some(b)) == Ordering::Less;
        assert!(less(json!("a10"), json!("a2")));
        assert!(less(json!("100m"), json!("1")));
        assert!(less(json!("1Mi"), json!("1Gi")));
        assert!(less(json!(2), json!(10)));
        assert_eq!(compare(&None, &Some(json!(1))), Ordering::Less);
    }
}
