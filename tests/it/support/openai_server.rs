//! A server that speaks OpenAI's Chat Completions and answers from a script, for tests.
//!
//! It stands alone, so that the tests of the gateway and of its language model client share it by `#[path]`.

#![allow(dead_code, reason = "each user takes what it needs")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::Response,
    routing::post,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// A running server. Ends with its value.
pub(crate) struct OpenAiServer {
    /// What a client is configured with.
    pub(crate) base_url: String,
    script: Arc<Script>,
    _accepting: JoinSet<()>,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Streams the pieces, then usage (7 tokens read, 3 written), then `[DONE]`.
    Stream(Vec<String>),
    /// Streams the pieces and ends with a reason to stop, but tells no usage and no `[DONE]`.
    BareStream(Vec<String>),
    /// The whole answer as one JSON document, as if no stream had been asked for.
    Plain(String),
    /// Streams the pieces and breaks the connection.
    Cut(Vec<String>),
    /// Streams the pieces and ends the stream in good order, though the answer is not complete.
    EndEarly(Vec<String>),
    /// Streams the pieces and says nothing more, for ever.
    HangAfter(Vec<String>),
    /// Does not even begin to answer.
    Hang,
    /// A status with a JSON error and the value of `Retry-After`.
    Status(u16, Option<&'static str>, Value),
    /// This body, with status 200 and this content type.
    Raw(&'static str, &'static str),
    /// One line that never ends.
    EndlessLine,
    /// Pieces without end.
    EndlessPieces,
}

/// What a client asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The value of `Authorization`.
    pub(crate) authorization: Option<String>,
    /// The body.
    pub(crate) body: Value,
}

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: watch::Sender<Vec<Asked>>,
    /// Answers that are being given and have not been given up by the client.
    open: watch::Sender<usize>,
}

/// Counts an answer as open while it lives.
struct Open(Arc<Script>);

impl OpenAiServer {
    /// Starts on a free port of the loopback. The answers are given in order; the last one is given ever after.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Arc::new(Script {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { base_url: format!("http://{address}/v1"), script, _accepting: accepting }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for_requests(&self, count: usize) {
        let mut asked = self.script.asked.subscribe();
        asked.wait_for(|asked| asked.len() >= count).await.expect("the server lives");
    }

    /// Waits until no answer is being given: finished, or given up by the client.
    pub(crate) async fn wait_until_idle(&self) {
        self.script.open.subscribe().wait_for(|open| *open == 0).await.expect("the server lives");
    }
}

impl Answer {
    /// Streams one piece per word.
    pub(crate) fn words(text: &str) -> Self {
        Self::Stream(pieces(text))
    }

    /// A status without further words.
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, None, json!({"error": {"message": "scripted"}}))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// The text cut behind each space.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

async fn answer(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    script.open.send_modify(|open| *open += 1);
    let open = Open(script.clone());
    let authorization = headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
    let body = serde_json::from_slice(&body).expect("the client sends JSON");
    script.asked.send_modify(|asked| asked.push(Asked { authorization, body }));
    let answer = {
        let mut answers = script.answers.lock().expect("no panic");
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    };
    match answer.unwrap_or(Answer::status(500)) {
        Answer::Stream(pieces) => {
            events(said(&pieces).chain([stopped(), usage(), "[DONE]".to_owned()]), open)
        }
        Answer::BareStream(pieces) => events(said(&pieces).chain([stopped()]), open),
        Answer::Plain(text) => document(200, None, &whole(&text)),
        Answer::Cut(pieces) => {
            let pieces: Vec<_> = said(&pieces).map(|data| Ok(event(&data))).collect();
            streamed(stream::iter(pieces).chain(stream::once(async move {
                let _open = open;
                // Lets what was said leave first; a broken body takes unsent bytes with it.
                tokio::task::yield_now().await;
                Err(io::Error::other("cut by the script"))
            })))
        }
        Answer::EndEarly(pieces) => events(said(&pieces), open),
        Answer::HangAfter(pieces) => {
            let pieces: Vec<_> = said(&pieces).map(|data| Ok(event(&data))).collect();
            streamed(stream::iter(pieces).chain(stream::once(hang(open))))
        }
        Answer::Hang => {
            hang(open).await.ok();
            Response::default()
        }
        Answer::Status(status, retry_after, body) => document(status, retry_after, &body),
        Answer::Raw(content_type, body) => {
            Response::builder().header(CONTENT_TYPE, content_type).body(body.into()).expect("a response")
        }
        Answer::EndlessLine => endless("data: ", &"x".repeat(4096), open),
        Answer::EndlessPieces => {
            endless("", &event(&said(&["more ".repeat(100)]).next().expect("one")), open)
        }
    }
}

async fn hang(_open: Open) -> io::Result<String> {
    std::future::pending().await
}

fn said(pieces: &[String]) -> impl Iterator<Item = String> {
    pieces.iter().map(|piece| {
        json!({"object": "chat.completion.chunk", "usage": null,
        "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]})
        .to_string()
    })
}

fn stopped() -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string()
}

fn usage() -> String {
    json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
        .to_string()
}

fn whole(text: &str) -> Value {
    json!({"object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn events(data: impl Iterator<Item = String>, open: Open) -> Response {
    let all: Vec<_> = data.map(|data| Ok::<_, Infallible>(event(&data))).collect();
    streamed(stream::iter(all).inspect(move |_| _ = &open))
}

fn endless(start: &str, then: &str, open: Open) -> Response {
    let then = Bytes::from(then.to_owned());
    let start = stream::iter([Ok::<_, Infallible>(Bytes::from(start.to_owned()))]);
    streamed(start.chain(stream::repeat_with(move || {
        let _ = &open;
        Ok(then.clone())
    })))
}

fn streamed<T, E>(body: impl futures::Stream<Item = Result<T, E>> + Send + 'static) -> Response
where
    T: Into<Bytes> + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream; charset=utf-8");
    response.body(Body::from_stream(body)).expect("a response")
}

fn document(status: u16, retry_after: Option<&str>, body: &Value) -> Response {
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    response = response.header(CONTENT_TYPE, "application/json");
    if let Some(retry_after) = retry_after {
        response = response.header("retry-after", retry_after);
    }
    response.body(body.to_string().into()).expect("a response")
}
