//! Collects the ends of all processes that are children of the shim, and gives each to who waits for it.
//!
//! Invariant: an end that comes before somebody asks for it is kept as long as a process is being made.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use tokio::sync::oneshot;

use crate::outcome;

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// 128 + signal when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
}

#[derive(Default)]
pub struct Reaper {
    waiting: RefCell<HashMap<i32, oneshot::Sender<Exit>>>,
    unclaimed: RefCell<HashMap<i32, Exit>>,
    /// Processes that are being made, whose ids nobody knows yet.
    in_flight: Cell<usize>,
}

/// While it lives, ends that nobody waits for are kept.
pub struct Flight(Rc<Reaper>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if self.0.in_flight.get() == 0 {
            self.0.unclaimed.borrow_mut().clear();
        }
    }
}

impl Reaper {
    pub fn flight(self: &Rc<Self>) -> Flight {
        self.in_flight.set(self.in_flight.get() + 1);
        Flight(Rc::clone(self))
    }

    /// Resolves when the process ends, which may have been.
    pub fn claim(&self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        match self.unclaimed.borrow_mut().remove(&pid) {
            Some(exit) => outcome::nobody_may_wait(sender.send(exit)),
            None => {
                self.waiting.borrow_mut().insert(pid, sender);
            }
        }
        receiver
    }

    /// Collects all that have ended. To be called after each SIGCHLD.
    pub fn collect(&self) {
        loop {
            let (pid, exit) = match waitpid(
                Pid::from_raw(-1),
                Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL),
            ) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit { code, signal: None }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (
                    pid,
                    Exit {
                        code: 128 + signal as i32,
                        signal: Some(signal as i32),
                    },
                ),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            match self.waiting.borrow_mut().remove(&pid.as_raw()) {
                Some(waiter) => outcome::nobody_may_wait(waiter.send(exit)),
                None if self.in_flight.get() > 0 => {
                    self.unclaimed.borrow_mut().insert(pid.as_raw(), exit);
                }
                None => {}
            }
        }
    }
}
