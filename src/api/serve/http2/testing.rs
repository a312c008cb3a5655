//! A client of HTTP/2 that writes whatever frames it is told to, also such as no library would write.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// What takes longer does not come.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;

pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;

pub(crate) const NO_ERROR: u32 = 0x0;
pub(crate) const PROTOCOL_ERROR: u32 = 0x1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 0x3;
pub(crate) const STREAM_CLOSED: u32 = 0x5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 0x6;
pub(crate) const REFUSED_STREAM: u32 = 0x7;
pub(crate) const CANCEL: u32 = 0x8;
pub(crate) const COMPRESSION_ERROR: u32 = 0x9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The window of a connection, and of streams of which nothing was told.
const FIRST_WINDOW: i64 = 65_535;
/// Bytes of a frame's payload that everybody takes.
const FRAME_BYTES: usize = 16_384;

/// A frame that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What has come of one stream.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Compressed heads: the response's, and its trailers.
    pub(crate) heads: Vec<Vec<u8>>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: bool,
    /// The reason for which it was reset.
    pub(crate) reset: Option<u32>,
}

/// One connection, as the client has it.
pub(crate) struct Peer {
    tcp: TcpStream,
    input: VecDeque<u8>,
    pub(crate) streams: BTreeMap<u32, Told>,
    /// Bytes that may still be sent on the connection, and on each stream beside what all begin with.
    pub(crate) window: i64,
    windows: BTreeMap<u32, i64>,
    first_window: i64,
    /// By how much the connection's window has grown.
    pub(crate) granted: u64,
    /// The reasons with which the connection was told to end.
    pub(crate) farewells: Vec<u32>,
    /// Whether settings and pings are answered.
    pub(crate) polite: bool,
}

impl Seen {
    /// The number in the first four bytes of the payload.
    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Told {
    pub(crate) fn status(&self) -> u16 {
        status(self.heads.first().expect("a head has come"))
    }

    pub(crate) fn over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

impl Peer {
    /// A connection that has begun, with these settings.
    pub(crate) async fn connect(address: SocketAddr, told: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(TcpStream::connect(address).await.unwrap());
        peer.write(&[PREFACE, &settings(told)].concat()).await;
        peer
    }

    /// The same with a small buffer for what comes.
    pub(crate) async fn narrow(address: SocketAddr, told: &[(u16, u32)]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut peer = Self::silent(socket.connect(address).await.unwrap());
        peer.write(&[PREFACE, &settings(told)].concat()).await;
        peer
    }

    /// A connection on which nothing was said.
    pub(crate) fn silent(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).unwrap();
        Self {
            tcp,
            input: VecDeque::new(),
            streams: BTreeMap::new(),
            window: FIRST_WINDOW,
            windows: BTreeMap::new(),
            first_window: FIRST_WINDOW,
            granted: 0,
            farewells: Vec::new(),
            polite: true,
        }
    }

    /// Writes, whether or not the other side has heard enough.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        drop(self.try_write(bytes).await);
    }

    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes).await
    }

    /// Ends its own half of the connection.
    pub(crate) async fn end_writing(&mut self) {
        drop(self.tcp.shutdown().await);
    }

    /// The next frame. `None`: the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(seen) = self.whole_frame() {
                self.note(&seen).await;
                return Some(seen);
            }
            let mut bytes = vec![0; 16 << 10];
            match self.tcp.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.input.extend(&bytes[..read]),
            }
        }
    }

    /// Reads until there is what `wanted` finds, which has to come soon.
    pub(crate) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) -> T {
        let reads = async {
            loop {
                let seen = self.next().await;
                let seen = seen.unwrap_or_else(|| panic!("{what} does not come: the connection is closed"));
                if let Some(found) = wanted(&seen) {
                    return found;
                }
            }
        };
        timeout(SOON, reads).await.unwrap_or_else(|_| panic!("{what} does not come"))
    }

    /// Reads until the stream has ended, in whatever way.
    pub(crate) async fn ended(&mut self, stream: u32) -> &Told {
        let reads = async {
            while !self.streams.get(&stream).is_some_and(Told::over) {
                assert!(self.next().await.is_some(), "closed before stream {stream} has ended");
            }
        };
        timeout(SOON, reads).await.unwrap_or_else(|_| panic!("stream {stream} does not end"));
        &self.streams[&stream]
    }

    /// Reads until the head of the stream's response has come.
    pub(crate) async fn answered(&mut self, stream: u32) -> &Told {
        let reads = async {
            while !self.streams.get(&stream).is_some_and(|it| it.over() || !it.heads.is_empty()) {
                assert!(self.next().await.is_some(), "closed before stream {stream} is answered");
            }
        };
        timeout(SOON, reads).await.unwrap_or_else(|_| panic!("stream {stream} is not answered"));
        &self.streams[&stream]
    }

    /// Reads to the end of the connection, which has to come soon; gives the reason it was told with, if it was.
    pub(crate) async fn closed(&mut self) -> Option<u32> {
        let reads = async { while self.next().await.is_some() {} };
        timeout(SOON, reads).await.expect("the connection ends");
        self.farewells.last().copied()
    }

    /// Whatever was written has been taken, and the connection still goes on.
    pub(crate) async fn round_trip(&mut self) {
        self.write(&frame(PING, 0, 0, b"are you?")).await;
        self.until("a ping's answer", |it| (it.kind == PING && it.payload == b"are you?").then_some(()))
            .await;
    }

    /// Sends the body of a request as the windows allow.
    pub(crate) async fn upload(&mut self, stream: u32, mut body: &[u8], ends: bool) {
        loop {
            let window = self.window.min(self.window_of(stream));
            let room = usize::try_from(window).unwrap_or(0).min(FRAME_BYTES);
            let (piece, rest) = body.split_at(body.len().min(room));
            if piece.is_empty() && !body.is_empty() {
                let grown = timeout(SOON, self.next()).await;
                grown.expect("the window grows").expect("the connection goes on");
                continue;
            }
            body = rest;
            let last = ends && body.is_empty();
            self.write(&self.data(stream, if last { END_STREAM } else { 0 }, piece)).await;
            self.spend(stream, piece.len());
            if body.is_empty() {
                return;
            }
        }
    }

    /// Takes bytes off the windows that were sent otherwise.
    pub(crate) fn spend(&mut self, stream: u32, bytes: usize) {
        self.window -= bytes as i64;
        *self.windows.entry(stream).or_default() -= bytes as i64;
    }

    /// Bytes that may still be sent on a stream.
    pub(crate) fn window_of(&self, stream: u32) -> i64 {
        self.first_window + self.windows.get(&stream).copied().unwrap_or_default()
    }

    fn data(&self, stream: u32, flags: u8, piece: &[u8]) -> Vec<u8> {
        frame(DATA, flags, stream, piece)
    }

    fn whole_frame(&mut self) -> Option<Seen> {
        let (head, _) = self.input.make_contiguous().split_first_chunk::<9>()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if self.input.len() < 9 + length {
            return None;
        }
        self.input.drain(..9);
        let payload = self.input.drain(..length).collect();
        Some(Seen { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload })
    }

    async fn note(&mut self, seen: &Seen) {
        match seen.kind {
            HEADERS | CONTINUATION | DATA | RST_STREAM => {
                let told = self.streams.entry(seen.stream).or_default();
                assert!(!told.ended || seen.kind == RST_STREAM, "more of a stream that has ended: {seen:?}");
                match seen.kind {
                    HEADERS => told.heads.push(seen.payload.clone()),
                    CONTINUATION => told.heads.last_mut().unwrap().extend(&seen.payload),
                    DATA => told.body.extend(&seen.payload),
                    _ => told.reset = Some(seen.number()),
                }
                told.ended |= matches!(seen.kind, HEADERS | DATA) && seen.has(END_STREAM);
            }
            SETTINGS if !seen.has(ACK) => {
                for setting in seen.payload.chunks(6) {
                    if setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.first_window = i64::from(u32::from_be_bytes(setting[2..].try_into().unwrap()));
                    }
                }
                if self.polite {
                    self.write(&frame(SETTINGS, ACK, 0, &[])).await;
                }
            }
            PING if !seen.has(ACK) && self.polite => self.write(&frame(PING, ACK, 0, &seen.payload)).await,
            GOAWAY => self.farewells.push(u32::from_be_bytes(seen.payload[4..8].try_into().unwrap())),
            WINDOW_UPDATE if seen.stream == 0 => {
                self.window += i64::from(seen.number());
                self.granted += u64::from(seen.number());
            }
            WINDOW_UPDATE => *self.windows.entry(seen.stream).or_default() += i64::from(seen.number()),
            _ => {}
        }
    }
}

/// A frame of any kind.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [&[l0, l1, l2, kind, flags, s0, s1, s2, s3], payload].concat()
}

pub(crate) fn settings(told: &[(u16, u32)]) -> Vec<u8> {
    let all = told.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &all.collect::<Vec<_>>())
}

pub(crate) fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A request that has no body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path, &[]))
}

/// The head of a request whose body is to come.
pub(crate) fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path, more))
}

/// The compressed head of a request.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", method), (":scheme", "http"), (":authority", "gateway"), (":path", path)];
    fields(&[&own[..], more].concat())
}

/// Fields as they are, which nobody keeps.
pub(crate) fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in all {
        head.push(0);
        text(name, &mut head);
        text(value, &mut head);
    }
    head
}

/// The status in the head of a response.
pub(crate) fn status(head: &[u8]) -> u16 {
    match head {
        // A size for the table comes before everything.
        [0x20..=0x3f, rest @ ..] => status(rest),
        [0x08 | 0x18 | 0x48, 3, a, b, c, ..] => str::from_utf8(&[*a, *b, *c]).unwrap().parse().unwrap(),
        [known @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        _ => panic!("no status comes first: {head:?}"),
    }
}

fn text(text: &str, head: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 0x7f {
        head.push(length as u8);
    } else {
        head.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            head.push(length as u8 | 0x80);
            length >>= 7;
        }
        head.push(length as u8);
    }
    head.extend(text.as_bytes());
}
