//! The user's terminal: raw while a remote one is shown in it, and its size.
//! Invariant: the terminal is put back as it was, however the session ends.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/util/term`.

use nix::sys::termios::{self, SetArg, Termios};
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Puts the terminal back when it is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Makes standard input raw, if it is a terminal.
    pub fn enter() -> Option<Raw> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let old = termios::tcgetattr(std::io::stdin().as_fd()).ok()?;
        let mut raw = old.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Raw(old))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // a terminal that is gone needs no setting back
        let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

/// Columns and rows of the terminal on standard output.
pub fn size() -> Option<(u16, u16)> {
    let mut w = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a winsize that outlives the call, as TIOCGWINSZ wants it.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut w) };
    (answer == 0 && w.ws_col > 0).then_some((w.ws_col, w.ws_row))
}

/// Whether standard input is a terminal.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}
