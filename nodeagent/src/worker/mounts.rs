//! What is mounted into a container: its volumes, and the files that every pod gets.
//!
//! Invariant: a sub-path never leads out of its volume; an image is never writable.
//! Follows `makeMounts` in `pkg/kubelet/kubelet_pods.go`.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::image_volumes;
use crate::{
    agent::context::Context,
    image::Image,
    pod::{
        expand::expand,
        files, mounted,
        names::{self, is_host_network, name, namespace, spec, uid},
    },
    runtime::{ImageMount, Mount},
    volume::{self, During, subpath},
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a container cannot have its mounts.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("cannot find volume {volume} to mount into container {container}", volume = GoQuoted(.volume), container = GoQuoted(.container))]
    NoVolume { volume: String, container: String },
    #[error(
        "failed to resolve recursive read-only mode: recursive read-only mount is not supported by this node"
    )]
    RecursiveReadOnly,
    #[error("failed to prepare subPath for volumeMount {volume} of container {container}", volume = GoQuoted(.volume), container = GoQuoted(.container))]
    SubPath { volume: String, container: String },
    #[error("missing value for {0}")]
    MissingValue(String),
    #[error(transparent)]
    Volume(#[from] volume::Error),
}

/// Where the content of mounts comes from.
pub struct Sources<'a> {
    pub volumes: &'a mounted::All,
    /// Those of image volumes.
    pub images: &'a image_volumes::Images,
    pub env: &'a [(String, String)],
}

/// The container's `volumeMounts`.
pub fn of_volumes(
    node: &Context,
    pod: &Pod,
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Vec<Mount>, Error> {
    let Sources {
        volumes,
        images,
        env,
    } = *sources;
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let (named, whose) = (mount.name.clone(), container.name.clone());
        let Some(volume) = volumes.get(&mount.name) else {
            return Err(Error::NoVolume {
                volume: named,
                container: whose,
            });
        };
        if mount.recursive_read_only.as_deref() == Some("Enabled") {
            return Err(Error::RecursiveReadOnly);
        }
        let sub = sub_path(mount, env)?;
        let image = images
            .get(&mount.name)
            .map(|image| image_mount(image, &sub))
            .transpose()?;
        let host_path = if image.is_some() || sub.is_empty() {
            volume.path.clone()
        } else {
            let place = node
                .config
                .pod_dir(uid(pod))
                .join("volume-subpaths")
                .join(&mount.name)
                .join(&container.name)
                .join(index.to_string());
            subpath::prepare(&volume.path, &sub, &place).map_err(|error| {
                tracing::warn!(%error, pod = name(pod), namespace = namespace(pod), "subPath not prepared");
                match error {
                    refused @ volume::Error::Refused(_) => Error::Volume(refused),
                    _ => Error::SubPath { volume: named, container: whose },
                }
            })?
        };
        mounts.push(Mount {
            host_path,
            container_path: PathBuf::from("/").join(&mount.mount_path),
            read_only: mount.read_only.unwrap_or(false) || volume.read_only,
            propagation: mount
                .mount_propagation
                .clone()
                .unwrap_or_else(|| "None".to_owned()),
            image,
        });
    }
    Ok(mounts)
}

fn image_mount(image: &Image, sub: &str) -> Result<ImageMount, Error> {
    subpath::check(sub)?;
    Ok(ImageMount {
        image_id: image.id.clone(),
        sub_path: sub.to_owned(),
    })
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, Error> {
    let Some(expression) = mount
        .sub_path_expr
        .as_deref()
        .filter(|text| !text.is_empty())
    else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let mut missing = std::collections::BTreeSet::new();
    let expanded = expand(expression, |name| {
        let value = env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        if value.is_empty() {
            missing.insert(name.to_owned());
        }
        Some(value)
    });
    if missing.is_empty() {
        Ok(expanded)
    } else {
        Err(Error::MissingValue(
            missing.into_iter().collect::<Vec<_>>().join(", "),
        ))
    }
}

/// `/etc/hosts` and `/etc/resolv.conf`, unless the container mounts something there itself; `/etc/hostname` and `/dev/shm` are the runtime's.
pub fn of_files(
    node: &Context,
    pod: &Pod,
    container: &Container,
    ips: &[std::net::IpAddr],
    mounts: &mut Vec<Mount>,
) -> Result<(), Error> {
    let dir = node.config.pod_dir(uid(pod));
    std::fs::create_dir_all(&dir).during(|| format!("make {}", dir.display()))?;
    let (host, domain) = files::hostname(pod, &node.config.cluster_domain);
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    let hosts = if is_host_network(pod) {
        files::hosts_of_node(
            &std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
            aliases,
        )
    } else {
        files::hosts(ips, &host, &domain, aliases)
    };
    let of_node = files::Resolver::parse(
        &std::fs::read_to_string(&node.config.resolv_conf).unwrap_or_default(),
    );
    let (resolver, warnings) = files::resolver(
        pod,
        &of_node,
        &node.config.cluster_dns,
        &node.config.cluster_domain,
    );
    for (reason, message) in warnings {
        node.events.warn(names::reference(pod), reason, message);
    }
    for (file, target, text) in [
        ("etc-hosts", "/etc/hosts", hosts),
        ("resolv.conf", "/etc/resolv.conf", resolver.text()),
    ] {
        if container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.mount_path == target)
        {
            continue;
        }
        let place = dir.join(file);
        if !std::fs::read_to_string(&place).is_ok_and(|present| present == text) {
            std::fs::write(&place, text).during(|| format!("write {}", place.display()))?;
        }
        mounts.push(file_mount(place, target));
    }
    Ok(())
}

/// One file of the node, in the container's sight.
fn file_mount(host_path: PathBuf, target: &str) -> Mount {
    Mount {
        host_path,
        container_path: target.into(),
        read_only: false,
        propagation: "None".to_owned(),
        image: None,
    }
}

/// The file in which the container may leave its termination message.
pub fn message_file(
    node: &Context,
    pod: &Pod,
    container: &Container,
    restart: u32,
    mounts: &mut Vec<Mount>,
) -> Result<Option<PathBuf>, Error> {
    use std::os::unix::fs::PermissionsExt;
    let Some(target) = container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
    else {
        return Ok(None);
    };
    let dir = node
        .config
        .pod_dir(uid(pod))
        .join("containers")
        .join(&container.name);
    let place = dir.join(restart.to_string());
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&place, ""))
        .and_then(|()| std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666)))
        .during(|| format!("make {}", place.display()))?;
    mounts.push(file_mount(place.clone(), target));
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_path_expressions() {
        let mount = |expression: &str| VolumeMount {
            sub_path_expr: Some(expression.into()),
            ..Default::default()
        };
        let env = [("A".to_owned(), "1".to_owned())];
        assert_eq!(sub_path(&mount("x/$(A)"), &env).unwrap(), "x/1");
        assert_eq!(
            sub_path(&mount("x/$(B)"), &env).unwrap_err().to_string(),
            "missing value for B"
        );
    }
}
