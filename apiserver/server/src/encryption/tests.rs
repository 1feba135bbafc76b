//! What configurations may say, what comes of bytes with them, and how keys take each other's place.

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";
const SHORT: &str = "AAECAwQFBgcICQoLDA0ODw==";

fn key(resource: &str, name: &str) -> Key {
    Key {
        resource: resource.into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

fn loaded(resources: &str) -> Result<Encryption, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encryption.yaml");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: {resources}"
    );
    std::fs::write(&file, text).unwrap();
    Encryption::open(Some(&file)).map_err(|error| error.to_string())
}

fn of_secrets(providers: &str) -> Encryption {
    loaded(&format!(
        "[{{resources: [secrets], providers: [{providers}]}}]"
    ))
    .unwrap()
}

fn keys(method: &str, keys: &[(&str, &str)]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(name, secret)| format!("{{name: {name}, secret: {secret}}}"))
        .collect();
    format!("{{{method}: {{keys: [{}]}}}}", keys.join(", "))
}

#[test]
fn bytes_come_back() {
    for (method, secret) in [
        ("aesgcm", KEY),
        ("aesgcm", SHORT),
        ("aesgcm", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"),
        ("aescbc", KEY),
        ("aescbc", SHORT),
        ("secretbox", KEY),
    ] {
        let encryption = of_secrets(&keys(method, &[("one", secret)]));
        for length in [0, 1, 15, 16, 17, 1000] {
            let bytes = vec![b'x'; length];
            let sealed = encryption.seal(&key("secrets", "a"), &bytes).unwrap();
            let prefix = format!("k8s:enc:{method}:v1:one:");
            assert!(sealed.starts_with(prefix.as_bytes()), "{method}");
            let again = encryption.seal(&key("secrets", "a"), &bytes).unwrap();
            assert_ne!(sealed, again, "a nonce is used once");
            let opened = encryption.open(&key("secrets", "a"), 1, &sealed).unwrap();
            assert_eq!(opened, bytes, "{method} {length}");
            // only one of them is bound to its place
            let moved = encryption.open(&key("secrets", "b"), 1, &sealed);
            assert_eq!(moved.is_err(), method == "aesgcm", "{method}");
        }
        let plain = encryption.seal(&key("configmaps", "a"), b"{}").unwrap();
        assert_eq!(&*plain, b"{}");
    }
}

/// What openssl makes of `{"a":1}`, with the start and the padding where upstream has them.
#[test]
fn the_layout_is_upstreams() {
    let encryption = of_secrets(&keys("aescbc", &[("k", SHORT)]));
    let cipher = hex::decode("38fbb9a2d1b576b07a7561467d54f34c").unwrap();
    let kept = [b"k8s:enc:aescbc:v1:k:".as_slice(), &[0; 16], &cipher].concat();
    let opened = encryption.open(&key("secrets", "a"), 1, &kept).unwrap();
    assert_eq!(&*opened, br#"{"a":1}"#);
}

#[test]
fn keys_take_each_others_place() {
    let (a, b) = (("a", KEY), ("b", OTHER));
    let plain = b"{\"kind\":\"Secret\"}".as_slice();
    let place = key("secrets", "x");
    let seal = |by: &Encryption| by.seal(&place, plain).unwrap().into_owned();
    let open = |by: &Encryption, kept: &[u8]| match by.open(&place, 1, kept) {
        Ok(opened) => {
            assert_eq!(opened, plain);
            String::new()
        }
        Err(why) => why.0,
    };
    let by_a = of_secrets(&keys("aescbc", &[a]));
    let by_b = of_secrets(&keys("aescbc", &[b]));
    let both = of_secrets(&keys("aescbc", &[b, a]));
    let parted = of_secrets(&[keys("aescbc", &[b]), keys("aescbc", &[a])].join(", "));
    let from_plain = of_secrets(&format!("{}, {{identity: {{}}}}", keys("secretbox", &[a])));
    let to_plain = of_secrets(&format!("{{identity: {{}}}}, {}", keys("aescbc", &[a])));
    let wrong = of_secrets(&keys("aesgcm", &[("a", OTHER)]));
    let gcm = of_secrets(&keys("aesgcm", &[a]));
    let nothing = Encryption::default();
    let unmatched = "no matching key was found for the provided AES transformer";
    for (by, kept, wanted) in [
        (&both, seal(&by_a), ""),
        (&both, seal(&by_b), ""),
        (&parted, seal(&by_a), ""),
        (&by_b, seal(&by_a), unmatched),
        (&from_plain, plain.to_vec(), ""),
        (&from_plain, seal(&by_a), "no matching prefix found"),
        (&to_plain, seal(&by_a), ""),
        (&by_a, seal(&to_plain), "no matching prefix found"),
        (&wrong, seal(&gcm), "cipher: message authentication failed"),
        (&nothing, plain.to_vec(), ""),
        (
            &nothing,
            seal(&by_a),
            "identity transformer tried to read encrypted data",
        ),
        (
            &by_a,
            b"k8s:enc:aescbc:v1:a:x".to_vec(),
            "the stored data was shorter than the required size",
        ),
    ] {
        assert_eq!(open(by, &kept), wanted);
    }
    assert!(seal(&both).starts_with(b"k8s:enc:aescbc:v1:b:"));
    assert_eq!(seal(&to_plain), plain);
}

#[test]
fn which_resources() {
    let one = |name: &str| keys("aescbc", &[(name, KEY)]);
    let encryption = loaded(&format!(
        "[{{resources: [secrets, boats.sea.example.com], providers: [{}]}}, {{resources: ['*.apps'], providers: [{}]}}, {{resources: ['*.'], providers: [{}]}}, {{resources: ['*.*'], providers: [{}]}}]",
        one("a"), one("b"), one("c"), one("d")
    ))
    .unwrap();
    for (resource, wanted) in [
        ("secrets", "a"),
        ("boats.sea.example.com", "a"),
        ("deployments.apps", "b"),
        ("configmaps", "c"),
        ("planes.sea.example.com", "d"),
    ] {
        let sealed = encryption.seal(&key(resource, "x"), b"{}").unwrap();
        let prefix = format!("k8s:enc:aescbc:v1:{wanted}:");
        assert!(sealed.starts_with(prefix.as_bytes()), "{resource}");
    }
}

#[test]
fn what_cannot_be() {
    let good = keys("aescbc", &[("a", KEY)]);
    let secrets = |providers: &str| format!("[{{resources: [secrets], providers: [{providers}]}}]");
    let of = |resources: &str| format!("[{{resources: [{resources}], providers: [{good}]}}]");
    for (text, wanted) in [
        (
            "[]".to_string(),
            "resources: Required value: at least one resources is required",
        ),
        (
            "[{}]".into(),
            "[resources[0].resources: Required value: at least one resources[0].resources is required, resources[0].providers: Required value: at least one resources[0].providers is required]",
        ),
        (
            secrets("{}"),
            "resources[0].providers[0]: Invalid value: {\"AESGCM\":null,\"AESCBC\":null,\"Secretbox\":null,\"Identity\":null,\"KMS\":null}: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        ),
        (
            secrets("{identity: {}, aescbc: {keys: []}}"),
            "resources[0].providers[0]: Invalid value: \"REDACTED\": more than one provider specified in a single element, should split into different list elements",
        ),
        (
            secrets("{aesgcm: {keys: []}}"),
            "resources[0].providers[0].aesgcm.keys: Required value: at least one keys is required",
        ),
        (
            secrets("{aescbc: {keys: [{name: '', secret: ''}]}}"),
            "[resources[0].providers[0].aescbc.keys[0].name: Required value: name is a mandatory field for a key, resources[0].providers[0].aescbc.keys[0].secret: Required value: secret is a mandatory field for a key]",
        ),
        (
            secrets("{aescbc: {keys: [{name: a, secret: '?'}]}}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
        ),
        (
            secrets("{aescbc: {keys: [{name: a, secret: eA==}]}}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 1, expected one of [16 24 32]",
        ),
        (
            secrets(&keys("secretbox", &[("a", SHORT)])),
            "resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 16, expected one of [32]",
        ),
        (
            of("secrets, secrets"),
            "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times",
        ),
        (
            of("secrets, '*.'"),
            "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        ),
        (
            of("Secrets"),
            "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters",
        ),
        (
            of("'*'"),
            "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        ),
        (
            of("'secrets.*'"),
            "resources[0].resources[0]: Invalid value: \"secrets.*\": encrypting the same resource across groups is not supported",
        ),
    ] {
        let said = loaded(&text).err().unwrap_or_default();
        assert_eq!(
            said,
            format!("error while parsing file: {wanted}"),
            "{text}"
        );
    }
    for (text, wanted) in [
        (
            format!(
                "[{{resources: ['*.'], providers: [{good}]}}, {{resources: [secrets], providers: [{good}]}}]"
            ),
            "error while building transformers: resource \"secrets\" is masked by earlier rule \"*.\"",
        ),
        (
            secrets("{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: 3s}}"),
            "error while building transformers: the provider kms cannot be used yet; use aesgcm, aescbc or secretbox",
        ),
    ] {
        assert_eq!(loaded(&text).err().unwrap_or_default(), wanted);
    }
    let said = loaded(&secrets("{nosuch: 1}")).err().unwrap_or_default();
    assert!(
        said.ends_with("strict decoding error: unknown field \"resources[0].providers[0].nosuch\""),
        "{said}"
    );
}

#[test]
fn a_file_that_became_wrong_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encryption.yaml");
    let write = |name: &str| {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{}]}}]",
            keys("aescbc", &[(name, KEY)])
        );
        std::fs::write(&file, text).unwrap();
    };
    write("a");
    let encryption = Encryption::open(Some(&file)).unwrap();
    let begins = |with: &str| {
        let sealed = encryption.seal(&key("secrets", "x"), b"{}").unwrap();
        sealed.starts_with(format!("k8s:enc:aescbc:v1:{with}:").as_bytes())
    };
    write("b");
    encryption.load(&file, || 7);
    assert!(begins("b"));
    let stale = |resource: &str, revision| encryption.is_stale(&key(resource, "x"), revision);
    assert_eq!(
        [
            stale("secrets", 7),
            stale("secrets", 8),
            stale("configmaps", 7)
        ],
        [true, false, false]
    );
    std::fs::write(&file, "nonsense").unwrap();
    encryption.load(&file, || 7);
    assert!(begins("b"));
}
