//! Time that a busy machine disturbs little.

use rustix::time::{ClockId, clock_gettime};

/// Seconds this thread has run.
fn processor_time() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// What `work` took of this thread's processor time, in seconds.
pub(crate) fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = processor_time();
    let result = work();
    (processor_time() - start, result)
}
