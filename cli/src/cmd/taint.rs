//! `taint`: adds, changes and removes taints of nodes.
//! Invariant: a taint of the same key and effect is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/taint`.

use super::modify;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{DryRun, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::generate::MANAGER;
use crate::print::{self, Printer, order::Order};
use crate::resource::{Builder, DRY_RUN, SELECTOR, Validation};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::names::{is_label_value, is_qualified_name};

pub static COMMAND: Command = Command {
    name: "taint",
    usage: "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N",
    short: "Update the taints on one or more nodes",
    long: "Set the taints of nodes. A taint is a key, perhaps a value, and an effect: NoSchedule, PreferNoSchedule or NoExecute. A key or KEY:EFFECT followed by - is removed.",
    examples: "
      # Keep pods that do not tolerate it away
      kubectl taint nodes foo dedicated=special-user:NoSchedule
      # Remove one effect of a key
      kubectl taint nodes foo dedicated:NoSchedule-
      # Remove all of a key
      kubectl taint nodes foo dedicated-
      # On nodes with a label
      kubectl taint node -l myLabel=X dedicated=foo:PreferNoSchedule
      # Without a value
      kubectl taint nodes foo bar:NoSchedule",
    flags: &[print::FLAGS, SELECTOR, DRY_RUN, Validation::FLAG, MANAGER],
    defaults: &[("field-manager", "kubectl-taint")],
    run: verb!(run: Flags),
    words: Some(Words::Objects {
        types: &["node"],
        several: true,
    }),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Change taints that are there already
    #[arg(long)]
    overwrite: bool,
    /// All nodes
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl Taint {
    fn json(&self) -> Value {
        let mut t = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            t["value"] = json!(self.value);
        }
        t
    }
    /// Whether a removal is of this taint, too.
    fn is_taken_by(&self, removal: &Taint) -> bool {
        removal.key == self.key && (removal.effect.is_empty() || removal.effect == self.effect)
    }
    fn shown(&self) -> String {
        match (self.effect.is_empty(), self.value.is_empty()) {
            (true, true) => self.key.clone(),
            (true, false) => format!("{}={}:", self.key, self.value),
            (false, true) => format!("{}:{}", self.key, self.effect),
            (false, false) => format!("{}={}:{}", self.key, self.value, self.effect),
        }
    }
}

fn parse_one(spec: &str) -> Result<Taint> {
    let invalid = || message!("invalid taint spec: {spec}");
    let because = |why: &[String]| message!("invalid taint spec: {spec}, {}", why.join("; "));
    let (key, value, effect) = match spec.split(':').collect::<Vec<_>>().as_slice() {
        [key] => (*key, "", ""),
        [_, effect] if !matches!(*effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") => {
            bail!("invalid taint effect: {effect}, unsupported taint effect");
        }
        [head, effect] => match head.split('=').collect::<Vec<_>>().as_slice() {
            [key] => (*key, "", *effect),
            [key, value] => (*key, *value, *effect),
            _ => return Err(invalid()),
        },
        _ => return Err(invalid()),
    };
    for wrong in [is_label_value(value), is_qualified_name(key)] {
        if !wrong.is_empty() {
            return Err(because(&wrong));
        }
    }
    Ok(Taint {
        key: key.into(),
        value: value.into(),
        effect: effect.into(),
    })
}

fn parse(specs: &[String]) -> Result<(Vec<Taint>, Vec<Taint>)> {
    let (mut add, mut remove): (Vec<Taint>, Vec<Taint>) = (vec![], vec![]);
    for spec in specs {
        if let Some(body) = spec.strip_suffix('-') {
            remove.push(parse_one(body)?);
        } else {
            let t = parse_one(spec)?;
            if t.effect.is_empty() {
                bail!("invalid taint spec: {spec}");
            }
            if add.iter().any(|a| a.key == t.key && a.effect == t.effect) {
                bail!(
                    "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                    t.key,
                    t.value,
                    t.effect
                );
            }
            add.push(t);
        }
    }
    Ok((add, remove))
}

/// Words before the first taint name nodes.
fn split(args: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let is_taint = |s: &str| s.contains('=') || s.contains(':') || s.ends_with('-');
    let first = args.iter().position(|s| is_taint(s)).unwrap_or(args.len());
    match args[first..].iter().find(|s| !is_taint(s)) {
        Some(s) => Err(message!(
            "all resources must be specified before taint changes: {s}"
        )),
        None => Ok((args[..first].to_vec(), args[first..].to_vec())),
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.namespace()?;
    ctx.dry_run()?;
    Validation::of(&ctx)?;
    let (resources, specs) = split(ctx.args())?;
    if resources.is_empty() {
        bail!("one or more resources must be specified as <resource> <name>");
    }
    if specs.is_empty() {
        bail!("at least one taint update is required");
    }
    let (add, remove) = parse(&specs).map_err(|e| ctx.usage(e))?;
    let word = resources[0].to_lowercase();
    if ctx.discovery()?.lookup(&word).await?.kind != "Node" {
        bail!("invalid resource type {word}, only node types are supported");
    }
    let clash: Vec<String> = add
        .iter()
        .flat_map(|a| remove.iter().filter(|r| a.is_taken_by(r)))
        .map(|r| format!("{}={}", r.key, r.effect))
        .collect();
    if !clash.is_empty() {
        bail!(
            "can not both modify and remove the following taint(s) in the same command: {}",
            clash.join(", ")
        );
    }
    if f.all && !ctx.selector().is_empty() {
        bail!("setting 'all' parameter with a non empty selector is prohibited");
    }
    if !f.all && ctx.selector().is_empty() && resources.len() < 2 {
        bail!("at least one resource name must be specified since 'all' parameter is not set");
    }
    // With a selector only the type counts.
    let resources = match ctx.selector() {
        "" => resources,
        _ => vec!["nodes".into()],
    };
    let mut builder = Builder::new(&ctx)?.args(&resources);
    builder.latest = true;
    let mut found = builder.find().await?;
    let mut printer = Printer::late(&ctx, "").ordered(Order::Typed);
    let mut errors = found.failures();
    for info in found.infos {
        errors.next_object();
        let mut after = info.clone();
        let what = match apply(&mut after.object, &add, &remove, f.overwrite) {
            Ok(w) => w,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        if ctx.output() != "name" {
            // A dry run is not told: kubectl's own message for it is overwritten.
            printer.operation(what);
        }
        let object = if ctx.dry_run()? == DryRun::Client {
            Ok(after.object)
        } else {
            modify::send(&ctx, &info, &after.object).await
        };
        match object {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

/// Changes the node's taints; says what was done.
fn apply(
    node: &mut Value,
    add: &[Taint],
    remove: &[Taint],
    overwrite: bool,
) -> Result<&'static str> {
    let old: Vec<Value> = node.at("spec").list("taints").to_vec();
    let at = |t: &Taint, v: &Value| {
        v.text("key") == t.key.as_str() && v.text("effect") == t.effect.as_str()
    };
    let exists: Vec<&Taint> = add
        .iter()
        .filter(|t| old.iter().any(|v| at(t, v)))
        .collect();
    if !exists.is_empty() && !overwrite {
        let mut keys: Vec<&str> = exists.iter().map(|t| t.key.as_str()).collect();
        keys.dedup();
        bail!(
            "node {} already has {} taint(s) with same effect(s) and --overwrite is false",
            node.at("metadata").text("name"),
            keys.join(",")
        );
    }
    let mut missing = Vec::new();
    let mut new: Vec<Value> = add.iter().map(Taint::json).collect();
    new.extend(
        old.iter()
            .filter(|v| !add.iter().any(|t| at(t, v)))
            .cloned(),
    );
    let (added, all) = (old.len() != new.len(), new.len());
    for r in remove {
        let before = new.len();
        new.retain(|v| {
            !(v.text("key") == r.key.as_str()
                && (r.effect.is_empty() || v.text("effect") == r.effect.as_str()))
        });
        if new.len() == before {
            let named = if r.effect.is_empty() {
                r.shown()
            } else {
                // a removal has no value
                format!("{}:{}", r.key, r.effect)
            };
            missing.push(message!("taint {} not found", quote(&named)));
        }
    }
    Error::collect(missing)?;
    let deleted = new.len() != all;
    if new.is_empty() {
        node["spec"].as_object_mut().map(|m| m.remove("taints"));
    } else {
        node["spec"]["taints"] = Value::Array(new);
    }
    Ok(match (added, deleted) {
        _ if overwrite => "modified",
        (true, true) => "modified",
        (true, false) => "tainted",
        (false, _) => "untainted",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        let mut node = json!({"metadata": {"name": "n"}, "spec": {}});
        let mut run = |line: &str, overwrite: bool| {
            let (a, r) = parse(&words(line)).unwrap();
            apply(&mut node, &a, &r, overwrite).map_err(|e| e.to_string())
        };
        assert_eq!(run("key=v:NoSchedule", false), Ok("tainted"));
        assert_eq!(
            run("key=w:NoSchedule", false),
            Err(
                "node n already has key taint(s) with same effect(s) and --overwrite is false"
                    .into()
            )
        );
        assert_eq!(run("key=w:NoSchedule", true), Ok("modified"));
        assert_eq!(
            run("nosuch-", false),
            Err("taint \"nosuch\" not found".into())
        );
        assert_eq!(run("key-", false), Ok("untainted"));
        for (spec, want) in [
            (
                "a=b:Sometimes",
                "invalid taint effect: Sometimes, unsupported taint effect",
            ),
            ("a:", "invalid taint effect: , unsupported taint effect"),
            ("a=b=c:NoSchedule", "invalid taint spec: a=b=c:NoSchedule"),
            ("a:b:c", "invalid taint spec: a:b:c"),
            ("a", "invalid taint spec: a"),
            ("a=b", "invalid taint spec: a=b, name part must consist of"),
            (
                "=b:NoSchedule",
                "invalid taint spec: =b:NoSchedule, name part must be non-empty; name part must consist of",
            ),
            (
                "a=-b:NoSchedule",
                "invalid taint spec: a=-b:NoSchedule, a valid label must be an empty string or consist of",
            ),
        ] {
            let said = parse(&words(spec)).unwrap_err().to_string();
            assert!(said.starts_with(want), "{said}");
        }
    }
}
