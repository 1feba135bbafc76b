//! Reads JSON into typed objects as Go reads it: `null` is the zero value of whatever it stands for, and a required time that is absent is
//! the zero time.
//!
//! Invariant: what a Go client decodes without an error, this decodes, too (of bytes, the form in which Go writes them); every type's code
//! exists once, for this one reader.
//! Errors name the path of what could not be read. Follows encoding/json and `UnmarshalJSON` of apimachinery/pkg/apis/meta/v1/time.go.

mod reader;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Visitor,
        value::{BorrowedStrDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use skiff_api::machinery::time;

use self::reader::{Number, Reader};

/// Why a text could not be read, and where.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// From the innermost name outwards.
    path: Vec<String>,
    what: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.path.iter().rev() {
            f.write_str(step)?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

impl de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self {
            path: Vec::new(),
            what: what.to_string(),
        }
    }
}

impl Error {
    #[cold]
    fn new(what: &str, at: usize) -> Self {
        Self {
            path: Vec::new(),
            what: format!("{what} at byte {at}"),
        }
    }

    #[cold]
    fn below(mut self, name: &str) -> Self {
        self.path.push(format!(".{name}"));
        self
    }

    #[cold]
    fn at_index(mut self, index: usize) -> Self {
        self.path.push(format!("[{index}]"));
        self
    }
}

/// What is passed over: a struct's name and a field's.
pub type Dropped = &'static [(&'static str, &'static str)];

/// Reads a whole text, as if the fields in `dropped` were not there.
pub fn decode<'a, T: Deserialize<'a>>(text: &'a str, dropped: Dropped) -> Result<T, Error> {
    let mut reader = Reader::new(text, dropped);
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => self.deserialize_string(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => visitor.visit_bool(self.boolean()?),
            Some(b'n') if self.null() => visitor.visit_unit(),
            _ => match self.number()? {
                Number::Unsigned(number) => visitor.visit_u64(number),
                Number::Signed(number) => visitor.visit_i64(number),
                Number::Float(number) => visitor.visit_f64(number),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b't' | b'f') => visitor.visit_bool(self.boolean()?),
            Some(b'n') if self.null() => visitor.visit_bool(false),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => match self.number()? {
                Number::Unsigned(number) => visitor.visit_u64(number),
                Number::Signed(number) => visitor.visit_i64(number),
                Number::Float(number) => visitor.visit_f64(number),
            },
            Some(b'n') if self.null() => visitor.visit_u64(0),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Some(b'n') if self.null() => visitor.visit_borrowed_str(""),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let zero = ZEROS.iter().find(|(of, _)| of.contains(&name));
        if let Some((_, zero)) = zero
            && self.null()
        {
            return visitor.visit_newtype_struct(&mut Reader::new(zero, &[]));
        }
        if matches!(name, "Time" | "MicroTime") && self.peek() == Some(b'"') {
            let text = self.string()?;
            return match (time::within_timestamps(&text), text) {
                (Some(text), _) | (None, Cow::Owned(text)) => {
                    visitor.visit_newtype_struct(StringDeserializer::new(text))
                }
                (None, Cow::Borrowed(text)) => {
                    visitor.visit_newtype_struct(BorrowedStrDeserializer::new(text))
                }
            };
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'[') => {
                let first = self.open()?;
                visitor.visit_seq(Elements {
                    reader: Some(self),
                    first,
                    index: 0,
                })
            }
            Some(b'n') if self.null() => visitor.visit_seq(Elements {
                reader: None,
                first: true,
                index: 0,
            }),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let required = REQUIRED_TIMES
            .iter()
            .find(|(of, _)| *of == name)
            .map(|(_, field)| *field);
        match self.peek() {
            Some(b'{') => {
                let first = self.open()?;
                let dropped = self
                    .dropped
                    .iter()
                    .any(|(of, _)| *of == name)
                    .then_some(name);
                visitor.visit_map(Members {
                    reader: Some(self),
                    first,
                    name: Cow::Borrowed(""),
                    dropped,
                    required,
                })
            }
            Some(b'n') if self.null() => visitor.visit_map(Members {
                reader: None,
                first: true,
                name: Cow::Borrowed(""),
                dropped: None,
                required,
            }),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier }
}

/// The zero time as Go encodes it.
const ZERO_QUOTED: &str = "\"0001-01-01T00:00:00Z\"";

/// What `null` is for types that are a text and of which an empty one is none.
const ZEROS: [(&[&str], &str); 2] = [
    (&["Time", "MicroTime"], ZERO_QUOTED),
    (&["Quantity"], "\"0\""),
];

/// Types of which a time must be there, and its name.
const REQUIRED_TIMES: [(&str, &str); 2] = [
    ("Condition", "lastTransitionTime"),
    ("EventSeries", "lastObservedTime"),
];

/// The elements of a list; none of `null`.
struct Elements<'r, 'de> {
    reader: Option<&'r mut Reader<'de>>,
    first: bool,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(reader) = self.reader.as_deref_mut() else {
            return Ok(None);
        };
        if !reader.element(&mut self.first)? {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| error.at_index(index))
    }

    /// Most lists hold one element, and a list that grows from nothing has room for four.
    fn size_hint(&self) -> Option<usize> {
        Some(1)
    }
}

/// The members of a map or struct; none of `null`, but what must be there.
struct Members<'r, 'de> {
    reader: Option<&'r mut Reader<'de>>,
    first: bool,
    /// Of the member whose value is next.
    name: Cow<'de, str>,
    /// The struct's name, where some of its fields are passed over.
    dropped: Option<&'static str>,
    /// A time that must be there and was not seen yet.
    required: Option<&'static str>,
}

impl<'de> Members<'_, 'de> {
    /// The name of the next member that is not passed over.
    fn read_name(&mut self) -> Result<Option<Cow<'de, str>>, Error> {
        let Some(reader) = self.reader.as_deref_mut() else {
            return Ok(None);
        };
        loop {
            let name = reader.name(&mut self.first)?;
            match (&name, self.dropped) {
                (Some(name), Some(of)) if reader.dropped.contains(&(of, &**name)) => {
                    reader.skip()?
                }
                _ => return Ok(name),
            }
        }
    }

    #[inline(never)]
    fn next_name(&mut self) -> Result<bool, Error> {
        match self.read_name()? {
            Some(name) => {
                if self.required == Some(&*name) {
                    self.required = None;
                }
                self.name = name;
                Ok(true)
            }
            None => {
                self.reader = None;
                let missing = self.required.take();
                self.name = Cow::Borrowed(missing.unwrap_or_default());
                Ok(missing.is_some())
            }
        }
    }
}

impl<'de> de::MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if !self.next_name()? {
            return Ok(None);
        }
        seed.deserialize(Name(&self.name, PhantomData)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let read = match self.reader.as_deref_mut() {
            Some(reader) => seed.deserialize(reader),
            None => seed.deserialize(&mut Reader::new(ZERO_QUOTED, &[])),
        };
        read.map_err(|error| error.below(&self.name))
    }
}

/// A member's name.
struct Name<'n, 'de>(&'n Cow<'de, str>, PhantomData<&'de str>);

impl<'de> de::Deserializer<'de> for Name<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Cow::Borrowed(name) => {
                de::Deserializer::deserialize_any(BorrowedStrDeserializer::new(name), visitor)
            }
            Cow::Owned(name) => visitor.visit_str(name),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Secret, Service};
    use serde_json::{Value, json};

    use super::*;

    fn read<T: de::DeserializeOwned>(value: Value) -> Result<T, Error> {
        decode(&value.to_string(), &[])
    }

    #[test]
    fn null_and_absence_are_the_zero_value_as_in_go() {
        let service: Service = read(json!({
            "metadata": {"name": null, "labels": null, "creationTimestamp": null, "managedFields": [{"time": null}], "annotations": {"a": null}},
            "spec": {"ports": [{"port": null, "targetPort": 80}, null], "selector": null, "publishNotReadyAddresses": null},
            "status": {"conditions": [{"type": "a", "lastTransitionTime": null}, {"type": "b"}, null], "loadBalancer": null},
        }))
        .unwrap();
        let conditions = service.status.unwrap().conditions.unwrap();
        assert_eq!(
            conditions
                .iter()
                .map(|c| c.type_.as_str())
                .collect::<Vec<_>>(),
            ["a", "b", ""]
        );
        assert!(
            conditions
                .iter()
                .all(|c| c.last_transition_time.0.to_string() == "0001-01-01T00:00:00Z")
        );
        assert_eq!(service.metadata.annotations.unwrap()["a"], "");
        assert_eq!(
            service
                .spec
                .unwrap()
                .ports
                .unwrap()
                .iter()
                .map(|p| p.port)
                .collect::<Vec<_>>(),
            [0, 0]
        );
        let pod: Pod = read(json!({"spec": {"containers": null}, "status": {"containerStatuses": [{"ready": null, "image": null}]}})).unwrap();
        assert!(pod.spec.unwrap().containers.is_empty());
        assert!(
            read::<Secret>(json!({"data": {"a": "eA==", "b": null}}))
                .unwrap()
                .data
                .unwrap()["b"]
                .0
                .is_empty()
        );
        for (given, wanted) in [
            ("-0001-12-31T23:00:00Z", "-000001-12-31T23:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00Z"),
        ] {
            let pod: Pod = read(json!({"metadata": {"creationTimestamp": given}})).unwrap();
            let at = pod.metadata.creation_timestamp.unwrap();
            assert_eq!(at.0.to_string(), wanted);
        }
        let quantities = r#"{"spec":{"overhead":{"cpu":null}}}"#;
        let overhead = decode::<Pod>(quantities, &[]).unwrap().spec.unwrap();
        assert_eq!(overhead.overhead.unwrap()["cpu"].0, "0");
        assert_eq!(decode::<Pod>("null", &[]).unwrap(), Pod::default());
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let cases = [
            (
                json!({"metadata": {"creationTimestamp": 17}}),
                ".metadata.creationTimestamp: invalid type: integer",
            ),
            (
                json!({"spec": {"containers": [{}, {"ports": [{"containerPort": "x"}]}]}}),
                ".spec.containers[1].ports[0].containerPort: ",
            ),
            (
                json!({"spec": {"containers": {}}}),
                ".spec.containers: invalid type: map",
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                ".metadata.labels.a: ",
            ),
            (
                json!({"spec": {"priority": 3_000_000_000_u64}}),
                ".spec.priority: invalid value: integer `3000000000`",
            ),
        ];
        for (value, text) in cases {
            let error = read::<Pod>(value).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        for text in [
            "",
            "{",
            "[",
            "{\"a\"}",
            "{\"metadata\":{\"name\":\"x}",
            "{}x",
            "{\"spec\":,}",
            "nul",
            "{\"a\":tru}",
            "{\"a\":-}",
        ] {
            assert!(decode::<Pod>(text, &[]).is_err(), "{text}");
        }
        let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
        assert!(
            decode::<Pod>(&deep, &[])
                .unwrap_err()
                .to_string()
                .contains("nested too deep")
        );
    }

    #[test]
    fn text_is_read_as_json_has_it() {
        let text = r#" { "metadata" : { "name" : "a\u00e4\n\"\\" , "generation" : 9223372036854775807, "la\u0062els" : { "k\"" : "v" } } ,
            "unknown": [1.5e3, -2, true, null, {"x": "\\"}], "spec":{"containers":[]} } "#;
        let pod: Pod = decode(text, &[]).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("a\u{e4}\n\"\\"));
        assert_eq!(pod.metadata.generation, Some(i64::MAX));
        assert_eq!(pod.metadata.labels.unwrap()["k\""], "v");
        let value: Value = decode(r#"{"a":[1,-2,1.5,true,null,"x"],"b":{}}"#, &[]).unwrap();
        assert_eq!(value, json!({"a": [1, -2, 1.5, true, null, "x"], "b": {}}));
    }

    #[test]
    fn what_is_dropped_is_a_field_of_a_struct_and_no_name_of_a_map() {
        let pod = r#"{"metadata":{"managedFields":[{"time":7}],"labels":{"managedFields":"a","env":"b"},"name":"x"},"spec":{"containers":[{"name":"c","env":[1],"image":"i"}]}}"#;
        assert!(decode::<Pod>(pod, &[]).is_err());
        let pod: Pod = decode(
            pod,
            &[("ObjectMeta", "managedFields"), ("Container", "env")],
        )
        .unwrap();
        assert_eq!(
            (pod.metadata.managed_fields, pod.metadata.name.as_deref()),
            (None, Some("x"))
        );
        assert_eq!(pod.metadata.labels.unwrap().len(), 2);
        let container = &pod.spec.unwrap().containers[0];
        assert_eq!(
            (&container.env, container.image.as_deref()),
            (&None, Some("i"))
        );
    }
}
