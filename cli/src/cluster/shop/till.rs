//! A till, whose every sale costs some milliseconds of processor time, and the vault that all tills bring their takings to.
//!
//! Invariant: what did not arrive at the vault is brought again with the next; a sale never waits for the vault.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::{ask, variable};

/// How often takings are brought to the vault, and how often the vault says what came.
const PAUSE: Duration = Duration::from_secs(1);
/// Processor time of a sale, unless `SALE_MICROSECONDS` says otherwise.
const SALE: u64 = 2000;
const VAULT_PORT: u16 = 80;

/// Sales whose takings are not in the vault yet.
static TAKINGS: AtomicU64 = AtomicU64::new(0);
/// How often somebody came to the vault, and how many sales that was in all.
static DELIVERIES: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Processor time that this thread has had.
fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes into `time`, which is there for as long as the call takes; where it fails, no time has passed
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Uses so much processor time, whatever else runs on the machine, and how fast it is.
fn burn(time: Duration) {
    let begun = used();
    let late = Instant::now() + 50 * time;
    let mut sum = 0_u64;
    // a clock that stands still must not keep the customer for ever
    while used().saturating_sub(begun) < time && Instant::now() < late {
        for number in 0..1000 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
    }
}

/// A customer is served.
pub fn sell() -> String {
    let cost = variable("SALE_MICROSECONDS").parse().unwrap_or(SALE);
    burn(Duration::from_micros(cost));
    TAKINGS.fetch_add(1, Ordering::Relaxed);
    format!(
        "till {}\npod {}\nnode {}\n",
        variable("SHOP_VERSION"),
        variable("POD_NAME"),
        variable("NODE_NAME")
    )
}

/// Brings takings to the vault that `VAULT` names, again and again.
pub fn bring_takings() {
    let vault = variable("VAULT");
    if vault.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        let mut told = false;
        loop {
            std::thread::sleep(PAUSE);
            let sum = TAKINGS.swap(0, Ordering::Relaxed);
            if sum == 0 {
                continue;
            }
            if let Err(error) = ask(&vault, VAULT_PORT, &format!("/{sum}")) {
                TAKINGS.fetch_add(sum, Ordering::Relaxed);
                if !std::mem::replace(&mut told, true) {
                    println!("shop: the vault cannot be reached: {error}");
                }
            }
        }
    });
}

/// At the vault: somebody brings takings.
pub fn receive(path: &str) -> String {
    match path.trim_start_matches('/').parse::<u64>() {
        Ok(sum) => {
            DELIVERIES.fetch_add(1, Ordering::Relaxed);
            let all = RECEIVED.fetch_add(sum, Ordering::Relaxed) + sum;
            format!("{all} in the vault\n")
        }
        Err(_) => "who are you?\n".into(),
    }
}

/// At the vault: says what came, as lines of JSON, whenever something came.
pub fn tell_what_came() {
    std::thread::spawn(|| {
        let mut told = 0;
        loop {
            std::thread::sleep(PAUSE);
            let deliveries = DELIVERIES.load(Ordering::Relaxed);
            if deliveries != told {
                let sales = RECEIVED.load(Ordering::Relaxed);
                println!("{{\"deliveries\":{deliveries},\"sales\":{sales}}}");
                told = deliveries;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sale_costs_processor_time() {
        let before = used();
        burn(Duration::from_millis(3));
        let cost = used() - before;
        assert!(cost >= Duration::from_millis(3), "{cost:?}");
        assert!(sell().starts_with("till "));
    }

    #[test]
    fn the_vault_adds_up() {
        assert_eq!(receive("/3"), "3 in the vault\n");
        assert_eq!(receive("/4"), "7 in the vault\n");
        assert_eq!(receive("/x"), "who are you?\n");
        assert_eq!(DELIVERIES.load(Ordering::Relaxed), 2);
    }
}
