//! Threads for calls that block: module loading, probing, key derivation, mounting.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Context, Result};

/// More than this many calls at once only queue up in the kernel; a hung disk costs one of them.
const MAX_THREADS: usize = 16;

/// Enough for libcryptsetup, the deepest caller; the default of 2 MiB would be reserved for each thread.
const STACK: usize = 512 << 10;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

struct State<T> {
    jobs: VecDeque<Job<T>>,
    reports: Vec<T>,
    idle: usize,
    threads: usize,
    closed: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    wake: OwnedFd,
}

impl<T> Shared<T> {
    /// A panic aborts the program, so a poisoned lock cannot be met.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool that grows with its work; what jobs return is collected by the event loop.
pub struct Pool<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> Pool<T> {
    /// A pool without threads; they come with the work.
    ///
    /// # Errors
    /// If the kernel has no event descriptor to give.
    pub fn new() -> Result<Pool<T>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .context(|| "make an event descriptor".to_owned())?;
        let state = State { jobs: VecDeque::new(), reports: Vec::new(), idle: 0, threads: 0, closed: false };
        Ok(Pool { shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), wake }) })
    }

    /// Runs `job` on some thread; if none can be made it runs here, which is slow but not wrong.
    pub fn submit(&self, job: impl FnOnce() -> T + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        let full = state.threads >= MAX_THREADS;
        self.employ(state, full);
    }

    /// The same before all others, on a thread of its own if all are at work: what they hang in may be what it ends.
    pub fn submit_first(&self, job: impl FnOnce() -> T + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_front(Box::new(job));
        self.employ(state, false);
    }

    /// Lets an idle thread know of a job, or makes one unless there are enough.
    fn employ(&self, mut state: MutexGuard<'_, State<T>>, full: bool) {
        if state.idle >= state.jobs.len() || full {
            drop(state);
            self.shared.work.notify_one();
            return;
        }
        state.threads = state.threads.saturating_add(1);
        drop(state);
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || work(&shared));
        if let Err(error) = spawned {
            log::warn!("cannot start a worker thread: {error}");
            let mut state = self.shared.lock();
            state.threads = state.threads.saturating_sub(1);
            let job = if state.threads == 0 { state.jobs.pop_front() } else { None };
            drop(state);
            if let Some(job) = job {
                let report = job();
                self.shared.lock().reports.push(report);
                ring(&self.shared.wake);
            }
        }
    }

    /// What finished since the last call.
    pub fn reports(&self) -> Vec<T> {
        let mut counter = [0; 8];
        // Non-blocking: an empty counter is the ordinary case of a spurious wakeup.
        let _ = rustix::io::read(&self.shared.wake, &mut counter);
        std::mem::take(&mut self.shared.lock().reports)
    }

    /// Drops jobs that no thread has begun and ends idle threads. Used before the hand-off.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

impl<T> AsFd for Pool<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

fn ring(wake: &OwnedFd) {
    if let Err(error) = rustix::io::write(wake, &1_u64.to_ne_bytes()) {
        log::error!("cannot wake the event loop: {error}");
    }
}

fn work<T>(shared: &Shared<T>) {
    let mut state = shared.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            let report = job();
            state = shared.lock();
            let first = state.reports.is_empty();
            state.reports.push(report);
            if first {
                ring(&shared.wake);
            }
        } else if state.closed {
            state.threads = state.threads.saturating_sub(1);
            return;
        } else {
            state.idle = state.idle.saturating_add(1);
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = state.idle.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn every_job_is_reported_once() {
        let pool = Pool::new().unwrap();
        for number in 0..200_u32 {
            pool.submit(move || number);
        }
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let mut fds = [PollFd::new(&pool, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
            assert!(ready > 0, "only {} of 200 jobs were reported", seen.len());
            seen.extend(pool.reports());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        assert!(pool.shared.lock().threads <= MAX_THREADS);
    }

    #[test]
    fn what_others_hang_in_is_ended() {
        let pool = Pool::new().unwrap();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for number in 0..40_u32 {
            let gate = Arc::clone(&gate);
            pool.submit(move || {
                let open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(open, |open| !*open).unwrap());
                number
            });
        }
        let opener = Arc::clone(&gate);
        pool.submit_first(move || {
            *opener.0.lock().unwrap() = true;
            opener.1.notify_all();
            40
        });
        let mut seen = Vec::new();
        while seen.len() < 41 {
            let mut fds = [PollFd::new(&pool, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
            assert!(ready > 0, "only {} of 41 jobs were reported", seen.len());
            seen.extend(pool.reports());
        }
    }
}
