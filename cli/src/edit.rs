//! The user's editor on a temporary file.
//! Invariant: the file is kept when something went wrong, and its name told.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/editor`.

use crate::error::{Error, Result};
use std::path::PathBuf;
use std::process::Command;

/// A text as the editor left it, and the file that it stands in.
pub struct Edited {
    pub text: String,
    pub path: PathBuf,
}

/// Opens the text in `$KUBE_EDITOR`, `$EDITOR` or `vi`.
///
/// # Errors
/// An editor that cannot be started or fails.
pub fn edit(text: &str, suffix: &str) -> Result<Edited> {
    let word: String = (0..10).map(|_| char::from(b'0' + rand::random_range(0..10u8))).collect();
    let path = std::env::temp_dir().join(format!("kubectl-edit-{word}{suffix}"));
    write(&path, text)?;
    let variable = |n: &str| std::env::var(n).ok().filter(|v| !v.is_empty());
    let editor = variable("KUBE_EDITOR").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".into());
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$0\"")).arg(&path).status();
    match status {
        Ok(s) if s.success() => {}
        Ok(s) => return Err(Error::msg(format!("there was a problem with the editor {editor:?}: {s}"))),
        Err(e) => return Err(Error::msg(format!("unable to launch the editor {editor:?}: {e}"))),
    }
    Ok(Edited { text: std::fs::read_to_string(&path)?, path })
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The lines without those that are comments.
pub fn strip_comments(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with('#')).map(|l| format!("{l}\n")).collect()
}
