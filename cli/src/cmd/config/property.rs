//! `config set` and `unset`: one field by its path.
//! Invariant: only fields that a kubeconfig has can be set.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/config/set.go` and `navigation_step_parser.go`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::kubeconfig::{Config, Entry};
use crate::print;
use base64::Engine;
use serde_json::{Value, json};

pub static SET: Command = Command {
    name: "set",
    usage: "PROPERTY_NAME PROPERTY_VALUE",
    short: "Set an individual value in a kubeconfig file",
    long: "Set an individual value in a kubeconfig file.\n\n PROPERTY_NAME is a dot delimited name where each token represents either an attribute name or a map key.  Map keys may not contain dots.\n\n PROPERTY_VALUE is the new value you want to set. Binary fields such as 'certificate-authority-data' expect a base64 encoded string unless the --set-raw-bytes flag is used.\n\n Specifying an attribute name that already exists will merge new fields on top of existing values.",
    examples: "
      # Set the server field on the my-cluster cluster to https://1.2.3.4
      kubectl config set clusters.my-cluster.server https://1.2.3.4

      # Set the certificate-authority-data field on the my-cluster cluster
      kubectl config set clusters.my-cluster.certificate-authority-data $(echo \"cert_data_here\" | base64 -i -)

      # Set the cluster field in the my-context context to my-cluster
      kubectl config set contexts.my-context.cluster my-cluster

      # Set the client-key-data field in the cluster-admin user using --set-raw-bytes option
      kubectl config set users.cluster-admin.client-key-data cert_data_here --set-raw-bytes=true",
    run: verb!(set: Flags),
    ..Command::NEW
};

pub static UNSET: Command = Command {
    name: "unset",
    usage: "PROPERTY_NAME",
    short: "Unset an individual value in a kubeconfig file",
    long: "Remove a field of the kubeconfig, or an entry, by its path.",
    examples: "
      # The context in use
      kubectl config unset current-context
      # A context's namespace
      kubectl config unset contexts.foo.namespace",
    run: verb!(unset: ()),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    // Upstream's text with its full stop, which a doc comment would lose.
    #[arg(
        long,
        help = "When writing a []byte PROPERTY_VALUE, write the given string directly without base64 decoding."
    )]
    set_raw_bytes: bool,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Bytes,
    Bool,
}

/// The fields that can be set: list, field, what it holds.
const FIELDS: &[(&str, &str, Holds)] = &[
    ("clusters", "server", Holds::Text),
    ("clusters", "tls-server-name", Holds::Text),
    ("clusters", "insecure-skip-tls-verify", Holds::Bool),
    ("clusters", "certificate-authority", Holds::Text),
    ("clusters", "certificate-authority-data", Holds::Bytes),
    ("clusters", "proxy-url", Holds::Text),
    ("clusters", "disable-compression", Holds::Bool),
    ("contexts", "cluster", Holds::Text),
    ("contexts", "user", Holds::Text),
    ("contexts", "namespace", Holds::Text),
    ("users", "client-certificate", Holds::Text),
    ("users", "client-certificate-data", Holds::Bytes),
    ("users", "client-key", Holds::Text),
    ("users", "client-key-data", Holds::Bytes),
    ("users", "token", Holds::Text),
    ("users", "tokenFile", Holds::Text),
    ("users", "as", Holds::Text),
    ("users", "as-uid", Holds::Text),
    ("users", "username", Holds::Text),
    ("users", "password", Holds::Text),
];

/// A path: `current-context`, `preferences.colors`, a list, or an entry of one, that entry's name, and perhaps a field.
enum Path {
    Current,
    Colors,
    List(&'static str),
    Entry {
        list: &'static str,
        name: String,
        field: Option<(&'static str, Holds)>,
    },
}

fn parse(text: &str) -> Result<Path> {
    if text == "current-context" {
        return Ok(Path::Current);
    }
    if text == "preferences.colors" {
        return Ok(Path::Colors);
    }
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    let Some(list) = ["clusters", "contexts", "users"]
        .iter()
        .find(|l| **l == head)
    else {
        bail!("unable to parse {} after [] at {}", text, "api.Config");
    };
    // A name may have dots: the field is the longest known ending.
    let field = FIELDS.iter().find(|(l, f, _)| {
        l == list && rest.len() > f.len() + 1 && rest.ends_with(&format!(".{f}"))
    });
    match field {
        Some((_, f, holds)) => Ok(Path::Entry {
            list,
            name: rest[..rest.len() - f.len() - 1].into(),
            field: Some((f, *holds)),
        }),
        None if rest.is_empty() => Ok(Path::List(list)),
        None => Ok(Path::Entry {
            list,
            name: rest.into(),
            field: None,
        }),
    }
}

async fn set(ctx: With<Flags>) -> Result<()> {
    let [name, value] = ctx.args() else {
        return Err(super::unexpected(&ctx));
    };
    let before = ctx.config()?;
    let mut config = before.clone();
    match parse(name)? {
        Path::Current => config.current_context = value.clone(),
        Path::Colors => config.preferences["colors"] = json!(boolean(value)?),
        Path::List(_) => bail!("unable to parse one or more field values of {name}"),
        Path::Entry { field: None, .. } => {
            return Err(Error::msg(
                "can't set a map to a value: ".to_string() + name,
            ));
        }
        Path::Entry {
            list,
            name,
            field: Some((field, holds)),
        } => {
            let stored = match holds {
                Holds::Text => json!(value),
                Holds::Bool => json!(boolean(value)?),
                Holds::Bytes if ctx.flags().set_raw_bytes => {
                    json!(base64::engine::general_purpose::STANDARD.encode(value))
                }
                Holds::Bytes => {
                    crate::typed::base64(value)
                        .map_err(|why| message!("error decoding input value: {why}"))?;
                    json!(value)
                }
            };
            entry(&mut config, list, &name).value[field] = stored;
        }
    }
    config.save(before)?;
    print::put(&format!("Property {} set.\n", quote(name)))
}

fn boolean(value: &str) -> Result<bool> {
    crate::flags::parse_bool(value).map_err(|why| message!("{why}"))
}

/// The entry of that name, made if it is not there.
pub fn entry<'a>(config: &'a mut Config, list: &str, name: &str) -> &'a mut Entry {
    let file = config.default_file();
    let entries = config.list_mut(list);
    if !entries.iter().any(|e| e.name == name) {
        entries.push(Entry {
            name: name.into(),
            value: json!({}),
            file,
        });
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let at = entries.iter().position(|e| e.name == name).unwrap_or(0);
    &mut entries[at]
}

async fn unset(ctx: With<()>) -> Result<()> {
    let [name] = ctx.args() else {
        return Err(super::unexpected(&ctx));
    };
    let before = ctx.config()?;
    let mut config = before.clone();
    match parse(name)? {
        Path::Current => config.current_context.clear(),
        Path::Colors => {
            config
                .preferences
                .as_object_mut()
                .map(|preferences| preferences.remove("colors"));
        }
        Path::List(list) => config.list_mut(list).clear(),
        Path::Entry {
            list,
            name,
            field: None,
        } => config.list_mut(list).retain(|e| e.name != name),
        Path::Entry {
            list,
            name,
            field: Some((field, _)),
        } => {
            let Some(e) = config.list_mut(list).iter_mut().find(|e| e.name == name) else {
                bail!("current map key `{name}` is invalid");
            };
            e.value
                .as_object_mut()
                .map(|m: &mut serde_json::Map<String, Value>| m.remove(field));
        }
    }
    config.save(before)?;
    print::put(&format!("Property {} unset.\n", quote(name)))
}
