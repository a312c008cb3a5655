//! The client against a real server on a loopback socket.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::openai_server::{Answer, OpenAiServer, pieces};
use super::{
    BadResponse, Completion, FinishReason, LanguageModel, LlmError, LlmSettings, Message, OpenAiCompatible,
    Prompt, Secret, Unavailable, Waited,
};
use crate::model::{RunError, Usage};

#[path = "../../../tests/it/support/openai_server.rs"]
mod openai_server;

const KEY: &str = "sk-not-to-be-seen";

/// A client of the server, patient enough for a busy machine unless a test says otherwise.
fn client(server: &OpenAiServer, change: impl FnOnce(&mut LlmSettings)) -> OpenAiCompatible {
    let mut settings = LlmSettings {
        base_url: server.base_url.clone(),
        api_key: Secret::new(KEY),
        model: "tiny".to_owned(),
        ..LlmSettings::default()
    };
    change(&mut settings);
    OpenAiCompatible::new(settings).unwrap()
}

fn prompt() -> Prompt {
    Prompt { messages: vec![Message::user("Hello?")], ..Prompt::default() }
}

/// Asks, and gives the pieces that were handed on beside the result.
async fn ask(client: &OpenAiCompatible) -> (Result<Completion, LlmError>, Vec<String>) {
    let mut seen = Vec::new();
    let result =
        client.complete(prompt(), &mut |piece| seen.push(piece.to_owned()), &CancellationToken::new()).await;
    (result, seen)
}

async fn ask_server(answers: Vec<Answer>) -> (Result<Completion, LlmError>, Vec<String>, OpenAiServer) {
    let server = OpenAiServer::start(answers).await;
    let (result, seen) = ask(&client(&server, |_| ())).await;
    (result, seen, server)
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_with_its_cost() {
    let (result, seen, server) = ask_server(vec![Answer::words("Good day to you")]).await;
    let usage = Usage { input_tokens: 7, output_tokens: 3 };
    let text = "Good day to you".to_owned();
    assert_eq!(result.unwrap(), Completion { text, usage, finish_reason: FinishReason::Stop });
    assert_eq!(seen, ["Good ", "day ", "to ", "you"]);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer sk-not-to-be-seen"));
    let expected = json!({"model": "tiny", "messages": [{"role": "user", "content": "Hello?"}], "stream": true,
        "stream_options": {"include_usage": true}});
    assert_eq!(asked[0].body, expected);
}

#[tokio::test]
async fn all_of_a_prompt_is_sent() {
    let server = OpenAiServer::start([Answer::words("{}")]).await;
    let client = client(&server, |settings| settings.api_key = Secret::default());
    let prompt = Prompt {
        system: "Be brief.".to_owned(),
        messages: vec![Message::user("a"), Message::assistant("b"), Message::user("c")],
        json: true,
        max_tokens: Some(9),
    };
    client.complete(prompt, &mut |_| (), &CancellationToken::new()).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.authorization, None);
    let roles: Vec<_> =
        asked.body["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(asked.body["response_format"], json!({"type": "json_object"}));
    assert_eq!(asked.body["max_tokens"], 9);
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let (result, seen, _server) = ask_server(vec![Answer::Plain("Good day".to_owned())]).await;
    assert_eq!(result.unwrap().usage, Usage { input_tokens: 7, output_tokens: 3 });
    assert_eq!(seen, ["Good day"]);
}

#[tokio::test]
async fn a_cost_that_is_not_told_is_zero() {
    let (result, seen, _server) = ask_server(vec![Answer::BareStream(pieces("Good day"))]).await;
    assert_eq!(result.unwrap().usage, Usage::default());
    assert_eq!(seen.concat(), "Good day");
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_the_server_asks() {
    let limited = Answer::Status(429, Some("1"), json!({"error": {"message": "slow down"}}));
    let begun = Instant::now();
    let (result, seen, server) = ask_server(vec![limited, Answer::words("Good day")]).await;
    assert_eq!((result.unwrap().text.as_str(), seen.len()), ("Good day", 2));
    assert_eq!(server.asked().len(), 2);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_beyond_the_time_of_the_call_is_not_begun() {
    let server = OpenAiServer::start([Answer::Status(429, Some("30"), json!({}))]).await;
    let client = client(&server, |settings| settings.total_timeout = Duration::from_secs(20));
    let error = ask(&client).await.0.unwrap_err();
    let asked_for = Some(Duration::from_secs(30));
    assert!(matches!(error, LlmError::RateLimited { retry_after } if retry_after == asked_for), "{error:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_exhausted_quota_is_not_waited_for() {
    let broke = json!({"error": {"message": "pay", "code": "insufficient_quota"}});
    let (result, _, server) = ask_server(vec![Answer::Status(429, None, broke)]).await;
    assert!(matches!(result, Err(LlmError::Refused { status: 429 })), "{result:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again_up_to_a_limit() {
    let (result, _, server) = ask_server(vec![Answer::status(503), Answer::words("Good day")]).await;
    assert_eq!((result.unwrap().text.as_str(), server.asked().len()), ("Good day", 2));

    let server = OpenAiServer::start([Answer::status(500)]).await;
    let client = client(&server, |settings| settings.max_retries = 1);
    let error = ask(&client).await.0.unwrap_err();
    assert!(matches!(error, LlmError::Unavailable(Unavailable::Status(500))), "{error:?}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = OpenAiServer::start([]).await;
    // Nothing listens on a port that was taken and given back.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let client = client(&server, |settings| {
        settings.base_url = format!("http://{free}/v1");
        settings.max_retries = 1;
    });
    let error = ask(&client).await.0.unwrap_err();
    assert!(matches!(error, LlmError::Unavailable(Unavailable::Connection(_))), "{error:?}");
}

#[tokio::test]
async fn a_refused_key_is_told_and_not_shown() {
    let echo = json!({"error": {"message": format!("bad key {KEY}")}});
    let (result, _, server) = ask_server(vec![Answer::Status(401, None, echo)]).await;
    let error = result.unwrap_err();
    assert!(matches!(error, LlmError::Unauthorized));
    assert!(!format!("{error:?} {error}").contains(KEY));
    let expected = RunError {
        code: "llm_unauthorized".to_owned(),
        message: "the language model did not accept the API key".to_owned(),
        retryable: false,
    };
    assert_eq!(RunError::from(error), expected);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_refused_request_is_not_tried_again() {
    let (result, _, server) = ask_server(vec![Answer::status(400)]).await;
    assert!(matches!(result, Err(LlmError::Refused { status: 400 })), "{result:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn silence_before_an_answer_ends_the_call() {
    let server = OpenAiServer::start([Answer::Hang]).await;
    let client = client(&server, |settings| settings.idle_timeout = Duration::from_millis(200));
    let error = ask(&client).await.0.unwrap_err();
    assert!(matches!(error, LlmError::Timeout(Waited::ForHead)), "{error:?}");
    server.wait_until_idle().await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn silence_within_an_answer_ends_the_call() {
    let server = OpenAiServer::start([Answer::HangAfter(pieces("Good day"))]).await;
    let client = client(&server, |settings| settings.idle_timeout = Duration::from_secs(1));
    let (result, seen) = ask(&client).await;
    assert!(matches!(result, Err(LlmError::Timeout(Waited::ForPiece))), "{result:?}");
    assert_eq!(seen.concat(), "Good day");
    server.wait_until_idle().await;
}

#[tokio::test]
async fn a_call_as_a_whole_has_an_end() {
    let server = OpenAiServer::start([Answer::HangAfter(pieces("Good day"))]).await;
    let client = client(&server, |settings| settings.total_timeout = Duration::from_millis(300));
    let error = RunError::from(ask(&client).await.0.unwrap_err());
    assert_eq!((error.code.as_str(), error.retryable), ("llm_timeout", true));
}

#[tokio::test]
async fn a_broken_connection_after_a_piece_is_not_hidden_by_a_retry() {
    let (result, seen, server) = ask_server(vec![Answer::Cut(pieces("Good day")), Answer::words("No")]).await;
    assert!(matches!(result, Err(LlmError::Unavailable(Unavailable::Broken(_)))), "{result:?}");
    assert_eq!(seen.concat(), "Good day");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_before_any_piece_is_tried_again() {
    let (result, seen, server) = ask_server(vec![Answer::Cut(vec![]), Answer::words("Good day")]).await;
    assert_eq!((result.unwrap().text, seen.concat()), ("Good day".to_owned(), "Good day".to_owned()));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn an_answer_that_ends_too_early_is_no_answer() {
    let (result, seen, _server) =
        ask_server(vec![Answer::EndEarly(pieces("Good day")), Answer::words("No")]).await;
    assert!(matches!(result, Err(LlmError::Unavailable(Unavailable::Incomplete))), "{result:?}");
    assert_eq!(seen.concat(), "Good day");
}

#[tokio::test]
async fn garbage_is_named_by_its_kind() {
    let cases = [
        ("text/html", "<h1>Welcome</h1>", BadResponse::ContentType),
        ("text/event-stream", "data: <h1>Welcome</h1>\n\n", BadResponse::Malformed),
        ("text/event-stream", "data: {\"choices\":\"none\"}\n\n", BadResponse::Malformed),
        ("application/json", "{\"choices\":[]}", BadResponse::NoMessage),
        ("application/json", "not JSON", BadResponse::Malformed),
    ];
    for (content_type, body, expected) in cases {
        let (result, _, server) = ask_server(vec![Answer::Raw(content_type, body)]).await;
        assert!(
            matches!(result, Err(LlmError::BadResponse(cause)) if cause == expected),
            "{body}: {result:?}"
        );
        assert_eq!(server.asked().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_stopped_at_the_limit() {
    for answer in [Answer::EndlessLine, Answer::EndlessPieces] {
        let server = OpenAiServer::start([answer.clone()]).await;
        let client = client(&server, |settings| settings.max_output_bytes = 10_000);
        let (result, seen) = ask(&client).await;
        let too_long = matches!(result, Err(LlmError::BadResponse(BadResponse::TooLong)));
        assert!(too_long && seen.concat().len() <= 10_000, "{answer:?}: {result:?}");
        server.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_cancelled_call_lets_go_of_the_server() {
    let server = OpenAiServer::start([Answer::HangAfter(pieces("Good day"))]).await;
    let client = client(&server, |_| ());
    let cancel = CancellationToken::new();
    let mut seen = String::new();
    let mut on_delta = |piece: &str| {
        seen.push_str(piece);
        if seen == "Good day" {
            cancel.cancel();
        }
    };
    let error = client.complete(prompt(), &mut on_delta, &cancel).await.unwrap_err();
    assert_eq!(RunError::from(error).code, "cancelled");
    server.wait_until_idle().await;
}

#[tokio::test]
async fn a_cancelled_call_does_not_wait_for_a_retry() {
    let server = OpenAiServer::start([Answer::Status(429, Some("60"), json!({}))]).await;
    let client = client(&server, |_| ());
    let cancel = CancellationToken::new();
    let mut ignore = |_: &str| ();
    let (result, ()) = tokio::join!(client.complete(prompt(), &mut ignore, &cancel), async {
        server.wait_for_requests(1).await;
        cancel.cancel();
    });
    assert!(matches!(result, Err(LlmError::Cancelled)), "{result:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let refused = |change: fn(&mut LlmSettings)| {
        let mut settings = LlmSettings { model: "tiny".to_owned(), ..LlmSettings::default() };
        change(&mut settings);
        OpenAiCompatible::new(settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(|_| ()), "");
    assert!(refused(|settings| settings.model.clear()).contains("llm.model"));
    assert!(refused(|settings| settings.base_url = "localhost:1".to_owned()).contains("llm.base_url"));
    assert!(refused(|settings| settings.api_key = Secret::new("a\nb")).contains("llm.api_key"));
}
