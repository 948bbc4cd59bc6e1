//! Jobs for several workers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

/// Jobs that may be begun before the oldest one is delivered, for each worker; bounds the memory of waiting results.
pub(crate) const AHEAD: usize = 2;

/// What the workers share.
struct Queue {
    state: Mutex<State>,
    delivered: Condvar,
    jobs: usize,
    ahead: usize,
}

#[derive(Default)]
struct State {
    next: usize,
    /// Jobs before this one are all done with.
    delivered: usize,
    /// Done with before an earlier one.
    early: BTreeSet<usize>,
    abandoned: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, once it is not too far ahead.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        while state.next < self.jobs && state.next >= state.delivered + self.ahead && !state.abandoned {
            state = self.delivered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.next >= self.jobs || state.abandoned {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    /// Job `index` is done with.
    fn finish(&self, index: usize) {
        let mut state = self.lock();
        state.early.insert(index);
        while state.early.first() == Some(&state.delivered) {
            state.early.pop_first();
            state.delivered += 1;
        }
        drop(state);
        self.delivered.notify_all();
    }
}

/// Wakes the others when one side ends early, so that nobody waits for it.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().abandoned = true;
            self.0.delivered.notify_all();
        }
    }
}

/// Runs every job on some worker, and calls `sink` with the results in the order of the jobs, on this thread, while the
/// workers go on. A panic of a worker or of the sink goes on here.
pub(crate) fn in_order<W: Send, J: Sync, R: Send>(
    workers: &mut [W],
    jobs: &[J],
    run: impl Fn(&mut W, &J) -> R + Sync,
    mut sink: impl FnMut(R),
) {
    if let ([worker], _) | ([worker, ..], [_]) = (&mut *workers, jobs) {
        return jobs.iter().for_each(|job| sink(run(worker, job)));
    }
    let ahead = AHEAD * workers.len();
    let queue = Queue { state: Mutex::default(), delivered: Condvar::new(), jobs: jobs.len(), ahead };
    let (queue, run) = (&queue, &run);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for worker in workers.iter_mut().take(jobs.len()) {
            let sender = sender.clone();
            scope.spawn(move || {
                let _guard = Abandon(queue);
                while let Some(index) = queue.take() {
                    // The receiver is gone only when the sink panicked.
                    if sender.send((index, run(worker, &jobs[index]))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let _guard = Abandon(queue);
        let (mut early, mut next) = (BTreeMap::new(), 0);
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                sink(result);
                queue.finish(next);
                next += 1;
            }
        }
    });
}

/// Runs every job on some worker, with its index, in any order. No worker is far ahead of the oldest job that is not done. A
/// panic of a worker goes on here.
pub(crate) fn each<W: Send, J: Sync>(workers: &mut [W], jobs: &[J], run: impl Fn(&mut W, usize, &J) + Sync) {
    if let ([worker], _) | ([worker, ..], [_]) = (&mut *workers, jobs) {
        return jobs.iter().enumerate().for_each(|(index, job)| run(worker, index, job));
    }
    let ahead = AHEAD * workers.len();
    let queue = Queue { state: Mutex::default(), delivered: Condvar::new(), jobs: jobs.len(), ahead };
    let (queue, run) = (&queue, &run);
    thread::scope(|scope| {
        for worker in workers.iter_mut().take(jobs.len()) {
            scope.spawn(move || {
                let _guard = Abandon(queue);
                while let Some(index) = queue.take() {
                    run(worker, index, &jobs[index]);
                    queue.finish(index);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_runs_once_and_none_far_ahead() {
        for (workers, jobs) in [(1, 5), (3, 0), (3, 1), (2, 40)] {
            let jobs: Vec<usize> = (0..jobs).collect();
            let seen = Mutex::new(Vec::new());
            each(&mut vec![(); workers], &jobs, |(), index, job| {
                assert_eq!(index, *job);
                // The first job takes longest.
                thread::sleep(std::time::Duration::from_millis(if index == 0 { 20 } else { 0 }));
                seen.lock().unwrap().push(index);
            });
            let mut seen = seen.into_inner().unwrap();
            if let Some(first) = seen.iter().position(|index| *index == 0) {
                assert!(first < AHEAD * workers, "{first} jobs were done before the first: {seen:?}");
            }
            seen.sort_unstable();
            assert_eq!(seen, jobs);
        }
    }

    #[test]
    fn a_panic_of_one_worker_ends_each() {
        let jobs: Vec<usize> = (0..50).collect();
        for bad in [0, 20] {
            let run = |(): &mut (), _: usize, job: &usize| assert!(*job != bad, "bad job");
            assert!(std::panic::catch_unwind(|| each(&mut [(); 2], &jobs, run)).is_err());
        }
    }

    #[test]
    fn results_come_in_order_whoever_is_first() {
        for (workers, jobs) in [(1, 5), (3, 0), (3, 1), (3, 2), (2, 40)] {
            let jobs: Vec<usize> = (0..jobs).collect();
            let mut found = Vec::new();
            let run = |(): &mut (), job: &usize| {
                thread::sleep(std::time::Duration::from_micros(((job * 7919) % 13) as u64 * 50));
                job * 2
            };
            in_order(&mut vec![(); workers], &jobs, run, |result| found.push(result));
            assert_eq!(found, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_ends_it() {
        let jobs: Vec<usize> = (0..50).collect();
        for bad in [0, 20] {
            let run = |(): &mut (), job: &usize| assert!(*job != bad, "bad job");
            let attempt = || in_order(&mut [(); 2], &jobs, run, |()| ());
            assert!(std::panic::catch_unwind(attempt).is_err());
            let attempt = || {
                let mut left = bad;
                in_order(&mut [(); 2], &jobs, |(), _| (), |()| left = left.checked_sub(1).expect("bad sink"));
            };
            assert!(std::panic::catch_unwind(attempt).is_err());
        }
    }
}
