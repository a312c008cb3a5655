//! A WebSocket as clients of other makers open it.

use std::{collections::VecDeque, net::SocketAddr};

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Response};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Messages that came before the one that was waited for.
    held: VecDeque<Value>,
    asked: u32,
}

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The gateway closed it with this code.
    Code(u16),
    /// The connection ended without a word.
    Cut,
}

impl Socket {
    /// Opens a socket.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address, &[]).await.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Opens a socket and says hello in a new session; gives its id too.
    pub(crate) async fn greeted(address: SocketAddr) -> (Self, String) {
        let mut socket = Self::open(address).await;
        let session = socket.hello(json!({})).await;
        (socket, session)
    }

    /// Opens a socket with headers beside those of the protocol; gives the answer when it is refused.
    pub(crate) async fn try_open(
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response<Vec<u8>>> {
        let tcp = TcpStream::connect(address).await.unwrap();
        Self::over(tcp, address, headers).await
    }

    /// Opens a socket that takes little before it is read.
    pub(crate) async fn open_narrow(address: SocketAddr) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(16 << 10).unwrap();
        let tcp = tcp.connect(address).await.unwrap();
        Self::over(tcp, address, &[]).await.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    async fn over(
        tcp: TcpStream,
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response<Vec<u8>>> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        match client_async(request, tcp).await {
            Ok((stream, _)) => Ok(Self { stream, held: VecDeque::new(), asked: 0 }),
            Err(Error::Http(response)) => Err((*response).map(Option::unwrap_or_default)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Says hello with these fields; gives the session.
    pub(crate) async fn hello(&mut self, mut hello: Value) -> String {
        hello["type"] = "hello".into();
        self.send(hello).await;
        let ack = self.next().await;
        assert_eq!(ack["type"], "hello_ack", "{ack:#}");
        ack["session_id"].as_str().unwrap().to_owned()
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(Message::text(text)).await;
    }

    /// Sends any frame.
    pub(crate) async fn send_frame(&mut self, frame: Message) {
        self.stream.send(frame).await.unwrap();
    }

    /// Sends a message and gives the `ack` or `error` that answers it. What comes before is given later.
    pub(crate) async fn ask(&mut self, mut message: Value) -> Value {
        self.asked += 1;
        let request_id = format!("request {}", self.asked);
        message["request_id"] = request_id.as_str().into();
        self.send(message).await;
        let mut before = VecDeque::new();
        loop {
            let message = self.next().await;
            let answers = matches!(message["type"].as_str(), Some("ack" | "error"));
            if answers && message["request_id"] == request_id.as_str() {
                before.append(&mut self.held);
                self.held = before;
                return message;
            }
            before.push_back(message);
        }
    }

    /// Starts a run and gives its id.
    pub(crate) async fn invoke(&mut self, worker: &str, content: &str) -> String {
        let message = json!({"type": "agent_invoke", "agent_id": worker, "message": {"role": "user", "content": content}});
        let ack = self.ask(message).await;
        assert_eq!(ack["type"], "ack", "{ack:#}");
        ack["run_id"].as_str().unwrap().to_owned()
    }

    /// The next message, which must come.
    pub(crate) async fn next(&mut self) -> Value {
        match self.held.pop_front() {
            Some(message) => message,
            None => self.receive().await.unwrap_or_else(|end| panic!("the socket ended: {end:?}")),
        }
    }

    /// The next message of this type.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The events of a run to its end. Events of others are dropped.
    pub(crate) async fn events_of(&mut self, run: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            if event["run_id"] == run && event.get("seq").is_some() {
                let terminal = is_terminal(&event);
                events.push(event);
                if terminal {
                    return events;
                }
            }
        }
    }

    /// All that still comes, and how it ends.
    pub(crate) async fn rest(&mut self) -> (Vec<Value>, End) {
        let mut rest: Vec<_> = self.held.drain(..).collect();
        loop {
            match self.receive().await {
                Ok(message) => rest.push(message),
                Err(end) => return (rest, end),
            }
        }
    }

    /// Closes the socket; gives the code of the answer.
    pub(crate) async fn close(mut self) -> End {
        self.stream.close(None).await.unwrap();
        self.rest().await.1
    }

    /// The next frame as it is: also signs of life.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        self.stream.next().await.and_then(Result::ok)
    }

    async fn receive(&mut self) -> Result<Value, End> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(CloseCode::Status, |it| it.code);
                    return Err(End::Code(code.into()));
                }
                Some(Ok(frame)) => panic!("{frame:?}"),
                Some(Err(_)) | None => return Err(End::Cut),
            }
        }
    }
}

/// `done`, `cancelled`, or the `error` of a run.
pub(crate) fn is_terminal(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap();
    event.get("seq").is_some() && ["done", "error", "cancelled"].contains(&kind)
}
