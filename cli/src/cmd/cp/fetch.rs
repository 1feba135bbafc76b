//! `cp` from a container: what `tar` there writes is unpacked as it comes.
//! Invariant: nothing is written outside the place that was named, and no link is followed or made.
//! Behaviour follows `copyFromPod` in `staging/src/k8s.io/kubectl/pkg/cmd/cp/cp.go`.

use super::{Flags, Spec, Tell, remote};
use crate::context::With;
use crate::error::{Error, Result, bail, go_io, message, quote};
use crate::print;
use crate::remote::session::{Ends, Stderr};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;

/// Copies what is at a place in a pod to a place here.
///
/// # Errors
/// What cannot be read there, or written here.
pub async fn fetch(ctx: &With<Flags>, from: &Spec, to: &str) -> Result<()> {
    let (pieces, reader) = mpsc::unbounded_channel();
    let hint = format!(
        "{} exec -n {} {} -- tar cf - {} | tar xf -",
        ctx.program(),
        quote(&from.namespace),
        quote(&from.pod),
        quote(&from.file)
    );
    let unpacking = {
        let unpack = Unpack {
            prefix: prefix(&from.file),
            target: PathBuf::from(to),
            hint,
        };
        tokio::task::spawn_blocking(move || {
            unpack.all(Pipe {
                pieces: reader,
                rest: Vec::new(),
            })
        })
    };
    read_all(ctx, from, &pieces).await?;
    drop(pieces);
    unpacking.await.map_err(|e| Error::msg(e.to_string()))?
}

/// Reads the archive; where it breaks off it is taken up again as often as the user wants.
async fn read_all(
    ctx: &With<Flags>,
    from: &Spec,
    pieces: &mpsc::UnboundedSender<Vec<u8>>,
) -> Result<()> {
    let wanted = ctx.flags().retries;
    let (mut retries, mut read) = (0, 0u64);
    loop {
        let (output, mut arrived) = mpsc::unbounded_channel::<Vec<u8>>();
        let line = format!(
            "tar cf - '{}' | tail -c+{}",
            from.file.replace('\'', "'\\''"),
            read + u64::from(retries > 0)
        );
        let plain = ["tar", "cf", "-", &from.file];
        let command: &[&str] = if wanted == 0 {
            &plain
        } else {
            &["sh", "-c", &line]
        };
        let session = remote(
            ctx,
            from,
            command,
            Tell::Output,
            Ends::Pipes {
                input: None,
                output: Some(output),
                stderr: Stderr::Output,
            },
        );
        let copy = async {
            let mut count = 0;
            while let Some(piece) = arrived.recv().await {
                count += piece.len() as u64;
                // What unpacks may have seen the end of the archive before the end of the stream.
                let _ = pieces.send(piece);
            }
            count
        };
        let (done, count) = tokio::join!(session, copy);
        read += count;
        match done {
            Ok(()) => return Ok(()),
            Err(e @ (Error::Plain(..) | Error::Exit(_) | Error::Status(_) | Error::Upgrade(_))) => {
                return Err(e);
            }
            Err(e) if wanted >= 0 && retries >= wanted => {
                if wanted > 0 {
                    print::put(&format!("Dropping out copy after {retries} retries\n"))?;
                }
                return Err(e);
            }
            Err(_) => {
                retries += 1;
                print::put(&format!(
                    "Resuming copy at {read} bytes, retry {retries}/{wanted}\n"
                ))?;
            }
        }
    }
}

/// What the names in the archive begin with: the path as `tar` keeps it.
fn prefix(file: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in file.trim_start_matches('/').split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let inside: Vec<&str> = parts.into_iter().skip_while(|p| *p == "..").collect();
    inside.join("/")
}

/// Reads pieces as they come.
struct Pipe {
    pieces: mpsc::UnboundedReceiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

struct Unpack {
    prefix: String,
    target: PathBuf,
    /// What to call for what is not copied.
    hint: String,
}

impl Unpack {
    fn all(&self, archive: impl Read) -> Result<()> {
        let mut reader = tar::Archive::new(archive);
        let mut hinted = false;
        for entry in reader.entries().map_err(broken)? {
            self.one(&mut entry.map_err(broken)?, &mut hinted)?;
        }
        Ok(())
    }

    fn one(&self, entry: &mut tar::Entry<impl Read>, hinted: &mut bool) -> Result<()> {
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(&self.prefix) else {
            bail!("tar contents corrupted");
        };
        let inside = Path::new(rest.trim_start_matches('/'));
        let steps = inside.components();
        let inside: PathBuf = steps.filter(|c| *c != Component::CurDir).collect();
        let to = if inside.as_os_str().is_empty() {
            self.target.clone()
        } else {
            self.target.join(&inside)
        };
        if inside
            .components()
            .any(|c| matches!(c, Component::ParentDir))
        {
            eprintln!(
                "warning: file {} is outside target destination, skipping",
                quote(&to.to_string_lossy())
            );
            return Ok(());
        }
        let fail =
            |what: &str, e: &std::io::Error| message!("{what} {}: {}", to.display(), go_io(e));
        let kind = entry.header().entry_type();
        let folder = if kind.is_dir() {
            Some(to.as_path())
        } else {
            to.parent().filter(|p| !p.as_os_str().is_empty())
        };
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .map_err(|e| message!("mkdir {}: {}", folder.display(), go_io(&e)))?;
        }
        if kind.is_symlink() {
            let link = entry
                .link_name()
                .ok()
                .flatten()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let hint = if std::mem::replace(hinted, true) {
                String::new()
            } else {
                format!(" (consider using \"{}\")", self.hint)
            };
            eprintln!(
                "warning: skipping symlink: {} -> {}{hint}",
                quote(&to.to_string_lossy()),
                quote(&link)
            );
        } else if !kind.is_dir() {
            let mut file = std::fs::File::create(&to).map_err(|e| fail("open", &e))?;
            std::io::copy(entry, &mut file).map_err(|e| fail("write", &e))?;
        }
        Ok(())
    }
}

fn broken(e: std::io::Error) -> Error {
    Error::msg(if e.kind() == std::io::ErrorKind::UnexpectedEof {
        "unexpected EOF".into()
    } else {
        e.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::super::send::tests::packed;
    use super::*;

    #[test]
    fn paths_are_what_tar_keeps_of_them() {
        for (file, want) in [
            ("/tmp/a", "tmp/a"),
            ("a/../b/./c", "b/c"),
            ("../../x", "x"),
            (".", ""),
            ("/", ""),
            ("a//b", "a/b"),
        ] {
            assert_eq!(prefix(file), want, "{file}");
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_at_the_place_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
        let archive = packed(&source, "tmp/src");
        let unpack = |prefix: &str, target: &Path| {
            Unpack {
                prefix: prefix.into(),
                target: target.into(),
                hint: String::new(),
            }
            .all(archive.as_slice())
        };
        let target = dir.path().join("out");
        std::fs::create_dir(&target).unwrap();
        unpack("tmp/src", &target).unwrap();
        assert_eq!(
            std::fs::read_to_string(target.join("sub/file")).unwrap(),
            "hello"
        );
        assert!(!target.join("link").exists());
        assert_eq!(
            unpack("other", &target).unwrap_err().to_string(),
            "tar contents corrupted"
        );
        // A file cannot be put in the place of a folder.
        let one = packed(&source.join("sub/file"), "file");
        let told = Unpack {
            prefix: "file".into(),
            target: target.clone(),
            hint: String::new(),
        }
        .all(one.as_slice())
        .unwrap_err()
        .to_string();
        assert_eq!(told, format!("open {}: is a directory", target.display()));
    }
}
