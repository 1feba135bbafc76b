//! `cp` to a container: what is read here goes to `tar` there as it is read.
//! Invariant: a file that cannot be read ends the copy with an error; links are copied as links.
//! Behaviour follows `copyToPod` in `staging/src/k8s.io/kubectl/pkg/cmd/cp/cp.go`.

use super::{Flags, Spec, Tell, remote};
use crate::context::With;
use crate::error::{Error, Result, bail, go_io, message};
use crate::remote::session::{Ends, Stderr};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Copies a file or folder to a place in a pod; into it, if it is a folder there.
///
/// # Errors
/// What cannot be read here, or written there.
pub async fn send(ctx: &With<Flags>, from: &str, to: &Spec) -> Result<()> {
    let source = Path::new(from);
    if std::fs::metadata(source).is_err() {
        bail!("{from} doesn't exist in local filesystem");
    }
    let mut target = to.file.clone();
    if is_folder(ctx, to).await? {
        // `.` and `/` have no name: what they hold goes into the folder.
        if let Some(name) = source.file_name() {
            target = format!(
                "{}/{}",
                target.trim_end_matches('/'),
                name.to_string_lossy()
            );
        }
    }
    let (folder, name) = target.rsplit_once('/').unwrap_or((".", &target));
    let (bytes, input) = mpsc::channel(16);
    let packing = {
        let (source, name) = (source.to_path_buf(), name.to_string());
        tokio::task::spawn_blocking(move || pack(&source, &name, Pipe(bytes)))
    };
    let flags: &[&str] = if ctx.flags().no_preserve {
        &[
            "tar",
            "--no-same-permissions",
            "--no-same-owner",
            "-xmf",
            "-",
        ]
    } else {
        &["tar", "-xmf", "-"]
    };
    let command = [flags, &["-C", if folder.is_empty() { "/" } else { folder }]].concat();
    let done = remote(
        ctx,
        to,
        &command,
        Tell::Errors,
        Ends::Pipes {
            input: Some(input),
            output: None,
            stderr: Stderr::Own,
        },
    )
    .await;
    // A session that ended early takes nothing any more, which is not what went wrong.
    done?;
    packing.await.map_err(|e| Error::msg(e.to_string()))?
}

/// Whether there is a folder at that place.
async fn is_folder(ctx: &With<Flags>, place: &Spec) -> Result<bool> {
    // what it says is taken and not looked at: to take nothing would end the session
    let (unseen, _taken) = mpsc::unbounded_channel();
    let command = ["test", "-d", &place.file];
    let probe = remote(
        ctx,
        place,
        &command,
        Tell::Nobody,
        Ends::Pipes {
            input: None,
            output: Some(unseen),
            stderr: Stderr::Dropped,
        },
    );
    match tokio::time::timeout(Duration::from_secs(30), probe).await {
        Ok(found) => Ok(found.is_ok()),
        Err(_) => Err(Error::msg("context deadline exceeded")),
    }
}

/// Takes bytes to the session's input.
struct Pipe(mpsc::Sender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0
            .blocking_send(data.to_vec())
            .map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pack(source: &Path, name: &str, to: impl Write) -> Result<()> {
    let fail = |e: std::io::Error| message!("{}: {}", source.display(), go_io(&e));
    let mut builder = tar::Builder::new(std::io::BufWriter::with_capacity(32 * 1024, to));
    builder.follow_symlinks(false);
    add(&mut builder, source, Path::new(name)).map_err(fail)?;
    builder
        .into_inner()
        .and_then(|mut w| w.flush())
        .map_err(fail)
}

/// Adds a file, a link, or all that a folder holds; a folder itself only if it holds nothing.
fn add<W: Write>(builder: &mut tar::Builder<W>, path: &Path, name: &Path) -> std::io::Result<()> {
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return builder.append_path_with_name(path, name);
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<_>>()?;
    if entries.is_empty() {
        return builder.append_dir(name, path);
    }
    entries.sort_by_key(std::fs::DirEntry::file_name);
    entries
        .iter()
        .try_for_each(|e| add(builder, &e.path(), &name.join(e.file_name())))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A file or folder, packed.
    pub fn packed(source: &Path, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        pack(source, name, &mut out).unwrap();
        out
    }

    #[test]
    fn folders_are_packed_by_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        std::fs::write(dir.path().join("a/file"), "x").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("a/link")).unwrap();
        let archive = packed(&dir.path().join("a"), "b");
        let mut reader = tar::Archive::new(archive.as_slice());
        let names: Vec<String> = reader
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            names
                .iter()
                .map(|n| n.trim_end_matches('/'))
                .collect::<Vec<_>>(),
            ["b/empty", "b/file", "b/link"]
        );
        assert!(pack(&dir.path().join("nosuch"), "x", Vec::new()).is_err());
    }
}
