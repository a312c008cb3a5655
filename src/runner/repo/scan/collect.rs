//! Goes through the files once, and keeps sums instead of paths.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    io::Read,
};

use tokio_util::sync::CancellationToken;

use super::{
    Folder, Language, LargeFile, License, Manifest, Scan, ScanError, ScanProgress, Truncation, landmarks,
    languages, readme,
};
use crate::runner::repo::{
    tree::{RepoDir, lossy, read_bounded},
    walk::WalkedFile,
};

/// Files between two reports of progress.
const REPORT_EVERY: u64 = 250;

/// Bytes at the start of a file in which a zero byte tells that it is no text.
const SNIFFED_BYTES: usize = 8 << 10;

/// How much is looked at, and kept. What happens at each is told by a [`Truncation`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The scan ends here.
    pub(super) files: u64,
    /// Lines are counted in the first so many bytes of a file,
    pub(super) file_bytes: u64,
    /// and in so many bytes of all files: a few seconds of reading.
    pub(super) all_bytes: u64,
    /// A README, licence or manifest is read up to here.
    pub(super) document_bytes: usize,
    /// Top folders, manifests, entry points.
    pub(super) shown: usize,
    /// Largest files.
    pub(super) largest: usize,
}

/// What has been found so far.
pub(super) struct Collector {
    bounds: Bounds,
    scan: Scan,
    languages: HashMap<&'static str, Language>,
    folders: HashMap<String, FolderSum>,
    largest: BinaryHeap<Reverse<(u64, String)>>,
    truncated: BTreeSet<Truncation>,
    readme_rank: Option<usize>,
    read_bytes: u64,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct FolderSum {
    files: u64,
    bytes: u64,
    code: HashMap<&'static str, u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            files: 500_000,
            file_bytes: 1 << 20,
            all_bytes: 2 << 30,
            document_bytes: 256 << 10,
            shown: 200,
            largest: 10,
        }
    }
}

impl Collector {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            scan: Scan::default(),
            languages: HashMap::new(),
            folders: HashMap::new(),
            largest: BinaryHeap::new(),
            truncated: BTreeSet::new(),
            readme_rank: None,
            read_bytes: 0,
            buffer: vec![0; 64 << 10],
        }
    }

    pub(super) fn run(
        mut self,
        dir: &RepoDir,
        progress: &mut dyn FnMut(ScanProgress),
        cancel: &CancellationToken,
    ) -> Result<Scan, ScanError> {
        let mut walk = dir.walk();
        for file in walk.by_ref() {
            if cancel.is_cancelled() {
                return Err(ScanError::Cancelled);
            }
            if self.scan.files >= self.bounds.files {
                self.truncated.insert(Truncation::Files);
                break;
            }
            self.take(&file);
            if self.scan.files.is_multiple_of(REPORT_EVERY) {
                progress(self.progress());
            }
        }
        if walk.left_out() > 0 {
            self.truncated.insert(Truncation::Unreadable);
        }
        progress(self.progress());
        Ok(self.finish())
    }

    fn progress(&self) -> ScanProgress {
        ScanProgress { files: self.scan.files, bytes: self.scan.bytes }
    }

    fn take(&mut self, file: &WalkedFile) {
        let (path, bytes) = (file.path.as_str(), file.bytes());
        self.scan.files += 1;
        self.scan.bytes += bytes;
        self.keep_if_large(path, bytes);
        let folder = path.split_once('/').map_or("", |(folder, _)| folder);
        // Only a new folder's name is copied.
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.to_owned(), FolderSum::default());
        }
        let language = languages::language(file.name());
        if let Some(sum) = self.folders.get_mut(folder) {
            sum.files += 1;
            sum.bytes += bytes;
            if let Some(language) = language.filter(|it| languages::is_code(it)) {
                *sum.code.entry(language).or_default() += bytes;
            }
        }
        if let Some(name) = language {
            let lines = self.lines(file);
            let language = self.languages.entry(name).or_default();
            language.files += 1;
            language.bytes += bytes;
            language.lines += lines;
            self.scan.lines += lines;
        }
        self.scan.test_files += u64::from(landmarks::is_test(path));
        self.scan.doc_files += u64::from(landmarks::is_doc(path));
        self.take_landmark(file);
    }

    fn take_landmark(&mut self, file: &WalkedFile) {
        let (path, name, at_top) = (file.path.as_str(), file.name(), !file.path.contains('/'));
        let shown = self.bounds.shown;
        if let Some(kind) = landmarks::manifest_kind(name) {
            let manifest = Manifest { path: path.to_owned(), kind: kind.to_owned() };
            self.keep(Truncation::Manifests, shown, |it| &mut it.manifests, manifest);
        }
        if let Some(kind) = landmarks::entry_by_path(path) {
            let entry =
                super::EntryPoint { path: path.to_owned(), kind: kind.to_owned(), target: String::new() };
            self.keep(Truncation::EntryPoints, shown, |it| &mut it.entry_points, entry);
        }
        if landmarks::names_entry_points(name) {
            // Once there are enough, no more manifests are read.
            let room = self.scan.entry_points.len() < shown;
            match self.document(file).filter(|_| room) {
                Some(text) => {
                    for entry in landmarks::entries_in(path, name, &text) {
                        self.keep(Truncation::EntryPoints, shown, |it| &mut it.entry_points, entry);
                    }
                }
                None => drop(self.truncated.insert(Truncation::EntryPoints)),
            }
        }
        if landmarks::is_ci(path) {
            self.keep(Truncation::Landmarks, shown, |it| &mut it.ci, path.to_owned());
        }
        if at_top && landmarks::is_license(name) {
            let license =
                self.document(file).as_deref().and_then(landmarks::license_name).unwrap_or_default();
            let license = License { path: path.to_owned(), name: license.to_owned() };
            self.keep(Truncation::Landmarks, shown, |it| &mut it.licenses, license);
        }
        let rank = readme::rank(name).filter(|it| at_top && self.readme_rank.is_none_or(|best| *it < best));
        if let Some((rank, text)) = rank.and_then(|rank| Some((rank, self.document(file)?))) {
            self.readme_rank = Some(rank);
            self.scan.readme = Some(readme::read(path, &text));
        }
    }

    fn keep<T>(
        &mut self,
        bound: Truncation,
        most: usize,
        list: impl FnOnce(&mut Scan) -> &mut Vec<T>,
        item: T,
    ) {
        let list = list(&mut self.scan);
        if list.len() < most {
            list.push(item);
        } else {
            self.truncated.insert(bound);
        }
    }

    fn keep_if_large(&mut self, path: &str, bytes: u64) {
        let full = self.largest.len() >= self.bounds.largest;
        if full && self.largest.peek().is_some_and(|Reverse((least, _))| *least >= bytes) {
            return;
        }
        if full {
            self.largest.pop();
        }
        self.largest.push(Reverse((bytes, path.to_owned())));
    }

    /// The beginning of a file that is read as a whole.
    fn document(&self, file: &WalkedFile) -> Option<String> {
        let (bytes, _) = read_bounded(file.open().ok()?, self.bounds.document_bytes).ok()?;
        Some(lossy(bytes))
    }

    fn lines(&mut self, file: &WalkedFile) -> u64 {
        if file.bytes() == 0 {
            return 0;
        }
        if self.read_bytes >= self.bounds.all_bytes {
            self.truncated.insert(Truncation::Lines);
            return 0;
        }
        let Ok(handle) = file.open() else {
            self.truncated.insert(Truncation::Unreadable);
            return 0;
        };
        if file.bytes() > self.bounds.file_bytes {
            self.truncated.insert(Truncation::LinesOfLongFiles);
        }
        let mut handle = handle.take(self.bounds.file_bytes);
        let (mut lines, mut seen, mut last) = (0, 0, b'\n');
        while let Ok(count @ 1..) = handle.read(&mut self.buffer) {
            let bytes = &self.buffer[..count];
            if seen == 0 && bytes[..count.min(SNIFFED_BYTES)].contains(&0) {
                return 0;
            }
            lines += bytes.iter().filter(|it| **it == b'\n').count() as u64;
            last = bytes[count - 1];
            seen += count as u64;
        }
        self.read_bytes += seen;
        // A last line without its end is a line as well.
        lines + u64::from(last != b'\n')
    }

    fn finish(self) -> Scan {
        let mut scan = self.scan;
        let languages = self.languages.into_iter();
        scan.languages = languages
            .map(|(name, it)| Language { name: name.to_owned(), code: languages::is_code(name), ..it })
            .collect();
        scan.languages
            .sort_by(|a, b| (!a.code, Reverse(a.bytes), &a.name).cmp(&(!b.code, Reverse(b.bytes), &b.name)));
        scan.folders = self.folders.into_iter().map(|(name, it)| it.named(name)).collect();
        scan.folders.sort_by(|a, b| (Reverse(a.bytes), &a.name).cmp(&(Reverse(b.bytes), &b.name)));
        let mut truncated = self.truncated;
        if scan.folders.len() > self.bounds.shown {
            scan.folders.truncate(self.bounds.shown);
            truncated.insert(Truncation::Folders);
        }
        let largest = self.largest.into_sorted_vec().into_iter();
        scan.largest = largest.map(|Reverse((bytes, path))| LargeFile { path, bytes }).collect();
        scan.truncated = truncated.into_iter().collect();
        scan
    }
}

impl FolderSum {
    fn named(self, name: String) -> Folder {
        let language = self.code.into_iter().max_by_key(|(name, bytes)| (*bytes, Reverse(*name)));
        let language = language.map(|(name, _)| name.to_owned()).unwrap_or_default();
        Folder { name, files: self.files, bytes: self.bytes, language }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::runner::repo::{git::testing::TestRepo, scan::scan};

    fn scanned(root: &Path, bounds: Bounds) -> Scan {
        let dir = RepoDir::open(root).unwrap();
        Collector::new(bounds).run(&dir, &mut |_| {}, &CancellationToken::new()).unwrap()
    }

    #[test]
    fn a_repository_is_described() {
        let repo = TestRepo::new(&[
            ("README.md", "# Thing\n\nIt does things."),
            ("README", "other"),
            ("LICENSE", "Permission is hereby granted, free of charge"),
            ("Cargo.toml", "[package]\nname = \"thing\"\n[[bin]]\nname = \"thing\""),
            ("src/main.rs", "fn main() {\n}\n"),
            ("src/lib.rs", "one\ntwo\nthree"),
            ("tests/a.py", "x\n"),
            ("docs/a.md", "x"),
            (".github/workflows/ci.yml", "on: push\n"),
            (".gitignore", "target\n"),
            ("target/huge.rs", "ignored"),
            ("blob.rs", "a\0b\n"),
            ("photo.png", "not counted in lines\n"),
        ]);
        let scan = scanned(&repo.path(), Bounds::default());
        assert_eq!(scan.files, 12);
        let rust = &scan.languages[0];
        assert_eq!((rust.name.as_str(), rust.code, rust.files, rust.lines), ("Rust", true, 3, 5));
        assert_eq!(
            scan.readme.as_ref().map(|it| (&*it.title, &*it.summary)),
            Some(("Thing", "It does things."))
        );
        assert_eq!(scan.licenses, [License { path: "LICENSE".into(), name: "MIT".into() }]);
        assert_eq!(scan.manifests, [Manifest { path: "Cargo.toml".into(), kind: "cargo".into() }]);
        assert_eq!(
            scan.entry_points.iter().map(|it| &*it.path).collect::<Vec<_>>(),
            ["Cargo.toml", "src/main.rs"]
        );
        assert_eq!((scan.test_files, scan.doc_files), (1, 1));
        assert_eq!(scan.ci, [".github/workflows/ci.yml"]);
        let src = scan.folders.iter().find(|it| it.name == "src").unwrap();
        assert_eq!((src.files, src.bytes, src.language.as_str()), (2, 27, "Rust"));
        assert_eq!(scan.truncated, []);
        let json = serde_json::to_string(&scan).unwrap();
        assert_eq!(serde_json::from_str::<Scan>(&json).unwrap(), scan);
    }

    #[test]
    fn every_bound_is_told() {
        let repo = TestRepo::new(&[]);
        for folder in 0..5 {
            repo.write(&[
                (&format!("f{folder}/Cargo.toml"), "x\n"),
                (&format!("f{folder}/src/main.rs"), "fn\nmain\n"),
                (&format!("f{folder}/.ci/run"), ""),
            ]);
            repo.write(&[(&format!(".ci/{folder}"), "")]);
        }
        let small =
            Bounds { files: 15, file_bytes: 4, all_bytes: 8, document_bytes: 10, shown: 2, largest: 2 };
        let scan = scanned(&repo.path(), small);
        assert_eq!(scan.files, 15);
        assert_eq!(
            (scan.manifests.len(), scan.entry_points.len(), scan.folders.len(), scan.largest.len()),
            (2, 2, 2, 2)
        );
        use Truncation::*;
        for bound in [Files, LinesOfLongFiles, Lines, Folders, Manifests, Landmarks] {
            assert!(scan.truncated.contains(&bound), "{bound:?} in {:?}", scan.truncated);
        }
    }

    #[test]
    fn a_cancelled_scan_ends() {
        let repo = TestRepo::new(&[("a", "")]);
        let dir = RepoDir::open(&repo.path()).unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert_eq!(scan(&dir, &mut |_| {}, &cancel), Err(ScanError::Cancelled));
    }

    #[test]
    fn fifty_thousand_files_are_scanned_with_progress() {
        let folder = tempfile::tempdir().unwrap();
        let text = "line of text\n".repeat(40);
        for group in 0..500 {
            let path = folder.path().join(format!("g{}/sub{group}", group % 20));
            fs::create_dir_all(&path).unwrap();
            for file in 0..100 {
                let extension = ["rs", "py", "md", "json", "png"][file % 5];
                fs::write(path.join(format!("file{file}.{extension}")), &text).unwrap();
            }
        }
        let dir = RepoDir::open(folder.path()).unwrap();
        let (begun, mut steps) = (std::time::Instant::now(), Vec::new());
        let scan = scan(&dir, &mut |it| steps.push(it.files), &CancellationToken::new()).unwrap();
        println!("{} files, {} bytes in {:?}", scan.files, scan.bytes, begun.elapsed());
        assert_eq!((scan.files, scan.lines), (50_000, 40_000 * 40));
        assert!(steps.len() > 100 && steps.is_sorted());
        assert!(serde_json::to_string(&scan).unwrap().len() < 100_000);
    }
}
