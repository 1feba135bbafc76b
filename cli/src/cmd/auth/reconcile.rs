//! `auth reconcile`: brings roles and bindings to what files say, adding what is missing.
//! Invariant: nothing is taken away unless asked for.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/auth/reconcile.go` and `component-helpers/auth/rbac/reconciliation`.

use crate::command::{Command, verb};
use crate::context::{Ctx, DryRun, With};
use crate::discovery::Resource;
use crate::error::{Error, Result, bail, message};
use crate::print::{self, Printer, order::Order};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, builder::KUBECTL, helper};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "reconcile",
    usage: "-f FILENAME",
    short: "Reconciles rules for RBAC role, role binding, cluster role, and cluster role binding objects",
    long: "Bring roles, cluster roles and their bindings to what files say. What is missing is made or added; what is too much is only taken away with --remove-extra-permissions and --remove-extra-subjects.",
    examples: "
      # What a file says
      kubectl auth reconcile -f my-rbac-rules.yaml",
    flags: &[print::FLAGS, FILE_FLAGS, DRY_RUN],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Take away rules that the file has not
    #[arg(long)]
    remove_extra_permissions: bool,
    /// Take away subjects that the file has not
    #[arg(long)]
    remove_extra_subjects: bool,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    if !ctx.has_files() {
        bail!("must specify one of -f and -k");
    }
    ctx.namespace()?;
    ctx.client()?;
    if !ctx.args().is_empty() {
        bail!("no arguments are allowed");
    }
    let dry_run = ctx
        .dry_run()
        .map_err(|why| message!("error accessing --dry-run flag for command reconcile: {why}"))?;
    let mut printer =
        Printer::new(&ctx, format!("reconciled{}", dry_run.suffix()))?.ordered(Order::Typed);
    let mut builder = Builder::new(&ctx)?;
    // What is no role is passed over, whether the server has it or not.
    builder.local = true;
    builder.typed = Some(KUBECTL);
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    for mut info in found.infos {
        errors.next_object();
        let field = match info.resource.kind.as_str() {
            _ if info.resource.group != "rbac.authorization.k8s.io" => continue,
            "Role" | "ClusterRole" => "rules",
            "RoleBinding" | "ClusterRoleBinding" => "subjects",
            _ => continue,
        };
        let Resource { version, kind, .. } = &info.resource;
        if version != "v1" {
            errors.push(message!(
                "only rbac.authorization.k8s.io/v1 is supported: not *{version}.{kind}"
            ));
            continue;
        }
        place(&ctx, &mut info)?;
        match one(&ctx, &info, field, dry_run).await {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

/// Puts an object where it belongs: what has no namespace is in the one in use, unless it can have none.
fn place(ctx: &Ctx, info: &mut Info) -> Result<()> {
    info.resource.namespaced = !info.resource.kind.starts_with("Cluster");
    if !info.resource.namespaced {
        info.namespace = String::new();
        return Ok(());
    }
    if info.namespace.is_empty() {
        info.namespace = ctx.namespace()?.0;
    }
    Ok(())
}

fn entries(object: &Value, field: &str) -> Vec<Value> {
    object[field].as_array().cloned().unwrap_or_default()
}

async fn one(
    ctx: &With<Flags>,
    info: &Info,
    field: &'static str,
    dry_run: DryRun,
) -> Result<Value> {
    let remove = if field == "rules" {
        ctx.flags().remove_extra_permissions
    } else {
        ctx.flags().remove_extra_subjects
    };
    let wanted = entries(&info.object, field);
    let live = match helper::get(ctx.client()?, &info.resource, &info.namespace, &info.name).await {
        Ok(o) => Some(o),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(e),
    };
    let have = live.as_ref().map(|l| entries(l, field)).unwrap_or_default();
    let missing: Vec<Value> = wanted
        .iter()
        .filter(|w| !have.iter().any(|h| covers(h, w)))
        .cloned()
        .collect();
    let extra: Vec<Value> = have
        .iter()
        .filter(|h| !wanted.iter().any(|w| covers(w, h)))
        .cloned()
        .collect();
    tell(field, live.is_none(), &missing, &extra, remove);
    let write = helper::Write::by("kubectl-auth", dry_run);
    let Some(mut object) = live else {
        return if dry_run == DryRun::Client {
            Ok(info.object.clone())
        } else {
            ensure_namespace(ctx, &write, &info.namespace).await?;
            write
                .create(ctx.client()?, &info.resource, &info.namespace, &info.object)
                .await
        };
    };
    let mut list = if remove {
        wanted
    } else {
        [have, missing.clone()].concat()
    };
    if missing.is_empty() && (extra.is_empty() || !remove) {
        return Ok(object);
    }
    list.dedup();
    object[field] = Value::Array(list);
    if dry_run == DryRun::Client {
        Ok(object)
    } else {
        write
            .replace(
                ctx.client()?,
                &info.resource,
                &info.namespace,
                &info.name,
                &object,
            )
            .await
    }
}

/// Makes the namespace that a role is to be in, where it is not there and one may.
async fn ensure_namespace(ctx: &Ctx, write: &helper::Write, name: &str) -> Result<()> {
    let tolerated = |why: &Error, also: &str| why.reason() == "Forbidden" || why.reason() == also;
    if name.is_empty() {
        return Ok(());
    }
    let client = ctx.client()?;
    let kind = crate::generate::kind("", "v1", "namespaces", "Namespace", false);
    match helper::get(client, &kind, "", name).await {
        Ok(_) => return Ok(()),
        Err(why) if tolerated(&why, "NotFound") => {}
        Err(why) => return Err(why),
    }
    let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
    match write.create(client, &kind, "", &namespace).await {
        Err(why) if !tolerated(&why, "AlreadyExists") => Err(why),
        _ => Ok(()),
    }
}

/// Whether one rule or subject says all that the other says.
fn covers(a: &Value, b: &Value) -> bool {
    let lists = [
        "verbs",
        "apiGroups",
        "resources",
        "resourceNames",
        "nonResourceURLs",
    ];
    if a.some("verbs").is_none() {
        return ["kind", "apiGroup", "name", "namespace"]
            .iter()
            .all(|f| a[*f].as_str().unwrap_or("") == b[*f].as_str().unwrap_or(""));
    }
    let texts = |v: &Value, f: &str| -> Vec<String> {
        v[f].as_array()
            .into_iter()
            .flatten()
            .filter_map(|x| x.as_str().map(String::from))
            .collect()
    };
    lists.iter().all(|f| {
        let (x, y) = (texts(a, f), texts(b, f));
        x.iter().any(|t| t == "*")
            || (x.is_empty() && (y.is_empty() || *f == "resourceNames"))
            || (!y.is_empty() && y.iter().all(|t| x.contains(t)))
    })
}

fn tell(field: &str, create: bool, missing: &[Value], extra: &[Value], remove: bool) {
    let list = |v: &Value, f: &str| {
        v[f].as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let text = |v: &Value, f: &str| v[f].as_str().unwrap_or("").to_string();
    let rule = |v: &Value| {
        format!(
            "{{Verbs:[{}] APIGroups:[{}] Resources:[{}] ResourceNames:[{}] NonResourceURLs:[{}]}}",
            list(v, "verbs"),
            list(v, "apiGroups"),
            list(v, "resources"),
            list(v, "resourceNames"),
            list(v, "nonResourceURLs")
        )
    };
    let subject = |v: &Value| {
        format!(
            "{{Kind:{} APIGroup:{} Name:{} Namespace:{}}}",
            text(v, "kind"),
            text(v, "apiGroup"),
            text(v, "name"),
            text(v, "namespace")
        )
    };
    let show = |v: &Value| {
        if field == "rules" {
            rule(v)
        } else {
            subject(v)
        }
    };
    if create {
        eprintln!("\treconciliation required create");
    } else if !missing.is_empty() || (!extra.is_empty() && remove) {
        eprintln!("\treconciliation required update");
    } else {
        return;
    }
    for (entries, what) in [(missing, "missing"), (extra, "extra")] {
        if !entries.is_empty() {
            let done = if what == "missing" {
                "added"
            } else if remove {
                "removed"
            } else {
                "kept"
            };
            eprintln!("\t{what} {field} {done}:");
            entries.iter().for_each(|e| eprintln!("\t\t{}", show(e)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_cover_each_other() {
        let r = |v: &[&str], x: &[&str]| json!({"verbs": v, "apiGroups": [""], "resources": x});
        assert!(covers(
            &r(&["get", "list"], &["pods"]),
            &r(&["get"], &["pods"])
        ));
        assert!(covers(&r(&["*"], &["pods"]), &r(&["get"], &["pods"])));
        assert!(!covers(
            &r(&["get"], &["pods"]),
            &r(&["get"], &["pods", "nodes"])
        ));
        assert!(covers(
            &json!({"kind": "User", "name": "a"}),
            &json!({"kind": "User", "name": "a", "apiGroup": ""})
        ));
    }
}
