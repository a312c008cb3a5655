//! The few things the log asks of a disk: behind a trait, so that tests can let each of them fail.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use rustix::io::Errno;

/// A folder of segment files, named by numbers.
pub(super) trait Disk: Send + Sync + 'static {
    /// The numbers of the files that are there, in order.
    fn list(&self) -> io::Result<Vec<u32>>;

    /// Makes a file that is not there yet.
    fn create(&self, number: u32) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file; for reading only when `write` is false.
    fn open(&self, number: u32, write: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file. Who has it open can go on reading.
    fn remove(&self, number: u32) -> io::Result<()>;

    /// Makes new and removed files survive a loss of power.
    fn sync_folder(&self) -> io::Result<()>;
}

/// One file.
pub(super) trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset` on as far as the file reaches; gives the bytes read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written survive a loss of power.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
}

/// A folder of the file system.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    fn path(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number:010}.segment"))
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|it| it.strip_suffix(".segment")?.parse::<u32>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().read(true).write(true).create_new(true).open(self.path(number))?;
        Ok(Arc::new(file))
    }

    fn open(&self, number: u32, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::options().read(true).write(write).open(self.path(number))?))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.path(number))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            // Not by way of the C library: it does more around a small read than the read takes.
            match rustix::io::pread(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
