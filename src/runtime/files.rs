//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the bound as far as the system allows without asking; gives it. Every connection takes one of them.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let reached = if raised.is_ok() { maximum } else { current };
    reached.unwrap_or(u64::MAX)
}
