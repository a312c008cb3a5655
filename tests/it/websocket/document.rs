//! `docs/asyncapi.yaml` says what the gateway does: its examples are read by the real parser, and what the gateway
//! really sends is described.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use libtest_mimic::Trial;
use rungate::{
    api::ws::parse,
    model::{Cursor, Entry, Event, EventKind, RunId, SessionId},
    wire::{RunFacts, websocket_event},
};
use serde_json::{Map, Value, json};

use super::answers::AGENT;
use crate::support::{
    client::{Client, Protocol},
    gateway::{Setup, WORKERS},
    story, tools, trial,
    websocket::Socket,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::the_document_hangs_together", references),
        trial("websocket::every_example_of_a_client_is_understood", examples_of_clients),
        trial("websocket::every_example_is_as_described", examples),
        trial("websocket::all_that_the_gateway_says_is_described", traffic),
    ]
}

/// The description of one message.
struct Described {
    required: BTreeSet<String>,
    properties: BTreeMap<String, Value>,
    examples: Vec<Value>,
}

fn document() -> Value {
    let text = std::fs::read_to_string(tools::repository().join("docs/asyncapi.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The messages of an operation.
fn messages(document: &Value, operation: &str) -> BTreeMap<String, Described> {
    let listed = document["operations"][operation]["messages"].as_array().unwrap().iter();
    let described = listed.map(|it| {
        let message = followed(document, &followed(document, it));
        let mut described =
            Described { required: BTreeSet::new(), properties: BTreeMap::new(), examples: Vec::new() };
        collect(document, &message["payload"], &mut described);
        let examples = message["examples"].as_array().unwrap().iter();
        described.examples = examples.map(|it| it["payload"].clone()).collect();
        (described.properties["type"]["const"].as_str().unwrap().to_owned(), described)
    });
    described.collect()
}

fn collect(document: &Value, schema: &Value, to: &mut Described) {
    let schema = followed(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(document, part, to);
    }
    let required = schema["required"].as_array().into_iter().flatten();
    to.required.extend(required.map(|it| it.as_str().unwrap().to_owned()));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        to.properties.insert(name.clone(), property.clone());
    }
}

/// What a `$ref` stands for; anything else is itself.
fn followed(document: &Value, value: &Value) -> Value {
    match value.get("$ref") {
        None => value.clone(),
        Some(place) => {
            let place = place.as_str().unwrap();
            let found = document.pointer(place.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{place} leads nowhere")).clone()
        }
    }
}

/// What is wrong with a message, if anything is.
fn problem(described: &Described, message: &Map<String, Value>) -> Option<String> {
    if let Some(missing) = described.required.iter().find(|it| !message.contains_key(*it)) {
        return Some(format!("{missing} is missing"));
    }
    message.iter().find_map(|(name, value)| match described.properties.get(name) {
        None => Some(format!("{name} is not described")),
        Some(schema) => wrong(schema, value).then(|| format!("{name} is not as described")),
    })
}

fn wrong(schema: &Value, value: &Value) -> bool {
    let of_type = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        None => true,
        Some(other) => panic!("the schema has a {other}"),
    };
    let listed = schema["enum"].as_array().is_none_or(|it| it.contains(value));
    let constant = schema.get("const").is_none_or(|it| it == value);
    let inside = schema["properties"].as_object().is_some_and(|properties| {
        let fields = value.as_object().into_iter().flatten();
        fields.into_iter().any(|(name, it)| properties.get(name).is_none_or(|schema| wrong(schema, it)))
    });
    !(of_type && listed && constant) || inside
}

async fn references() {
    let document = document();
    assert_eq!(document["asyncapi"], "3.0.0");
    let mut left = vec![&document];
    let mut references = 0;
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                references += usize::from(fields.contains_key("$ref"));
                followed(&document, value);
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    assert!(references > 50);
    let messages = document["components"]["messages"].as_object().unwrap();
    let in_channel = document["channels"]["socket"]["messages"].as_object().unwrap();
    assert!(messages.keys().eq(in_channel.keys()) || messages.len() == in_channel.len());
}

async fn examples_of_clients() {
    let document = document();
    for (kind, described) in messages(&document, "fromClient") {
        assert!(!described.examples.is_empty(), "{kind}");
        for example in &described.examples {
            let read = parse(&example.to_string()).unwrap_or_else(|error| panic!("{example}: {error:?}"));
            assert_eq!(read.request_id.as_deref(), example["request_id"].as_str());
            // What is required is missed.
            for required in described.required.iter().filter(|it| *it != "type") {
                let mut without = example.clone();
                without.as_object_mut().unwrap().remove(required);
                let invalid = parse(&without.to_string()).err();
                let invalid = invalid.unwrap_or_else(|| panic!("{kind} does without {required}"));
                assert_eq!(invalid.field.as_ref(), Some(required));
            }
        }
        // What is described is looked at: a field of another type is told.
        for (name, schema) in &described.properties {
            if schema["type"].as_str().is_none() || name == "run_id" && !described.required.contains(name) {
                continue;
            }
            let mut other = described.examples[0].clone();
            other[name] = json!([]);
            let invalid = parse(&other.to_string()).err().unwrap_or_else(|| panic!("{kind} ignores {name}"));
            assert_eq!(invalid.field.as_ref(), Some(name), "{kind}");
        }
    }
}

async fn examples() {
    let document = document();
    for operation in ["fromClient", "toClient"] {
        for (kind, described) in messages(&document, operation) {
            for example in &described.examples {
                assert_eq!(problem(&described, example.as_object().unwrap()), None, "{kind}: {example}");
                assert_eq!(example["type"], kind.as_str());
            }
        }
    }
}

/// Every type is met, and nothing that is not described.
async fn traffic() {
    let document = document();
    let described = messages(&document, "toClient");
    let gateway = Setup::default().config(WORKERS).config(AGENT).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let mut told = Vec::new();
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    for worker in ["speak", "fail", "ask", "agent", "linger", "test_pipeline"] {
        socket
            .send(json!({"type": "agent_invoke", "request_id": worker, "agent_id": worker,
                "message": {"role": "user", "content": "x"}}))
            .await;
        let mut run = String::new();
        loop {
            let message = socket.next().await;
            if message["type"] == "ack" && message["request_id"] == worker {
                run = story::text(&message["run_id"]).to_owned();
            }
            let answer = match message["type"].as_str().unwrap() {
                "input_required" => Some(json!({"type": "submit_input", "input": "7"})),
                "tool_request" => {
                    Some(json!({"type": "tool_result", "tool_call_id": "call", "ok": false, "error": "no"}))
                }
                "approval_required" => {
                    Some(json!({"type": "approval_decision", "approval_id": "may", "decision": "approve"}))
                }
                "log" if message["message"] == "lingering" => Some(json!({"type": "cancel_run"})),
                _ => None,
            };
            if let Some(mut answer) = answer {
                answer["run_id"] = run.as_str().into();
                answer["request_id"] = format!("answer to {worker}").into();
                socket.send(answer).await;
            }
            let ends = crate::support::websocket::is_terminal(&message);
            told.push(message);
            if ends {
                break;
            }
        }
    }
    let (run, _) = story::finished(client, "brief").await;
    for message in [
        json!({"type": "ping"}),
        json!({"type": "watch", "run_id": "nobody"}),
        json!({"type": "watch", "run_id": run, "after": "now"}),
        json!({"type": "unwatch", "run_id": run}),
        json!({"type": "nonsense"}),
    ] {
        told.push(socket.ask(message).await);
    }
    told.push(socket.next_of("pong").await);
    let mut socket = Socket::open(gateway.address()).await;
    socket.send(json!({"type": "hello", "resume": {"nobody": ""}})).await;
    told.extend([socket.next().await, socket.next().await]);
    told.push(queued());

    let mut met = BTreeSet::new();
    for message in told {
        let kind = story::text(&message["type"]).to_owned();
        let described = described.get(&kind).unwrap_or_else(|| panic!("{kind} is not described"));
        assert_eq!(problem(described, message.as_object().unwrap()), None, "{message:#}");
        met.insert(kind);
    }
    assert_eq!(met, described.keys().cloned().collect());
}

/// What no worker of this test meets.
fn queued() -> Value {
    let run_id: RunId = RunId::parse("run_00000000-0000-0000-0000-000000000007").unwrap();
    let event = Event {
        run_id,
        sequence: 2,
        time: Timestamp::UNIX_EPOCH,
        message: String::new(),
        progress_percent: 0,
        view: None,
        kind: EventKind::Queued { position: 2, ahead: 1, reason: "no_capacity".to_owned() },
        memo: None,
    };
    assert_eq!(event.cursor(), Cursor { run_id, sequence: 2 });
    let facts = RunFacts {
        session_id: SessionId::parse("session_1").unwrap(),
        agent_id: "w".into(),
        created_at: Timestamp::UNIX_EPOCH,
    };
    serde_json::from_slice(&websocket_event(&Entry::new(event), &facts)).unwrap()
}
