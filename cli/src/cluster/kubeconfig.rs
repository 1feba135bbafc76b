//! Writes the admin context `skiff` into a kubeconfig, the way kind does: everything else in the file stays as it was.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use skiff_api::machinery::yaml;

use crate::typed::Read;

/// What the context is called, unless another cluster that runs is called so in the same file.
const NAME: &str = "skiff";
/// So long another server has to take a connection, or it does not run.
const ANSWER: Duration = Duration::from_millis(300);

/// Who may reach which server.
pub struct Access<'a> {
    pub server: String,
    /// Tells the clusters of a machine apart.
    pub instance: &'a str,
    pub ca_pem: &'a str,
    pub certificate_pem: &'a str,
    pub key_pem: &'a str,
}

/// The file that is written when none is named: the first of `$KUBECONFIG`, else `~/.kube/config`.
pub fn default_path() -> PathBuf {
    let listed = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    if let Some(first) = listed
        .and_then(|list| std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty()))
    {
        return first;
    }
    std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| "/root".into())
        .join(".kube/config")
}

/// Puts the context in and makes it the current one; returns its name.
pub fn merge(path: &Path, access: &Access) -> anyhow::Result<String> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    let (mut config, _) =
        yaml::read_first(&text).with_context(|| format!("{shown} is no kubeconfig"))?;
    if config.is_null() {
        config = json!({});
    }
    let top = config
        .as_object_mut()
        .with_context(|| format!("{shown} is no kubeconfig"))?;
    for (field, value) in [
        ("apiVersion", json!("v1")),
        ("kind", json!("Config")),
        ("preferences", json!({})),
    ] {
        top.entry(field).or_insert(value);
    }
    let encoded = |pem: &str| STANDARD.encode(pem);
    let cluster =
        json!({"server": access.server, "certificate-authority-data": encoded(access.ca_pem)});
    let user = json!({"client-certificate-data": encoded(access.certificate_pem), "client-key-data": encoded(access.key_pem)});
    let name = match is_anothers(top, &cluster) {
        true => format!("{NAME}-{}", access.instance),
        false => NAME.to_owned(),
    };
    put(top, "clusters", json!({"name": name, "cluster": cluster}))?;
    put(top, "users", json!({"name": name, "user": user}))?;
    let context = json!({"cluster": name, "user": name});
    put(top, "contexts", json!({"name": name, "context": context}))?;
    top.insert("current-context".into(), name.as_str().into());
    write(path, &yaml::write(&config))?;
    Ok(name)
}

/// Whether [`NAME`] leads to another cluster that runs: one of another authority, whose server takes connections elsewhere than ours does.
fn is_anothers(top: &Map<String, Value>, ours: &Value) -> bool {
    let clusters = top.get("clusters").and_then(Value::as_array);
    let named = |item: &&Value| item.text_ptr("name") == Some(NAME);
    let Some(there) = clusters.and_then(|all| all.iter().find(named)) else {
        return false;
    };
    let same = |field| there["cluster"].text_ptr(field) == ours.text_ptr(field);
    if same("certificate-authority-data") || same("server") {
        return false;
    }
    let server = there["cluster"].text_ptr("server").unwrap_or_default();
    let address = server.trim_start_matches("https://").parse();
    address.is_ok_and(|address| TcpStream::connect_timeout(&address, ANSWER).is_ok())
}

/// Puts an entry into a list, in the place of the one of its name.
fn put(top: &mut Map<String, Value>, list: &str, entry: Value) -> anyhow::Result<()> {
    let slot = top.entry(list).or_insert_with(|| json!([]));
    if slot.is_null() {
        *slot = json!([]);
    }
    let items = slot
        .as_array_mut()
        .with_context(|| format!("{list} of the kubeconfig is no list"))?;
    items.retain(|item| item.text_ptr("name") != entry.text_ptr("name"));
    items.push(entry);
    Ok(())
}

/// Beside its place first, then renamed: a reader never sees half of it. Private, because it holds a key, whoever could read it before.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Ok(skiff_server::auth::pki::write_file(&real, text, 0o600)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_the_rest_as_it_was() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(
            &path,
            "apiVersion: v1\nkind: Config\nclusters:\n- name: other\n  cluster: {server: https://a}\ncontexts: null\ncurrent-context: other\nextensions: [1]\n",
        )
        .unwrap();
        let access = Access {
            server: "https://127.0.0.1:1".into(),
            instance: "0a1b",
            ca_pem: "ca",
            certificate_pem: "cert",
            key_pem: "key",
        };
        merge(&path, &access).unwrap();
        merge(&path, &access).unwrap();
        let (value, _) = yaml::read_first(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(
            value["clusters"][0]["cluster"]["server"],
            Value::from("https://a")
        );
        assert_eq!(value["extensions"][0], Value::from(1));
        assert_eq!(value["current-context"], Value::from(NAME));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "a key is in it now"
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing half-written stays"
        );
    }

    #[test]
    fn a_cluster_that_runs_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |server: String, ca_pem| {
            let access = Access {
                server,
                instance: ca_pem,
                ca_pem,
                certificate_pem: "cert",
                key_pem: "key",
            };
            merge(&path, &access).unwrap()
        };
        let server = format!("https://{}", first.local_addr().unwrap());
        assert_eq!(at(server.clone(), "one"), "skiff");
        assert_eq!(at("https://127.0.0.1:1".into(), "two"), "skiff-two");
        assert_eq!(at(server.clone(), "one"), "skiff");
        let (value, _) = yaml::read_first(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["contexts"].as_array().unwrap().len(), 2);
        // one that begins anew where it was is no other
        assert_eq!(at(server, "three"), "skiff");
        // one that is gone does not
        drop(first);
        assert_eq!(at("https://127.0.0.1:1".into(), "two"), "skiff");
    }
}
