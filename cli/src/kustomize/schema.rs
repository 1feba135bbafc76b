//! Reading what kustomizations, plugins and configurations hold into fields of known types.
//! Invariant: a field that Go's decoder would refuse is refused in its words, and what is read has its fields under the names that they have here.
//! Behaviour follows `encoding/json` and `sigs.k8s.io/yaml` as `sigs.k8s.io/kustomize/api/types/kustomization.go` uses them.

use crate::error::Problem;
use serde_json::{Map, Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::go_kind;

/// The type of a field.
pub enum Type {
    Text,
    /// Texts of a type of Go's.
    Word(&'static str),
    Words(&'static str),
    Bool,
    /// A number of a type of Go's.
    Int(&'static str),
    Texts,
    /// Texts by name.
    Pairs,
    /// Anything by name.
    Map,
    /// A struct of Go's name, or a list of them; a list of pointers where the name begins with a star.
    One(&'static str, Fields),
    List(&'static str, Fields),
    /// The fields of another struct stand among these.
    Among(Fields),
}
pub type Fields = &'static [(&'static str, Type)];
use Type::{Among, Bool, Int, List, Map as AnyMap, One, Pairs, Text, Texts, Word, Words};

/// How strict a reader is, and how it calls what it reads.
#[derive(Clone, Copy)]
pub struct Reader {
    /// Go's name of the struct, as the way to a field begins and as the whole is called.
    pub path: &'static str,
    pub go: &'static str,
    /// Whether a field that is not known is refused; else it is left out.
    pub strict: bool,
    /// Whether the case of a field's name counts.
    pub cased: bool,
    /// Whether numbers and booleans are words where texts are due.
    pub lenient: bool,
}

impl Reader {
    /// The value with its fields under the names that they have in `fields`.
    ///
    /// # Errors
    /// The first field that is unknown or of another type.
    pub fn read(&self, value: &Value, fields: Fields) -> Result<Value, Problem> {
        match value {
            Value::Null => Ok(json!({})),
            Value::Object(map) => self.map(map, fields, self.path),
            other => {
                let (kind, go) = (go_kind(other), self.go);
                Err(format!("json: cannot unmarshal {kind} into Go value of type {go}").into())
            }
        }
    }

    /// The same for a list that is a whole document.
    ///
    /// # Errors
    /// As `read`.
    pub fn list(&self, list: &[Value], fields: Fields) -> Result<Vec<Value>, Problem> {
        let list = list.iter().enumerate();
        list.map(|(n, one)| self.element(one, self.go, fields, &format!("{}.{n}", self.path)))
            .collect()
    }

    fn element(&self, one: &Value, go: &str, fields: Fields, path: &str) -> Result<Value, Problem> {
        match one {
            Value::Null => Ok(Value::Null),
            Value::Object(map) => self.map(map, fields, path),
            one => wrong(one, go.trim_start_matches('*'), path),
        }
    }

    fn map(&self, map: &Map<String, Value>, of: Fields, path: &str) -> Result<Value, Problem> {
        let mut out = Map::new();
        for (name, value) in map {
            match self.known(of, name) {
                Some((name, of)) => {
                    let value = self.field(value, of, &format!("{path}.{name}"))?;
                    out.insert((*name).into(), value);
                }
                None if self.strict => {
                    return Err(format!("json: unknown field {}", GoQuoted(name)).into());
                }
                None => {}
            }
        }
        Ok(Value::Object(out))
    }

    fn known(&self, fields: Fields, name: &str) -> Option<&'static (&'static str, Type)> {
        fields.iter().find_map(|field| match field {
            (_, Among(fields)) => self.known(fields, name),
            (known, _) if *known == name => Some(field),
            (known, _) if !self.cased && known.eq_ignore_ascii_case(name) => Some(field),
            _ => None,
        })
    }

    fn field(&self, value: &Value, of: &Type, path: &str) -> Result<Value, Problem> {
        match (of, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Text, value) => self.text(value, "string", || at(path)),
            (Word(go), value) => self.text(value, go, || at(path)),
            (Bool, Value::Bool(_)) | (AnyMap, Value::Object(_)) => Ok(value.clone()),
            (Int(_), Value::Number(number)) if number.is_i64() => Ok(value.clone()),
            (Texts, Value::Array(list)) => self.texts(list, "string", path),
            (Words(go), Value::Array(list)) => self.texts(list, go, path),
            (Pairs, Value::Object(map)) => map
                .iter()
                .map(|(key, one)| {
                    let text = self.text(one, "string", || at(&format!("{path}.{key}")))?;
                    Ok((key.clone(), text))
                })
                .collect(),
            (One(_, fields), Value::Object(map)) => self.map(map, fields, path),
            (List(go, fields), Value::Array(list)) => {
                // Behind a pointer no word is made of a number.
                let lenient = self.lenient && !go.starts_with('*');
                let reader = Reader { lenient, ..*self };
                let list = list.iter().enumerate();
                list.map(|(n, one)| reader.element(one, go, fields, &format!("{path}.{n}")))
                    .collect()
            }
            (Bool, value) => wrong(value, "bool", &at(path)),
            (Int(go), value) => wrong(value, go, &at(path)),
            (Texts, value) => wrong(value, "[]string", &at(path)),
            (Words(go), value) | (List(go, _), value) => {
                wrong(value, &format!("[]{go}"), &at(path))
            }
            (Pairs, value) => wrong(value, "map[string]string", &at(path)),
            (AnyMap, value) => wrong(value, "map[string]interface {}", &at(path)),
            (One(go, _), value) => wrong(value, go, &at(path)),
            (Among(_), _) => Ok(Value::Null),
        }
    }

    fn texts(&self, list: &[Value], go: &str, path: &str) -> Result<Value, Problem> {
        let texts = list.iter().enumerate();
        texts
            .map(|(n, one)| self.text(one, go, || format!("{path}.{n}")))
            .collect()
    }

    fn text(&self, value: &Value, go: &str, at: impl Fn() -> String) -> Result<Value, Problem> {
        match value {
            Value::Null | Value::String(_) => Ok(value.clone()),
            Value::Bool(_) | Value::Number(_) if self.lenient => Ok(json!(value.to_string())),
            other => wrong(other, go, &at()),
        }
    }
}

/// Where a field stands, in Go's words. An element of a list has only its way there.
fn at(path: &str) -> String {
    format!("Go struct field {path}")
}

fn wrong(value: &Value, go: &str, at: &str) -> Result<Value, Problem> {
    let kind = match value {
        Value::Number(n) if go.starts_with("int") => format!("number {n}"),
        other => go_kind(other).to_string(),
    };
    Err(format!("json: cannot unmarshal {kind} into {at} of type {go}").into())
}

#[cfg(test)]
mod tests {
    use super::super::fields::{
        CONFIGURATION, KUSTOMIZATION, KUSTOMIZATION_FIELDS, PLUGIN, plugin,
    };
    use super::*;

    #[test]
    fn fields_are_known_all_the_way_down() {
        for (value, want) in [
            (
                json!({"patches": [{"options": {"allowNameChanged": true}}]}),
                "unknown field \"allowNameChanged\"",
            ),
            (
                json!({"patches": [{"options": {"allowNameChange": "true"}}]}),
                "cannot unmarshal string into Go struct field Kustomization.patches.0.options.allowNameChange of type bool",
            ),
            (
                json!({"replacements": [{"targets": [{"reject": [{"kind": 5}]}]}]}),
                "cannot unmarshal number into Go struct field Kustomization.replacements.0.targets.0.reject.0.kind of type string",
            ),
            (
                json!({"replacements": [{"targets": {}}]}),
                "cannot unmarshal object into Go struct field Kustomization.replacements.0.targets of type []*types.TargetSelector",
            ),
            (
                json!({"replacements": [{"targets": [5]}]}),
                "cannot unmarshal number into Kustomization.replacements.0.targets.0 of type types.TargetSelector",
            ),
            (
                json!({"replicas": [{"count": 5.5}]}),
                "cannot unmarshal number 5.5 into Go struct field Kustomization.replicas.0.count of type int64",
            ),
            (
                json!({"sortOptions": {"order": 5}}),
                "cannot unmarshal number into Go struct field Kustomization.sortOptions.order of type types.SortOrder",
            ),
            (
                json!({"vars": [{"objref": {"gvk": "x"}}]}),
                "unknown field \"gvk\"",
            ),
        ] {
            let why = KUSTOMIZATION
                .read(&value, KUSTOMIZATION_FIELDS)
                .unwrap_err();
            assert_eq!(why.to_string(), format!("json: {want}"), "{value}");
        }
        let any_case = json!({"Vars": [{"OBJREF": {"KIND": "x"}, "FieldRef": {"FIELDPATH": "a"}}]});
        assert_eq!(
            KUSTOMIZATION.read(&any_case, KUSTOMIZATION_FIELDS).unwrap(),
            json!({"vars": [{"objref": {"kind": "x"}, "fieldref": {"fieldPath": "a"}}]})
        );
    }

    #[test]
    fn plugins_take_words_for_texts_and_leave_out_what_they_do_not_know() {
        let fields = plugin("ImageTagTransformer").unwrap();
        let value = json!({"IMAGETAG": {"name": "x", "newTag": 5}, "more": 1});
        assert_eq!(
            PLUGIN.read(&value, fields).unwrap(),
            json!({"imageTag": {"name": "x", "newTag": "5"}})
        );
        let why = CONFIGURATION.read(
            &json!({"namePrefix": [{"pth": 1}]}),
            super::super::fields::CONFIGURATION_FIELDS,
        );
        assert_eq!(why.unwrap_err().to_string(), "json: unknown field \"pth\"");
    }
}
