//! Loads images from archives: an OCI layout or what `docker save` writes, as tar, plain or gzip or zstd.
//!
//! Invariant: the archive is unpacked into scratch space that is gone afterwards, whatever happened.
//! Follows what `ctr images import` accepts (containerd's `core/images/archive/importer.go`).

use std::{fs, io, path::Path};

use serde::de::DeserializeOwned;

use super::{
    Error, Loaded,
    content::{Arrived, Content},
    failed, layer,
    manifest::{ConfigDocument, Descriptor, Index, Manifest, SavedImage, pick_platform},
    reference::Reference,
};
use crate::outcome;

/// Annotations that hold an image's name in an OCI layout; the first that is there counts.
const NAME_ANNOTATIONS: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// Loads all images of `archive` for this machine's platform.
pub(super) fn load(store: &Content, archive: &Path) -> Result<Vec<Loaded>, Error> {
    let scratch = store.scratch();
    let answer = extract(archive, &scratch).map_err(|err| failed(format!("read {}", archive.display()), err)).and_then(|()| {
        if scratch.join("manifest.json").exists() {
            return load_saved(store, &scratch);
        }
        if scratch.join("index.json").exists() {
            return load_layout(store, &scratch);
        }
        Err(failed(format!("load {}", archive.display()), "it is neither an OCI layout (index.json) nor a docker-save archive (manifest.json)"))
    });
    outcome::remove_if_there(&scratch);
    answer
}

fn extract(archive: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir(into)?;
    let stream = layer::decompress(io::BufReader::new(fs::File::open(archive)?))?;
    let mut tar = tar::Archive::new(stream);
    tar.set_preserve_permissions(false);
    // `unpack` keeps every entry below the folder.
    tar.unpack(into)
}

fn load_saved(store: &Content, folder: &Path) -> Result<Vec<Loaded>, Error> {
    let images: Vec<SavedImage> = read_json(folder, "manifest.json")?;
    let load_one = |saved: SavedImage| {
        let config = read(folder, &saved.config)?;
        let document: ConfigDocument = parse("an image's config", &config)?;
        add_layers(store, folder, &saved.layers, &document)?;
        let tags = saved
            .repo_tags
            .iter()
            .map(|tag| Ok(Reference::parse(tag)?.to_string()))
            .collect::<Result<_, Error>>()?;
        commit(
            store,
            Arrived {
                config,
                tags,
                digests: vec![],
            },
        )
    };
    images.into_iter().map(load_one).collect()
}

fn load_layout(store: &Content, folder: &Path) -> Result<Vec<Loaded>, Error> {
    let index: Index = read_json(folder, "index.json")?;
    let mut images = Vec::new();
    for descriptor in &index.manifests {
        let name = NAME_ANNOTATIONS
            .iter()
            .find_map(|key| descriptor.annotations.get(*key));
        let mut arrived = Arrived {
            config: vec![],
            tags: vec![],
            digests: vec![],
        };
        if let Some(name) = name {
            let name = Reference::parse(name)?;
            arrived.digests.push(name.with_digest(&descriptor.digest));
            arrived.tags.push(name.to_string());
        }
        let manifest = manifest_of(folder, descriptor)?;
        arrived.config = read(folder, &blob_path(&manifest.config.digest))?;
        let document: ConfigDocument = parse("an image's config", &arrived.config)?;
        let layers: Vec<String> = manifest
            .layers
            .iter()
            .map(|layer| blob_path(&layer.digest))
            .collect();
        add_layers(store, folder, &layers, &document)?;
        images.push(commit(store, arrived)?);
    }
    Ok(images)
}

fn commit(store: &Content, arrived: Arrived) -> Result<Loaded, Error> {
    let names = arrived.tags.clone();
    let image = store.commit(arrived)?;
    Ok(Loaded { image, names })
}

fn manifest_of(folder: &Path, descriptor: &Descriptor) -> Result<Manifest, Error> {
    if !descriptor.is_index() {
        return read_json(folder, &blob_path(&descriptor.digest));
    }
    let index: Index = read_json(folder, &blob_path(&descriptor.digest))?;
    let picked = pick_platform(&index.manifests).ok_or_else(|| {
        failed(
            "load the archive",
            format!(
                "no match for platform linux/{} in it",
                super::manifest::architecture()
            ),
        )
    })?;
    manifest_of(folder, picked)
}

fn add_layers(
    store: &Content,
    folder: &Path,
    layers: &[String],
    document: &ConfigDocument,
) -> Result<(), Error> {
    let diff_ids = &document.rootfs.diff_ids;
    if layers.len() != diff_ids.len() {
        return Err(failed(
            "load the archive",
            format!(
                "mismatched image rootfs and manifest layers: {} and {}",
                diff_ids.len(),
                layers.len()
            ),
        ));
    }
    layers
        .iter()
        .zip(diff_ids)
        .try_for_each(|(path, diff_id)| store.add_layer(&inside(folder, path)?, None, diff_id))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// Paths in the archive's documents may not lead out of it.
fn inside(folder: &Path, path: &str) -> Result<std::path::PathBuf, Error> {
    let real = fs::canonicalize(folder.join(path))
        .map_err(|err| failed(format!("find {path} in the archive"), err))?;
    let root = fs::canonicalize(folder).map_err(|err| failed("find the archive's folder", err))?;
    match real.starts_with(&root) {
        true => Ok(real),
        false => Err(failed(
            "load the archive",
            format!("{path} leads out of it"),
        )),
    }
}

fn read(folder: &Path, path: &str) -> Result<Vec<u8>, Error> {
    fs::read(inside(folder, path)?)
        .map_err(|err| failed(format!("read {path} in the archive"), err))
}

fn read_json<T: DeserializeOwned>(folder: &Path, path: &str) -> Result<T, Error> {
    parse(path, &read(folder, path)?)
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|err| failed(format!("read {what}"), err))
}
