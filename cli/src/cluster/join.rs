//! How a machine becomes a node: a bootstrap token proves both sides to each other, then the node asks for certificates of its own.
//!
//! Invariant: the server is believed only when it has signed with the token's secret what it says of itself; the token is used for
//! nothing but asking for the first certificate.
//! Follows the ways of `cmd/kubeadm/app/discovery/token`, `cluster-bootstrap/token/jws` and `pkg/kubelet/certificate/bootstrap`.

use crate::typed::Read;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::ingress;
use anyhow::{Context, bail, ensure};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Method;
use rand::RngExt;
use serde_json::{Value, json};
use skiff_api::machinery::yaml;
use skiff_watching::{
    Error,
    api::Api,
    client::{Client, Remote},
};

/// Below this share of its life a certificate is asked for anew.
const RENEW_AT: f64 = 0.2;
const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const NODES: &str = "/api/v1/nodes";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// `abcdef.0123456789abcdef`: a public name and a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub id: String,
    pub secret: String,
}

impl Token {
    pub fn parse(text: &str) -> anyhow::Result<Token> {
        let fits = |part: &str, length: usize| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match text.split_once('.') {
            Some((id, secret)) if fits(id, 6) && fits(secret, 16) => Ok(Token {
                id: id.into(),
                secret: secret.into(),
            }),
            _ => bail!(
                "--token takes six and sixteen small letters or digits with a dot between, as `skiff token create` prints it"
            ),
        }
    }

    pub fn random() -> Token {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut rng = rand::rng();
        let mut word = |length: usize| {
            (0..length)
                .map(|_| LETTERS[rng.random_range(0..LETTERS.len())] as char)
                .collect()
        };
        Token {
            id: word(6),
            secret: word(16),
        }
    }

    /// The detached signature of `content`: `HEADER..SIGNATURE`.
    pub fn sign(&self, content: &str) -> String {
        skiff_controllers::bootstrap_tokens::signer::sign(&self.id, &self.secret, content)
    }

    fn verify(&self, content: &str, signature: &str) -> bool {
        let Some((header, tag)) = signature.split_once("..") else {
            return false;
        };
        let said: Option<Value> = URL_SAFE_NO_PAD
            .decode(header)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        if said
            .is_none_or(|said| said.text("alg") != "HS256" || *said.at("kid") != self.id.as_str())
        {
            return false;
        }
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret.as_bytes());
        URL_SAFE_NO_PAD
            .decode(tag)
            .is_ok_and(|tag| ring::hmac::verify(&key, signed.as_bytes(), &tag).is_ok())
    }
}

/// What a node shows: PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Who joins what.
#[derive(Clone)]
pub struct Join {
    pub server: String,
    pub token: Option<Token>,
    pub node: String,
    /// Where certificates are kept.
    pub folder: PathBuf,
}

/// A client that shows a certificate.
pub fn client(server: &str, ca: &str, identity: &Identity) -> anyhow::Result<Client> {
    let identity = Some((identity.certificate.clone(), identity.key.clone()));
    Ok(Client::remote(&Remote {
        server: server.into(),
        authority: Some(ca.into()),
        identity,
        token: None,
    })?)
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Error> {
    let body = body
        .map(|body| body.to_string().into_bytes())
        .unwrap_or_default();
    let kind = if method == Method::PATCH {
        "application/strategic-merge-patch+json"
    } else {
        "application/json"
    };
    let text = Api::new(client.clone(), "skiff")
        .send(method, path, Some(kind), None, body)
        .await?;
    serde_json::from_str(&text).map_err(|source| Error::Decode {
        what: path.into(),
        source: source.into(),
    })
}

/// The HTTP status of a refusal; 0 when there was no answer.
fn code(error: &Error) -> u16 {
    error.status().map_or(0, |status| status.code)
}

impl Join {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn token(&self) -> anyhow::Result<&Token> {
        self.token.as_ref().context("this machine has not joined yet: --token is needed; `skiff token create` at the server prints one")
    }

    /// The authority of the server: as it was kept, else as the server says and proves by the token.
    pub async fn authority(&self) -> anyhow::Result<String> {
        if let Ok(kept) = std::fs::read_to_string(self.path("ca.crt")) {
            return Ok(kept);
        }
        let found = self.discover().await?;
        write(&self.path("ca.crt"), &found, 0o644)?;
        Ok(found)
    }

    async fn discover(&self) -> anyhow::Result<String> {
        let token = self.token()?;
        // what it says is believed for its signature, not for the certificate that it shows
        let anyone = Client::remote(&Remote {
            server: self.server.clone(),
            ..Remote::default()
        })?;
        let info = match send(&anyone, Method::GET, CLUSTER_INFO, None).await {
            Ok(info) => info,
            Err(error) if matches!(code(&error), 401 | 403 | 404) => {
                bail!(
                    "{} has no tokens for nodes: run `skiff token create` there first",
                    self.server
                )
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot reach {}", self.server));
            }
        };
        let content = info.at("data").text("kubeconfig");
        let Some(signature) = info
            .at("data")
            .text_ptr(&format!("jws-kubeconfig-{}", token.id))
        else {
            bail!(
                "{} does not know the token {}: it is wrong, or it has expired",
                self.server,
                token.id
            );
        };
        ensure!(
            token.verify(content, signature),
            "the secret of the token {} is wrong, or {} is not the server that it was made for",
            token.id,
            self.server
        );
        let (kubeconfig, _) =
            yaml::read_first(content).context("what the server says of itself is no kubeconfig")?;
        let encoded = kubeconfig.list("clusters").first().map_or("", |entry| {
            entry.at("cluster").text("certificate-authority-data")
        });
        Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
    }

    /// The node's certificate for speaking to the server; asked for when there is none, or when it nears its end.
    pub async fn client_identity(&self, ca: &str) -> anyhow::Result<Identity> {
        let kept = self.kept("client");
        if let Some(kept) = kept
            .as_ref()
            .filter(|kept| life_left(kept).is_some_and(|(_, share)| share > RENEW_AT))
        {
            return Ok(kept.clone());
        }
        let asking = match kept.filter(|kept| life_left(kept).is_some()) {
            Some(kept) => client(&self.server, ca, &kept)?,
            None => {
                let token = self.token()?;
                let token = Some(format!("{}.{}", token.id, token.secret));
                Client::remote(&Remote {
                    server: self.server.clone(),
                    authority: Some(ca.into()),
                    token,
                    identity: None,
                })?
            }
        };
        let (key, request) = self.request(&[])?;
        let certificate = certificate(
            &asking,
            "kubernetes.io/kube-apiserver-client-kubelet",
            &["digital signature", "client auth"],
            &request,
        )
        .await?;
        self.keep("client", Identity { certificate, key })
    }

    /// The node's certificate for those who speak to it.
    pub async fn serving_identity(
        &self,
        asking: &Client,
        names: &[String],
    ) -> anyhow::Result<Identity> {
        if let Some(kept) = self
            .kept("serving")
            .filter(|kept| life_left(kept).is_some_and(|(_, share)| share > RENEW_AT))
        {
            return Ok(kept);
        }
        self.announce(asking, names).await?;
        let (key, request) = self.request(names)?;
        let certificate = certificate(
            asking,
            "kubernetes.io/kubelet-serving",
            &["digital signature", "server auth"],
            &request,
        )
        .await?;
        self.keep("serving", Identity { certificate, key })
    }

    /// The certificate of the one here who serves Ingresses, and sees their certificates.
    pub async fn ingress_identity(&self, asking: &Client) -> anyhow::Result<Identity> {
        if let Some(kept) = self
            .kept("ingress")
            .filter(|kept| life_left(kept).is_some_and(|(_, share)| share > RENEW_AT))
        {
            return Ok(kept);
        }
        ensure!(
            ingress::may_ask(asking).await?,
            "the cluster does not let its nodes; `skiff token create --ingress` does"
        );
        let (key, request) = request(&ingress::user(&self.node), ingress::GROUP, &[])?;
        let certificate = certificate(
            asking,
            "kubernetes.io/kube-apiserver-client",
            &["digital signature", "client auth"],
            &request,
        )
        .await?;
        self.keep("ingress", Identity { certificate, key })
    }

    /// Says by which names and addresses the node is reached: its certificate is approved for those of its Node object alone.
    async fn announce(&self, asking: &Client, names: &[String]) -> anyhow::Result<()> {
        match send(
            asking,
            Method::POST,
            NODES,
            Some(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}})),
        )
        .await
        {
            Err(error) if error.is_already_exists() => {}
            other => drop(other.context("cannot make this machine's Node")?),
        }
        let kind = |name: &String| {
            if name.parse::<std::net::IpAddr>().is_ok() {
                "InternalIP"
            } else {
                "Hostname"
            }
        };
        let addresses: Vec<Value> = names
            .iter()
            .map(|name| json!({"type": kind(name), "address": name}))
            .collect();
        let told = send(
            asking,
            Method::PATCH,
            &format!("{NODES}/{}/status", self.node),
            Some(&json!({"status": {"addresses": addresses}})),
        )
        .await;
        told.map(drop)
            .context("cannot tell where this machine is reached")
    }

    /// A new key of the node's and a request for it, both PEM.
    fn request(&self, names: &[String]) -> anyhow::Result<(String, String)> {
        let user = format!("system:node:{}", self.node);
        request(&user, "system:nodes", names)
    }

    fn kept(&self, name: &str) -> Option<Identity> {
        let read =
            |ending: &str| std::fs::read_to_string(self.path(&format!("{name}.{ending}"))).ok();
        Some(Identity {
            certificate: read("crt")?,
            key: read("key")?,
        })
    }

    fn keep(&self, name: &str, identity: Identity) -> anyhow::Result<Identity> {
        // the key first: a certificate without its key is worth nothing
        write(&self.path(&format!("{name}.key")), &identity.key, 0o600)?;
        write(
            &self.path(&format!("{name}.crt")),
            &identity.certificate,
            0o644,
        )?;
        Ok(identity)
    }
}

/// A new key and a request for it, both PEM.
fn request(user: &str, group: &str, names: &[String]) -> anyhow::Result<(String, String)> {
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (what, text) in [
        (rcgen::DnType::OrganizationName, group),
        (rcgen::DnType::CommonName, user),
    ] {
        params.distinguished_name.push(what, text);
    }
    let key = rcgen::KeyPair::generate()?;
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// How long until the certificates of a node should be asked for anew.
pub fn until_renewal(identities: &[&Identity]) -> Duration {
    let due = identities
        .iter()
        .filter_map(|identity| life_left(identity))
        .map(|(left, share)| {
            let whole = left.as_secs_f64() / share.max(0.001);
            Duration::from_secs_f64((left.as_secs_f64() - whole * RENEW_AT).max(1.0))
        });
    due.min().unwrap_or(Duration::from_secs(1))
}

/// The time until a certificate ends, and its share of the whole; `None` when it has ended or cannot be read.
fn life_left(identity: &Identity) -> Option<(Duration, f64)> {
    let der = skiff_server::auth::pki::tls::certificates(identity.certificate.as_bytes())
        .ok()?
        .into_iter()
        .next()?;
    let facts = skiff_server::auth::pki::Facts::read(&der).ok()?;
    let now = crate::print::age::now().as_second();
    let left = u64::try_from(facts.not_after - now)
        .ok()
        .filter(|left| *left > 0)?;
    Some((
        Duration::from_secs(left),
        left as f64 / (facts.not_after - facts.not_before).max(1) as f64,
    ))
}

/// Asks for a certificate and waits until it is approved and signed.
async fn certificate(
    asking: &Client,
    signer: &str,
    usages: &[&str],
    request: &str,
) -> anyhow::Result<String> {
    let body = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"generateName": "csr-"},
        "spec": {"signerName": signer, "usages": usages, "request": STANDARD.encode(request)}});
    let made = match send(asking, Method::POST, REQUESTS, Some(&body)).await {
        Err(error) if code(&error) == 401 => {
            bail!("the server does not believe the token: it is wrong, or it has expired")
        }
        other => other.with_context(|| format!("cannot ask for a certificate of {signer}"))?,
    };
    let name = made.at("metadata").text("name").to_string();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = send(asking, Method::GET, &format!("{REQUESTS}/{name}"), None)
            .await
            .context("cannot look after the request for a certificate")?;
        if let Some(certificate) = now.at("status").text_ptr("certificate") {
            return Ok(String::from_utf8(STANDARD.decode(certificate)?)?);
        }
        let mut conditions = now.at("status").list("conditions").iter();
        if let Some(refusal) = conditions.find(|condition| {
            condition.text("type") == "Denied" || condition.text("type") == "Failed"
        }) {
            bail!(
                "the request {name} for a certificate was refused: {}",
                refusal.text("message")
            );
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the request {name} for a certificate was not answered in {} s; an administrator can `skiff certificate approve {name}`",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(skiff_server::auth::pki::write_file(path, text, mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        assert_eq!(
            Token::parse("abcdef.0123456789abcdef").unwrap(),
            Token {
                id: "abcdef".into(),
                secret: "0123456789abcdef".into()
            }
        );
        for bad in [
            "",
            "abcdef",
            "abcdef.0123",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcdef.x",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        let random = Token::random();
        assert_eq!(
            Token::parse(&format!("{}.{}", random.id, random.secret)).unwrap(),
            random
        );
    }

    #[test]
    fn signatures() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let signature = token.sign("content");
        assert!(token.verify("content", &signature));
        assert!(!token.verify("other", &signature));
        assert!(
            !Token {
                secret: "0123456789abcdee".into(),
                ..token.clone()
            }
            .verify("content", &signature)
        );
        assert!(
            !Token {
                id: "abcdeg".into(),
                ..token.clone()
            }
            .verify("content", &signature)
        );
        assert!(!token.verify("content", ".."));
    }
}
