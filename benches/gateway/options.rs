//! What was asked for on the command line.

use std::{ops::Range, path::PathBuf};

use rustix::thread::CpuSet;

/// How the rows are measured.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Names of the rows to measure, or whole words at their beginning; empty: all but the soak.
    pub(crate) rows: Vec<String>,
    /// Small sizes, to try the program out. The figures mean little.
    pub(crate) quick: bool,
    /// Also what takes many minutes.
    pub(crate) full: bool,
    /// Leaves the cores to the system, instead of one for the server and one for the load.
    pub(crate) unpinned: bool,
    /// The server has all cores.
    all_cores: bool,
    /// How often what is compared takes turns in a row of the fan-out, and half as often in one of slow readers; the table has
    /// medians.
    pub(crate) turns: usize,
    /// The gateway under test.
    pub(crate) binary: PathBuf,
}

/// Another gateway than the one that cargo has built beside this program.
pub(crate) const BINARY: &str = "RUNGATE_BENCH_BINARY";

const USAGE: &str = "cargo bench --bench gateway [-- [--quick] [--full] [--unpinned] [--turns N] [ROW ...]]";

impl Options {
    /// Reads the command line, or says what is wrong with it.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let binary =
            std::env::var_os(BINARY).map_or_else(|| env!("CARGO_BIN_EXE_rungate").into(), PathBuf::from);
        let mut options = Self {
            rows: Vec::new(),
            quick: false,
            full: false,
            unpinned: false,
            all_cores: false,
            turns: 10,
            binary,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--full" => options.full = true,
                "--unpinned" => options.unpinned = true,
                "--turns" => {
                    let number = arguments.next().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
                    options.turns = number.ok_or_else(|| format!("--turns wants a number\n{USAGE}"))?;
                }
                flag if flag.starts_with('-') => return Err(format!("unknown: {flag}\n{USAGE}")),
                row => options.rows.push(row.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether the row `name` was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty()
            || self.rows.iter().any(|it| {
                let rest = name.strip_prefix(it.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
    }

    /// The same, with all cores for the server: for what one core alone cannot do.
    pub(crate) fn with_all_cores(&self) -> Self {
        Self { all_cores: true, ..self.clone() }
    }

    /// The cores of the server; none: those that it would have anyway.
    pub(crate) fn server_cores(&self) -> Range<usize> {
        match self {
            Self { unpinned: true, .. } => 0..0,
            // The system takes those that there are.
            Self { all_cores: true, .. } => 0..CpuSet::MAX_CPU,
            _ => 0..1,
        }
    }

    /// The core of the load: watchers and producers.
    pub(crate) fn load_core(&self) -> Range<usize> {
        if self.unpinned { 0..0 } else { 1..2 }
    }

    /// `whole`, or the little that shows that a row works.
    pub(crate) fn size(&self, whole: usize, quick: usize) -> usize {
        if self.quick { quick } else { whole }
    }
}
