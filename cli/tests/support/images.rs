//! Images for tests, made of programs that the machine has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

/// A docker archive (`docker save`) with one layer: `files` maps places in the image to files of this machine.
pub fn docker_archive(
    to: &Path,
    tag: &str,
    files: &BTreeMap<String, PathBuf>,
    extra: &[(&str, &str)],
    command: &[&str],
) {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(true);
    for folder in ["tmp", "run", "var/log/nginx", "var/lib/nginx", "etc", "www"] {
        let mut header = header(0, 0o777);
        header.set_entry_type(tar::EntryType::Directory);
        layer
            .append_data(&mut header, folder, std::io::empty())
            .unwrap();
    }
    for (place, file) in files {
        layer
            .append_path_with_name(file, place.trim_start_matches('/'))
            .unwrap();
    }
    for (place, text) in extra {
        text_entry(&mut layer, place.trim_start_matches('/'), text.as_bytes());
    }
    let layer = layer.into_inner().unwrap();
    let digest: String = hex::encode(Sha256::digest(&layer));
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = serde_json::json!({"architecture": architecture, "os": "linux", "config": {"Cmd": command, "Env": ["PATH=/bin:/usr/sbin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}});
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(std::fs::File::create(to).unwrap());
    text_entry(&mut archive, "config.json", config.to_string().as_bytes());
    text_entry(&mut archive, "layer.tar", &layer);
    text_entry(
        &mut archive,
        "manifest.json",
        manifest.to_string().as_bytes(),
    );
    archive.finish().unwrap();
}

fn text_entry<W: std::io::Write>(archive: &mut tar::Builder<W>, place: &str, text: &[u8]) {
    archive
        .append_data(&mut header(text.len() as u64, 0o644), place, text)
        .unwrap();
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Debian's static busybox as `sh` and what else is named, and curl where there is one, for things to do inside a container.
pub fn busybox(to: &Path, tag: &str) -> Option<()> {
    let program = super::on_path("busybox")?;
    let names = [
        "sh", "cat", "echo", "env", "sleep", "ls", "id", "true", "tee", "tar", "nslookup",
    ];
    let mut files: BTreeMap<String, PathBuf> = names
        .iter()
        .map(|name| (format!("/bin/{name}"), program.clone()))
        .collect();
    files.extend(
        super::on_path("curl")
            .map(|curl| with_libraries(&curl, "/bin/curl"))
            .into_iter()
            .flatten(),
    );
    docker_archive(
        to,
        tag,
        &files,
        &[],
        &["/bin/sh", "-c", "while :; do sleep 1; done"],
    );
    Some(())
}

/// A program with the libraries that its loader finds for it here, and the loader.
pub fn with_libraries(program: &Path, place: &str) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::from([(place.to_string(), program.to_path_buf())]);
    let listed = Command::new("ldd").arg(program).output().unwrap();
    for word in String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        files.insert(word.into(), word.into());
    }
    files
}
