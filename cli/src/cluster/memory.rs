//! What a long-running process gives back: code when it has started, and heap whenever there is little to do after there was much.
//!
//! Invariant: nothing is lost; pages of code that are needed again come from the page cache, and what is asked of the heap again is had again.

use std::{io::BufRead, time::Duration};

/// When the controllers have listed what there is.
const AFTER: Duration = Duration::from_secs(2);

/// How often it is looked whether there is little to do.
const PERIOD: Duration = Duration::from_secs(10);

/// The C library's setting for how many free pieces of each size a thread keeps for itself, and its value here. It is 7 otherwise; a request takes and
/// gives back hundreds, and a tenth of its CPU time went into what lies behind.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: (&str, &str) = ("glibc.malloc.tcache_count", "16");

/// Starts the program again in this process with more memory kept at hand by each thread: the C library reads the setting from the environment, before
/// `main`, and nowhere else. To be called while there is one thread. What cannot be done is done without.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_more_at_hand() {
    use std::os::unix::process::CommandExt;

    const VARIABLE: &str = "GLIBC_TUNABLES";
    let set = std::env::var(VARIABLE).unwrap_or_default();
    if set.contains(KEPT.0) {
        return;
    }
    let all = if set.is_empty() {
        format!("{}={}", KEPT.0, KEPT.1)
    } else {
        format!("{set}:{}={}", KEPT.0, KEPT.1)
    };
    let mut args = std::env::args_os();
    let (Some(name), Ok(program)) = (args.next(), std::env::current_exe()) else {
        return;
    };
    let error = std::process::Command::new(program)
        .arg0(name)
        .args(args)
        .env(VARIABLE, all)
        .exec();
    tracing::debug!(%error, "memory is handed out as the C library does by itself");
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_more_at_hand() {}

/// Gives back, a moment from now, the pages of code that only the start needed: most of what an idle process holds. Then, as long as the process
/// lives, the free pages of its heap, of which its many threads leave many behind.
pub fn settle() {
    skiff_watching::task::spawn(async {
        tokio::time::sleep(AFTER).await;
        if let Err(error) = give_back_code() {
            tracing::debug!(%error, "pages of code were not given back");
        }
        let mut work = Work::default();
        loop {
            tokio::time::sleep(PERIOD).await;
            if work.is_done(used()) {
                // it takes a while where the heap is large; if it fails, the memory stays
                let _ = tokio::task::spawn_blocking(give_back_heap).await;
            }
        }
    });
}

/// The CPU time that the process had used when it was looked at, and when heap was given back.
#[derive(Default)]
struct Work {
    seen: Duration,
    given_back: Duration,
}

impl Work {
    /// Whether there was work worth it since the last time, and is little now.
    fn is_done(&mut self, used: Duration) -> bool {
        let lately = used.saturating_sub(self.seen);
        self.seen = used;
        let done = lately < PERIOD / 10 && used.saturating_sub(self.given_back) > PERIOD / 20;
        if done {
            self.given_back = used;
        }
        done
    }
}

/// The CPU time of all threads.
fn used() -> Duration {
    // SAFETY: all zeros is a rusage
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return Duration::ZERO;
    }
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back_heap() {
    // SAFETY: it may be called at any time
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back_heap() {}

#[cfg(target_os = "linux")]
fn give_back_code() -> std::io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::io::BufReader::new(std::fs::File::open("/proc/self/maps")?);
    for line in maps.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(range), Some("r-xp"), Some(path)) = (words.next(), words.next(), words.nth(3))
        else {
            continue;
        };
        if std::path::Path::new(path) != program {
            continue;
        }
        let ends = range.split_once('-').and_then(|(from, to)| {
            Some((
                usize::from_str_radix(from, 16).ok()?,
                usize::from_str_radix(to, 16).ok()?,
            ))
        });
        let Some((from, to)) = ends else { continue };
        // SAFETY: the mapping is the program's own code, which is never written: its pages are the file's, and are read anew when needed
        if unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) } != 0
        {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_back_code() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_is_given_back_once_after_work() {
        let mut work = Work::default();
        let looks = [
            ("the start's work", 900, true),
            ("nothing", 910, false),
            ("much", 9_000, false),
            ("still much", 18_000, false),
            ("little", 18_500, true),
        ];
        for (what, used, given_back) in looks {
            assert_eq!(
                work.is_done(Duration::from_millis(used)),
                given_back,
                "{what}"
            );
        }
        assert!(
            !work.is_done(Duration::from_millis(18_900)),
            "too little to be worth it"
        );
    }

    #[test]
    fn cpu_time_is_read() {
        let before = used();
        while used() == before {
            std::hint::spin_loop();
        }
    }
}
