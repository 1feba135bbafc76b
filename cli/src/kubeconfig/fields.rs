//! The fields that a kubeconfig has: what each holds in a file, and by which name `config set` knows it.
//! Invariant: a file whose fields hold something else is refused with the words of Go's decoder, and only fields of this table are shown.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/clientcmd/api/types.go` and `v1/types.go`.

use crate::typed::Read;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use skiff_api::machinery::read::go_kind;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    Text,
    Bool,
    Bytes,
    /// A list of texts.
    Texts,
    /// Texts by key.
    Words,
    /// Lists of texts by key.
    Lists,
    /// A structure that is always there.
    Part(&'static Type),
    /// A structure that may be absent.
    Perhaps(&'static Type),
    /// A list of structures.
    Items(&'static Type),
    /// A list of named structures in the file, which is a map by their names in memory.
    Named(&'static Type, &'static Type),
    /// What programs keep there for themselves.
    Extensions,
    Anything,
}

/// A structure, by its name in Go.
#[derive(Debug)]
pub struct Type {
    pub name: &'static str,
    pub fields: &'static [Field],
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    /// How `config set` calls it, where that is another name.
    set: Option<&'static str>,
    pub holds: Holds,
}

impl Field {
    const fn new(name: &'static str, holds: Holds) -> Field {
        Field {
            name,
            set: None,
            holds,
        }
    }

    const fn set_as(name: &'static str, set: &'static str, holds: Holds) -> Field {
        Field {
            name,
            set: Some(set),
            holds,
        }
    }

    pub fn set_name(&self) -> &'static str {
        self.set.unwrap_or(self.name)
    }
}

impl Type {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field that `config set` calls so.
    pub fn settable(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.set_name() == name)
    }
}

use Holds::*;

pub static CONFIG: Type = Type {
    name: "Config",
    fields: &[
        Field::new("kind", Text),
        Field::new("apiVersion", Text),
        Field::new("preferences", Part(&PREFERENCES)),
        Field::new("clusters", Named(&NAMED_CLUSTER, &CLUSTER)),
        Field::new("users", Named(&NAMED_USER, &USER)),
        Field::new("contexts", Named(&NAMED_CONTEXT, &CONTEXT)),
        Field::new("current-context", Text),
        Field::new("extensions", Extensions),
    ],
};

static PREFERENCES: Type = Type {
    name: "Preferences",
    fields: &[
        Field::new("colors", Bool),
        Field::new("extensions", Extensions),
    ],
};

static NAMED_CLUSTER: Type = Type {
    name: "NamedCluster",
    fields: &[
        Field::new("name", Text),
        Field::new("cluster", Part(&CLUSTER)),
    ],
};

static NAMED_USER: Type = Type {
    name: "NamedAuthInfo",
    fields: &[Field::new("name", Text), Field::new("user", Part(&USER))],
};

static NAMED_CONTEXT: Type = Type {
    name: "NamedContext",
    fields: &[
        Field::new("name", Text),
        Field::new("context", Part(&CONTEXT)),
    ],
};

static NAMED_EXTENSION: Type = Type {
    name: "NamedExtension",
    fields: &[Field::new("name", Text), Field::new("extension", Anything)],
};

static CLUSTER: Type = Type {
    name: "Cluster",
    fields: &[
        Field::new("server", Text),
        Field::new("tls-server-name", Text),
        Field::new("insecure-skip-tls-verify", Bool),
        Field::new("certificate-authority", Text),
        Field::new("certificate-authority-data", Bytes),
        Field::new("proxy-url", Text),
        Field::new("disable-compression", Bool),
        Field::new("extensions", Extensions),
    ],
};

static CONTEXT: Type = Type {
    name: "Context",
    fields: &[
        Field::new("cluster", Text),
        Field::new("user", Text),
        Field::new("namespace", Text),
        Field::new("extensions", Extensions),
    ],
};

static USER: Type = Type {
    name: "AuthInfo",
    fields: &[
        Field::new("client-certificate", Text),
        Field::new("client-certificate-data", Bytes),
        Field::new("client-key", Text),
        Field::new("client-key-data", Bytes),
        Field::new("token", Text),
        Field::new("tokenFile", Text),
        Field::set_as("as", "act-as", Text),
        Field::set_as("as-uid", "act-as-uid", Text),
        Field::set_as("as-groups", "act-as-groups", Texts),
        Field::set_as("as-user-extra", "act-as-user-extra", Lists),
        Field::new("username", Text),
        Field::new("password", Text),
        Field::new("auth-provider", Perhaps(&AUTH_PROVIDER)),
        Field::new("exec", Perhaps(&EXEC)),
        Field::new("extensions", Extensions),
    ],
};

static AUTH_PROVIDER: Type = Type {
    name: "AuthProviderConfig",
    fields: &[Field::new("name", Text), Field::new("config", Words)],
};

static EXEC: Type = Type {
    name: "ExecConfig",
    fields: &[
        Field::new("command", Text),
        Field::new("args", Texts),
        Field::new("env", Items(&VARIABLE)),
        Field::new("apiVersion", Text),
        Field::new("installHint", Text),
        Field::new("provideClusterInfo", Bool),
        Field::new("interactiveMode", Text),
    ],
};

static VARIABLE: Type = Type {
    name: "ExecEnvVar",
    fields: &[Field::new("name", Text), Field::new("value", Text)],
};

/// Holds the fields against what they are to hold. Base64 becomes what Go writes of it: lines may be broken in a file.
///
/// # Errors
/// What Go's decoder says of the first field that holds something else.
pub fn check(root: &mut Value) -> Result<(), String> {
    part(root, &CONFIG, "")
}

/// The fields in the order of their names, in which the text came to the decoder.
fn part(value: &mut Value, of: &Type, path: &str) -> Result<(), String> {
    let mut fields: Vec<_> = value.as_object_mut().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in fields {
        if let Some(field) = of.field(name) {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            held(value, field.holds, of, &path)?;
        }
    }
    Ok(())
}

fn held(value: &mut Value, holds: Holds, of: &Type, path: &str) -> Result<(), String> {
    let kind = go_kind(value);
    let wrong = |wanted: &str| {
        Err(format!(
            "json: cannot unmarshal {kind} into Go struct field {}.{path} of type {wanted}",
            of.name
        ))
    };
    match (holds, value) {
        (_, Value::Null) | (Anything, _) | (Text, Value::String(_)) | (Bool, Value::Bool(_)) => {
            Ok(())
        }
        (Bytes, Value::String(text)) => {
            let bytes = crate::typed::base64(text)?;
            if text.contains(['\r', '\n']) {
                *text = STANDARD.encode(bytes);
            }
            Ok(())
        }
        (Texts, Value::Array(list)) => list.iter_mut().try_for_each(|v| held(v, Text, of, path)),
        (Words, Value::Object(map)) => map.values_mut().try_for_each(|v| held(v, Text, of, path)),
        (Lists, Value::Object(map)) => map.values_mut().try_for_each(|v| held(v, Texts, of, path)),
        (Part(inner) | Perhaps(inner), value @ Value::Object(_)) => part(value, inner, path),
        (Items(inner) | Named(inner, _), Value::Array(list)) => {
            (list.iter_mut()).try_for_each(|v| held(v, Part(inner), of, path))
        }
        (Extensions, value) => held(value, Items(&NAMED_EXTENSION), of, path),
        (Text, _) => wrong("string"),
        (Bool, _) => wrong("bool"),
        (Bytes, _) => wrong("[]uint8"),
        (Texts, _) => wrong("[]string"),
        (Words, _) => wrong("map[string]string"),
        (Lists, _) => wrong("map[string][]string"),
        (Part(inner) | Perhaps(inner), _) => wrong(&format!("v1.{}", inner.name)),
        (Items(inner) | Named(inner, _), _) => wrong(&format!("[]v1.{}", inner.name)),
    }
}

/// Leaves out of a kubeconfig what no field is for.
pub fn keep_known(root: &mut Value) {
    known(root, &CONFIG);
}

fn known(value: &mut Value, of: &Type) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    map.retain(|name, _| of.field(name).is_some());
    for field in of.fields {
        match (field.holds, map.get_mut(field.name)) {
            (Part(inner) | Perhaps(inner), Some(value)) => known(value, inner),
            (Items(inner) | Named(inner, _), Some(Value::Array(list))) => {
                list.iter_mut().for_each(|value| known(value, inner));
            }
            _ => {}
        }
    }
}

/// Completes what is written of a user: what Go's structures write though there is nothing in it.
pub fn complete_user(user: &mut Value) {
    if let Some(exec) = user.get_mut("exec").and_then(Value::as_object_mut) {
        exec.entry("command")
            .or_insert(Value::String(String::new()));
        exec.entry("args").or_insert(Value::Null);
        exec.entry("env").or_insert(Value::Null);
        exec.entry("provideClusterInfo")
            .or_insert(Value::Bool(false));
        if mode_is_implied(&Value::Object(exec.clone())) {
            exec.insert("interactiveMode".into(), "IfAvailable".into());
        }
    }
    if let Some(provider) = user.get_mut("auth-provider").and_then(Value::as_object_mut) {
        provider.entry("config").or_insert(Value::Null);
    }
}

/// Whether the version that an exec plugin speaks takes no mode for `IfAvailable`.
pub fn mode_is_implied(exec: &Value) -> bool {
    exec.text("interactiveMode").is_empty()
        && exec.text("apiVersion") == "client.authentication.k8s.io/v1beta1"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What kubectl v1.36 says.
    #[test]
    fn a_field_that_holds_something_else_is_refused() {
        let told = |mut root: Value| check(&mut root).unwrap_err();
        for (root, words) in [
            (
                json!({"users": 7}),
                "number into Go struct field Config.users of type []v1.NamedAuthInfo",
            ),
            (
                json!({"users": [7]}),
                "number into Go struct field Config.users of type v1.NamedAuthInfo",
            ),
            (
                json!({"clusters": [{"cluster": {"server": 7}}]}),
                "number into Go struct field Cluster.clusters.cluster.server of type string",
            ),
            (
                json!({"users": [{"user": {"exec": {"env": [{"name": true}]}}}]}),
                "bool into Go struct field ExecEnvVar.users.user.exec.env.name of type string",
            ),
            (
                json!({"users": [{"user": {"as-user-extra": {"a": "b"}}}]}),
                "string into Go struct field AuthInfo.users.user.as-user-extra of type []string",
            ),
            (
                json!({"preferences": {"colors": "x"}}),
                "string into Go struct field Preferences.preferences.colors of type bool",
            ),
        ] {
            assert_eq!(told(root), format!("json: cannot unmarshal {words}"));
        }
        assert_eq!(check(&mut json!({"users": null, "nosuch": 7})), Ok(()));
    }

    #[test]
    fn lines_of_base64_may_be_broken() {
        let user = |data: &str| json!({"users": [{"user": {"client-key-data": data}}]});
        let mut root = user("aGVs\r\nbG8\n=\n");
        check(&mut root).unwrap();
        assert_eq!(root, user("aGVsbG8="));
    }

    #[test]
    fn what_no_field_is_for_is_not_shown() {
        let mut root =
            json!({"nosuch": 1, "users": [{"name": "a", "user": {"tokn": "x", "token": "y"}}]});
        keep_known(&mut root);
        assert_eq!(
            root,
            json!({"users": [{"name": "a", "user": {"token": "y"}}]})
        );
    }
}
