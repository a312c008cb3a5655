//! Reading with one buffer for all sockets of a thread: ten thousand watchers need no buffers of their own.

use std::{cell::RefCell, io};

use tokio::net::TcpStream;

/// More than a socket holds at the paces that are measured.
const SCRATCH_BYTES: usize = 256 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Waits for bytes and shows them to `take`; gives how many there were, 0 at the end.
pub(super) async fn read(stream: &TcpStream, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let read = stream.try_read(scratch)?;
            take(&scratch[..read]);
            Ok(read)
        });
        match read {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}
