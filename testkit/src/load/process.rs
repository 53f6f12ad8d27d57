//! What processes cost, as Linux tells in `/proc`.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `USER_HZ`: a hundredth of a second on every Linux that we run on.
const TICK_US: u64 = 10_000;

/// What a process has used so far, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since the process started.
    pub cpu_us: u64,
    pub rss_bytes: u64,
}

/// The usage of several processes together.
///
/// # Errors
/// When one of them is gone.
pub fn usage(pids: &[u32]) -> anyhow::Result<Usage> {
    let mut total = Usage::default();
    for pid in pids {
        let one = usage_of(*pid).with_context(|| format!("cannot measure process {pid}"))?;
        total.cpu_us += one.cpu_us;
        total.rss_bytes += one.rss_bytes;
    }
    Ok(total)
}

fn usage_of(pid: u32) -> anyhow::Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&stat, &status).context("/proc is not as expected")
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?
        .parse()
        .ok()?;
    Some(Usage {
        cpu_us: (user + system) * TICK_US,
        rss_bytes: rss_kib * 1024,
    })
}

/// Allows this process as many open connections as the system does.
///
/// # Errors
/// When the system refuses.
pub fn raise_file_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_strange_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        let status = "Name:\ta\nVmRSS:\t    1024 kB\nThreads:\t1\n";
        assert_eq!(
            parse(stat, status),
            Some(Usage {
                cpu_us: 3_000_000,
                rss_bytes: 1 << 20,
            })
        );
    }

    #[test]
    fn this_process_can_be_measured() {
        let usage = usage(&[std::process::id()]).unwrap();
        assert!(usage.rss_bytes > 1 << 20, "{usage:?}");
        super::usage(&[u32::MAX]).unwrap_err();
    }
}
