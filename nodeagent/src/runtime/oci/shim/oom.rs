//! How readily the kernel ends this process, and what comes of it, when memory runs out.
//!
//! Invariant: the score is the wanted one, or the nearest above it that the kernel allows; lowering it below what it once was needs a right
//! (`CAP_SYS_RESOURCE`) that the machine may not give.
//! Follows `restrictOOMScoreAdj` of containerd's CRI plugin.

use std::{fs, io};

use crate::runtime::oci::cause::During;

const FILE: &str = "/proc/self/oom_score_adj";
/// What cannot be had is refused so.
const REFUSED: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// Sets this process's score. Answers what it is now.
pub fn set(wanted: i32) -> io::Result<i32> {
    let write = |score: i32| fs::write(FILE, score.to_string());
    match write(wanted) {
        Err(err) if err.kind() == REFUSED => {
            let has = fs::read_to_string(FILE)
                .and_then(|text| text.trim().parse().map_err(io::Error::other))
                .during(format_args!("read {FILE}"))?;
            nearest(wanted, has, write).during(format_args!("write to {FILE}"))
        }
        done => done
            .map(|()| wanted)
            .during(format_args!("write {wanted} to {FILE}")),
    }
}

/// The least score above `refused` that can be written; `has` is one that can.
fn nearest(refused: i32, has: i32, write: impl Fn(i32) -> io::Result<()>) -> io::Result<i32> {
    let (mut refused, mut allowed) = (refused, has);
    while allowed - refused > 1 {
        let middle = refused + (allowed - refused) / 2;
        match write(middle) {
            Ok(()) => allowed = middle,
            Err(err) if err.kind() == REFUSED => refused = middle,
            Err(err) => return Err(err),
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_allowed() {
        let kernel = |least: i32| {
            move |score: i32| {
                if score < least {
                    Err(io::Error::from(REFUSED))
                } else {
                    Ok(())
                }
            }
        };
        for (wanted, has, least, score) in [
            (-997, 0, 0, 0),
            (-997, 0, -500, -500),
            (-997, 200, -996, -996),
            (2, 1000, 999, 999),
            (-997, 0, -1, -1),
        ] {
            assert_eq!(
                nearest(wanted, has, kernel(least)).unwrap(),
                score,
                "{wanted} {has} {least}"
            );
        }
        assert!(nearest(-997, 0, |_| Err(io::Error::other("broken"))).is_err());
    }
}
