//! Replaces what no two servers share by words in angle brackets, as the recordings did.

use regex::Regex;
use serde_json::Value;

pub struct Masks {
    time: Regex,
    uuid: Regex,
    address: Regex,
    version: Regex,
    ports: Regex,
    age: Regex,
    access: Regex,
    jwt: Regex,
    generated: Regex,
}

impl Masks {
    pub fn new() -> Masks {
        let regex = |text: &str| Regex::new(text).unwrap();
        Masks {
            time: regex(
                r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9](\.[0-9]+)?Z",
            ),
            uuid: regex(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            address: regex(r"^10\.9[6-8]\.[0-9]+\.[0-9]+$"),
            version: regex(r#"(\\?"resourceVersion\\?":\\?")[0-9]+"#),
            ports: regex(r":3[0-9]{4}/"),
            age: regex(r"^[0-9]+[smhdy]([0-9]+[smhd])?( ago)?$"),
            access: regex(r"\bkube-api-access-[a-z0-9]{5}\b"),
            jwt: regex(r"^eyJ[-_A-Za-z0-9]+\.[-_A-Za-z0-9]+\.[-_A-Za-z0-9]+$"),
            generated: regex(r"^(gen-)[a-z0-9]{5}$"),
        }
    }

    pub fn masked(&self, value: &Value, sent: &str, key: &str) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(k, v)| (k.clone(), self.masked(v, sent, k)))
                .collect(),
            Value::Array(list) => list.iter().map(|v| self.masked(v, sent, key)).collect(),
            Value::String(text) => self.text(text, sent, key).into(),
            Value::Number(n)
                if matches!(key, "nodePort" | "healthCheckNodePort")
                    && n.as_i64().is_some_and(|n| n >= 30000)
                    && !sent.contains(&n.to_string()) =>
            {
                "<port>".into()
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str, sent: &str, key: &str) -> String {
        if key == "cells" && self.age.is_match(text) {
            return "<age>".into();
        }
        if key == "serverAddress" {
            return "<address>".into();
        }
        let mut text = text.to_string();
        if key == "cells" {
            text = self
                .ports
                .replace_all(&text, |m: &regex::Captures| {
                    if sent.contains(&m[0][1..m[0].len() - 1]) {
                        m[0].to_string()
                    } else {
                        ":<port>/".into()
                    }
                })
                .into_owned();
        }
        text = self.version.replace_all(&text, "${1}<rv>").into_owned();
        text = self
            .access
            .replace_all(&text, "kube-api-access-<random>")
            .into_owned();
        if key == "resourceVersion"
            && !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit())
            && text != "0"
        {
            return "<rv>".into();
        }
        if key == "continue" && text.len() > 8 {
            return "<continue>".into();
        }
        if self.jwt.is_match(&text) {
            return "<jwt>".into();
        }
        if self.address.is_match(&text) && !sent.contains(&text) && text != "10.96.0.1" {
            return "<ip>".into();
        }
        text = self
            .time
            .replace_all(&text, |m: &regex::Captures| {
                if sent.contains(&m[0]) || m[0].starts_with("2026-01-02") {
                    m[0].to_string()
                } else {
                    "<time>".into()
                }
            })
            .into_owned();
        text = self
            .uuid
            .replace_all(&text, |m: &regex::Captures| {
                if sent.contains(&m[0]) {
                    m[0].to_string()
                } else {
                    "<uid>".into()
                }
            })
            .into_owned();
        if key == "name" && sent.contains("\"generateName\"") {
            text = self
                .generated
                .replace_all(&text, "${1}<random>")
                .into_owned();
        }
        text
    }
}
