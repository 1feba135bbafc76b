//! `cp`: copies files to and from containers, by `tar` in the container.
//! Invariant: nothing is written outside the folder that was named.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/cp`.

use super::pods;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result, go_io};
use crate::flags::Flag;
use crate::remote::session::{Ends, Request, run_between};
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;

pub static COMMAND: Command = Command {
    name: "cp",
    usage: "<file-spec-src> <file-spec-dest>",
    short: "Copy files and directories to and from containers",
    long: "Copy files and folders between here and a container. The container must have tar.",
    examples: "
      # A folder to a pod of this namespace
      kubectl cp /tmp/foo_dir some-pod:/tmp/bar_dir
      # A file to a certain container
      kubectl cp /tmp/foo some-pod:/tmp/bar -c specific-container
      # A file to a pod of another namespace
      kubectl cp /tmp/foo some-namespace/some-pod:/tmp/bar
      # From a pod
      kubectl cp some-namespace/some-pod:/tmp/foo /tmp/bar",
    flags: &[&[
        Flag::str("container", 'c', "", "The container"),
        Flag::bool("no-preserve", '\0', false, "Do not keep owner and permissions"),
        Flag::int("retries", '\0', "0", "How often to begin again").refused("a copy that breaks off is begun again by calling the command again"),
    ]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

struct Spec {
    namespace: String,
    pod: String,
    file: String,
}

fn spec(arg: &str) -> Result<Spec> {
    let bad = || Error::msg("filespec must match the canonical format: [[namespace/]pod:]file/path");
    let Some((place, file)) = arg.split_once(':') else { return Ok(Spec { namespace: String::new(), pod: String::new(), file: arg.into() }) };
    match place.split('/').collect::<Vec<_>>().as_slice() {
        [""] => Err(bad()),
        [pod] => Ok(Spec { namespace: String::new(), pod: (*pod).into(), file: file.into() }),
        [ns, pod] => Ok(Spec { namespace: (*ns).into(), pod: (*pod).into(), file: file.into() }),
        _ => Err(bad()),
    }
}

async fn run(ctx: Ctx) -> Result<()> {
    let [from, to] = ctx.args() else { return Err(Error::msg("source and destination are required")) };
    let (from, to) = (spec(from)?, spec(to)?);
    if !from.pod.is_empty() && !to.pod.is_empty() {
        return Err(Error::msg("one of src or dest must be a local file specification"));
    }
    if from.file.is_empty() || to.file.is_empty() {
        return Err(Error::msg("filepath can not be empty"));
    }
    match (from.pod.is_empty(), to.pod.is_empty()) {
        (false, true) => fetch(&ctx, &from, &to.file).await,
        (true, false) => send(&ctx, &from.file, &to).await,
        _ => Err(Error::msg("one of src or dest must be a remote file specification")),
    }
}

/// Runs a command in the pod between the two ends.
async fn remote(ctx: &Ctx, place: &Spec, command: &[&str], ends: Ends) -> Result<()> {
    let mut flags = ctx.flags().clone();
    if !place.namespace.is_empty() {
        flags.set("namespace", &place.namespace);
    }
    let inner = ctx.with_flags(flags);
    let pod = pods::find(&inner, &place.pod, 1.0).await?;
    let container = pods::container(&pod, ctx.flags().str("container"), false)?;
    let stdin = matches!(&ends, Ends::Pipes { input: Some(_), .. });
    let request = Request { container, stdin, tty: false, command: Some(command.iter().map(|c| (*c).to_string()).collect()) };
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("").to_string();
    run_between(&inner, &namespace, pod["metadata"]["name"].as_str().unwrap_or(""), &request, ends).await
}

async fn send(ctx: &Ctx, from: &str, to: &Spec) -> Result<()> {
    let source = Path::new(from);
    if !source.exists() {
        return Err(Error::msg(format!("{from} doesn't exist in local filesystem")));
    }
    let mut target = to.file.trim_end_matches('/').to_string();
    if target.is_empty() {
        target = "/".into();
    }
    // If the target is a folder there, the copy goes into it.
    let (probe, _seen) = mpsc::unbounded_channel();
    if remote(ctx, to, &["test", "-d", &target], Ends::Pipes { input: None, output: probe }).await.is_ok() {
        let name = source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        target = format!("{}/{name}", target.trim_end_matches('/'));
    }
    let (folder, name) = target.rsplit_once('/').unwrap_or((".", &target));
    let archive = pack(source, name)?;
    let (bytes, input) = mpsc::channel(4);
    tokio::task::spawn_local(async move {
        for piece in archive.chunks(32 * 1024) {
            if bytes.send(piece.to_vec()).await.is_err() {
                break;
            }
        }
    });
    let (output, _said) = mpsc::unbounded_channel();
    let flags: &[&str] =
        if ctx.flags().bool("no-preserve") { &["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"] } else { &["tar", "-xmf", "-"] };
    let command = [flags, &["-C", if folder.is_empty() { "/" } else { folder }]].concat();
    remote(ctx, to, &command, Ends::Pipes { input: Some(input), output }).await
}

fn pack(source: &Path, name: &str) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| Error::msg(format!("{}: {}", source.display(), go_io(&e)));
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    if source.is_dir() {
        builder.append_dir_all(name, source).map_err(fail)?;
    } else {
        let resolved = std::fs::canonicalize(source).map_err(fail)?;
        builder.append_path_with_name(resolved, name).map_err(fail)?;
    }
    builder.into_inner().map_err(fail)
}

async fn fetch(ctx: &Ctx, from: &Spec, to: &str) -> Result<()> {
    let (output, mut pieces) = mpsc::unbounded_channel();
    let command = ["tar", "cf", "-", &from.file];
    remote(ctx, from, &command, Ends::Pipes { input: None, output }).await?;
    let mut archive = Vec::new();
    while let Ok(piece) = pieces.try_recv() {
        archive.extend_from_slice(&piece);
    }
    let base = Path::new(to);
    let name = Path::new(&from.file).file_name().map(PathBuf::from).unwrap_or_default();
    let target = if base.is_dir() { base.join(name) } else { base.to_path_buf() };
    unpack(&archive, from.file.trim_start_matches('/').trim_end_matches('/'), &target)
}

/// Unpacks what lies under `prefix` to `target`; links that lead out of it are passed over.
fn unpack(archive: &[u8], prefix: &str, target: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::msg(format!("{}: {}", target.display(), go_io(&e)));
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().map_err(fail)? {
        let mut entry = entry.map_err(fail)?;
        let path = entry.path().map_err(fail)?.into_owned();
        let plain = path.strip_prefix("/").unwrap_or(&path).to_path_buf();
        let Ok(inside) = plain.strip_prefix(prefix) else {
            return Err(Error::msg(format!("tar contents corrupted: {}", path.display())));
        };
        if inside.components().any(|c| matches!(c, Component::ParentDir)) {
            eprintln!("warning: file {} is outside target destination, skipping", path.display());
            continue;
        }
        let to = if inside.as_os_str().is_empty() { target.to_path_buf() } else { target.join(inside) };
        if entry.header().entry_type().is_symlink() {
            eprintln!(
                "warning: skipping symlink: {} -> {} (consider using \"kubectl exec -n \"<namespace>\" \"<pod>\" -- tar cf - \"<src>\" | tar xf -\")",
                path.display(),
                entry.link_name().ok().flatten().unwrap_or_default().display()
            );
            continue;
        }
        if let Some(dir) = to.parent() {
            std::fs::create_dir_all(dir).map_err(fail)?;
        }
        if entry.header().entry_type().is_dir() {
            std::fs::create_dir_all(&to).map_err(fail)?;
        } else {
            entry.unpack(&to).map_err(fail)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "hello").unwrap();
        let archive = pack(&source, "tmp/src").unwrap();
        let target = dir.path().join("out");
        unpack(&archive, "tmp/src", &target).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("sub/file")).unwrap(), "hello");
        assert!(unpack(&archive, "other", &target).is_err());
        assert!(spec("a/b/c:/x").is_err() && spec(":x").is_err());
        assert_eq!(spec("ns/pod:/x").unwrap().namespace, "ns");
    }
}
