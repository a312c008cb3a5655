//! nginx and HAProxy as processes of the tests' own, configured as their manuals begin.

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{client::Protocol, ports::quiet_address, tools::Tool};

/// A proxy that needs longer to listen is broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it listens.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Nginx,
    HaProxy,
}

/// A proxy that runs. It ends with this value.
pub(super) struct Server {
    child: Child,
    ports: Ports,
    _folder: TempDir,
}

/// Where it listens, by what is spoken there.
#[derive(Debug, Clone, Copy)]
struct Ports {
    http1: SocketAddr,
    /// HTTP/2 of which only the client knows: the gateway is asked over HTTP/1.
    http2: SocketAddr,
    /// HTTP/2 from end to end.
    grpc: SocketAddr,
}

impl Program {
    /// Of the program, and of the Debian package.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn command(self, folder: &Path, ports: Ports, gateway: SocketAddr) -> Command {
        let file = folder.join("proxy.conf");
        let mut command = Command::new(Tool::Program(self.name()).path());
        let text = match self {
            Self::Nginx => {
                command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(&file);
                nginx(folder, ports, gateway)
            }
            Self::HaProxy => {
                command.arg("-db").arg("-f").arg(&file);
                haproxy(ports, gateway)
            }
        };
        std::fs::write(&file, text).unwrap();
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Server {
    /// Starts the proxy in front of `gateway` and waits until it listens.
    pub(super) async fn start(program: Program, gateway: SocketAddr) -> Self {
        let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::quiet());
        let log = folder.path().join("proxy.log");
        let mut command = program.command(folder.path(), ports, gateway);
        let output = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut server = Self { child: command.spawn().unwrap(), ports, _folder: folder };
        let listens = timeout(PATIENCE, server.listens()).await;
        assert_eq!(listens, Ok(true), "{program}: {:?}", std::fs::read_to_string(&log));
        server
    }

    /// Where a client of the protocol finds it.
    pub(super) fn address_for(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Grpc => self.ports.grpc,
            Protocol::Connect => self.ports.http2,
            Protocol::GrpcWeb | Protocol::GrpcWebText | Protocol::ConnectJson | Protocol::Sse => {
                self.ports.http1
            }
        }
    }

    /// False when the process has ended instead.
    async fn listens(&mut self) -> bool {
        for address in [self.ports.http1, self.ports.http2, self.ports.grpc] {
            while TcpStream::connect(address).await.is_err() {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ports {
    fn quiet() -> Self {
        Self { http1: quiet_address(), http2: quiet_address(), grpc: quiet_address() }
    }
}

/// One process, so that its end is the end of all; `user` and the paths of the package are not needed. What concerns
/// the gateway is `proxy_pass` and `grpc_pass`, everything else stays as nginx has it: it speaks HTTP/1.0 to the gateway
/// and collects responses before it passes them on.
fn nginx(folder: &Path, ports: Ports, gateway: SocketAddr) -> String {
    let Ports { http1, http2, grpc } = ports;
    let folder = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = paths.map(|it| format!("    {it}_temp_path {folder}/{it};\n")).concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\nhttp {{\n    access_log off;\n{paths}\
         \x20   server {{ listen {http1}; location / {{ proxy_pass http://{gateway}; }} }}\n\
         \x20   server {{ listen {http2} http2; location / {{ proxy_pass http://{gateway}; }} }}\n\
         \x20   server {{ listen {grpc} http2; location / {{ grpc_pass grpc://{gateway}; }} }}\n}}\n"
    )
}

/// It recognises the version of HTTP of a client by itself; which one the gateway is asked in must be said.
fn haproxy(ports: Ports, gateway: SocketAddr) -> String {
    let Ports { http1, http2, grpc } = ports;
    format!(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\
         listen web\n    bind {http1}\n    bind {http2}\n    server gateway {gateway}\n\
         listen grpc\n    bind {grpc}\n    server gateway {gateway} proto h2\n"
    )
}
