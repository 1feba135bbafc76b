//! `set env`: sets, removes and lists environment variables.
//! Invariant: variables that are not named stay, in their order.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_env.go`.

use super::{COMMON, builder};
use crate::cmd::modify;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::podspec;
use crate::print;
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, SELECTOR};
use serde_json::{Value, json};

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
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        DRY_RUN,
        COMMON,
        &[
            Flag::str("containers", 'c', "*", "The containers to change; * stands for anything"),
            Flag::str("from", '\0', "", "Take the keys of this config map or secret (TYPE/NAME)"),
            Flag::str("prefix", '\0', "", "Put before the names of variables"),
            Flag::array("env", 'e', "A variable (NAME=VALUE); may be repeated"),
            Flag::slice("keys", '\0', "Only these keys of what --from names"),
            Flag::bool("list", '\0', false, "List the variables"),
            Flag::bool("resolve", '\0', false, "When listing, show what references come to"),
            Flag::bool("overwrite", '\0', true, "Change variables that are there already"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

/// The variables to set and the names to remove.
fn parse(pairs: &[String]) -> Result<(Vec<Value>, Vec<String>)> {
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for p in pairs {
        match p.split_once('=') {
            Some((k, v)) => set.push(json!({"name": k, "value": v})),
            None => match p.strip_suffix('-') {
                Some(k) => remove.push(k.to_string()),
                None => return Err(Error::msg(format!("unknown environment variable spec: {p}"))),
            },
        }
    }
    if let Some(k) = remove.iter().find(|r| set.iter().any(|s: &Value| s["name"] == r.as_str())) {
        return Err(Error::msg(format!("can not both modify and remove an environment variable in the same command: {k}")));
    }
    Ok((set, remove))
}

async fn from_object(ctx: &Ctx) -> Result<Vec<Value>> {
    let f = ctx.flags();
    let mut b = Builder::new(ctx)?.args(&[f.str("from").to_string()]);
    b.filenames.clear();
    b.selector = None;
    b.all = false;
    let keys = f.list("keys");
    let mut out = Vec::new();
    for info in b.find().await?.all()? {
        let reference = match info.resource.kind.as_str() {
            "Secret" => "secretKeyRef",
            "ConfigMap" => "configMapKeyRef",
            _ => return Err(Error::msg("unsupported resource specified in --from")),
        };
        for key in info.object["data"].as_object().into_iter().flat_map(|m| m.keys()).filter(|k| keys.is_empty() || keys.contains(k)) {
            let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_uppercase() } else { '_' }).collect();
            out.push(json!({"name": name, "valueFrom": {reference: {"name": info.name, "key": key}}}));
        }
    }
    Ok(out)
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.bool("all") && !f.str("selector").is_empty() {
        return Err(Error::msg("cannot set --all and --selector at the same time"));
    }
    let (resources, mut pairs) = modify::split_pairs(ctx.args(), "environment")
        .map_err(|_| Error::msg(format!("all resources must be specified before environment changes: {}", ctx.args().join(" "))))?;
    pairs.extend(f.list("env"));
    if resources.is_empty() && f.list("filename").is_empty() {
        return Err(Error::msg("one or more resources must be specified as <resource> <name> or <resource>/<name>"));
    }
    if f.bool("list") && !f.str("output").is_empty() {
        return Err(Error::msg("--list and --output may not be specified together"));
    }
    if !f.list("keys").is_empty() && f.str("from").is_empty() {
        return Err(Error::msg("when specifying --keys, a configmap or secret must be provided with --from"));
    }
    let (mut set, remove) = parse(&pairs)?;
    if !f.str("from").is_empty() {
        set.extend(from_object(&ctx).await?);
    }
    for v in &mut set {
        v["name"] = json!(format!("{}{}", f.str("prefix"), v["name"].as_str().unwrap_or("")));
    }
    if f.bool("list") {
        return list(&ctx, &resources, &set, &remove).await;
    }
    if set.is_empty() && remove.is_empty() {
        return Err(Error::msg("at least one environment variable must be provided"));
    }
    let pattern = f.str("containers").to_string();
    let overwrite = f.bool("overwrite");
    modify::set(&ctx, builder(&ctx, &resources)?, "env updated", false, |info| {
        let (kind, name) = (info.resource.kind.clone(), info.name.clone());
        let spec = podspec::spec_mut(&mut info.object)?;
        let containers = podspec::containers_mut(spec, &pattern, true);
        if containers.is_empty() {
            eprintln!("Warning: {kind}/{name} does not have any containers matching {}", crate::error::quote(&pattern));
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

fn no_overwrites(container: &Value, set: &[Value]) -> Result<()> {
    for current in container["env"].as_array().into_iter().flatten() {
        if set.iter().any(|s| s["name"] == current["name"] && s["value"] != current["value"]) {
            return Err(Error::msg(format!(
                "'{}' already has a value ({}), and --overwrite is false",
                current["name"].as_str().unwrap_or(""),
                current["value"].as_str().unwrap_or("")
            )));
        }
    }
    Ok(())
}

fn update(container: &mut Value, set: &[Value], remove: &[String]) {
    let mut env: Vec<Value> = container["env"].as_array().cloned().unwrap_or_default();
    env.retain(|e| !remove.iter().any(|r| e["name"] == r.as_str()));
    for v in set {
        match env.iter_mut().find(|e| e["name"] == v["name"]) {
            Some(e) => *e = v.clone(),
            None => env.push(v.clone()),
        }
    }
    if env.is_empty() {
        container.as_object_mut().map(|m| m.remove("env"));
    } else {
        container["env"] = Value::Array(env);
    }
}

/// How a reference is told: `configmap settings, key color`.
fn reference(from: &Value) -> String {
    let text = |v: &Value, f: &str| v[f].as_str().unwrap_or("").to_string();
    if let Some(r) = from.get("configMapKeyRef") {
        return format!("configmap {}, key {}", text(r, "name"), text(r, "key"));
    }
    if let Some(r) = from.get("secretKeyRef") {
        return format!("secret {}, key {}", text(r, "name"), text(r, "key"));
    }
    if let Some(r) = from.get("fieldRef") {
        return format!("field path {}", text(r, "fieldPath"));
    }
    let r = &from["resourceFieldRef"];
    let container = text(r, "containerName");
    if container.is_empty() { format!("resource field {}", text(r, "resource")) } else { format!("resource field {}/{}", container, text(r, "resource")) }
}

async fn list(ctx: &Ctx, resources: &[String], set: &[Value], remove: &[String]) -> Result<()> {
    let f = ctx.flags();
    let found = builder(ctx, resources)?.find().await?;
    let mut errors = found.errors;
    for mut info in found.infos {
        let kind = info.resource.kind.clone();
        let mut lines = String::new();
        let spec = podspec::spec_mut(&mut info.object)?.clone();
        let mut copy = spec;
        for c in podspec::containers_mut(&mut copy, f.str("containers"), true) {
            update(c, set, remove);
            lines += &format!("# {kind} {}, container {}\n", info.name, c["name"].as_str().unwrap_or(""));
            for e in c["env"].as_array().into_iter().flatten() {
                let name = e["name"].as_str().unwrap_or("");
                match e.get("valueFrom") {
                    None => lines += &format!("{name}={}\n", e["value"].as_str().unwrap_or("")),
                    Some(from) if !f.bool("resolve") => lines += &format!("# {name} from {}\n", reference(from)),
                    Some(from) => match resolve(ctx, &info, from).await {
                        Ok(v) => lines += &format!("{name}={v}\n"),
                        Err(e) => {
                            lines += &format!("# {name} from {}\n", reference(from));
                            errors.push(Error::msg(format!("error retrieving reference for {name}: {e}")));
                        }
                    },
                }
            }
        }
        print::put(&lines)?;
    }
    Error::collect(errors)
}

async fn resolve(ctx: &Ctx, info: &Info, from: &Value) -> Result<String> {
    use base64::Engine;
    let client = ctx.client()?;
    let read = async |kind: &str, r: &Value| {
        let path =
            format!("/api/v1/namespaces/{}/{kind}/{}", crate::client::segment(&info.namespace), crate::client::segment(r["name"].as_str().unwrap_or("")));
        let object = client.json(&crate::client::Call::get(path)).await?;
        let key = r["key"].as_str().unwrap_or("");
        object["data"][key].as_str().map(String::from).ok_or_else(|| Error::msg(format!("key {key} not found in {kind} {}", r["name"].as_str().unwrap_or(""))))
    };
    if let Some(r) = from.get("configMapKeyRef") {
        return read("configmaps", r).await;
    }
    if let Some(r) = from.get("secretKeyRef") {
        let text = read("secrets", r).await?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| Error::msg(e.to_string()))?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    if let Some(r) = from.get("fieldRef") {
        let path = format!(".{}", r["fieldPath"].as_str().unwrap_or(""));
        let path = crate::jsonpath::relaxed(&path).map_err(Error::msg)?;
        return crate::jsonpath::JsonPath::parse(&path).and_then(|p| p.allow_missing(true).render(&info.object)).map_err(Error::msg);
    }
    Err(Error::msg("resource fields are only known where the pod runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_their_order() {
        let mut c = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        update(&mut c, &[json!({"name": "A", "value": "3"}), json!({"name": "C", "value": "4"})], &["B".into()]);
        assert_eq!(c["env"], json!([{"name": "A", "value": "3"}, {"name": "C", "value": "4"}]));
        assert_eq!(reference(&json!({"configMapKeyRef": {"name": "settings", "key": "color"}})), "configmap settings, key color");
    }
}
