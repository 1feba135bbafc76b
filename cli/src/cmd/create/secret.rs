//! `create secret generic|tls|docker-registry`.
//! Invariant: values are only ever shown as base64, as the API has them.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_secret*.go`.

use super::{GENERATOR, config_data, configmap};
use crate::command::{Command, Run, verb};
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, go_io, message};
use crate::flags::{Csv, Listed};
use crate::generate;
use base64::Engine;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "secret",
    usage: "(docker-registry | generic | tls)",
    short: "Create a secret using a specified subcommand",
    long: "Create a secret with specified type.\n\n A docker-registry type secret is for accessing a container registry.\n\n A generic type secret indicate an Opaque secret type.\n\n A tls type secret holds TLS certificate and its associated key.",
    subcommands: &[&DOCKER, &GENERIC, &TLS],
    run: Run::Group,
    ..Command::NEW
};

static GENERIC: Command = Command {
    name: "generic",
    usage: "NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]",
    short: "Create a secret from a local file, directory, or literal value",
    long: "Create a secret from files, folders and literal values.",
    examples: "
      # Files under keys of one's own
      kubectl create secret generic my-secret --from-file=ssh-privatekey=path/to/id_rsa
      # Literal values
      kubectl create secret generic my-secret --from-literal=key1=supersecret",
    run: verb!(generic: Generic),
    ..GENERATOR
};

static TLS: Command = Command {
    name: "tls",
    usage: "NAME --cert=path/to/cert/file --key=path/to/key/file [--dry-run=server|client|none]",
    short: "Create a TLS secret",
    long: "Create a secret of a certificate and its key, both in PEM; they must belong together.",
    examples: "
      # From two files
      kubectl create secret tls tls-secret --cert=path/to/tls.crt --key=path/to/tls.key",
    run: verb!(tls: Tls),
    ..GENERATOR
};

static DOCKER: Command = Command {
    name: "docker-registry",
    usage: "NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string] [--from-file=[key=]source] [--dry-run=server|client|none]",
    short: "Create a secret for use with a Docker registry",
    long: "Create a secret with which nodes pull images from a registry.",
    examples: "
      # For a registry
      kubectl create secret docker-registry my-secret --docker-server=REGISTRY --docker-username=USER --docker-password=PASSWORD --docker-email=EMAIL
      # From a file of credentials
      kubectl create secret docker-registry my-secret --from-file=path/to/.docker/config.json",
    run: verb!(docker: DockerRegistry),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct DockerRegistry {
    /// The user at the registry
    #[arg(long)]
    docker_username: String,
    /// The user's password
    #[arg(long)]
    docker_password: String,
    /// The user's e-mail address
    #[arg(long)]
    docker_email: String,
    /// The registry
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// A file of credentials to take instead ([KEY=]PATH)
    #[arg(long)]
    from_file: Vec<Csv>,
    /// Append a hash of the data to the name
    #[arg(long)]
    append_hash: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct Tls {
    /// The file with the certificate, in PEM
    #[arg(long)]
    cert: String,
    /// The file with its private key, in PEM
    #[arg(long)]
    key: String,
    /// Append a hash of the data to the name
    #[arg(long)]
    append_hash: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct Generic {
    #[command(flatten)]
    sources: configmap::Sources,
    /// The type of the secret
    #[arg(long)]
    r#type: String,
}

async fn finish(
    ctx: &Ctx,
    name: &str,
    kind: &str,
    data: config_data::Data,
    hash: bool,
) -> Result<()> {
    let resource = generate::kind("", "v1", "secrets", "Secret", true);
    let mut object = generate::object(ctx, &resource, name)?;
    if !kind.is_empty() {
        object["type"] = json!(kind);
    }
    for (key, value) in data {
        object["data"][key] = json!(base64::engine::general_purpose::STANDARD.encode(value));
    }
    if hash {
        let canonical = json!({"kind": "Secret", "type": kind, "name": name, "data": object.get("data").cloned().unwrap_or(Value::Null)});
        object["metadata"]["name"] =
            json!(format!("{name}-{}", config_data::name_hash(&canonical)));
    }
    generate::create(ctx, &resource, object, "failed to create secret").await
}

async fn generic(ctx: With<Generic>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let data = f.sources.data("Secret", &name)?;
    finish(&ctx, &name, &f.r#type, data, f.sources.append_hash).await
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| message!("Cannot read file {path}, open {path}: {}", go_io(&e)))
}

async fn tls(ctx: With<Tls>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    if f.cert.is_empty() || f.key.is_empty() {
        bail!("key and cert must be specified");
    }
    let (cert, key) = (read(&f.cert)?, read(&f.key)?);
    check_pair(&cert, &key)?;
    finish(
        &ctx,
        &name,
        "kubernetes.io/tls",
        vec![("tls.crt".into(), cert), ("tls.key".into(), key)],
        f.append_hash,
    )
    .await
}

/// What stands in a PEM file, by its labels.
fn labels(pem: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(pem);
    let labels = text.lines().filter_map(|line| {
        let label = line.trim().strip_prefix("-----BEGIN ")?;
        label.strip_suffix("-----").map(String::from)
    });
    labels.collect()
}

/// Why there is no certificate in a file.
fn no_certificate(pem: &[u8]) -> Error {
    match labels(pem).as_slice() {
        [] => Error::msg("tls: failed to find any PEM data in certificate input"),
        [one] if one.ends_with("PRIVATE KEY") => Error::msg(
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
        ),
        found => message!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            found.join(" ")
        ),
    }
}

/// Why there is no key in a file.
fn no_key(pem: &[u8]) -> Error {
    match labels(pem).as_slice() {
        [] => Error::msg("tls: failed to find any PEM data in key input"),
        [one] if one == "CERTIFICATE" => {
            Error::msg("tls: found a certificate rather than a key in the PEM for the private key")
        }
        found => message!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            found.join(" ")
        ),
    }
}

/// Whether the key is the certificate's.
fn check_pair(cert: &[u8], key: &[u8]) -> Result<()> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(cert)
        .filter_map(std::result::Result::ok)
        .collect();
    if chain.is_empty() {
        return Err(no_certificate(cert));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| no_key(key))?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| Error::msg("tls: failed to parse private key"))?;
    match rustls::sign::CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(_) => Err(Error::msg("tls: private key does not match public key")),
    }
}

async fn docker(ctx: With<DockerRegistry>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let data = if f.from_file.list().is_empty() {
        let (user, password, server) = (
            f.docker_username.as_str(),
            f.docker_password.as_str(),
            f.docker_server.as_str(),
        );
        if user.is_empty() || password.is_empty() || server.is_empty() {
            bail!(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required"
            );
        }
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut entry = json!({"username": user, "password": password, "auth": auth});
        if !f.docker_email.is_empty() {
            entry["email"] = json!(f.docker_email);
        }
        let style = crate::print::json::Style {
            indent: 0,
            order: crate::print::order::Order::Keys(&["username", "password", "email", "auth"]),
        };
        vec![(
            ".dockerconfigjson".to_string(),
            crate::print::json::write(&json!({"auths": {server: entry}}), style).into_bytes(),
        )]
    } else {
        // A file whose key is not named is the one that such a secret has.
        let keyed = |file: &String| match file.contains('=') {
            true => file.clone(),
            false => format!(".dockerconfigjson={file}"),
        };
        let files: Vec<String> = f.from_file.list().iter().map(keyed).collect();
        config_data::collect(&files, &[], &[], "Secret", &name)?
    };
    finish(
        &ctx,
        &name,
        "kubernetes.io/dockerconfigjson",
        data,
        f.append_hash,
    )
    .await
}
