//! Finds the manifests and has them read.

use tokio_util::sync::CancellationToken;

use super::{
    PackageError, PackageProgress, Problem,
    cargo::Cargo,
    go::Go,
    manifest::{Draft, Manifest, Reader},
    maven::Maven,
    npm::Npm,
    python::Python,
};
use crate::runner::repo::{
    tree::{RepoDir, lossy, read_bounded},
    walk::WalkedFile,
};

/// Files that are looked at; more are not, and the graph says that it is truncated.
const MAX_FILES: u64 = 500_000;

/// Bytes of a manifest. A larger one is a problem that is reported: no hand wrote it.
const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// Bytes of all manifests. Bounds what is held of them; more are not read, and the graph says that it is truncated.
const MAX_ALL_BYTES: usize = 128 << 20;

/// Problems that are kept. More are only counted as a truncation.
const MAX_PROBLEMS: usize = 200;

/// Files between two reports of progress.
const REPORT_EVERY: u64 = 250;

/// All packages, before they are connected.
pub(super) struct Found {
    pub(super) drafts: Vec<Draft>,
    pub(super) problems: Vec<Problem>,
    pub(super) truncated: bool,
}

struct Collector {
    readers: [Box<dyn Reader>; 5],
    bytes: usize,
    manifests: u64,
    problems: Vec<Problem>,
    truncated: bool,
}

pub(super) fn collect(
    dir: &RepoDir,
    progress: &mut dyn FnMut(PackageProgress),
    cancel: &CancellationToken,
) -> Result<Found, PackageError> {
    let mut collector = Collector {
        readers: [
            Box::<Cargo>::default(),
            Box::<Npm>::default(),
            Box::<Go>::default(),
            Box::<Python>::default(),
            Box::<Maven>::default(),
        ],
        bytes: 0,
        manifests: 0,
        problems: Vec::new(),
        truncated: false,
    };
    let (mut walk, mut files) = (dir.walk(), 0);
    for file in walk.by_ref() {
        if cancel.is_cancelled() {
            return Err(PackageError::Cancelled);
        }
        if files >= MAX_FILES {
            collector.truncated = true;
            break;
        }
        files += 1;
        collector.take(&file);
        if files % REPORT_EVERY == 0 {
            progress(PackageProgress { files, manifests: collector.manifests });
        }
    }
    progress(PackageProgress { files, manifests: collector.manifests });
    Ok(Found {
        drafts: collector.readers.into_iter().flat_map(Reader::finish).collect(),
        problems: collector.problems,
        truncated: collector.truncated || walk.left_out() > 0,
    })
}

impl Collector {
    fn take(&mut self, file: &WalkedFile) {
        let Some(reader) = reader(file.name()) else { return };
        // What others have put there is not the repository's own.
        if file
            .path
            .split('/')
            .any(|it| matches!(it, "node_modules" | "vendor" | "third_party" | "site-packages"))
        {
            return;
        }
        if self.bytes >= MAX_ALL_BYTES {
            self.truncated = true;
            return;
        }
        self.manifests += 1;
        let read = file.open().ok().and_then(|it| read_bounded(it, MAX_MANIFEST_BYTES).ok());
        let Some((bytes, too_long)) = read else {
            return self.report(&file.path, None, "this file cannot be read");
        };
        self.bytes += bytes.len();
        if too_long {
            return self.report(&file.path, None, "this manifest is larger than 1 MiB and was not read");
        }
        let manifest = Manifest { path: &file.path, text: &lossy(bytes) };
        if let Err(malformed) = self.readers[reader].read(&manifest) {
            self.report(&file.path, malformed.line, malformed.message);
        }
    }

    fn report(&mut self, path: &str, line: Option<u32>, message: &str) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { path: path.to_owned(), line, message: message.to_owned() });
        } else {
            self.truncated = true;
        }
    }
}

/// The place in `readers` of the one that reads the manifest `name`.
fn reader(name: &str) -> Option<usize> {
    Some(match name {
        "Cargo.toml" => 0,
        "package.json" => 1,
        "go.mod" | "go.work" => 2,
        "pyproject.toml" | "setup.cfg" | "setup.py" | "requirements.txt" => 3,
        _ if name.starts_with("requirements") && name.ends_with(".txt") => 3,
        "pom.xml" => 4,
        _ => return None,
    })
}
