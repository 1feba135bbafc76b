//! Encryption at rest: what lies in the data folder, before and after restarts, and with other keys.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skiff_server::Data;

use crate::server::Server;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const A: &str = "{name: a, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}";
const B: &str = "{name: b, secret: YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=}";

/// Where a cluster keeps its state while servers come and go.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Disk {
        Disk(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// A server on it, which encrypts these resources by these providers.
    async fn serve(&self, resources: &str, providers: &str) -> Server {
        let file = self.0.path().join("encryption.yaml");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [{resources}]\n  providers: [{providers}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let data = self.data();
        Server::with(|config| {
            config.data = Data::Folder(data);
            config.encryption.file = Some(file);
        })
        .await
    }

    /// How many files hold this text.
    fn holds(&self, text: &str) -> usize {
        fn within(folder: &Path, text: &[u8]) -> usize {
            let entries = std::fs::read_dir(folder).unwrap();
            let found = entries.map(|entry| {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => within(&path, text),
                    false => {
                        let bytes = std::fs::read(&path).unwrap();
                        usize::from(bytes.windows(text.len()).any(|part| part == text))
                    }
                }
            });
            found.sum()
        }
        within(&self.data(), text.as_bytes())
    }
}

fn object(name: &str, text: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"k": text}, "data": {}})
}

fn map(name: &str, text: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": text}})
}

fn secret_of(answer: &Value) -> String {
    answer["data"]["k"].as_str().unwrap_or_default().into()
}

#[tokio::test]
async fn what_is_secret_is_not_on_disk() {
    let disk = Disk::new();
    for (at, method) in ["aescbc", "aesgcm", "secretbox"].into_iter().enumerate() {
        let by = format!("{{{method}: {{keys: [{A}]}}}}, {{identity: {{}}}}");
        let disk = Disk::new();
        let server = disk.serve("secrets, configmaps", &by).await;
        let name = format!("one-{at}");
        server.make(SECRETS, &object(&name, "open-sesame")).await;
        server.make(MAPS, &map(&name, "open-sesame")).await;
        server.make(SECRETS, &object("gone", "open-sesame")).await;
        server.delete(&format!("{SECRETS}/gone")).await.is(200);
        server
            .make(
                "/api/v1/namespaces",
                &json!({"metadata": {"name": "in-the-clear"}}),
            )
            .await;
        server.stop().await;
        // base64 of it, too
        assert_eq!(
            (disk.holds("open-sesame"), disk.holds("b3Blbi1zZXNhbWU")),
            (0, 0),
            "{method}"
        );
        assert_ne!(
            disk.holds(&format!("k8s:enc:{method}:v1:a:")),
            0,
            "{method}"
        );
        assert_ne!(disk.holds("in-the-clear"), 0, "what is not named is plain");
        let server = disk.serve("secrets, configmaps", &by).await;
        let found = server
            .get(&format!("{SECRETS}/{name}"))
            .await
            .is(200)
            .json();
        assert_eq!(secret_of(&found), "b3Blbi1zZXNhbWU=");
        let found = server.get(&format!("{MAPS}/{name}")).await.is(200).json();
        assert_eq!(secret_of(&found), "open-sesame");
        server.stop().await;
        assert_eq!(
            (disk.holds("open-sesame"), disk.holds("b3Blbi1zZXNhbWU")),
            (0, 0),
            "{method}"
        );
    }
    // without a configuration
    let server = Server::with(|config| config.data = Data::Folder(disk.data())).await;
    server.make(SECRETS, &object("one", "open-sesame")).await;
    server.stop().await;
    assert_ne!(disk.holds("b3Blbi1zZXNhbWU"), 0);
}

#[tokio::test]
async fn custom_objects_and_wildcards() {
    let disk = Disk::new();
    let server = disk
        .serve("'*.*'", &format!("{{aescbc: {{keys: [{A}]}}}}"))
        .await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({"metadata": {"name": "boats.sea.example.com"}, "spec": {"group": "sea.example.com", "scope": "Namespaced",
        "names": {"plural": "boats", "kind": "Boat"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    server
        .make(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        )
        .await;
    let boats = "/apis/sea.example.com/v1/namespaces/default/boats";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.get(boats).await.code != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let boat = json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": "mary"}, "cargo": "open-sesame"});
    server.make(boats, &boat).await;
    server.stop().await;
    assert_eq!(disk.holds("open-sesame"), 0);
    let server = disk
        .serve("'*.*'", &format!("{{aescbc: {{keys: [{A}]}}}}"))
        .await;
    let found = server.get(&format!("{boats}/mary")).await.is(200).json();
    assert_eq!(found["cargo"], "open-sesame");
    server.stop().await;
}

#[tokio::test]
async fn keys_are_rotated() {
    let disk = Disk::new();
    let server = disk
        .serve("secrets", &format!("{{aescbc: {{keys: [{A}]}}}}"))
        .await;
    server.make(SECRETS, &object("one", "open-sesame")).await;
    server.stop().await;
    // the new key writes, the old one reads
    let server = disk
        .serve("secrets", &format!("{{aescbc: {{keys: [{B}, {A}]}}}}"))
        .await;
    let path = format!("{SECRETS}/one");
    let found = server.get(&path).await.is(200).json();
    let before = found["metadata"]["resourceVersion"].clone();
    let replaced = server.put(&path, &found).await.is(200).json();
    assert_ne!(
        replaced["metadata"]["resourceVersion"], before,
        "what is not changed is written, as it is stale"
    );
    server.stop().await;
    let server = disk
        .serve("secrets", &format!("{{aescbc: {{keys: [{B}]}}}}"))
        .await;
    let found = server.get(&path).await.is(200).json();
    assert_eq!(secret_of(&found), "b3Blbi1zZXNhbWU=");
    server.stop().await;
}

#[tokio::test]
async fn a_missing_key_is_told_of_where_it_is_missed() {
    let disk = Disk::new();
    let server = disk
        .serve("secrets", &format!("{{aesgcm: {{keys: [{A}]}}}}"))
        .await;
    server.make(SECRETS, &object("one", "open-sesame")).await;
    server.make(MAPS, &map("plain", "x")).await;
    server.stop().await;
    let path = format!("{SECRETS}/one");
    let other =
        "{aesgcm: {keys: [{name: a, secret: YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=}]}}";
    for (providers, wanted) in [
        (
            format!("{{aesgcm: {{keys: [{B}]}}}}"),
            "no matching key was found for the provided AES transformer",
        ),
        (other.to_string(), "cipher: message authentication failed"),
        ("{identity: {}}".to_string(), "no matching prefix found"),
    ] {
        let server = disk.serve("secrets", &providers).await;
        assert_eq!(
            server.get(&path).await.is(500).message(),
            format!("Internal error occurred: {wanted}")
        );
        let listed = format!(
            "Internal error occurred: unable to transform key \"/registry/secrets/default/one\": {wanted}"
        );
        let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
        assert_eq!(server.get(SECRETS).await.is(500).message(), listed);
        assert_eq!(
            server
                .send("GET", "/api/v1/secrets", &table, "")
                .await
                .is(500)
                .message(),
            listed
        );
        server
            .patch(&path, "merge", &json!({"data": {}}))
            .await
            .is(500);
        server.delete(&path).await.is(500);
        // all else goes on
        server.get(&format!("{MAPS}/plain")).await.is(200);
        server
            .make(MAPS, &map(&format!("after-{}", wanted.len()), "x"))
            .await;
        server.stop().await;
    }
    let server = Server::with(|config| config.data = Data::Folder(disk.data())).await;
    let said = server.get(&path).await.is(500).message();
    assert_eq!(
        said,
        "Internal error occurred: identity transformer tried to read encrypted data"
    );
    server.stop().await;
    // and nothing of it was lost
    let server = disk
        .serve("secrets", &format!("{{aesgcm: {{keys: [{A}]}}}}"))
        .await;
    assert_eq!(
        secret_of(&server.get(&path).await.is(200).json()),
        "b3Blbi1zZXNhbWU="
    );
    server.stop().await;
}

#[tokio::test]
async fn addresses_of_services_that_nobody_can_read_are_not_handed_out() {
    let disk = Disk::new();
    let services = "/api/v1/namespaces/default/services";
    let service =
        |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let server = disk
        .serve(
            "services",
            &format!("{{aescbc: {{keys: [{A}]}}}}, {{identity: {{}}}}"),
        )
        .await;
    server.make(services, &service("one")).await;
    server.stop().await;
    let server = disk.serve("services", "{identity: {}}").await;
    let said = server
        .post(services, &service("two"))
        .await
        .is(500)
        .message();
    assert!(
        said.contains("some services could not be decrypted"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_any_of_its_keys_still_starts() {
    let disk = Disk::new();
    let server = disk
        .serve("'*.*'", &format!("{{secretbox: {{keys: [{A}]}}}}"))
        .await;
    server.make(MAPS, &map("one", "x")).await;
    server.stop().await;
    let server = disk
        .serve("'*.*'", &format!("{{secretbox: {{keys: [{B}]}}}}"))
        .await;
    server.get(&format!("{MAPS}/one")).await.is(500);
    server.get("/version").await.is(200);
    server.stop().await;
    let server = disk
        .serve("'*.*'", &format!("{{secretbox: {{keys: [{A}]}}}}"))
        .await;
    server.get(&format!("{MAPS}/one")).await.is(200);
    server.stop().await;
}
