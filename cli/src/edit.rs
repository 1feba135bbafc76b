//! The user's editor on a temporary file.
//! Invariant: the file stays when something went wrong, and belongs to its user alone.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/editor/editor.go` and `launcher_others.go`.

use crate::error::{Error, Result, quote};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the editor is called: its words, the last of which is a line for the shell if there are quotes in it.
#[derive(Debug, PartialEq)]
struct Editor {
    words: Vec<String>,
    shell: bool,
}

impl Editor {
    /// `$KUBE_EDITOR`, `$EDITOR` or `vi`.
    fn of_environment() -> Editor {
        let variable = |n: &str| std::env::var(n).ok().filter(|v| !v.is_empty());
        let line = variable("KUBE_EDITOR")
            .or_else(|| variable("EDITOR"))
            .unwrap_or_else(|| "vi".into());
        Editor::of(
            &line,
            variable("SHELL").unwrap_or_else(|| "/bin/bash".into()),
        )
    }

    fn of(line: &str, shell: String) -> Editor {
        if line.contains(['"', '\'', '\\']) && line.contains(' ') {
            return Editor {
                words: vec![shell, "-c".into(), line.into()],
                shell: true,
            };
        }
        Editor {
            words: line.split(' ').map(String::from).collect(),
            shell: false,
        }
    }

    fn launch(&self, path: &Path) -> Result<()> {
        let (first, rest) = self.words.split_first().ok_or_else(|| {
            Error::msg(format!("no editor defined, can't open {}", path.display()))
        })?;
        let mut arguments: Vec<OsString> = rest.iter().map(OsString::from).collect();
        match arguments.last_mut() {
            Some(line) if self.shell => line.push(format!(" {}", quote(&path.to_string_lossy()))),
            _ => arguments.push(path.into()),
        }
        let named = quote(&self.words.join(" "));
        match Command::new(first).args(arguments).status() {
            Ok(status) if status.success() => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !first.contains('/') => {
                Err(Error::msg(format!("unable to launch the editor {named}")))
            }
            _ => Err(Error::msg(format!(
                "there was a problem with the editor {named}"
            ))),
        }
    }
}

/// Opens a text in the user's editor; gives what it left, and the file that this stands in.
///
/// # Errors
/// An editor that cannot be started or fails, a file that cannot be written or read.
pub fn edit(program: &str, text: &str, suffix: &str) -> Result<(String, PathBuf)> {
    let path = write(program, text, suffix)?;
    Editor::of_environment().launch(&path)?;
    let edited = std::fs::read_to_string(&path).map_err(|e| {
        Error::msg(format!(
            "open {}: {}",
            path.display(),
            crate::error::go_io(&e)
        ))
    })?;
    Ok((edited, path))
}

fn write(program: &str, text: &str, suffix: &str) -> Result<PathBuf> {
    loop {
        let path =
            std::env::temp_dir().join(format!("{program}-edit-{}{suffix}", rand::random::<u32>()));
        match std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(mut file) => {
                if let Err(e) = file.write_all(text.as_bytes()) {
                    // the error told is why it was not written
                    let _ = std::fs::remove_file(&path);
                    return Err(e.into());
                }
                return Ok(path);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The text without the lines that are comments.
pub fn without_comment_lines(text: &str) -> String {
    let comment = |line: &str| line.trim().starts_with('#') && !line.trim().starts_with("#!");
    text.split_inclusive('\n')
        .filter(|line| !comment(line))
        .collect()
}

/// What the text means, as JSON; of a text that cannot be read, the lines that are no comments.
pub fn meaning(text: &str) -> String {
    match crate::yaml::read_lax(text) {
        Ok(documents) => crate::print::json::compact(
            &documents
                .into_iter()
                .next()
                .map_or(serde_json::Value::Null, |d| d.value),
        ),
        Err(_) => without_comment_lines(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_called_as_they_are_written() {
        let of = |line| Editor::of(line, "/bin/sh".into());
        let words = |list: &[&str], shell| Editor {
            words: list.iter().map(|w| (*w).to_string()).collect(),
            shell,
        };
        assert_eq!(of("vi"), words(&["vi"], false));
        assert_eq!(of("code --wait"), words(&["code", "--wait"], false));
        assert_eq!(
            of("sed -i 's/a/b/'"),
            words(&["/bin/sh", "-c", "sed -i 's/a/b/'"], true)
        );
        assert_eq!(of("my\\editor"), words(&["my\\editor"], false));
        assert_eq!(
            of("nosuch-editor")
                .launch(Path::new("/x"))
                .unwrap_err()
                .to_string(),
            "unable to launch the editor \"nosuch-editor\""
        );
        assert_eq!(
            of("false").launch(Path::new("/x")).unwrap_err().to_string(),
            "there was a problem with the editor \"false\""
        );
    }

    #[test]
    fn comments_are_no_difference() {
        assert_eq!(
            without_comment_lines("# a\nb: c\n  # d\n#!e\n"),
            "b: c\n#!e\n"
        );
        assert_eq!(meaning("# x\na: 1\n"), meaning("a:   1\n"));
        assert_ne!(meaning("a: [\n"), meaning("a: 1\n"));
        assert_eq!(meaning("# nothing\n"), "null");
    }
}
