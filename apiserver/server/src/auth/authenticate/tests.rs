use std::io::Write;

use http::HeaderName;
use serde_json::{Value, json};

use super::review::token_review;
use super::{
    service_account::{BoundTo, Issuer},
    *,
};
use crate::auth::{
    keys::SigningKey,
    pki::{Authority, tls},
    testing::{Fake, StoppedClock, now},
};

const ISSUER: &str = "https://kubernetes.default.svc";

struct World {
    fake: Arc<Fake>,
    clock: Arc<StoppedClock>,
    authority: Authority,
    issuer: Issuer,
    authenticator: Authenticator,
}

fn account() -> Value {
    json!({"metadata": {"namespace": "a", "name": "robot", "uid": "u-robot"}})
}

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let authority = Authority::generate(clock.clone()).unwrap().0;
    let issuer = Issuer::new(SigningKey::generate().unwrap().0, vec![], ISSUER, vec![]);
    let fake = Arc::new(
        Fake::default()
            .with("serviceaccounts", account())
            .with("pods", json!({"metadata": {"namespace": "a", "name": "pod", "uid": "u-pod"}, "spec": {"nodeName": "n1", "serviceAccountName": "robot"}}))
            .with("nodes", json!({"metadata": {"name": "n1", "uid": "u-n1"}}))
            .with("secrets", json!({"metadata": {"namespace": "a", "name": "secret", "uid": "u-secret"}})),
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"alice-token,alice,u-alice,dev\nbob-token,bob,u-bob,\"dev,ops\"\nroot-token,root,u-root,system:masters\n").unwrap();
    let mut config = Config {
        client_ca: Some(authority.certificate_pem().as_bytes().to_vec()),
        front_proxies: None,
        token_file: Some(file.path().to_owned()),
        service_account_keys: issuer.keys().to_vec(),
        issuers: vec![ISSUER.to_owned()],
        audiences: vec![],
        lookup: true,
        bootstrap_tokens: true,
        anonymous: Anonymous::Yes,
        remote: Vec::new(),
    };
    change(&mut config);
    let authenticator = Authenticator::new(config, fake.clone(), clock.clone()).unwrap();
    World {
        fake,
        clock,
        authority,
        issuer,
        authenticator,
    }
}

fn world() -> World {
    world_with(|_| {})
}

impl World {
    fn ask(
        &self,
        headers: &[(&str, &str)],
        peer: Option<&PeerCertificate>,
    ) -> Result<Option<User>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let identity = now(self.authenticator.identify("/api", &map, peer))
            .map_err(|error| error.to_string())?;
        Ok(identity.map(|identity| Arc::unwrap_or_clone(identity.user)))
    }

    fn bearer(&self, token: &str) -> Result<Option<User>, String> {
        self.ask(&[("Authorization", &format!("Bearer {token}"))], None)
    }

    fn issue(&self, spec: &Value, bound: Option<Value>) -> String {
        let bound = bound.map(|reference| {
            BoundTo::resolve(&*self.fake, "a", "robot", &reference)
                .unwrap()
                .unwrap()
        });
        self.issuer
            .issue(&account(), spec, bound, self.authenticator.clock.now())
            .unwrap()
            .token
    }

    fn peer(&self, user: &str, groups: &[&str]) -> PeerCertificate {
        let issued = self.authority.client(user, groups).unwrap();
        PeerCertificate::from_chain(Some(
            &tls::certificates(issued.certificate.as_bytes()).unwrap(),
        ))
        .unwrap()
    }
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(
        &URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1).unwrap())
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn headers_are_read_as_upstream_reads_them() {
    let world = world();
    let anonymous = User::new("system:anonymous", &["system:unauthenticated"]);
    let alice = User {
        uid: "u-alice".into(),
        ..User::new("alice", &["dev", "system:authenticated"])
    };
    let table: &[(&str, Result<&User, &str>)] = &[
        ("Bearer alice-token", Ok(&alice)),
        ("bearer alice-token", Ok(&alice)),
        ("  Bearer alice-token  ", Ok(&alice)),
        ("Bearer alice-token more", Ok(&alice)),
        ("Bearer wrong-token", Err("invalid bearer token")),
        ("Bearer alice-toke", Err("invalid bearer token")),
        ("Bearer", Ok(&anonymous)),
        ("Bearer ", Ok(&anonymous)),
        ("Bearer  alice-token", Ok(&anonymous)),
        ("Basic YTpi", Ok(&anonymous)),
        ("alice-token", Ok(&anonymous)),
        ("", Ok(&anonymous)),
    ];
    for (header, expected) in table {
        assert_eq!(
            world.ask(&[("Authorization", header)], None),
            expected
                .map(|user| Some(user.clone()))
                .map_err(str::to_owned),
            "{header:?}"
        );
    }
    assert_eq!(world.ask(&[], None), Ok(Some(anonymous)));
    assert_eq!(
        world.bearer("bob-token").unwrap().unwrap().groups,
        ["dev", "ops", "system:authenticated"]
    );
    let closed = world_with(|config| config.anonymous = Anonymous::No);
    assert_eq!(closed.ask(&[], None), Ok(None));
    assert_eq!(closed.bearer("wrong"), Err("invalid bearer token".into()));
}

#[test]
fn a_space_before_the_token_is_warned_of() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        HeaderValue::from_static("Bearer  alice-token"),
    );
    let world = world();
    let identity = now(world.authenticator.identify("/api", &headers, None));
    let identity = identity.unwrap().unwrap();
    assert_eq!(identity.warnings, [SPACE_WARNING]);
}

#[test]
fn websockets_bring_the_token_as_a_protocol() {
    let world = world();
    let encoded = |text: &[u8]| format!("{BEARER_PROTOCOL}{}", URL_SAFE_NO_PAD.encode(text));
    let ask = |protocol: &str| {
        let headers = [
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Protocol", protocol),
        ];
        world.ask(&headers, None).map(|user| user.unwrap().name)
    };
    let good = encoded(b"alice-token");
    assert_eq!(
        ask(&format!("{good}, v5.channel.k8s.io")),
        Ok("alice".into())
    );
    assert_eq!(ask("v5.channel.k8s.io"), Ok("system:anonymous".into()));
    assert_eq!(ask(&good), Err("missing additional subprotocol".into()));
    assert_eq!(
        ask(&format!("{good},{good},x")),
        Err("multiple base64.bearer.authorization tokens specified".into())
    );
    assert_eq!(
        ask(&format!("{BEARER_PROTOCOL}!!,x")),
        Err("invalid base64.bearer.authorization token encoding".into())
    );
    assert_eq!(
        ask(&format!("{},x", encoded(b"\xff\xfe"))),
        Err("invalid base64.bearer.authorization token".into())
    );
    assert_eq!(
        ask(&format!("{},x", encoded(b"wrong"))),
        Err("invalid bearer token".into())
    );
    assert_eq!(
        world
            .ask(&[("Sec-WebSocket-Protocol", &format!("{good},x"))], None)
            .unwrap()
            .unwrap()
            .name,
        "system:anonymous",
        "no websocket"
    );
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer x"));
    headers.insert(
        "sec-websocket-protocol",
        HeaderValue::from_str(&format!("{good}, v5.channel.k8s.io, v4.channel.k8s.io")).unwrap(),
    );
    strip_credentials(&mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(
        headers["sec-websocket-protocol"],
        "v5.channel.k8s.io,v4.channel.k8s.io"
    );
}

#[test]
fn certificates_name_users_and_groups() {
    let world = world();
    let user = world
        .ask(&[], Some(&world.peer("jane", &["dev", "ops"])))
        .unwrap()
        .unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", ""));
    assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
    let name = |token: &str, certificate: &str| {
        let peer = world.peer(certificate, &[]);
        let asked = world.ask(&[("Authorization", token)], Some(&peer));
        asked.unwrap().unwrap().name
    };
    // a certificate that holds comes first
    assert_eq!(name("Bearer alice-token", "jane"), "jane");
    assert_eq!(name("Bearer wrong", "jane"), "jane");
    // nobody's certificate leaves the request as it is
    assert_eq!(name("", ""), "system:anonymous");
}

#[test]
fn certificates_that_do_not_hold_are_refused() {
    let world = world();
    let stranger = world_with(|_| {}).peer("jane", &["system:masters"]);
    let error = world.ask(&[], Some(&stranger)).unwrap_err();
    assert!(
        error.starts_with("verifying certificate failed: "),
        "{error}"
    );
    assert_eq!(
        world
            .ask(&[("Authorization", "Bearer alice-token")], Some(&stranger))
            .unwrap()
            .unwrap()
            .name,
        "alice",
        "a token may still do"
    );
    let error = world
        .ask(&[("Authorization", "Bearer wrong")], Some(&stranger))
        .unwrap_err();
    assert!(
        error.starts_with('[') && error.ends_with(", invalid bearer token]"),
        "{error}"
    );

    let serving = world.authority.serving("jane", &[], &[]).unwrap();
    let serving = PeerCertificate::from_chain(Some(
        &tls::certificates(serving.certificate.as_bytes()).unwrap(),
    ))
    .unwrap();
    assert!(
        world.ask(&[], Some(&serving)).is_err(),
        "it is not for clients"
    );

    let peer = world.peer("jane", &[]);
    assert!(world.ask(&[], Some(&peer)).is_ok());
    world.clock.advance(366 * 24 * 3600);
    assert_eq!(
        world.ask(&[], Some(&peer)).unwrap_err(),
        "x509: certificate has expired or is not yet valid",
        "though the connection is old"
    );
    assert!(world.ask(&[], Some(&world.peer("jane", &[]))).is_ok());
    let off = world_with(|config| config.client_ca = None);
    assert_eq!(
        off.ask(&[], Some(&off.peer("jane", &[])))
            .unwrap()
            .unwrap()
            .name,
        "system:anonymous"
    );
}

#[test]
fn bound_tokens_name_account_pod_and_node() {
    let world = world();
    let token = world.issue(
        &json!({}),
        Some(json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"})),
    );
    let said = claims(&token);
    assert_eq!(said["aud"], json!([ISSUER]));
    assert_eq!(
        (&said["iss"], &said["sub"]),
        (&json!(ISSUER), &json!("system:serviceaccount:a:robot"))
    );
    assert_eq!(
        said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(),
        3600
    );
    assert_eq!(said["nbf"], said["iat"]);
    let expected = json!({"namespace": "a", "serviceaccount": {"name": "robot", "uid": "u-robot"}, "pod": {"name": "pod", "uid": "u-pod"}, "node": {"name": "n1", "uid": "u-n1"}});
    assert_eq!(said["kubernetes.io"], expected);
    let user = world.bearer(&token).unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), user.uid.as_str()),
        ("system:serviceaccount:a:robot", "u-robot")
    );
    assert_eq!(
        user.groups,
        [
            "system:serviceaccounts",
            "system:serviceaccounts:a",
            "system:authenticated"
        ]
    );
    let extra = |key: &str| user.extra[&format!("authentication.kubernetes.io/{key}")][0].clone();
    assert_eq!(
        [
            extra("pod-name"),
            extra("pod-uid"),
            extra("node-name"),
            extra("node-uid")
        ],
        ["pod", "u-pod", "n1", "u-n1"]
    );
    assert_eq!(
        extra("credential-id"),
        format!("JTI={}", said["jti"].as_str().unwrap())
    );
    let plain = world
        .bearer(&world.issue(&json!({}), None))
        .unwrap()
        .unwrap();
    assert_eq!(plain.extra.len(), 1);
}

#[test]
fn tokens_die_with_what_they_are_bound_to() {
    const GONE: &str = "service account token has been invalidated";
    let dies = |kind: &str, name: &str, change: &dyn Fn(&World), expected: &str| {
        let world = world();
        let bound = json!({"apiVersion": "v1", "kind": kind, "name": name});
        let token = world.issue(&json!({}), Some(bound).filter(|_| !kind.is_empty()));
        assert!(world.bearer(&token).is_ok(), "{kind}");
        change(&world);
        assert_eq!(world.bearer(&token).unwrap_err(), expected, "{kind}");
    };
    let renewed = |w: &World, resource: &str, namespace: &str, name: &str| {
        let mut object = json!({"metadata": {"name": name, "uid": "new"}});
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        w.fake.put(resource, object);
    };
    for [kind, resource, namespace, name, gone, other] in skiff_testing::table::rows(
        r#"
            | serviceaccounts | a | robot | serviceaccounts "robot" not found | service account UID (new) does not match claim (u-robot)
            Pod | pods | a | pod | GONE | pod UID (new) does not match service account pod ref claim (u-pod)
            Secret | secrets | a | secret | GONE | secret UID (new) does not match service account secret ref claim (u-secret)
            Node | nodes | | n1 | GONE | node UID (new) does not match service account node ref claim (u-n1)
        "#,
    ) {
        let gone = gone.replace("GONE", GONE);
        dies(
            kind,
            name,
            &|w| w.fake.remove(resource, namespace, name),
            &gone,
        );
        dies(
            kind,
            name,
            &|w| renewed(w, resource, namespace, name),
            other,
        );
    }
    let late = "service account token has expired";
    dies("", "", &|w| w.clock.advance(3600 + 61), late);
    let early = "service account token is not valid yet";
    dies("", "", &|w| w.clock.advance(-61), early);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"});
    // the node of a pod's token is for information; an hour is an hour and a minute
    let world = world();
    let token = world.issue(&json!({}), Some(pod));
    world.fake.remove("nodes", "", "n1");
    world.clock.advance(3600 + 60);
    assert!(world.bearer(&token).is_ok());
    // a pod that is to go may still use its token for a minute
    let deleting = json!({"metadata": {"namespace": "a", "name": "pod", "uid": "u-pod", "deletionTimestamp": "2026-01-01T01:01:00Z"}});
    world.clock.advance(-60);
    world.fake.put("pods", deleting);
    assert!(world.bearer(&token).is_ok());
}

#[test]
fn forged_tokens_are_refused() {
    let world = world();
    let good = world.issue(&json!({}), None);
    let parts: Vec<&str> = good.split('.').collect();
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with_claim = |key: &str, value: Value| {
        let mut said = claims(&good);
        said[key] = value;
        format!("{}.{}.{}", parts[0], text(&said), parts[2])
    };
    let header =
        |header: Value, signature: &str| format!("{}.{}.{signature}", text(&header), parts[1]);
    let kid = world.issuer.keys()[0].id();
    let of_kid = |algorithm: &str| header(json!({"alg": algorithm, "kid": kid}), parts[2]);
    let stranger = Issuer::new(SigningKey::generate().unwrap().0, vec![], ISSUER, vec![]);
    let other_issuer = world.issuer_named("https://evil.example");
    const FORGED: &str = "go-jose/go-jose: error in cryptographic primitive";
    const ALGORITHM: &str = "go-jose/go-jose: unknown/unsupported algorithm";
    const NOT_OURS: &str = "invalid bearer token";
    let strange = world.issued_by(&stranger);
    let mut flipped = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    flipped[5] ^= 1;
    let table = [
        (good.clone(), None),
        (
            with_claim("sub", json!("system:serviceaccount:kube-system:admin")),
            Some(FORGED),
        ),
        (with_claim("exp", json!(9_999_999_999_i64)), Some(FORGED)),
        (
            format!(
                "{}.{}.{}",
                parts[0],
                parts[1],
                URL_SAFE_NO_PAD.encode(&flipped)
            ),
            Some(FORGED),
        ),
        (format!("{}.{}.", parts[0], parts[1]), Some(FORGED)),
        (header(json!({"alg": "none"}), ""), Some(ALGORITHM)),
        (of_kid("none"), Some(ALGORITHM)),
        (of_kid("HS256"), Some(ALGORITHM)),
        (of_kid("RS256"), Some(ALGORITHM)),
        (
            header(json!({"alg": "ES256", "kid": kid, "crit": ["x"]}), parts[2]),
            Some(ALGORITHM),
        ),
        (
            header(json!({"alg": "ES256", "kid": "other"}), parts[2]),
            Some(FORGED),
        ),
        (strange, Some(FORGED)),
        (other_issuer, Some(NOT_OURS)),
        (
            with_claim("iss", json!("https://evil.example")),
            Some(NOT_OURS),
        ),
        (with_claim("iss", json!(7)), Some(NOT_OURS)),
        (format!("{good}.x"), Some(NOT_OURS)),
        (format!("{}.{}", parts[0], parts[1]), Some(NOT_OURS)),
        ("a.b.c".to_owned(), Some(NOT_OURS)),
        ("..".to_owned(), Some(NOT_OURS)),
    ];
    for (token, expected) in table {
        assert_eq!(world.bearer(&token).err().as_deref(), expected, "{token}");
    }
    let stranger_said = strange_header(&world);
    assert_eq!(world.bearer(&stranger_said).err().as_deref(), Some(FORGED));
}

/// A token of another key that claims to be of ours.
fn strange_header(world: &World) -> String {
    let stranger = Issuer::new(SigningKey::generate().unwrap().0, vec![], ISSUER, vec![]);
    let token = world.issued_by(&stranger);
    let parts: Vec<&str> = token.split('.').collect();
    let header = json!({"alg": "ES256", "kid": world.issuer.keys()[0].id()}).to_string();
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        parts[1],
        parts[2]
    )
}

impl World {
    /// A token of our key with another `iss`.
    fn issuer_named(&self, name: &str) -> String {
        let (key, pem) = SigningKey::generate().unwrap();
        drop(key);
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
        let issuer = Issuer::new(key, vec![], name, vec![ISSUER.to_owned()]);
        self.issued_by(&issuer)
    }

    /// A token of this issuer for the account, bound to nothing.
    fn issued_by(&self, issuer: &Issuer) -> String {
        let now = self.authenticator.clock.now();
        let issued = issuer.issue(&account(), &json!({}), None, now);
        issued.unwrap().token
    }
}

#[test]
fn audiences_must_meet() {
    let world = world_with(|config| config.audiences = vec!["api".into(), "api2".into()]);
    let ask = |audiences: Value| {
        world
            .bearer(&world.issue(&json!({"audiences": audiences}), None))
            .map(|user| user.unwrap().name)
    };
    assert!(ask(json!(["api"])).is_ok());
    assert!(ask(json!(["vault", "api2"])).is_ok());
    assert_eq!(
        ask(json!(["vault"])).unwrap_err(),
        "token audiences [\"vault\"] is invalid for the target audiences [\"api\" \"api2\"]"
    );
    assert_eq!(
        ask(json!(["vault", "x"])).unwrap_err(),
        "token audiences [\"vault\" \"x\"] is invalid for the target audiences [\"api\" \"api2\"]"
    );
}

#[test]
fn keys_of_old_still_verify() {
    let old = SigningKey::generate().unwrap().0;
    let old_public = old.public().clone();
    let rsa = SigningKey::from_pem(crate::auth::keys::tests::RSA_PEM.as_bytes()).unwrap();
    let rsa_public = rsa.public().clone();
    let world = world_with(|config| config.service_account_keys.extend([old_public, rsa_public]));
    for key in [old, rsa] {
        let issuer = Issuer::new(key, vec![], ISSUER, vec![]);
        assert!(world.bearer(&world.issued_by(&issuer)).is_ok());
    }
}

#[test]
fn requests_for_tokens_are_checked() {
    let world = world();
    let now = world.authenticator.clock.now();
    let issue = |spec: Value| world.issuer.issue(&account(), &spec, None, now);
    let error = |seconds: i64| issue(json!({"expirationSeconds": seconds})).unwrap_err();
    assert_eq!(
        error(10).message,
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes"
    );
    assert_eq!(error(10).code, 422);
    assert!(error(99_999_999_999).message.ends_with(
        "Invalid value: 99999999999: may not specify a duration larger than 2^32 seconds"
    ));
    assert!(issue(json!({"expirationSeconds": 1_i64 << 32})).is_ok());
    let issued = issue(Value::Null).unwrap();
    assert_eq!(
        issued.spec,
        json!({"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": null})
    );
    assert_eq!(issued.expires.as_second(), now.as_second() + 3600);
    let issued = issue(json!({"expirationSeconds": 600, "audiences": ["vault"]})).unwrap();
    assert_eq!(issued.spec["audiences"], json!(["vault"]));
    let strict = Issuer::new(SigningKey::generate().unwrap().0, vec![], ISSUER, vec![])
        .with_flags(None, 700, true);
    let issued = strict.issue(&account(), &json!({}), None, now).unwrap();
    assert_eq!(
        issued.warnings,
        ["requested expiration of 3600 seconds shortened to 700 seconds"]
    );
    assert_eq!(issued.spec["expirationSeconds"], 700);
}

#[test]
fn tokens_of_pods_live_longer_than_they_say() {
    let world = world();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"});
    let life = |spec: Value, bound: Option<Value>| {
        let said = claims(&world.issue(&spec, bound));
        let warn = said["kubernetes.io"]["warnafter"]
            .as_i64()
            .map(|at| at - said["iat"].as_i64().unwrap());
        (
            said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(),
            warn,
        )
    };
    assert_eq!(
        life(json!({"expirationSeconds": 3607}), Some(pod.clone())),
        (365 * 24 * 3600, Some(3607))
    );
    assert_eq!(
        life(json!({"expirationSeconds": 3600}), Some(pod.clone())),
        (3600, None)
    );
    assert_eq!(life(json!({"expirationSeconds": 3607}), None), (3607, None));
    assert_eq!(
        life(
            json!({"expirationSeconds": 3607, "audiences": ["vault"]}),
            Some(pod.clone())
        ),
        (3607, None)
    );
    let bound = BoundTo::resolve(&*world.fake, "a", "robot", &pod).unwrap();
    let now = world.authenticator.clock.now();
    let issued = world
        .issuer
        .issue(&account(), &json!({"expirationSeconds": 3607}), bound, now)
        .unwrap();
    assert_eq!(
        issued.expires.as_second(),
        now.as_second() + 3607,
        "what is told is what was asked for"
    );
}

#[test]
fn bindings_are_resolved() {
    let world = world();
    let resolve = |account: &str, reference: Value| {
        BoundTo::resolve(&*world.fake, "a", account, &reference)
            .map_err(|status| (status.code, status.message))
    };
    assert_eq!(resolve("robot", Value::Null), Ok(None));
    let pod = BoundTo {
        kind: "Pod".into(),
        name: "pod".into(),
        uid: "u-pod".into(),
        node: Some(("n1".into(), "u-n1".into())),
    };
    assert_eq!(
        resolve(
            "robot",
            json!({"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "u-pod"})
        ),
        Ok(Some(pod))
    );
    let table = [
        (
            json!({"apiVersion": "v1", "kind": "Pod", "name": "none"}),
            404,
            "pods \"none\" not found",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}),
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Pod", "name": "x"}),
            400,
            "cannot bind token to object of type apps/v1, Kind=Pod",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "nope"}),
            409,
            "Operation cannot be fulfilled on Pod \"pod\": the UID in the bound object reference (nope) does not match the UID in record. The object \
             might have been deleted and then recreated",
        ),
    ];
    for (reference, code, message) in table {
        assert_eq!(resolve("robot", reference), Err((code, message.to_owned())));
    }
    let why = "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.";
    assert_eq!(
        resolve(
            "other",
            json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"})
        ),
        Err((400, why.to_owned()))
    );
}

#[test]
fn tokens_of_secrets_live_in_them() {
    let world = world();
    let token = world.issuer.issue_legacy(&account(), "old").unwrap();
    let put = |labels: Value, token: &str| {
        let data = json!({"token": base64::engine::general_purpose::STANDARD.encode(token)});
        world.fake.put(
            "secrets",
            json!({"metadata": {"namespace": "a", "name": "old", "labels": labels}, "data": data}),
        );
    };
    assert_eq!(
        world.bearer(&token).unwrap_err(),
        "Token has been invalidated"
    );
    put(json!({}), &token);
    let user = world.bearer(&token).unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), user.uid.as_str(), user.extra.len()),
        ("system:serviceaccount:a:robot", "u-robot", 0)
    );
    put(json!({}), "another");
    assert_eq!(
        world.bearer(&token).unwrap_err(),
        "Token does not match server's copy"
    );
    put(
        json!({"kubernetes.io/legacy-token-invalid-since": "2025-01-01"}),
        &token,
    );
    assert!(world.bearer(&token).unwrap_err().starts_with(
        "the token in secret a/old for service account a/robot has been marked invalid. "
    ));
    put(json!({}), &token);
    world.fake.put("serviceaccounts", json!({"metadata": {"namespace": "a", "name": "robot", "uid": "u-robot"}, "secrets": [{"name": "old"}]}));
    let holder = now(world.authenticator.review(&token, &[])).unwrap();
    assert_eq!(holder.warnings.len(), 1);
    world.fake.put(
        "serviceaccounts",
        json!({"metadata": {"namespace": "a", "name": "robot", "uid": "new"}}),
    );
    assert_eq!(
        world.bearer(&token).unwrap_err(),
        "ServiceAccount UID (new) does not match claim (u-robot)"
    );
    world.fake.remove("serviceaccounts", "a", "robot");
    assert_eq!(
        world.bearer(&token).unwrap_err(),
        "serviceaccounts \"robot\" not found"
    );
}

#[tokio::test]
async fn reviews_answer_as_recorded() {
    let world = world();
    let review =
        async |spec: Value| token_review(&world.authenticator, &json!({"spec": spec})).await;
    let alice =
        json!({"username": "alice", "uid": "u-alice", "groups": ["dev", "system:authenticated"]});
    assert_eq!(
        review(json!({"token": "alice-token"})).await.unwrap(),
        json!({"authenticated": true, "user": alice, "audiences": [ISSUER]})
    );
    let no = json!({"user": {}, "error": "invalid bearer token"});
    assert_eq!(review(json!({"token": "bad-token"})).await.unwrap(), no);
    assert_eq!(
        review(json!({"token": "alice-token", "audiences": ["api"]}))
            .await
            .unwrap(),
        no
    );
    assert_eq!(review(json!({"token": "Odd Value!"})).await.unwrap(), no);
    assert_eq!(
        review(json!({"token": "alice-token", "audiences": null}))
            .await
            .unwrap()["authenticated"],
        true
    );
    let error = review(json!({"token": ""})).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (400, "token is required for TokenReview in authentication")
    );
    let vault = world.issue(&json!({"audiences": ["vault", "x"]}), None);
    assert_eq!(
        review(json!({"token": vault, "audiences": ["vault"]}))
            .await
            .unwrap()["audiences"],
        json!(["vault"])
    );
    assert_eq!(
        review(json!({"token": vault})).await.unwrap()["error"],
        "token audiences [\"vault\" \"x\"] is invalid for the target audiences [\"https://kubernetes.default.svc\"]"
    );
}

#[test]
fn discovery_tells_how_to_verify() {
    let world = world();
    let keys = world.issuer.jwks();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(keys["keys"][0]["kid"], world.issuer.keys()[0].id());
    let expected = json!({
        "issuer": ISSUER,
        "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    assert_eq!(world.issuer.openid_configuration("10.0.0.1:6443"), expected);
}

#[test]
fn bootstrap_tokens_are_one_more_kind() {
    let world = world();
    let data = |text: &str| json!(base64::engine::general_purpose::STANDARD.encode(text));
    world.fake.put(
        "secrets",
        json!({
            "metadata": {"namespace": "kube-system", "name": "bootstrap-token-abc123"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {"token-id": data("abc123"), "token-secret": data("0123456789abcdef"), "usage-bootstrap-authentication": data("true")},
        }),
    );
    let user = world.bearer("abc123.0123456789abcdef").unwrap().unwrap();
    assert_eq!(
        user,
        User::new(
            "system:bootstrap:abc123",
            &["system:bootstrappers", "system:authenticated"]
        )
    );
    assert_eq!(
        world.bearer("abc123.0123456789abcdee").unwrap_err(),
        "invalid bearer token"
    );
}

#[test]
fn a_front_proxy_says_whom_it_speaks_for() {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let (front, _) = Authority::named("front-proxy-ca", clock).unwrap();
    let world = world_with(|config| {
        config.front_proxies = Some(FrontProxies {
            ca: front.certificate_pem().as_bytes().to_vec(),
            names: vec!["front-proxy-client".into()],
        });
    });
    let shown = |authority: &Authority, name: &str| {
        let issued = authority.client(name, &[]).unwrap();
        let chain = tls::certificates(issued.certificate.as_bytes()).unwrap();
        PeerCertificate::from_chain(Some(&chain)).unwrap()
    };
    let mut said = HeaderMap::new();
    said.insert("x-remote-user", "anna".parse().unwrap());
    said.append("x-remote-group", "dev".parse().unwrap());
    let who = |headers: &HeaderMap, peer: Option<&PeerCertificate>| {
        let identity = now(world.authenticator.identify("/api", headers, peer));
        identity.map(|identity| identity.map(|identity| identity.user.name.clone()))
    };
    let proxy = shown(&front, "front-proxy-client");
    assert_eq!(who(&said, Some(&proxy)).unwrap().unwrap(), "anna");
    // its certificate is nobody's own
    assert!(who(&HeaderMap::new(), Some(&proxy)).is_err());
    assert!(who(&said, Some(&shown(&front, "another"))).is_err());
    let bert = shown(&world.authority, "bert");
    assert_eq!(who(&said, Some(&bert)).unwrap().unwrap(), "bert");
    assert_eq!(who(&said, None).unwrap().unwrap(), ANONYMOUS);
}
