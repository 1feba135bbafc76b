//! Who asks and who may, as others say it: a server beside real HTTPS servers on the loopback.

mod authorization;
mod issuers;
mod token_webhook;

use std::{future::Future, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{https_server::HttpsServer, server::Server};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// What becomes true within some seconds.
async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    for _ in 0..400 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: it did not come to be");
}

/// Who the holder of a token is to the server; the code where it is nobody.
async fn who(server: &Server, token: &str) -> Result<Value, u16> {
    let answer = server.send_as(token, "POST", WHO, &json!({})).await;
    match answer.code {
        201 => Ok(answer.json()["status"]["userInfo"].clone()),
        code => Err(code),
    }
}

/// A folder for files of configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        // as who deploys files does it: whole or not at all
        let beside = self.0.path().join(format!("{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }

    /// A kubeconfig of a server, at this path of it.
    fn kubeconfig(&self, name: &str, server: &HttpsServer, path: &str) -> PathBuf {
        let authority = self.write(&format!("{name}.ca"), &server.authority);
        let authority = authority.file_name().unwrap().to_str().unwrap();
        let url = format!("{}{path}", server.url());
        self.write(
            name,
            &format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: webhook\ncontexts: [{{name: webhook, context: {{cluster: there, user: here}}}}]\n\
                 clusters: [{{name: there, cluster: {{server: '{url}', certificate-authority: {authority}}}}}]\nusers: [{{name: here, user: {{token: secret}}}}]\n"
            ),
        )
    }
}

#[tokio::test]
async fn keys_may_be_told_to_be_elsewhere() {
    let elsewhere = "https://keys.example.com/jwks";
    let server = Server::with(|config| {
        config.service_account_jwks_uri = Some(elsewhere.into());
    })
    .await;
    let told = server
        .get("/.well-known/openid-configuration")
        .await
        .is(200);
    assert_eq!(told.json()["jwks_uri"], elsewhere);
}
