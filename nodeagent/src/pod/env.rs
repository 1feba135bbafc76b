//! The environment of a container.
//!
//! Invariant: `build` is pure; a variable whose source is missing stops the container unless the source is optional.
//! Follows `makeEnvironmentVariables` in `pkg/kubelet/kubelet_pods.go` and `pkg/kubelet/envvars/envvars.go`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service,
};

use super::{
    expand::expand,
    fields::{self, Known},
    names::{namespace, spec},
};
use crate::objects::{self, Kind, Objects};
use skiff_api::machinery::quote::GoQuoted;

/// Why a container has no environment.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Object(#[from] objects::Error),
    #[error("object was not read")]
    NotRead,
    #[error(transparent)]
    Field(#[from] fields::Error),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error("cannot find the volume {} referenced by FileKeyRef", GoQuoted(.0))]
    NoVolume(String),
    #[error("couldn't parse env file")]
    BadFile,
    #[error("environment variable key {key} not found in file {file}", key = GoQuoted(.key), file = GoQuoted(.file))]
    NotInFile { key: String, file: String },
}

/// What was read for the environment of one container; `Err` holds why an object is not to be had.
#[derive(Default)]
pub struct Sources {
    pub config_maps: HashMap<String, Result<ConfigMap, objects::Error>>,
    pub secrets: HashMap<String, Result<Secret, objects::Error>>,
    pub services: Vec<Service>,
    /// Where the pod's volumes are, by name.
    pub volumes: HashMap<String, PathBuf>,
}

/// The objects that the container's environment refers to.
pub fn references(container: &Container) -> HashSet<(Kind, String)> {
    let sources = container
        .env
        .iter()
        .flatten()
        .filter_map(|var| var.value_from.as_ref());
    let from = container.env_from.iter().flatten();
    let config_maps = (sources
        .clone()
        .filter_map(|source| source.config_map_key_ref.as_ref()))
    .map(|key| &key.name)
    .chain(
        from.clone()
            .filter_map(|from| Some(&from.config_map_ref.as_ref()?.name)),
    );
    let secrets = (sources.filter_map(|source| source.secret_key_ref.as_ref()))
        .map(|key| &key.name)
        .chain(from.filter_map(|from| Some(&from.secret_ref.as_ref()?.name)));
    let of = |kind| move |name: &String| (kind, name.clone());
    config_maps
        .map(of(Kind::ConfigMap))
        .chain(secrets.map(of(Kind::Secret)))
        .collect()
}

/// Reads all that `build` needs.
pub async fn read(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    volumes: HashMap<String, PathBuf>,
) -> Result<Sources, objects::Error> {
    let mut sources = Sources {
        volumes,
        ..Default::default()
    };
    for (kind, name) in references(container) {
        match kind {
            Kind::ConfigMap => {
                _ = sources.config_maps.insert(
                    name.clone(),
                    objects.config_map(namespace(pod), &name).await,
                )
            }
            Kind::Secret => {
                _ = sources
                    .secrets
                    .insert(name.clone(), objects.secret(namespace(pod), &name).await)
            }
        }
    }
    sources.services = objects
        .services(
            namespace(pod),
            spec(pod).enable_service_links.unwrap_or(true),
        )
        .await?;
    Ok(sources)
}

/// A list of variables that keeps the order in which they were first set.
#[derive(Default)]
struct Vars {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Vars {
    fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }
}

/// `None` when the object is missing and may be; otherwise the object or what to report.
fn found<T>(
    read: Option<&Result<T, objects::Error>>,
    optional: Option<bool>,
) -> Result<Option<&T>, Error> {
    match read {
        Some(Ok(object)) => Ok(Some(object)),
        Some(Err(objects::Error::NotFound(_))) if optional == Some(true) => Ok(None),
        Some(Err(error)) => Err(error.clone().into()),
        None => Err(Error::NotRead),
    }
}

/// The environment: what the container declares, then services.
pub fn build(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    known: &Known,
) -> Result<Vec<(String, String)>, Error> {
    let services = service_variables(&sources.services);
    let mut vars = Vars::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            let object = found(sources.config_maps.get(&source.name), source.optional)?;
            for (key, value) in object
                .and_then(|object| object.data.as_ref())
                .into_iter()
                .flatten()
            {
                vars.set(&format!("{prefix}{key}"), value.clone());
            }
        } else if let Some(source) = &from.secret_ref {
            let object = found(sources.secrets.get(&source.name), source.optional)?;
            for (key, value) in object
                .and_then(|object| object.data.as_ref())
                .into_iter()
                .flatten()
            {
                vars.set(
                    &format!("{prefix}{key}"),
                    String::from_utf8_lossy(&value.0).into_owned(),
                );
            }
        }
    }
    for var in container.env.iter().flatten() {
        let value = match value(pod, container, var, sources, known, |name| {
            vars.values
                .get(name)
                .or_else(|| services.get(name))
                .cloned()
        })? {
            Some(value) => value,
            None => continue,
        };
        vars.set(&var.name, value);
    }
    let mut all: Vec<(String, String)> = vars
        .order
        .into_iter()
        .filter_map(|name| vars.values.remove(&name).map(|value| (name, value)))
        .collect();
    let declared: HashSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    all.extend(
        services
            .into_iter()
            .filter(|(name, _)| !declared.contains(name)),
    );
    Ok(all)
}

/// The value of one variable; `None` when it is to be left out.
fn value(
    pod: &Pod,
    container: &Container,
    var: &EnvVar,
    sources: &Sources,
    known: &Known,
    value_of: impl FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Error> {
    match (&var.value, &var.value_from) {
        (Some(text), _) if !text.is_empty() => Ok(Some(expand(text, value_of))),
        (_, Some(source)) => from_source(pod, container, source, sources, known),
        _ => Ok(Some(String::new())),
    }
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    known: &Known,
) -> Result<Option<String>, Error> {
    if let Some(field) = &source.field_ref {
        return Ok(Some(fields::field(pod, &field.field_path, known)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(fields::resource(
            pod,
            Some(container),
            selector,
            known,
        )?));
    }
    let no_key = |kind, name: &str, key: &str| Error::NoKey {
        kind,
        namespace: namespace(pod).to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
    };
    if let Some(key) = &source.config_map_key_ref {
        let Some(object) = found(sources.config_maps.get(&key.name), key.optional)? else {
            return Ok(None);
        };
        let value = object
            .data
            .as_ref()
            .and_then(|data| data.get(&key.key))
            .cloned();
        return keyed(value, key.optional, || {
            no_key("ConfigMap", &key.name, &key.key)
        });
    }
    if let Some(key) = &source.secret_key_ref {
        let Some(object) = found(sources.secrets.get(&key.name), key.optional)? else {
            return Ok(None);
        };
        let value = object
            .data
            .as_ref()
            .and_then(|data| data.get(&key.key))
            .map(|value| String::from_utf8_lossy(&value.0).into_owned());
        return keyed(value, key.optional, || {
            no_key("Secret", &key.name, &key.key)
        });
    }
    if let Some(key) = &source.file_key_ref {
        let volume = sources.volumes.get(&key.volume_name);
        let volume = volume.ok_or_else(|| Error::NoVolume(key.volume_name.clone()))?;
        let path = inside(volume, &key.path)?;
        let text = std::fs::read_to_string(&path).map_err(|_| Error::BadFile)?;
        let value = from_file(&text, &key.key).filter(|value| !value.is_empty());
        return keyed(value, key.optional, || Error::NotInFile {
            key: key.key.clone(),
            file: path.display().to_string(),
        });
    }
    Ok(Some(String::new()))
}

fn keyed(
    value: Option<String>,
    optional: Option<bool>,
    missing: impl FnOnce() -> Error,
) -> Result<Option<String>, Error> {
    match value {
        None if optional != Some(true) => Err(missing()),
        value => Ok(value),
    }
}

/// `path` below `root`, with symbolic links resolved; never outside of it.
fn inside(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let resolve = |path: &Path| path.canonicalize().map_err(|_| Error::BadFile);
    let (root, path) = (
        resolve(root)?,
        resolve(&root.join(path.trim_start_matches('/')))?,
    );
    if path.starts_with(&root) {
        Ok(path)
    } else {
        Err(Error::BadFile)
    }
}

/// The value of `key` in a file of `KEY='value'` lines.
fn from_file(text: &str, key: &str) -> Option<String> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = value.trim();
            let bare = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''));
            (name.trim() == key).then(|| bare.unwrap_or(value).to_owned())
        })
}

/// Variables for the addresses of services, in the form that docker links had.
fn service_variables(services: &[Service]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec
            .cluster_ip
            .as_deref()
            .filter(|ip| !ip.is_empty() && *ip != "None")
        else {
            continue;
        };
        let name = upper(service.metadata.name.as_deref().unwrap_or_default());
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_ascii_lowercase(), port.port);
            if index == 0 {
                all.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
                all.insert(format!("{name}_SERVICE_PORT"), port.port.to_string());
                all.insert(format!("{name}_PORT"), url.clone());
            }
            if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                all.insert(
                    format!("{name}_SERVICE_PORT_{}", upper(port_name)),
                    port.port.to_string(),
                );
            }
            let prefix = format!(
                "{name}_PORT_{}_{}",
                port.port,
                protocol.to_ascii_uppercase()
            );
            all.insert(prefix.clone(), url);
            all.insert(format!("{prefix}_PROTO"), protocol.to_ascii_lowercase());
            all.insert(format!("{prefix}_PORT"), port.port.to_string());
            all.insert(format!("{prefix}_ADDR"), ip.to_owned());
        }
    }
    all
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn sources() -> Sources {
        let mut sources = Sources::default();
        sources.config_maps.insert(
            "cm".into(),
            Ok(from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap()),
        );
        sources.config_maps.insert(
            "gone".into(),
            Err(objects::Error::NotFound(
                "configmap \"gone\" not found".into(),
            )),
        );
        sources.secrets.insert(
            "s".into(),
            Ok(from_value(json!({"data": {"k": "c2VjcmV0"}})).unwrap()),
        );
        sources.services =
            vec![from_value(json!({"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.1.2.3", "ports": [{"name": "sql", "port": 5432}]}})).unwrap()];
        sources
    }

    fn environment(container: serde_json::Value) -> Result<Vec<(String, String)>, Error> {
        let pod: Pod = from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}}),
        )
        .unwrap();
        build(
            &pod,
            &from_value(container).unwrap(),
            &sources(),
            &Known::default(),
        )
    }

    #[test]
    fn every_source() {
        let env = environment(json!({"name": "c",
            "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "X_"}, {"configMapRef": {"name": "gone", "optional": true}}],
            "env": [
                {"name": "A", "value": "a"}, {"name": "B", "value": "$(A)-$(X_b)-$(MY_DB_SERVICE_HOST)-$(LATER)"}, {"name": "LATER", "value": "l"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": true}}}]}))
        .unwrap();
        let own: Vec<String> = env
            .iter()
            .take(7)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            own,
            [
                "X_a=1",
                "X_b=2",
                "A=a",
                "B=a-2-10.1.2.3-$(LATER)",
                "LATER=l",
                "NAME=p",
                "S=secret"
            ]
        );
        let services: HashMap<_, _> = env.into_iter().skip(7).collect();
        assert_eq!(services["MY_DB_PORT_5432_TCP"], "tcp://10.1.2.3:5432");
        assert_eq!(services["MY_DB_SERVICE_PORT_SQL"], "5432");
        assert_eq!(services.len(), 8);
    }

    #[test]
    fn missing_sources() {
        let error = |source| {
            environment(json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]}))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(json!({"configMapKeyRef": {"name": "gone", "key": "k"}})),
            "configmap \"gone\" not found"
        );
        assert_eq!(
            error(json!({"configMapKeyRef": {"name": "cm", "key": "k"}})),
            "couldn't find key k in ConfigMap n/cm"
        );
        assert_eq!(
            error(json!({"secretKeyRef": {"name": "s", "key": "z"}})),
            "couldn't find key z in Secret n/s"
        );
    }

    #[test]
    fn env_files() {
        let text = "# no\nA='one two'\nB=3\n";
        assert_eq!(
            (
                from_file(text, "A").as_deref(),
                from_file(text, "B").as_deref(),
                from_file(text, "C")
            ),
            (Some("one two"), Some("3"), None)
        );
    }
}
