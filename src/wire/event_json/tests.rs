//! The JSON against the descriptors.

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions, Value as Content,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    model::{ClientView, EventKind, Graph, GraphNode, RunId},
    wire::{descriptor_pool, value},
};

/// What the descriptors make of an event, with the three fields that are always there in front.
fn expected(event: &DynamicMessage) -> String {
    let options = SerializeOptions::new().skip_default_fields(true);
    let json = event.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
    let Value::Object(mut others) = json else { panic!("an object") };
    let mut expected = Map::new();
    for (name, default) in [
        ("eventType", json!("EVENT_TYPE_UNSPECIFIED")),
        ("message", json!("")),
        ("progressPercent", json!(0)),
    ] {
        expected.insert(name.to_owned(), others.shift_remove(name).unwrap_or(default));
    }
    expected.append(&mut others);
    Value::Object(expected).to_string()
}

/// Any message of the type, by its descriptor alone, so that no field and none of several is forgotten.
fn any_message(of: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
    match of.full_name() {
        "google.protobuf.Timestamp" => return any_timestamp().prop_map(reflected(of)).boxed(),
        "google.protobuf.Value" => return any_value().prop_map(reflected(of)).boxed(),
        _ => {}
    }
    let single = of.fields().filter(|it| it.containing_oneof().is_none()).map(any_field);
    let oneofs = of.oneofs().map(|it| Union::new(it.fields().map(any_field)).boxed());
    let fields: Vec<_> = single.chain(oneofs).map(option::of).collect();
    let of = of.clone();
    let message = fields.prop_map(move |fields| {
        let mut message = DynamicMessage::new(of.clone());
        for (field, content) in fields.into_iter().flatten() {
            message.set_field(&field, content);
        }
        message
    });
    message.boxed()
}

/// Any content of the field. A kind that no event has had so far fails the test.
fn any_field(field: FieldDescriptor) -> BoxedStrategy<(FieldDescriptor, Content)> {
    let one = match field.kind() {
        Kind::String => any_text().prop_map(Content::String).boxed(),
        Kind::Bool => any::<bool>().prop_map(Content::Bool).boxed(),
        Kind::Int32 => any::<i32>().prop_map(Content::I32).boxed(),
        Kind::Uint32 => any::<u32>().prop_map(Content::U32).boxed(),
        Kind::Uint64 => any::<u64>().prop_map(Content::U64).boxed(),
        Kind::Enum(words) => {
            let unnamed = [-1, 1000];
            let numbers: Vec<_> = words.values().map(|it| it.number()).chain(unnamed).collect();
            select(numbers).prop_map(Content::EnumNumber).boxed()
        }
        Kind::Message(message) => any_message(&message).prop_map(Content::Message).boxed(),
        other => panic!("{} is of a kind that no event had so far: {other:?}", field.full_name()),
    };
    let content = if field.is_list() { vec(one, 0..3).prop_map(Content::List).boxed() } else { one };
    content.prop_map(move |it| (field.clone(), it)).boxed()
}

/// Also what JSON escapes.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[\x00-\x20"/\\\u{7f}\u{2028}\u{1f600}]{0,6}"#]
}

/// In the years 1 to 9999, with 0, 3, 6 and 9 digits behind the second.
fn any_timestamp() -> impl Strategy<Value = prost_types::Timestamp> {
    let nanos = (0..1000, prop_oneof![Just(0), Just(1), Just(1000), Just(1_000_000)]);
    let times = (-62_135_596_800..253_402_300_800_i64, nanos);
    times.prop_map(|(seconds, (nanos, unit))| prost_types::Timestamp { seconds, nanos: nanos * unit })
}

/// Any value of JSON, and the value that is none.
fn any_value() -> impl Strategy<Value = prost_types::Value> {
    let number = prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from)];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::from),
        any_text().prop_map(Value::String),
    ];
    let tree = leaf.prop_recursive(3, 24, 4, |inner| {
        let fields = vec((any_text(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::Array),
            fields.prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    });
    prop_oneof![9 => tree.prop_map(|it| value(&it)), 1 => Just(prost_types::Value { kind: None })]
}

fn reflected<M: prost::Message>(of: &MessageDescriptor) -> impl Fn(M) -> DynamicMessage + use<M> {
    let of = of.clone();
    move |message| DynamicMessage::decode(of.clone(), message.encode_to_vec().as_slice()).unwrap()
}

fn event_descriptor() -> MessageDescriptor {
    descriptor_pool().get_message_by_name("rungate.v1.WatchRunResponse").unwrap()
}

proptest! {
    #[test]
    fn an_event_is_the_json_of_its_descriptors(event in any_message(&event_descriptor())) {
        let message = v1::WatchRunResponse::decode(event.encode_to_vec().as_slice()).unwrap();
        let json = String::from_utf8(response_json(&message).to_vec()).unwrap();
        prop_assert_eq!(json, expected(&event));
    }
}

#[test]
fn an_event_is_canonical_json_with_its_first_fields_always_there() {
    let nodes = vec![GraphNode::new("a", "A", "")];
    let event = Event {
        run_id: RunId::new(Uuid::from_u128(7)),
        sequence: 9_007_199_254_740_993,
        time: Timestamp::from_millisecond(1500).unwrap(),
        message: String::new(),
        progress_percent: 0,
        view: Some(ClientView::graph("p", Graph { nodes, edges: vec![] })),
        kind: EventKind::Complete { output: json!({"n": 1, "x": [null, true]}), usage: None },
        memo: Some(Box::new("the worker's own".into())),
    };
    let text = String::from_utf8(event_json(&event).to_vec()).unwrap();
    assert!(!text.contains("the worker's own"), "{text}");
    let begin = concat!(
        r#"{"eventType":"EVENT_TYPE_COMPLETE","message":"","progressPercent":0,"#,
        r#""clientView":{"phase":"p","graph":{"nodes":[{"uid":"a","label":"A"}]}},"#,
        r#""runId":"run_00000000-0000-0000-0000-000000000007","sequence":"9007199254740993","cursor":""#,
    );
    let end = concat!(
        r#"","time":"1970-01-01T00:00:01.500Z","#,
        r#""result":{"output":{"n":1.0,"x":[null,true]}}}"#,
    );
    assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
}

#[test]
fn what_json_has_no_number_for_is_null() {
    let output = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)) };
    let detail = Detail::Result(v1::ResultDetail { output: Some(output), usage: None });
    let event = v1::WatchRunResponse { detail: Some(detail), ..Default::default() };
    let told: Value = serde_json::from_slice(&response_json(&event)).unwrap();
    assert_eq!(told["result"], json!({"output": null}));
}
