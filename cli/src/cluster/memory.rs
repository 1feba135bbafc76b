//! What a long-running process gives back once it has started.
//!
//! Invariant: nothing is lost; pages of code that are needed again come from the page cache.

use std::{io::BufRead, time::Duration};

/// When the controllers have listed what there is.
const AFTER: Duration = Duration::from_secs(2);

/// Gives back, a moment from now, the pages of code that only the start needed: most of what an idle process holds.
pub fn settle() {
    skiff_watching::task::spawn(async {
        tokio::time::sleep(AFTER).await;
        if let Err(error) = give_back_code() {
            tracing::debug!(%error, "pages of code were not given back");
        }
    });
}

#[cfg(target_os = "linux")]
fn give_back_code() -> std::io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::io::BufReader::new(std::fs::File::open("/proc/self/maps")?);
    for line in maps.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(range), Some("r-xp"), Some(path)) = (words.next(), words.next(), words.nth(3)) else { continue };
        if std::path::Path::new(path) != program {
            continue;
        }
        let ends = range.split_once('-').and_then(|(from, to)| Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?)));
        let Some((from, to)) = ends else { continue };
        // SAFETY: the mapping is the program's own code, which is never written: its pages are the file's, and are read anew when needed
        if unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_back_code() -> std::io::Result<()> {
    Ok(())
}
