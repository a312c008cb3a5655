//! What the figures were taken on.

use std::{fs, thread::available_parallelism};

/// One line about the machine.
pub(crate) fn facts() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|it| it.starts_with("model name")).and_then(|it| it.split(": ").nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{cores} cores of {}, {memory} memory, Linux {}, load {load} at the beginning",
        model.unwrap_or("an unknown kind"),
        kernel.trim()
    )
}
