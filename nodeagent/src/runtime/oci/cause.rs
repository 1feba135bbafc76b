//! What went wrong, told whole: each step says what it did, and the error below it why that failed.
//!
//! Invariant: the kind of an error stays what it was, so that "not found" can still be told from the rest.

use std::{error::Error, fmt::Display, io};

/// Names the step (a system call and what it was done to) that an error comes from.
pub trait During<T> {
    fn during(self, what: impl Display) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> io::Result<T> {
        self.map_err(|err| {
            let err = err.into();
            io::Error::new(err.kind(), format!("{what}: {err}"))
        })
    }
}

/// An error with its causes, outermost first, without saying anything twice.
pub fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        add(&mut text, &cause.to_string());
        source = cause.source();
    }
    text
}

/// Puts a cause behind, unless it was told already.
pub fn add(text: &mut String, cause: &str) {
    if !text.contains(cause) {
        *text = format!("{text}: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_causes() {
        let denied: Result<(), _> = Err(nix::errno::Errno::EACCES);
        let err = denied
            .during(format_args!("open {}", "/x"))
            .during("make the folder")
            .unwrap_err();
        assert_eq!(
            (err.kind(), err.to_string().as_str()),
            (
                io::ErrorKind::PermissionDenied,
                "make the folder: open /x: Permission denied (os error 13)"
            )
        );
        #[derive(thiserror::Error, Debug)]
        enum Outer {
            #[error("cannot begin")]
            Begin(#[source] io::Error),
            #[error("cannot go on: {0}")]
            Told(#[source] io::Error),
        }
        assert_eq!(
            chain(&Outer::Begin(io::Error::other("no room"))),
            "cannot begin: no room"
        );
        assert_eq!(
            chain(&Outer::Told(io::Error::other("no room"))),
            "cannot go on: no room"
        );
    }
}
