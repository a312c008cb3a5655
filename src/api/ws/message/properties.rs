//! Whatever is sent, the parser answers; and what it accepts is what was said.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::parse;

const TYPES: [&str; 10] = [
    "hello",
    "agent_invoke",
    "tool_result",
    "approval_decision",
    "cancel_run",
    "submit_input",
    "watch",
    "unwatch",
    "ping",
    "nonsense",
];
const FIELDS: [&str; 24] = [
    "ts",
    "request_id",
    "session_id",
    "run_id",
    "api_key",
    "user_id",
    "client_meta",
    "resume",
    "agent_id",
    "message",
    "params",
    "idempotency_key",
    "if_busy",
    "cancel_on_disconnect",
    "tool_call_id",
    "ok",
    "result",
    "error",
    "approval_id",
    "decision",
    "reason",
    "input",
    "after",
    "type",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["reject", "approve", "now", "IF_BUSY_ENQUEUE", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        Just("content".to_owned()),
        ".{0,6}"
    ]
}

fn any_message() -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((field(), any_json()), 0..8);
    (prop::sample::select(TYPES.to_vec()), fields).prop_map(|(kind, fields)| {
        let mut message: Map<String, Value> = fields.into_iter().collect();
        message.insert("type".to_owned(), json!(kind));
        Value::Object(message)
    })
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        drop(parse(&text));
    }

    #[test]
    fn any_bytes_that_are_text_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            drop(parse(text));
        }
    }

    #[test]
    fn the_request_id_comes_back_whether_the_message_is_good_or_not(message in any_message()) {
        let asked = message["request_id"].as_str().filter(|it| !it.is_empty());
        let answered = match parse(&message.to_string()) {
            Ok(received) => received.request_id,
            Err(invalid) => {
                if let Some(field) = &invalid.field {
                    let names_it = invalid.message.starts_with(field.as_str());
                    prop_assert!(names_it || field == "type", "{invalid:?}");
                }
                invalid.request_id
            }
        };
        prop_assert_eq!(answered.as_deref(), asked);
    }
}
