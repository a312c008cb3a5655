//! Unary calls over gRPC, one at a time.

use std::{io, net::SocketAddr, time::Duration};

use prost::Message;
use rungate::wire::v1;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    http2::{self, Http2},
    messages::Framing,
    socket,
};

/// How often the end of a run is asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A connection for calls.
pub(crate) struct Calls {
    stream: TcpStream,
    http2: Http2,
    next: u32,
}

impl Calls {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&http2::preface()).await.unwrap();
        Self { stream, http2: Http2::default(), next: 1 }
    }

    /// Makes a session: its id, and the bootstrap run's.
    pub(crate) async fn init_run(&mut self) -> (String, String) {
        let request = v1::InitRunRequest { user_id: "bench".to_owned(), repo_url: String::new() };
        let response: v1::InitRunResponse = self.call("InitRun", &request).await;
        (response.session_id, response.bootstrap_run_id)
    }

    /// Starts a run, after the one that the session is busy with; its id.
    pub(crate) async fn start_run(&mut self, session_id: &str, pipeline_id: &str, key: &str) -> String {
        let request = v1::StartRunRequest {
            session_id: session_id.to_owned(),
            pipeline_id: pipeline_id.to_owned(),
            idempotency_key: key.to_owned(),
            if_busy: v1::IfBusy::Enqueue.into(),
            ..v1::StartRunRequest::default()
        };
        let response: v1::StartRunResponse = self.call("StartRun", &request).await;
        response.run_id
    }

    /// Waits for the end of a run.
    pub(crate) async fn ended(&mut self, run_id: &str) {
        loop {
            let request = v1::GetRunRequest { run_id: run_id.to_owned() };
            let response: v1::GetRunResponse = self.call("GetRun", &request).await;
            if response.run.unwrap_or_default().finished_at.is_some() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn call<R: Message + Default>(&mut self, method: &str, request: &impl Message) -> R {
        let mut bytes = Vec::new();
        let path = format!("/rungate.v1.PipelineService/{method}");
        http2::grpc_request(&mut bytes, self.next, &path, &request.encode_to_vec());
        self.next += 2;
        let answer = self.exchange(bytes).await.unwrap();
        answer.unwrap_or_else(|| panic!("{method} was refused"))
    }

    async fn exchange<R: Message + Default>(&mut self, mut out: Vec<u8>) -> io::Result<Option<R>> {
        let before = self.http2.ended();
        let mut payload = Vec::new();
        while self.http2.ended() == before {
            if !out.is_empty() {
                self.stream.write_all(&out).await?;
            }
            if socket::read(&self.stream, |it| self.http2.take(it, &mut payload)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out = self.http2.replies();
        }
        if !out.is_empty() {
            self.stream.write_all(&out).await?;
        }
        let mut answer = None;
        Framing::Envelope.split(&mut payload, |it| answer = R::decode(it).ok());
        Ok(answer)
    }
}
