//! `get --sort-by`: orders tables and objects by a field.
//! Invariant: objects that lack the field come first, then those where it is null; a field that none has is an error, but for a table, which then shows nothing.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/sorter.go`.

use crate::client::klog;
use crate::error::{Error, Result, message, quote};
use crate::print::sort::sort_by;
use crate::resource::Info;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed};
use std::cell::Cell;
use std::cmp::Ordering;

fn parsed(field: &str) -> Result<JsonPath> {
    let parsed = JsonPath::parse(field).map_err(|e| message!("{e}"))?;
    Ok(parsed.allow_missing(true))
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

/// Sorts what `get` shows as tables. One alone that cannot be sorted shows no rows, which is all that kubectl tells of it.
///
/// # Errors
/// Of several tables: a field that none has.
pub fn sort_tables(infos: &mut Vec<Info>, field: &str) -> Result<()> {
    // of several, each is taken for an object of its own, and the field is looked for in the table
    let [one] = infos.as_mut_slice() else {
        return sort_objects(infos, field);
    };
    match sort_table(one, field) {
        Err(Error::Exit(code)) => Err(Error::Exit(code)),
        Err(_) => {
            one.object["rows"] = Value::Array(Vec::new());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Sorts the rows of one table.
///
/// # Errors
/// A field that none of several rows has, or whose values are in no order.
pub fn sort_table(info: &mut Info, field: &str) -> Result<()> {
    let rows = info.object.get_mut("rows").and_then(Value::as_array_mut);
    // one row is in order, whatever the field
    let Some(rows) = rows.filter(|rows| rows.len() > 1) else {
        return Ok(());
    };
    let field = relaxed(field).unwrap_or_else(|_| field.to_string());
    parsed(&field).map_err(|why| message!("sorting error: {why}"))?;
    let mut keyed = keyed(rows.clone(), &field, |row| row.at("object"))?;
    sort(&mut keyed, &field, "[][][]reflect.Value")?;
    *rows = keyed.into_iter().map(|(_, row)| row).collect();
    Ok(())
}

/// Sorts objects. Where there are none, nothing is said of the field.
///
/// # Errors
/// A field that none has, or whose values are in no order.
pub fn sort_objects(infos: &mut Vec<Info>, field: &str) -> Result<()> {
    if infos.is_empty() {
        return Ok(());
    }
    let field = relaxed(field).map_err(|why| Error::msg(why.to_string()))?;
    let mut keyed = keyed(std::mem::take(infos), &field, |info| &info.object)?;
    sort(&mut keyed, &field, "*unstructured.Unstructured")?;
    infos.extend(keyed.into_iter().map(|(_, info)| info));
    Ok(())
}

/// What is to be sorted, each with its value of the field.
type Keyed<T> = Vec<(Option<Value>, T)>;

fn keyed<T>(items: Vec<T>, field: &str, object: fn(&T) -> &Value) -> Result<Keyed<T>> {
    let path = parsed(field)?;
    let mut keyed = Vec::new();
    for item in items {
        keyed.push((key(&path, object(&item))?, item));
    }
    if keyed.iter().all(|(key, _)| key.is_none()) {
        return Err(missing(field));
    }
    Ok(keyed)
}

fn sort<T>(keyed: &mut Keyed<T>, field: &str, of: &str) -> Result<()> {
    let wrong = Cell::new(None);
    sort_by(keyed, |a, b| {
        compare(&a.0, &b.0).unwrap_or_else(|why| {
            wrong.set(wrong.take().or(Some(why)));
            Ordering::Equal
        })
    });
    let Some(why) = wrong.take() else {
        return Ok(());
    };
    let told =
        format!("Field {field} in {of} is an unsortable type: interface, err: unsortable {why}");
    klog('F', "sorter.go:375", &told);
    Err(Error::Exit(1))
}

/// The type in Go of a value that is in no order with others.
fn unsortable(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(_) => Some("type: map[string]interface {}"),
        Value::Array(_) => Some("type: []interface {}"),
        Value::Bool(_) => Some("type: bool"),
        _ => None,
    }
}

/// The order of two values of the field. What lacks it comes before all others, also such as it; then comes what has null there.
///
/// # Errors
/// Values that are in no order.
fn compare(a: &Option<Value>, b: &Option<Value>) -> Result<Ordering, &'static str> {
    let (Some(a), Some(b)) = (a, b) else {
        return Ok(match a {
            None => Ordering::Less,
            Some(_) => Ordering::Greater,
        });
    };
    Ok(match (a, b) {
        (Value::Null, _) | (_, Value::Null) => b.is_null().cmp(&a.is_null()),
        (Value::Number(x), Value::Number(y)) if x.is_f64() == y.is_f64() => {
            match (x.as_i64(), y.as_i64()) {
                (Some(x), Some(y)) => x.cmp(&y),
                _ => (x.as_f64().partial_cmp(&y.as_f64())).unwrap_or(Ordering::Equal),
            }
        }
        (Value::String(a), Value::String(b)) => match (quantity(a), quantity(b)) {
            (Some(x), Some(y)) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
            _ => a.cmp(b),
        },
        _ => return Err(unsortable(a).unwrap_or("interface: interface")),
    })
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
        let less = |a: Value, b: Value| compare(&Some(a), &Some(b)) == Ok(Ordering::Less);
        assert!(less(json!("a10"), json!("a2")));
        assert!(less(json!("100m"), json!("1")));
        assert!(less(json!("1Mi"), json!("1Gi")));
        assert!(less(json!(2), json!(10)));
        assert_eq!(compare(&None, &Some(json!(1))), Ok(Ordering::Less));
    }

    #[test]
    fn null_comes_before_all_values() {
        for value in [
            json!("2026-01-01T00:00:00Z"),
            json!(-1),
            json!({}),
            json!(false),
        ] {
            let (null, value) = (Some(Value::Null), Some(value));
            assert_eq!(compare(&null, &value), Ok(Ordering::Less));
            assert_eq!(compare(&value, &null), Ok(Ordering::Greater));
            assert_eq!(compare(&null, &null), Ok(Ordering::Equal));
            assert_eq!(compare(&None, &null), Ok(Ordering::Less));
        }
    }

    #[test]
    fn values_of_two_types_are_in_no_order() {
        let wrong = |a: Value, b: Value| compare(&Some(a), &Some(b)).unwrap_err();
        assert_eq!(wrong(json!("a"), json!(1)), "interface: interface");
        assert_eq!(wrong(json!(1.5), json!(1)), "interface: interface");
        assert_eq!(wrong(json!(1), json!({})), "interface: interface");
        assert_eq!(wrong(json!([]), json!(1)), "type: []interface {}");
    }

    fn table(rows: &[Value]) -> Vec<Info> {
        let rows: Vec<Value> = rows.iter().map(|row| json!({"object": row})).collect();
        let resource = crate::generate::kind("", "v1", "pods", "Pod", true);
        vec![Info::of(resource, "", "", json!({"rows": rows}))]
    }

    /// As kubectl v1.36 does it.
    #[test]
    fn a_table_that_cannot_be_sorted_shows_no_rows() {
        let shown = |field: &str, rows: &[Value]| {
            let mut infos = table(rows);
            sort_tables(&mut infos, field).map(|()| infos[0].object.list("rows").len())
        };
        let rows = [json!({"a": 2, "m": {}}), json!({"a": 1, "m": {}})];
        assert_eq!(shown(".a", &rows).unwrap(), 2);
        assert_eq!(shown(".nosuch", &rows).unwrap(), 0);
        assert_eq!(shown("{.a", &rows).unwrap(), 0);
        assert_eq!(shown(".nosuch", &rows[..1]).unwrap(), 1);
        assert!(matches!(shown(".m", &rows), Err(Error::Exit(1))));
        // a watch tells why
        let told = sort_table(&mut table(&rows)[0], ".nosuch").unwrap_err();
        assert!(told.to_string().contains("couldn't find any field"));
        let told = sort_table(&mut table(&rows)[0], "{.a").unwrap_err();
        assert_eq!(told.to_string(), "sorting error: unclosed action");
        // nor is there anything to be missed where nothing is shown
        assert!(sort_tables(&mut Vec::new(), ".a").is_ok());
        assert!(sort_objects(&mut Vec::new(), "{.a").is_ok());
    }
}
