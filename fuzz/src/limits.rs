//! What an input may cost, and what it does cost: time of this thread's processor, memory of this thread.
//!
//! Time is 100 ms for an optimised build; what is not optimised is given ten times as much. Memory is a
//! multiple of the input beside an amount for any; each target has its own.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use crate::Target;

/// What one input may take of a processor.
pub const LONGEST: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread allocates; `#[global_allocator]` of what wants to know.
pub struct Counting;

impl Counting {
    fn add(size: isize) {
        // a thread that ends frees things when it has no counters any more
        let _ = LIVE.try_with(|live| {
            live.set(live.get() + size);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
        });
    }
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size() as isize);
        // SAFETY: as it was asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size() as isize);
        // SAFETY: as it was asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Counting::add(-(layout.size() as isize));
        // SAFETY: as it was asked for.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // it may be copied
        Counting::add(size as isize);
        // SAFETY: as it was asked for.
        let moved = unsafe { System.realloc(at, layout, size) };
        Counting::add(-(layout.size() as isize));
        moved
    }
}

/// What an input cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub time: Duration,
    /// Bytes at the most at once.
    pub memory: usize,
}

impl Cost {
    /// What was too much.
    pub fn excess(&self, target: &Target, input: usize) -> Option<String> {
        let most = target.always + target.worth * input;
        if self.time > LONGEST {
            return Some(format!("{:?} of a processor", self.time));
        }
        (self.memory > most).then(|| {
            format!(
                "{} bytes of memory for {input}, {most} are enough",
                self.memory
            )
        })
    }
}

/// What a target makes of an input, counted.
pub fn counted(target: &Target, data: &[u8]) -> Cost {
    let (begun, live) = (processor_time(), LIVE.get());
    PEAK.set(live);
    (target.run)(data);
    Cost {
        time: processor_time().saturating_sub(begun),
        memory: usize::try_from(PEAK.get() - live).unwrap_or(0),
    }
}

/// Runs a target, and panics when that costs too much.
pub fn obeyed(target: &Target, data: &[u8]) -> Cost {
    let mut cost = counted(target, data);
    if cost.excess(target, data.len()).is_some() {
        // what is made once is made; a machine that was busy is less so
        let again = counted(target, data);
        cost = Cost {
            time: cost.time.min(again.time),
            memory: cost.memory.min(again.memory),
        };
    }
    if let Some(excess) = cost.excess(target, data.len()) {
        panic!("{}: an input took {excess}", target.name);
    }
    cost
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
