//! A few threads that share the units of one job at a time.
//!
//! Units are claimed one by one, so a thread that loses its core holds up at most the unit it is
//! working on. The caller takes part, and waits only for threads that have entered the job: one that
//! is still asleep is not waited for. Waiting is a short bounded spin, then sleep.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
};

/// Spins before a thread goes to sleep: some tens of microseconds, the gap between two jobs.
const SPINS: u32 = 1_000;

/// A job: called with the number of the thread and of the unit.
type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// `state`: threads inside the job in the low bits, then the number of jobs opened and closed so
/// far: odd while a job is open. Threads enter by compare-and-swap, so none enters a closed job.
const STEP: u64 = 1 << 16;
const INSIDE: u64 = STEP - 1;

struct Sleeper {
    thread: Thread,
    asleep: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

#[derive(Default)]
struct Inner {
    state: AtomicU64,
    job: AtomicPtr<*const Job<'static>>,
    units: AtomicUsize,
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    caller_asleep: AtomicBool,
    caller: Mutex<Option<Thread>>,
}

/// A pool of threads. With one thread there is no pool: jobs run on the caller.
pub struct Pool {
    inner: Arc<Inner>,
    sleepers: Arc<Vec<OnceLock<Sleeper>>>,
    handles: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Pool::run`] being one of them. Threads that the
    /// system refuses are done without.
    pub fn new(threads: usize) -> Self {
        let inner = Arc::new(Inner::default());
        let workers = threads.saturating_sub(1);
        let sleepers: Arc<Vec<_>> = Arc::new((0..workers).map(|_| OnceLock::new()).collect());
        let mut handles = Vec::with_capacity(workers);
        for index in 0..workers {
            let (inner, sleepers) = (Arc::clone(&inner), Arc::clone(&sleepers));
            let name = format!("tercet-cpu-{}", index + 1);
            let body = move || {
                let me = sleepers[index]
                    .get_or_init(|| Sleeper { thread: thread::current(), asleep: AtomicBool::new(false) });
                work(&inner, me, index + 1);
            };
            match thread::Builder::new().name(name).spawn(body) {
                Ok(handle) => handles.push(handle),
                Err(_) => break,
            }
        }
        Pool { inner, sleepers, handles }
    }

    /// Threads of the pool, the caller included.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Calls `job(thread, unit)` once for every unit below `units`, on any thread, and returns when
    /// all are done. `thread` is below [`Pool::threads`], and no two calls run with the same one.
    ///
    /// # Panics
    /// If a call of `job` panicked.
    pub fn run(&mut self, units: usize, job: &Job<'_>) {
        if self.handles.is_empty() || units <= 1 {
            (0..units).for_each(|unit| job(0, unit));
            return;
        }
        let inner = &*self.inner;
        let job: *const Job<'_> = job;
        // SAFETY: only the lifetime changes. The job is closed and left by every thread before this
        // function returns or unwinds, so nobody uses it longer than the borrow.
        let mut job: *const Job<'static> = unsafe { std::mem::transmute(job) };
        inner.job.store(&mut job, Ordering::Relaxed);
        inner.units.store(units, Ordering::Relaxed);
        inner.next.store(0, Ordering::Relaxed);
        inner.state.fetch_add(STEP, Ordering::SeqCst); // open
        for sleeper in self.sleepers.iter().filter_map(|s| s.get()) {
            sleeper.wake();
        }
        let close = Close { inner };
        inner.claim(job, 0);
        drop(close);
        assert!(!inner.panicked.swap(false, Ordering::Relaxed), "a unit of a job panicked");
    }
}

/// Closes the job and waits for the threads inside, also when the caller's own unit panics.
struct Close<'a> {
    inner: &'a Inner,
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let inner = self.inner;
        inner.next.store(usize::MAX / 2, Ordering::Relaxed); // nothing more to claim
        inner.state.fetch_add(STEP, Ordering::SeqCst);
        let mut spins = 0;
        while inner.state.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            *inner.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
            inner.caller_asleep.store(true, Ordering::SeqCst);
            if inner.state.load(Ordering::SeqCst) & INSIDE != 0 {
                thread::park();
            }
            inner.caller_asleep.store(false, Ordering::SeqCst);
        }
    }
}

impl Inner {
    fn claim(&self, job: *const Job<'static>, thread: usize) {
        let units = self.units.load(Ordering::Relaxed);
        loop {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return;
            }
            // SAFETY: the job is open or this thread is still inside it, so `run` has not returned.
            unsafe { (*job)(thread, unit) };
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::SeqCst);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            let _ = handle.join(); // a worker's panic was reported by `run`
        }
    }
}

fn work(inner: &Inner, me: &Sleeper, index: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        let state = loop {
            let state = inner.state.load(Ordering::Acquire);
            if state & !INSIDE != seen && state & STEP != 0 {
                break state;
            }
            if inner.stop.load(Ordering::Relaxed) {
                return;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            me.asleep.store(true, Ordering::SeqCst);
            let now = inner.state.load(Ordering::SeqCst);
            let idle = now & !INSIDE == seen || now & STEP == 0;
            if idle && !inner.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            me.asleep.store(false, Ordering::SeqCst);
            spins = 0;
        };
        if inner.state.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            continue;
        }
        seen = state & !INSIDE;
        // SAFETY: this thread is inside an open job, so `run` is waiting and its pointer is valid.
        let job = unsafe { *inner.job.load(Ordering::Relaxed) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.claim(job, index)));
        if done.is_err() {
            inner.panicked.store(true, Ordering::Relaxed);
        }
        let last = inner.state.fetch_sub(1, Ordering::SeqCst) & INSIDE == 1;
        if last
            && inner.caller_asleep.swap(false, Ordering::SeqCst)
            && let Some(caller) = &*inner.caller.lock().unwrap_or_else(PoisonError::into_inner)
        {
            caller.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_runs_once() {
        for threads in [1, 2, 3, 5] {
            let mut pool = Pool::new(threads);
            for round in 0..300 {
                let units = round % 37;
                let counts: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                let limit = pool.threads();
                pool.run(units, &|thread, unit| {
                    assert!(thread < limit);
                    counts[unit].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                if round % 50 == 0 {
                    thread::sleep(std::time::Duration::from_millis(3)); // let them fall asleep
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 3] {
            let mut pool = Pool::new(threads);
            let hit = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(20, &|_, unit| assert!(unit != 13, "planted"));
            }));
            assert!(hit.is_err());
            let count = AtomicUsize::new(0);
            pool.run(20, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 20);
        }
    }
}
