//! `set env`: sets, removes and lists environment variables.
//! Invariant: variables that are not named stay, in their order.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_env.go` and `env/env_parse.go`.

mod list;

use super::{COMMON, SETTER};
use crate::cmd::modify::{self, Words};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail, message, quote};
use crate::flags::{Csv, Listed};
use crate::podspec;
use crate::print;
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::names;
use std::collections::HashSet;

pub static COMMAND: Command = Command {
    name: "env",
    usage: "RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N",
    short: "Update environment variables on a pod template",
    long: "Set the environment variables of containers, remove them (KEY-), or list them.",
    examples: "
      # Set one
      kubectl set env deployment/registry STORAGE_DIR=/local
      # List those of all pods
      kubectl set env pods --all --list
      # From a config map or a secret
      kubectl set env --from=configmap/myconfigmap deployment/myapp
      kubectl set env --from=secret/mysecret --prefix=MYSQL_ deployment/myapp
      # Remove one from a container
      kubectl set env deployments --all --containers=\"c1\" ENV-",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, DRY_RUN, COMMON],
    run: verb!(run: Flags),
    reads_stdin: true,
    ..SETTER
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The containers to change; * stands for anything
    #[arg(long, short, default_value = "*")]
    containers: String,
    /// Take the keys of this config map or secret (TYPE/NAME)
    #[arg(long)]
    from: String,
    /// Put before the names of variables
    #[arg(long)]
    prefix: String,
    /// A variable (NAME=VALUE); may be repeated
    #[arg(long, short)]
    env: Vec<String>,
    /// Only these keys of what --from names
    #[arg(long)]
    keys: Vec<Csv>,
    /// List the variables
    #[arg(long)]
    list: bool,
    /// When listing, show what references come to
    #[arg(long)]
    resolve: bool,
    /// Change variables that are there already
    #[arg(long, default_value = "true")]
    overwrite: bool,
}

const WORDS: Words = Words {
    done: "env updated",
    refused: "failed to patch env update to pod template:",
    always: false,
};

/// Splits words into those that name objects and those that are variables.
fn split(args: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let is_env = |s: &String| s.find('=').is_some_and(|at| at > 0) || s.ends_with('-');
    let first = args.iter().position(is_env).unwrap_or(args.len());
    if args[first..].iter().all(is_env) {
        return Ok((args[..first].to_vec(), args[first..].to_vec()));
    }
    Err(message!(
        "all resources must be specified before environment changes: {}",
        args.join(" ")
    ))
}

/// The variables to set and the names to remove; `-` stands for lines of standard input.
fn parse(pairs: &[String]) -> Result<(Vec<Value>, Vec<String>)> {
    let (mut set, mut remove, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for p in pairs {
        if p == "-" {
            set.extend(of_lines(&std::io::read_to_string(std::io::stdin())?));
        } else if let Some((k, v)) = p.split_once('=') {
            let wrong = names::is_env_var_name(k);
            if !wrong.is_empty() {
                bail!("{} is not a valid key name: {}", quote(k), wrong.join(";"));
            }
            named.push(k);
            set.push(json!({"name": k, "value": v}));
        } else if let Some(k) = p.strip_suffix('-') {
            remove.push(k.to_string());
        } else {
            bail!("unknown environment variable: {p}");
        }
    }
    if remove.iter().any(|r| named.contains(&r.as_str())) {
        bail!("can not both modify and remove the same environment variable in the same command");
    }
    Ok((set, remove))
}

fn of_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or(""));
    lines
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| json!({"name": k, "value": v}))
        .collect()
}

/// A key as the name of a variable.
fn variable(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if name != key {
        eprintln!("Warning: key {key} transferred to {name}");
    }
    name
}

async fn from_object(ctx: &With<Flags>) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let mut b = Builder::new(ctx)?.args(&[f.from.to_string()]);
    b.latest = true;
    b.allow_empty_selector = ctx.all();
    b.all = false;
    let keys = f.keys.list();
    let mut out = Vec::new();
    for info in b.find().await?.all()? {
        let reference = match info.resource.kind.as_str() {
            "Secret" => "secretKeyRef",
            "ConfigMap" => "configMapKeyRef",
            _ => bail!("unsupported resource specified in --from"),
        };
        for key in info
            .object
            .map("data")
            .into_iter()
            .flat_map(|m| m.keys())
            .filter(|k| keys.is_empty() || keys.contains(k))
        {
            out.push(json!({"name": variable(key), "valueFrom": {reference: {"name": info.name, "key": key}}}));
        }
    }
    Ok(out)
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.client()?;
    modify::is_local(&ctx)?;
    crate::generate::printer(&ctx, "")?;
    super::check_all(&ctx)?;
    let (resources, pairs) = split(ctx.args())?;
    modify::is_local(&ctx)?;
    if resources.is_empty() && ctx.filenames().is_empty() {
        bail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    if f.list && !ctx.output().is_empty() {
        bail!("--list and --output may not be specified together");
    }
    if !f.keys.list().is_empty() && f.from.is_empty() {
        bail!("when specifying --keys, a configmap or secret must be provided with --from");
    }
    let is_input = |word: &String| word == "-";
    if ctx.filenames().iter().any(is_input) && pairs.iter().any(is_input) {
        bail!("standard input cannot be used for multiple arguments");
    }
    let (mut set, remove) = parse(&[f.env.as_slice(), &pairs].concat())?;
    if !f.from.is_empty() {
        set.extend(from_object(&ctx).await?);
    }
    for v in &mut set {
        v["name"] = json!(format!("{}{}", f.prefix.as_str(), v.text("name")));
    }
    let infos = super::find_as(&ctx, &resources, false).await?;
    if f.list {
        return list::run(&ctx, infos, &set, &remove).await;
    }
    let pattern = f.containers.to_string();
    let overwrite = f.overwrite;
    modify::set(&ctx, infos, &WORDS, |info, _| {
        let (kind, name) = (info.resource.kind.clone(), info.name.clone());
        let spec = podspec::spec_mut(&mut info.object)?;
        let containers = podspec::containers_mut(spec, &pattern, true);
        if containers.is_empty() {
            warn_of_none(&kind, &name, &pattern);
        }
        for c in containers {
            if !overwrite {
                no_overwrites(c, &set)?;
            }
            update(c, &set, &remove);
        }
        Ok(())
    })
    .await
}

/// Says that no container fits the pattern.
pub fn warn_of_none(kind: &str, name: &str, pattern: &str) {
    eprintln!(
        "Warning: {kind}/{name} does not have any containers matching {}",
        quote(pattern)
    );
}

fn no_overwrites(container: &Value, set: &[Value]) -> Result<()> {
    for current in container.list("env") {
        if set
            .iter()
            .any(|s| s.at("name") == current.at("name") && s.at("value") != current.at("value"))
        {
            bail!(
                "'{}' already has a value ({}), and --overwrite is false",
                current.text("name"),
                current.text("value")
            );
        }
    }
    Ok(())
}

/// Sets and removes variables of a container; those that are not named stay where they are.
pub fn update(container: &mut Value, set: &[Value], remove: &[String]) {
    let text = |v: &Value| v.text("name").to_string();
    let mut covered: HashSet<String> = remove.iter().cloned().collect();
    let mut env = Vec::new();
    for old in container
        .list("env")
        .iter()
        .filter(|e| !remove.contains(&text(e)))
    {
        match set.iter().find(|s| s.at("name") == old.at("name")) {
            Some(new) if covered.insert(text(new)) => env.push(new.clone()),
            Some(_) => {}
            None => env.push(old.clone()),
        }
    }
    env.extend(set.iter().filter(|s| covered.insert(text(s))).cloned());
    if env.is_empty() {
        container.as_object_mut().map(|m| m.remove("env"));
    } else {
        container["env"] = Value::Array(env);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(
            split(&words("deploy web A=1 B- -")).unwrap(),
            (words("deploy web"), words("A=1 B- -"))
        );
        assert!(
            split(&words("A=1 deploy/web"))
                .unwrap_err()
                .to_string()
                .ends_with(": A=1 deploy/web")
        );
        assert_eq!(
            parse(&words("A=1=2 B-")).unwrap(),
            (vec![json!({"name": "A", "value": "1=2"})], words("B"))
        );
        for (text, want) in [
            (
                "A=1 A-",
                "can not both modify and remove the same environment variable in the same command",
            ),
            ("nonsense", "unknown environment variable: nonsense"),
            (
                "1a=b",
                "\"1a\" is not a valid key name: a valid environment variable name must",
            ),
        ] {
            assert!(
                parse(&words(text))
                    .unwrap_err()
                    .to_string()
                    .starts_with(want),
                "{text}"
            );
        }
        assert_eq!(
            of_lines("A=1 # one\nnothing\nB=x=y\n"),
            [
                json!({"name": "A", "value": "1 "}),
                json!({"name": "B", "value": "x=y"})
            ]
        );
    }

    #[test]
    fn variables_keep_their_order() {
        let mut c = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        update(
            &mut c,
            &[
                json!({"name": "A", "value": "3"}),
                json!({"name": "C", "value": "4"}),
            ],
            &["B".into()],
        );
        assert_eq!(
            c["env"],
            json!([{"name": "A", "value": "3"}, {"name": "C", "value": "4"}])
        );
    }
}
