//! `apply --server-side`: the server merges, and keeps who set which field.
//! Invariant: fields that client-side apply owned become those of server-side apply, once.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apply/apply.go` and `client-go/util/csaupgrade`.

use super::Flags;
use crate::context::{Ctx, With};
use crate::error::{Result, bail};
use crate::generate::LAST_APPLIED;
use crate::resource::{Info, Validation, helper};
use crate::typed::{APPLY, JSON_PATCH, Read};
use serde_json::{Value, json};

const HELP: &str = "Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";

/// Applies one object; it becomes what the server answers.
///
/// # Errors
/// What the server refuses; conflicts with what can be done about them.
pub async fn apply(ctx: &With<Flags>, info: &mut Info, validation: Validation) -> Result<()> {
    let manager = ctx.manager();
    let mut write = helper::Write::by(manager, ctx.dry_run()?)
        .validation(validation)
        .subresource(&ctx.flags().subresource);
    write.force = ctx.flags().force_conflicts;
    let body = info.object.clone();
    let send = async || write.patch_of(ctx.client()?, info, APPLY, &body).await;
    let mut object = match send().await {
        Ok(o) => o,
        Err(e) if e.is_conflict() => bail!("{e}\n{HELP}"),
        Err(e) => return Err(crate::resource::typo::explain(e, info)),
    };
    if let Err(e) = keep_annotation(ctx, info, manager, &mut object).await {
        eprintln!(
            "Warning: failed to migrate {LAST_APPLIED} for Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {e}"
        );
    } else {
        match migrate(ctx, info, manager, &object).await {
            Err(e) => eprintln!(
                "Warning: server rejected managed fields migration to Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {e}"
            ),
            Ok(false) => {}
            Ok(true) => match send().await {
                Ok(o) => object = o,
                Err(e) => eprintln!(
                    "Warning: failed to re-apply configuration after performing Server-Side Apply migration. This is non-fatal and will be retried next time you apply. Error: {e}"
                ),
            },
        }
    }
    info.object = object;
    Ok(())
}

/// The managers that own the annotation of client-side apply by that operation.
fn owners(object: &Value, operation: &str) -> Vec<String> {
    let owns = |e: &&Value| {
        e.text("operation") == operation
            && e.at("fieldsV1")
                .at("f:metadata")
                .at("f:annotations")
                .get(format!("f:{LAST_APPLIED}"))
                .is_some()
    };
    object
        .at("metadata")
        .list("managedFields")
        .iter()
        .filter(owns)
        .filter_map(|e| e.text_ptr("manager").map(String::from))
        .collect()
}

/// If the object has the annotation of client-side apply and nobody applies it, gives it a manager of its own, so that it stays.
async fn keep_annotation(ctx: &Ctx, info: &Info, manager: &str, object: &mut Value) -> Result<()> {
    let Some(text) = object
        .at("metadata")
        .at("annotations")
        .text_ptr(LAST_APPLIED)
    else {
        return Ok(());
    };
    if manager != "kubectl" || !owners(object, "Apply").is_empty() {
        return Ok(());
    }
    let mut body = json!({"apiVersion": object.at("apiVersion"), "kind": object.at("kind"), "metadata": {"name": info.name, "annotations": {LAST_APPLIED: text}}});
    if info.resource.namespaced {
        body["metadata"]["namespace"] = json!(info.namespace);
    }
    let write = helper::Write::by("kubectl-last-applied", ctx.dry_run()?);
    *object = write.patch_of(ctx.client()?, info, APPLY, &body).await?;
    Ok(())
}

/// Gives the fields of client-side apply to server-side apply. Says whether there were any.
async fn migrate(ctx: &Ctx, info: &Info, manager: &str, object: &Value) -> Result<bool> {
    let old = owners(object, "Update");
    let Some(entries) = upgraded(object.at("metadata").at("managedFields"), &old, manager) else {
        return Ok(false);
    };
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": object.at("metadata").at("resourceVersion")},
    ]);
    helper::Write::by(manager, ctx.dry_run()?)
        .patch_of(ctx.client()?, info, JSON_PATCH, &patch)
        .await?;
    Ok(true)
}

/// The managed fields with the client-side entries' fields in the server-side entry; nothing if there are none.
fn upgraded(entries: &Value, old: &[String], manager: &str) -> Option<Value> {
    let list = entries.as_array()?;
    let plain = |e: &Value| e.text("subresource").is_empty();
    let is_old = |e: &Value| {
        old.iter().any(|o| e.text("manager") == o.as_str())
            && e.text("operation") == "Update"
            && plain(e)
    };
    let (old, mut rest): (Vec<Value>, Vec<Value>) = list.iter().cloned().partition(is_old);
    if old.is_empty() {
        return None;
    }
    if let Some(target) = rest
        .iter_mut()
        .find(|e| e.text("manager") == manager && e.text("operation") == "Apply" && plain(e))
    {
        for e in &old {
            unite(&mut target["fieldsV1"], e.at("fieldsV1"));
        }
    }
    Some(Value::Array(rest))
}

fn unite(into: &mut Value, from: &Value) {
    let (Some(a), Some(b)) = (into.as_object_mut(), from.as_object()) else {
        return;
    };
    for (k, v) in b {
        unite(a.entry(k.clone()).or_insert_with(|| json!({})), v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_side_fields_move_over() {
        let entries = json!([
            {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:a": {}}}},
            {"manager": "old", "operation": "Update", "fieldsV1": {"f:spec": {"f:b": {}}}},
            {"manager": "x", "operation": "Update", "fieldsV1": {}}
        ]);
        let up = upgraded(&entries, &["old".into()], "kubectl").unwrap();
        assert_eq!(up.as_array().unwrap().len(), 2);
        assert_eq!(up[0]["fieldsV1"], json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        assert!(upgraded(&up, &["old".into()], "kubectl").is_none());
    }
}
