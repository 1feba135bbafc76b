//! Tokens of OpenID Connect issuers: a real one on the loopback, which signs with keys of every kind that is believed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    signature::{
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use skiff_server::{access::authentication::Oidc, auth::keys::SigningKey};

use super::{Folder, until, who};
use crate::{
    https_server::{Asked, HttpsServer},
    server::Server,
};

const RSA: &str = include_str!("../../../../../testdata/auth/rsa-pkcs8.key");
const EC: &str = include_str!("../../../../../testdata/auth/ec.key");
const EC384: &str = include_str!("../../../../../testdata/auth/ec384.key");

/// What an issuer tells.
struct Told {
    issuer: String,
    keys: Vec<Value>,
}

struct Issuer {
    server: HttpsServer,
    told: Arc<Mutex<Told>>,
    /// How often its keys were asked for.
    asked: Arc<AtomicUsize>,
}

fn key(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

/// A key as issuers publish it, under this name.
fn published(pem: &str, id: &str) -> Value {
    let mut jwk = key(pem).public().jwk();
    jwk["kid"] = id.into();
    jwk
}

impl Issuer {
    async fn start() -> Issuer {
        let told = Arc::new(Mutex::new(Told {
            issuer: String::new(),
            keys: vec![
                published(RSA, "rsa"),
                published(EC, "ec"),
                published(EC384, "ec384"),
            ],
        }));
        let asked = Arc::<AtomicUsize>::default();
        let (tells, counts) = (told.clone(), asked.clone());
        let server = HttpsServer::start(move |asked: Asked| {
            let told = tells.lock();
            let document = match asked.path.as_str() {
                "/.well-known/openid-configuration" => {
                    let base = &told.issuer;
                    json!({"issuer": base, "jwks_uri": format!("{base}/keys")})
                }
                "/keys" => {
                    counts.fetch_add(1, Ordering::SeqCst);
                    json!({"keys": told.keys})
                }
                _ => return Some((404, b"no".to_vec())),
            };
            Some((200, document.to_string().into_bytes()))
        })
        .await;
        told.lock().issuer = server.url();
        Issuer {
            server,
            told,
            asked,
        }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    /// Claims of a token that is good for an hour, and these.
    fn claims(&self, more: Value) -> Value {
        let now = skiff_api::machinery::clock::system().now().as_second();
        let mut claims = json!({"iss": self.url(), "aud": "skiff", "sub": "anna", "iat": now, "exp": now + 3600});
        let claims_of = claims.as_object_mut().unwrap();
        claims_of.extend(more.as_object().unwrap().clone());
        claims
    }

    fn token(&self, more: Value) -> String {
        signed("RS256", "rsa", &self.claims(more))
    }

    fn file(&self, more: &str) -> String {
        let authority = self.server.authority.replace('\n', "\n          ");
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n  - issuer:\n      url: {}\n      audiences: [skiff]\n      \
             certificateAuthority: |\n          {authority}\n{more}",
            self.url()
        )
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(alg: &str, id: &str, claims: &Value) -> String {
    let message = format!("{}.{}", part(&json!({"alg": alg, "kid": id})), part(claims));
    let bytes = message.as_bytes();
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), bytes, &mut signature)
            .unwrap();
        signature
    };
    let signature = match alg {
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        "ES256" => key(EC).sign(bytes).unwrap(),
        "ES384" => key(EC384).sign(bytes).unwrap(),
        _ => rsa(&RSA_PKCS1_SHA256),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const MAPPINGS: &str = "    claimMappings:
      username: {claim: sub, prefix: 'oidc:'}
      groups: {claim: roles, prefix: 'oidc:'}
";

async fn with_file(path: std::path::PathBuf) -> Server {
    Server::with(|config| config.authentication.config_file = Some(path)).await
}

async fn ready(server: &Server, token: &str) {
    until("the issuer is asked for its keys", || async {
        who(server, token).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn tokens_of_all_algorithms_are_believed() {
    let (issuer, folder) = (Issuer::start().await, Folder::new());
    let server = with_file(folder.write("authn.yaml", &issuer.file(MAPPINGS))).await;
    ready(&server, &issuer.token(json!({}))).await;
    for (alg, id) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "ec"),
        ("ES384", "ec384"),
        ("RS256", ""),
    ] {
        let token = signed(alg, id, &issuer.claims(json!({"roles": ["ops"]})));
        let wanted =
            json!({"username": "oidc:anna", "groups": ["oidc:ops", "system:authenticated"]});
        assert_eq!(who(&server, &token).await, Ok(wanted), "{alg} {id}");
    }
    let review = json!({"spec": {"token": issuer.token(json!({}))}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = server.post(path, &review).await.is(201).json();
    assert_eq!(review["status"]["user"]["username"], "oidc:anna");
    assert_eq!(
        review["status"]["audiences"],
        json!(["https://kubernetes.default.svc.cluster.local"])
    );
}

#[tokio::test]
async fn tokens_that_are_not_good_are_nobodys() {
    let (issuer, folder) = (Issuer::start().await, Folder::new());
    let server = with_file(folder.write("authn.yaml", &issuer.file(MAPPINGS))).await;
    ready(&server, &issuer.token(json!({}))).await;
    let good = issuer.token(json!({}));
    let other = issuer.token(json!({"sub": "bert"}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (other_head, _) = other.rsplit_once('.').unwrap();
    let unsigned = format!(
        "{}.{}.",
        part(&json!({"alg": "none"})),
        part(&issuer.claims(json!({})))
    );
    for (token, why) in [
        (
            issuer.token(json!({"aud": "another"})),
            "oidc: verify token: oidc: expected audience \"skiff\" got [\"another\"]",
        ),
        (
            issuer.token(json!({"exp": 1})),
            "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01T00:00:01Z)",
        ),
        (
            format!("{other_head}.{signature}"),
            "oidc: verify token: failed to verify signature: failed to verify id token signature",
        ),
        (
            unsigned,
            "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [\"ES256\" \"ES384\" \"PS256\" \"PS384\" \"PS512\" \"RS256\" \"RS384\" \"RS512\"] got \"none\"",
        ),
        (
            signed("HS256", "rsa", &issuer.claims(json!({}))),
            "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [\"ES256\" \"ES384\" \"PS256\" \"PS384\" \"PS512\" \"RS256\" \"RS384\" \"RS512\"] got \"HS256\"",
        ),
        (
            issuer.token(json!({"sub": 7})),
            "oidc: parse username claims \"sub\": json: cannot unmarshal number into Go value of type string",
        ),
        (
            signed(
                "RS256",
                "rsa",
                &json!({"iss": "https://elsewhere", "aud": "skiff", "sub": "a", "exp": 4_000_000_000_u64}),
            ),
            "invalid bearer token",
        ),
        (head.to_string(), "invalid bearer token"),
    ] {
        assert_eq!(who(&server, &token).await, Err(401), "{why}");
        let review = json!({"spec": {"token": token}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let review = server.post(path, &review).await.is(201).json();
        assert_eq!(review["status"], json!({"user": {}, "error": why}));
    }
}

#[tokio::test]
async fn expressions_and_rules() {
    let (issuer, folder) = (Issuer::start().await, Folder::new());
    let mappings = "    claimMappings:
      username: {expression: 'claims.email.split(\"@\")[0]'}
      groups: {expression: 'claims.roles.split(\",\")'}
      uid: {claim: sub}
      extra: [{key: example.com/team, valueExpression: claims.team}]
    claimValidationRules:
      - {claim: hd, requiredValue: example.com}
      - {expression: 'claims.email_verified == true', message: 'the address is not verified'}
    userValidationRules:
      - {expression: \"!user.username.startsWith('system:')\", message: 'names may not begin with system:'}
";
    let server = with_file(folder.write("authn.yaml", &issuer.file(mappings))).await;
    let good = json!({"email": "anna@example.com", "email_verified": true, "hd": "example.com", "roles": "ops,dev", "team": ["blue"]});
    let token = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.token(claims)
    };
    let first = token("jti", json!("t1"));
    ready(&server, &first).await;
    assert_eq!(
        who(&server, &first).await,
        Ok(
            json!({"username": "anna", "uid": "anna", "groups": ["ops", "dev", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=t1"], "example.com/team": ["blue"]}})
        )
    );
    for (name, value) in [
        ("hd", json!("elsewhere.com")),
        ("email_verified", json!(false)),
        ("email", json!("system:admin@example.com")),
        ("roles", json!(1)),
    ] {
        assert_eq!(who(&server, &token(name, value)).await, Err(401), "{name}");
    }
}

#[tokio::test]
async fn new_keys_are_asked_for_and_not_too_often() {
    let (issuer, folder) = (Issuer::start().await, Folder::new());
    issuer.told.lock().keys = vec![published(EC, "old")];
    let server = with_file(folder.write("authn.yaml", &issuer.file(MAPPINGS))).await;
    let old = signed("ES256", "old", &issuer.claims(json!({})));
    ready(&server, &old).await;
    let before = issuer.asked.load(Ordering::SeqCst);
    let new = signed("RS256", "new", &issuer.claims(json!({})));
    assert_eq!(who(&server, &new).await, Err(401));
    issuer.told.lock().keys = vec![published(RSA, "new")];
    assert!(who(&server, &new).await.is_ok());
    assert_eq!(issuer.asked.load(Ordering::SeqCst), before + 2);
    for number in 0..40 {
        let unknown = signed("RS256", "nosuch", &issuer.claims(json!({"n": number})));
        assert_eq!(who(&server, &unknown).await, Err(401));
    }
    let asked = issuer.asked.load(Ordering::SeqCst);
    assert!(asked <= 6, "asked {asked} times");
}

#[tokio::test]
async fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
    let (one, two, folder) = (Issuer::start().await, Issuer::start().await, Folder::new());
    let path = folder.write("authn.yaml", &one.file(MAPPINGS));
    let server = with_file(path).await;
    let (first, second) = (one.token(json!({})), two.token(json!({})));
    ready(&server, &first).await;
    assert_eq!(who(&server, &second).await, Err(401));
    folder.write("authn.yaml", "jwt: [");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(who(&server, &first).await.is_ok(), "a broken file");
    folder.write("authn.yaml", &two.file(MAPPINGS));
    until("the other issuer is believed", || async {
        who(&server, &second).await.is_ok()
    })
    .await;
    assert_eq!(who(&server, &first).await, Err(401));
}

#[tokio::test]
async fn the_older_flags_say_the_same() {
    let (issuer, folder) = (Issuer::start().await, Folder::new());
    let flags = Oidc {
        issuer_url: issuer.url(),
        client_id: "skiff".into(),
        ca_file: Some(folder.write("ca.pem", &issuer.server.authority)),
        username_claim: "sub".into(),
        groups_claim: "roles".into(),
        groups_prefix: "g:".into(),
        signing_algs: vec!["ES256".into()],
        required_claims: vec![("hd".into(), "ours".into())],
        ..Default::default()
    };
    let server = Server::with(|config| config.authentication.oidc = Some(flags)).await;
    let claims = issuer.claims(json!({"roles": "ops", "hd": "ours"}));
    let good = signed("ES256", "ec", &claims);
    ready(&server, &good).await;
    let name = format!("{}#anna", issuer.url());
    assert_eq!(
        who(&server, &good).await,
        Ok(json!({"username": name, "groups": ["g:ops", "system:authenticated"]}))
    );
    for bad in [
        signed("RS256", "rsa", &claims),
        signed("ES256", "ec", &issuer.claims(json!({"hd": "theirs"}))),
        signed("ES256", "ec", &issuer.claims(json!({}))),
    ] {
        assert_eq!(who(&server, &bad).await, Err(401));
    }
}

#[tokio::test]
async fn who_may_be_nobody() {
    let folder = Folder::new();
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let path = folder.write(
        "authn.yaml",
        &format!("{head}anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n"),
    );
    let server = with_file(path).await;
    for (path, code) in [("/livez", 200), ("/healthz", 401), ("/api", 401)] {
        server.send_as("", "GET", path, &Value::Null).await.is(code);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_at_start() {
    let folder = Folder::new();
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let path = folder.write("authn.yaml", head);
    let file = path.display().to_string();
    for (text, wanted) in [
        (
            format!("{head}jwt: [{{issuer: {{url: 'http://a', audiences: [b]}}, claimMappings: {{}}}}]"),
            "invalid authentication configuration: [jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https, jwt[0].claimMappings.username: Required value: claim or expression is required]".to_string(),
        ),
        (
            format!("{head}jwt: [{{issuers: {{}}}}]"),
            format!("failed to load authentication configuration from file {file:?}: strict decoding error: unknown field \"jwt[0].issuers\""),
        ),
        (
            format!("{head}jwt: [{{issuer: {{url: 'https://kubernetes.default.svc.cluster.local', audiences: [b]}}, claimMappings: {{username: {{claim: sub, prefix: ''}}}}}}]"),
            "invalid authentication configuration: jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc.cluster.local\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc.cluster.local]".to_string(),
        ),
    ] {
        folder.write("authn.yaml", &text);
        let pki = tempfile::tempdir().unwrap();
        let mut config = skiff_server::Config::new(skiff_server::Data::Memory, pki.path().into());
        config.authentication.config_file = Some(path.clone());
        let said = skiff_server::start(config).await.err().unwrap().to_string();
        assert_eq!(said, wanted);
    }
}
