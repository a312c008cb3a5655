//! A proxy between a client and the gateway that cuts the first connection once enough has passed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A proxy that runs. It ends with this value.
pub(crate) struct CuttingProxy {
    address: SocketAddr,
    sent: Arc<Mutex<String>>,
    _accepting: JoinSet<()>,
}

impl CuttingProxy {
    /// Passes everything on to `target`, but cuts the first connection when `text` has come from there `count` times.
    pub(crate) async fn start(target: SocketAddr, text: &'static str, count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(String::new()));
        let record = sent.clone();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let cut = connections.is_empty().then_some((text, count));
                let record = record.clone();
                connections.spawn(async move {
                    // An error is an end like any other.
                    drop(pass(client, target, cut, &record).await);
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
    mut client: TcpStream,
    target: SocketAddr,
    cut: Option<(&str, usize)>,
    record: &Mutex<String>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    let mut came = String::new();
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
                    client.write_all(&down[..read]).await?;
                    came.push_str(&String::from_utf8_lossy(&down[..read]));
                    if cut.is_some_and(|(text, count)| came.matches(text).count() >= count) {
                        return Ok(());
                    }
                }
            },
        }
    }
}
