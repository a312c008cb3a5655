//! Events as proto3 JSON, for SSE and documents.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};

use super::{descriptor_pool, event_message, v1};
use crate::model::Event;

/// Fields that clients of the SSE stream may count on, with their defaults.
const ALWAYS_PRESENT: [&str; 3] = ["eventType", "message", "progressPercent"];

/// The event as one line of proto3 JSON; `eventType`, `message` and `progressPercent` come first and are always there.
pub fn event_json(event: &Event) -> Bytes {
    response_json(&event_message(event))
}

/// The same for an event as a client received it.
pub fn response_json(response: &v1::WatchRunResponse) -> Bytes {
    let options = SerializeOptions::new().skip_default_fields(true);
    let mut fields = json_fields("WatchRunResponse", response, &options);
    let mut ordered = Map::new();
    for name in ALWAYS_PRESENT {
        let default = if name == "progressPercent" { Value::from(0) } else { Value::from("") };
        ordered.insert(name.to_owned(), fields.shift_remove(name).unwrap_or(default));
    }
    ordered.append(&mut fields);
    Value::Object(ordered).to_string().into()
}

/// A run as one line of proto3 JSON, with its empty fields.
pub fn run_json(run: &v1::Run) -> Bytes {
    full_json("Run", run)
}

/// A worker as one line of proto3 JSON, with its empty fields.
pub fn worker_json(worker: &v1::Worker) -> Bytes {
    full_json("Worker", worker)
}

fn full_json(name: &str, message: &impl Message) -> Bytes {
    let options = SerializeOptions::new().skip_default_fields(false);
    Value::Object(json_fields(name, message, &options)).to_string().into()
}

/// The fields of a message of package `rungate.v1`.
fn json_fields(name: &str, message: &impl Message, options: &SerializeOptions) -> Map<String, Value> {
    let Some(descriptor) = descriptor_pool().get_message_by_name(&format!("rungate.v1.{name}")) else {
        unreachable!("proto/ declares {name}")
    };
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let fields = dynamic.map(|it| it.serialize_with_options(serde_json::value::Serializer, options));
    let Ok(Ok(Value::Object(fields))) = fields else { unreachable!("a message of ours is a {name}") };
    fields
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::model::{ClientView, EventKind, Graph, GraphNode, RunId};

    #[test]
    fn an_event_is_canonical_json_with_its_first_fields_always_there() {
        let event = Event {
            run_id: RunId::new(Uuid::from_u128(7)),
            sequence: 9_007_199_254_740_993,
            time: Timestamp::from_millisecond(1500).unwrap(),
            message: String::new(),
            progress_percent: 0,
            view: Some(ClientView::graph(
                "p",
                Graph { nodes: vec![GraphNode::new("a", "A", "")], edges: vec![] },
            )),
            kind: EventKind::Complete { output: serde_json::json!({"n": 1, "x": [null, true]}), usage: None },
            memo: Some(Box::new("the worker's own".into())),
        };
        let text = String::from_utf8(event_json(&event).to_vec()).unwrap();
        let expected = concat!(
            r#"{"eventType":"EVENT_TYPE_COMPLETE","message":"","progressPercent":0,"#,
            r#""clientView":{"phase":"p","graph":{"nodes":[{"uid":"a","label":"A"}]}},"#,
            r#""runId":"run_00000000-0000-0000-0000-000000000007","sequence":"9007199254740993","#,
        );
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains(r#""time":"1970-01-01T00:00:01.500Z""#), "{text}");
        assert!(text.contains(r#""result":{"output":{"#), "{text}");
        assert!(!text.contains("the worker's own"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["result"]["output"]["x"], serde_json::json!([null, true]));
    }
}
