//! A till, whose every sale costs some milliseconds of processor time, and the vault that all tills bring their takings to.
//!
//! Invariant: what did not arrive at the vault is brought again with the next, and once more when the till closes; a sale never waits for the vault. What
//! arrived without the till's coming to know of it is brought again, too: takings come at least once, and most often exactly once.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{ask, variable};

/// How often takings are brought to the vault, and how often the vault says what came.
const PAUSE: Duration = Duration::from_secs(1);
/// Processor time of a sale, unless `SALE_MICROSECONDS` says otherwise.
const SALE: u64 = 2000;
const VAULT_PORT: u16 = 80;

static TAKINGS: Takings = Takings::new();
/// How often somebody came to the vault, and how many sales that was in all.
static DELIVERIES: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Sales whose takings are not in the vault yet.
struct Takings {
    sales: AtomicU64,
    /// Somebody is on the way to the vault.
    under_way: Mutex<()>,
}

impl Takings {
    const fn new() -> Takings {
        Takings {
            sales: AtomicU64::new(0),
            under_way: Mutex::new(()),
        }
    }

    fn add(&self, sales: u64) {
        self.sales.fetch_add(sales, Ordering::Relaxed);
    }

    /// Brings all of it by `bring`, after whoever is under way has come back.
    fn bring(&self, bring: impl FnOnce(u64) -> io::Result<()>) -> io::Result<()> {
        let _under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.sales.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            sum => bring(sum).inspect_err(|_| self.add(sum)),
        }
    }
}

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
    TAKINGS.add(1);
    format!(
        "till {}\npod {}\nnode {}\n",
        variable("SHOP_VERSION"),
        variable("POD_NAME"),
        variable("NODE_NAME")
    )
}

fn bring_to(vault: &str) -> io::Result<()> {
    TAKINGS.bring(|sum| ask(vault, VAULT_PORT, &format!("/{sum}")).map(drop))
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
            if let Err(error) = bring_to(&vault)
                && !std::mem::replace(&mut told, true)
            {
                tellln!("shop: the vault cannot be reached: {error}");
            }
        }
    });
}

/// Brings what is left when the till closes.
pub fn bring_the_last() {
    let vault = variable("VAULT");
    if vault.is_empty() {
        return;
    }
    if let Err(error) = bring_to(&vault) {
        let lost = TAKINGS.sales.load(Ordering::Relaxed);
        tellln!("shop: the takings of {lost} sales did not reach the vault: {error}");
    }
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
                tellln!("{{\"deliveries\":{deliveries},\"sales\":{sales}}}");
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
    fn takings_that_did_not_arrive_are_brought_again() {
        let takings = Takings::new();
        let refused = || Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        takings.bring(|_| refused()).unwrap();
        takings.add(3);
        assert!(takings.bring(|_| refused()).is_err());
        takings.add(2);
        let mut brought = Vec::new();
        for _ in 0..2 {
            takings
                .bring(|sum| {
                    brought.push(sum);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(brought, [5]);
    }

    #[test]
    fn the_vault_adds_up() {
        assert_eq!(receive("/3"), "3 in the vault\n");
        assert_eq!(receive("/4"), "7 in the vault\n");
        assert_eq!(receive("/x"), "who are you?\n");
        assert_eq!(DELIVERIES.load(Ordering::Relaxed), 2);
    }
}
