//! `config set` and `unset`: one field by its path.
//! Invariant: only fields that a kubeconfig has can be set.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/config/set.go` and `navigation_step_parser.go`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::kubeconfig::fields::{CONFIG, Field, Holds};
use crate::kubeconfig::{Config, Entry};
use crate::print;
use crate::typed::Read;
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

/// One step of a path: a field, or the name of an entry, which may have dots.
#[derive(Debug)]
enum Step {
    Field(&'static Field),
    Name(String),
}

/// The steps of a path, as far as fields and entries can be reached by one.
fn parse(path: &str) -> Result<Vec<Step>> {
    if path.is_empty() {
        bail!("you must specify a property");
    }
    let unreachable = || message!("unable to parse one or more field values of {path}");
    let parts: Vec<&str> = path.split('.').collect();
    let (mut steps, mut at) = (Vec::new(), 0);
    let mut holds = Holds::Part(&CONFIG);
    while at < parts.len() {
        match holds {
            Holds::Part(of) => {
                let Some(field) = of.settable(parts[at]) else {
                    let name = of.name;
                    bail!(
                        "unable to parse {path} after {} at api.{name}",
                        shown(&steps)
                    );
                };
                holds = field.holds;
                steps.push(Step::Field(field));
                at += 1;
            }
            // the name ends where a field of what it names begins
            Holds::Named(_, of) => {
                let ends = |part: &&str| of.settable(part).is_some();
                let after = parts[at + 1..].iter().position(ends);
                let end = after.map_or(parts.len(), |after| at + 1 + after);
                steps.push(Step::Name(parts[at..end].join(".")));
                at = end;
                holds = Holds::Part(of);
            }
            Holds::Lists => bail!("string is not of type struct"),
            _ => return Err(unreachable()),
        }
    }
    Ok(steps)
}

/// Steps as Go prints them: each with the address of its type.
fn shown(steps: &[Step]) -> String {
    let each = steps.iter().map(|step| match step {
        Step::Field(field) => format!("{{{} {field:p}}}", field.set_name()),
        Step::Name(name) => format!("{{{name} {name:p}}}"),
    });
    format!("[{}]", each.collect::<Vec<_>>().join(" "))
}

/// A map as Go prints it, which it is refused with as a value's place.
fn no_value(entries: &[(String, String)]) -> Error {
    let each = entries.iter().map(|(key, value)| format!("{key}:{value}"));
    message!(
        "can't set a map to a value: map[{}]",
        each.collect::<Vec<_>>().join(" ")
    )
}

fn no_value_of_entries(entries: &[Entry]) -> Error {
    let each = entries.iter().map(|e| (e.name.clone(), format!("{e:p}")));
    no_value(&each.collect::<Vec<_>>())
}

async fn set(ctx: With<Flags>) -> Result<()> {
    let [name, value] = ctx.args() else {
        return Err(super::unexpected(&ctx));
    };
    if value.is_empty() {
        bail!("you cannot use set to unset a property");
    }
    let steps = parse(name)?;
    let before = ctx.config()?;
    let mut config = before.clone();
    let raw = ctx.flags().set_raw_bytes;
    match &steps[..] {
        [Step::Field(field)] => match field.name {
            "current-context" => config.current_context = value.clone(),
            // what a kubeconfig is does not change
            "kind" | "apiVersion" => {}
            "preferences" => bail!(
                "unable to locate path config.navigationStep{{stepValue:\"\", stepType:reflect.Type(nil)}} under {{{} map[]}}",
                config.preferences.flag("colors")
            ),
            "extensions" => return Err(no_value(&[])),
            list => return Err(no_value_of_entries(config.list(list))),
        },
        [Step::Field(list), Step::Name(_)] => {
            return Err(no_value_of_entries(config.list(list.name)));
        }
        [Step::Field(_), Step::Field(field)] => {
            set_field(&mut config.preferences, field, value, raw)?;
        }
        [Step::Field(list), Step::Name(name), Step::Field(field)] => {
            let entry = entry(&mut config, list.name, name);
            set_field(&mut entry.value, field, value, raw)?;
        }
        _ => bail!("unable to parse one or more field values of {name}"),
    }
    config.save(before)?;
    print::put(&format!("Property {} set.\n", quote(name)))
}

fn set_field(target: &mut Value, field: &Field, value: &str, raw: bool) -> Result<()> {
    target[field.name] = match field.holds {
        Holds::Text => json!(value),
        Holds::Bool => json!(boolean(value)?),
        Holds::Bytes if raw => {
            json!(base64::engine::general_purpose::STANDARD.encode(value))
        }
        Holds::Bytes => {
            let bytes = crate::typed::base64(value)
                .map_err(|why| message!("error decoding input value: {why}"))?;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Holds::Texts => bail!("unrecognized slice type. string"),
        Holds::Lists => {
            let entries = target.map(field.name).into_iter().flatten();
            let each = entries.map(|(key, list)| (key.clone(), go_list(list)));
            return Err(no_value(&each.collect::<Vec<_>>()));
        }
        Holds::Extensions => return Err(no_value(&[])),
        // kubectl panics here
        _ => bail!("unrecognized type: <nil>"),
    };
    Ok(())
}

/// A list of texts as Go prints it.
fn go_list(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten();
    let texts: Vec<&str> = texts.filter_map(Value::as_str).collect();
    format!("[{}]", texts.join(" "))
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
    let steps = parse(name)?;
    let before = ctx.config()?;
    let mut config = before.clone();
    match &steps[..] {
        [Step::Field(field)] => match field.name {
            "current-context" => config.current_context.clear(),
            "kind" | "apiVersion" | "extensions" => {}
            "preferences" => config.preferences = json!({}),
            list => config.list_mut(list).clear(),
        },
        [Step::Field(list), Step::Name(name)] => {
            config.list_mut(list.name).retain(|e| e.name != *name);
        }
        [Step::Field(_), Step::Field(field)] => remove(&mut config.preferences, field),
        [Step::Field(list), Step::Name(name), Step::Field(field)] => {
            let entries = config.list_mut(list.name);
            let Some(entry) = entries.iter_mut().find(|e| e.name == *name) else {
                bail!("current map key `{name}` is invalid");
            };
            remove(&mut entry.value, field);
        }
        _ => bail!("unable to parse one or more field values of {name}"),
    }
    config.save(before)?;
    print::put(&format!("Property {} unset.\n", quote(name)))
}

fn remove(value: &mut Value, field: &Field) {
    value.as_object_mut().map(|map| map.remove(field.name));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubectl v1.36 says.
    #[test]
    fn a_path_ends_where_no_step_leads_further() {
        let told = |path: &str| match parse(path) {
            Ok(steps) => steps.len().to_string(),
            Err(why) => why.to_string(),
        };
        for (path, wanted) in [
            (
                "users.a.exec.command",
                "unable to parse one or more field values of users.a.exec.command",
            ),
            (
                "users.a.token.x",
                "unable to parse one or more field values of users.a.token.x",
            ),
            (
                "current-context.x",
                "unable to parse one or more field values of current-context.x",
            ),
            (
                "users.a.act-as-user-extra.k",
                "string is not of type struct",
            ),
            ("nosuch", "unable to parse nosuch after [] at api.Config"),
            ("", "you must specify a property"),
            // no field begins, so all of it is a name
            ("users.a.as", "2"),
            ("clusters.10.0.0.1.server", "3"),
            ("users..token", "3"),
            ("users.a.exec", "3"),
            ("preferences.colors", "2"),
        ] {
            assert_eq!(told(path), wanted, "{path}");
        }
    }
}
