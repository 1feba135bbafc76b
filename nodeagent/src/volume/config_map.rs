//! `configMap`: the keys of a ConfigMap as files.
//!
//! Follows `pkg/volume/configmap/configmap.go`.

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, KeyToPath};

use super::{Error, File, Files, Request};
use crate::{agent::objects, pod::names::namespace};

pub async fn files(
    request: &Request<'_>,
    source: Option<&ConfigMapVolumeSource>,
) -> Result<Files, Error> {
    let Some(source) = source else {
        return Ok(Files::new());
    };
    let mode = source.default_mode.unwrap_or(0o644);
    read(
        request,
        &source.name,
        source.items.as_deref(),
        mode,
        source.optional == Some(true),
    )
    .await
}

/// The files of the ConfigMap `name`; none when it is missing and may be.
pub async fn read(
    request: &Request<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<Files, Error> {
    match request
        .node
        .objects
        .config_map(namespace(request.pod), name)
        .await
    {
        Ok(object) => select(
            payload(object),
            items,
            mode,
            optional,
            "configmap references non-existent config key",
        ),
        Err(objects::Error::NotFound(_)) if optional => Ok(Files::new()),
        Err(error) => Err(error.into()),
    }
}

fn payload(object: ConfigMap) -> Vec<(String, Vec<u8>)> {
    let text = object
        .data
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.into_bytes()));
    text.chain(
        object
            .binary_data
            .into_iter()
            .flatten()
            .map(|(key, value)| (key, value.0)),
    )
    .collect()
}

/// All keys under their own names, or the chosen ones under chosen paths.
pub fn select(
    payload: Vec<(String, Vec<u8>)>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    missing: &str,
) -> Result<Files, Error> {
    let bits = |mode: i32| u32::try_from(mode).unwrap_or(0o644);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(payload
            .into_iter()
            .map(|(key, data)| {
                (
                    key,
                    File {
                        data,
                        mode: bits(mode),
                    },
                )
            })
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        match payload.iter().find(|(key, _)| *key == item.key) {
            Some((_, data)) => {
                _ = files.insert(
                    item.path.clone(),
                    File {
                        data: data.clone(),
                        mode: bits(item.mode.unwrap_or(mode)),
                    },
                )
            }
            None if optional => {}
            None => return Err(Error::Refused(format!("{missing}: {}", item.key))),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_chosen_and_missing_ones_reported() {
        let payload = || {
            vec![
                ("a".to_owned(), b"1".to_vec()),
                ("b".to_owned(), b"2".to_vec()),
            ]
        };
        let item = |key: &str| {
            [KeyToPath {
                key: key.into(),
                path: "x/y".into(),
                mode: Some(0o400),
            }]
        };
        assert_eq!(select(payload(), None, 0o644, false, "m").unwrap().len(), 2);
        let chosen = select(payload(), Some(&item("b")), 0o644, false, "m").unwrap();
        assert_eq!(
            chosen["x/y"],
            File {
                data: b"2".to_vec(),
                mode: 0o400
            }
        );
        assert_eq!(
            select(payload(), Some(&item("z")), 0o644, false, "m")
                .unwrap_err()
                .to_string(),
            "m: z"
        );
        assert!(
            select(payload(), Some(&item("z")), 0o644, true, "m")
                .unwrap()
                .is_empty()
        );
    }
}
