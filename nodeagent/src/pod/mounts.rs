//! What is mounted into a container: its volumes, and the files that every pod gets.
//!
//! Invariant: a sub-path never leads out of its volume; an image is never writable.
//! Follows `makeMounts` in `pkg/kubelet/kubelet_pods.go`.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{
    expand::expand,
    files, image_volumes,
    names::{self, is_host_network, name, namespace, spec, uid},
};
use crate::{
    agent::context::Context,
    events::Type,
    image::Image,
    runtime::{ImageMount, Mount},
    volume::{self, During, subpath},
};

/// Where the content of mounts comes from.
pub struct Sources<'a> {
    pub volumes: &'a volume::All,
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
) -> Result<Vec<Mount>, String> {
    let Sources {
        volumes,
        images,
        env,
    } = *sources;
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes.get(&mount.name).ok_or_else(|| {
            format!(
                "cannot find volume {:?} to mount into container {:?}",
                mount.name, container.name
            )
        })?;
        if mount.recursive_read_only.as_deref() == Some("Enabled") {
            return Err("failed to resolve recursive read-only mode: recursive read-only mount is not supported by this node".to_owned());
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
                    volume::Error::Refused(reason) => reason,
                    _ => format!("failed to prepare subPath for volumeMount {:?} of container {:?}", mount.name, container.name),
                }
            })?
        };
        let path = PathBuf::from(&mount.mount_path);
        mounts.push(Mount {
            host_path,
            container_path: if path.is_absolute() {
                path
            } else {
                PathBuf::from("/").join(path)
            },
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

fn image_mount(image: &Image, sub: &str) -> Result<ImageMount, String> {
    subpath::check(sub).map_err(|error| error.to_string())?;
    Ok(ImageMount {
        image_id: image.id.clone(),
        sub_path: sub.to_owned(),
    })
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
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
        Err(format!(
            "missing value for {}",
            missing.into_iter().collect::<Vec<_>>().join(", ")
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
) -> Result<(), String> {
    let dir = node.config.pod_dir(uid(pod));
    std::fs::create_dir_all(&dir)
        .during(|| format!("make {}", dir.display()))
        .map_err(|error| error.to_string())?;
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
        node.events
            .record(names::reference(pod), Type::Warning, reason, message);
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
            std::fs::write(&place, text)
                .during(|| format!("write {}", place.display()))
                .map_err(|error| error.to_string())?;
        }
        mounts.push(Mount {
            host_path: place,
            container_path: target.into(),
            read_only: false,
            propagation: "None".to_owned(),
            image: None,
        });
    }
    Ok(())
}

/// The file in which the container may leave its termination message.
pub fn message_file(
    node: &Context,
    pod: &Pod,
    container: &Container,
    restart: u32,
    mounts: &mut Vec<Mount>,
) -> Result<Option<PathBuf>, String> {
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
        .during(|| format!("make {}", place.display()))
        .map_err(|error| error.to_string())?;
    mounts.push(Mount {
        host_path: place.clone(),
        container_path: target.into(),
        read_only: false,
        propagation: "None".to_owned(),
        image: None,
    });
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
            sub_path(&mount("x/$(B)"), &env).unwrap_err(),
            "missing value for B"
        );
    }
}
