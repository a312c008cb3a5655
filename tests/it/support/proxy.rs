//! A proxy between a client and the gateway that cuts the first connection where it is told to, once the client says
//! that it has taken in what came before.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// A proxy that runs. It ends with this value.
pub(crate) struct CuttingProxy {
    address: SocketAddr,
    sent: Arc<Mutex<String>>,
    _accepting: JoinSet<()>,
}

impl CuttingProxy {
    /// Passes everything on to `target`, but on the first connection nothing that comes after `text` has come `count`
    /// times; that connection is cut when the next begins. A browser throws away what it has not shown its page when a
    /// connection ends, so the page is the one to say when: by any other request through this proxy.
    pub(crate) async fn start(target: SocketAddr, text: &'static str, count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(String::new()));
        let record = sent.clone();
        let seen = Arc::new(Notify::new());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let cut = connections.is_empty().then_some((text, count));
                if cut.is_none() {
                    seen.notify_one();
                }
                let (record, seen) = (record.clone(), seen.clone());
                connections.spawn(async move {
                    let mut client = client;
                    // An error is an end like any other.
                    drop(pass(&mut client, target, cut, &record).await);
                    if cut.is_some() {
                        seen.notified().await;
                    }
                });
            }
        });
        Self { address, sent, _accepting: accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that clients have sent.
    pub(crate) fn sent(&self) -> String {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(
    client: &mut TcpStream,
    target: SocketAddr,
    cut: Option<(&str, usize)>,
    record: &Mutex<String>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    let mut came = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read? {
                0 => return Ok(()),
                read => {
                    let text = String::from_utf8_lossy(&up[..read]);
                    record.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                    server.write_all(&up[..read]).await?;
                }
            },
            read = server.read(&mut down) => match read? {
                0 => return Ok(()),
                read => {
                    let before = came.len();
                    came.extend_from_slice(&down[..read]);
                    let end = cut.and_then(|(text, count)| end_of(&came, text, count));
                    client.write_all(&came[before..end.unwrap_or(came.len())]).await?;
                    if end.is_some() {
                        return Ok(());
                    }
                }
            },
        }
    }
}

/// Where `text` ends for the `count`th time in `bytes`.
fn end_of(bytes: &[u8], text: &str, count: usize) -> Option<usize> {
    let found = |at: &usize| bytes[*at..].starts_with(text.as_bytes());
    (0..bytes.len()).filter(found).nth(count - 1).map(|at| at + text.len())
}
