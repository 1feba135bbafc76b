//! Names of signals as images write them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

use skiff_api::machinery::quote::GoQuoted;

/// No signal is called that.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("failed to parse stop signal {}: unknown signal", GoQuoted(.0))]
pub struct Unknown(String);

/// The number; TERM for an empty name.
pub fn parse(name: &str) -> Result<i32, Unknown> {
    let invalid = || Unknown(name.to_owned());
    if name.is_empty() {
        return Ok(libc::SIGTERM);
    }
    if let Ok(number) = name.parse::<i32>() {
        let known = (1..=libc::SIGRTMAX()).contains(&number);
        return known.then_some(number).ok_or_else(invalid);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        return real_time(libc::SIGRTMIN(), offset).ok_or_else(invalid);
    }
    if let Some(offset) = bare.strip_prefix("RTMAX") {
        return real_time(libc::SIGRTMAX(), offset).ok_or_else(invalid);
    }
    format!("SIG{bare}")
        .parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| invalid())
}

fn real_time(base: i32, offset: &str) -> Option<i32> {
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse::<i32>().ok()?
    };
    Some(base + offset).filter(|number| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("", 15),
            ("SIGTERM", 15),
            ("quit", 3),
            ("9", 9),
            ("SIGRTMIN+3", libc::SIGRTMIN() + 3),
            ("RTMAX-1", libc::SIGRTMAX() - 1),
        ];
        for (name, wanted) in cases {
            assert_eq!(parse(name), Ok(wanted), "{name}");
        }
        for name in ["SIGNO", "0", "99", "SIGRTMIN+99"] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
