//! The JSON of one event. Nearly all events are a piece of text, or a line, or progress, with nothing beside: those are
//! written and read without a parser, byte for byte as serde_json does it. All else is left to serde_json.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{ClientView, Event, EventKind};

const DELTA: (&[u8], &[u8]) = (b"{\"k\":{\"Delta\":{\"text\":\"", b"\"}}");
const LOG: &[u8] = b"{\"k\":\"Log\"";
const PROGRESS: &[u8] = b"{\"k\":\"Progress\"";
const MESSAGE: (&[u8], &[u8]) = (b",\"m\":\"", b"\"");

/// The parts of an event that are neither in the record nor in front of it.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Parts {
    #[serde(rename = "k")]
    pub(super) kind: EventKind,
    #[serde(rename = "m", default)]
    pub(super) message: String,
    #[serde(rename = "v", default)]
    pub(super) view: Option<ClientView>,
    #[serde(rename = "w", default)]
    pub(super) memo: Option<Box<Value>>,
}

#[derive(Serialize)]
struct PartsRef<'a> {
    #[serde(rename = "k")]
    kind: &'a EventKind,
    #[serde(rename = "m", skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    view: &'a Option<ClientView>,
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    memo: &'a Option<Box<Value>>,
}

/// Appends the JSON of `event` to `bytes`.
pub(super) fn write(event: &Event, bytes: &mut Vec<u8>) {
    if !write_frequent(event, bytes) {
        let Event { kind, message, view, memo, .. } = event;
        // Writing to memory fails for no value of these types.
        drop(serde_json::to_writer(bytes, &PartsRef { kind, message, view, memo }));
    }
}

/// Reads what [`write()`] has written.
pub(super) fn read(bytes: &[u8]) -> io::Result<Parts> {
    match read_frequent(bytes) {
        Some(parts) => Ok(parts),
        None => serde_json::from_slice(bytes).map_err(io::Error::from),
    }
}

/// About the bytes that [`write()`] will take, for events with little beside text.
pub(super) fn likely_bytes(event: &Event) -> usize {
    let text = if let EventKind::Delta { text } = &event.kind { text.len() } else { 0 };
    DELTA.0.len() + DELTA.1.len() + MESSAGE.0.len() + text + event.message.len() + 8
}

fn write_frequent(event: &Event, bytes: &mut Vec<u8>) -> bool {
    if event.view.is_some() || event.memo.is_some() || !is_plain(event.message.as_bytes()) {
        return false;
    }
    match &event.kind {
        EventKind::Delta { text } if is_plain(text.as_bytes()) => {
            bytes.extend_from_slice(DELTA.0);
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(DELTA.1);
        }
        EventKind::Log => bytes.extend_from_slice(LOG),
        EventKind::Progress => bytes.extend_from_slice(PROGRESS),
        _ => return false,
    }
    if !event.message.is_empty() {
        bytes.extend_from_slice(MESSAGE.0);
        bytes.extend_from_slice(event.message.as_bytes());
        bytes.extend_from_slice(MESSAGE.1);
    }
    bytes.push(b'}');
    true
}

fn read_frequent(bytes: &[u8]) -> Option<Parts> {
    let bytes = bytes.strip_suffix(b"}")?;
    let (kind, rest) = if let Some(rest) = bytes.strip_prefix(DELTA.0) {
        let (text, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
        (EventKind::Delta { text: plain_text(text)? }, rest.strip_prefix(DELTA.1)?)
    } else if let Some(rest) = bytes.strip_prefix(LOG) {
        (EventKind::Log, rest)
    } else {
        (EventKind::Progress, bytes.strip_prefix(PROGRESS)?)
    };
    let message = match rest {
        [] => String::new(),
        _ => plain_text(rest.strip_prefix(MESSAGE.0)?.strip_suffix(MESSAGE.1)?)?,
    };
    Some(Parts { kind, message, view: None, memo: None })
}

fn plain_text(bytes: &[u8]) -> Option<String> {
    if is_plain(bytes) { std::str::from_utf8(bytes).ok().map(str::to_owned) } else { None }
}

/// True for text that stands in JSON as it is. Looks at all of it without a branch: the processor does many bytes at once.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::{RunId, RunState};

    fn event(kind: EventKind, message: String, view: Option<ClientView>, memo: Option<Value>) -> Event {
        Event {
            run_id: RunId::new(Uuid::from_u128(1)),
            sequence: 1,
            time: Timestamp::UNIX_EPOCH,
            message,
            progress_percent: 0,
            view,
            kind,
            memo: memo.map(Box::new),
        }
    }

    fn events() -> impl Strategy<Value = Event> {
        // Text that needs escapes, and text that does not.
        let text = || prop_oneof!["[ -~ä€😀]{0,40}", "[a-zäö ]{0,300}", "\\PC{0,20}", "[\\x00-\\x7f]{0,10}"];
        let kind = prop_oneof![
            Just(EventKind::Log),
            Just(EventKind::Progress),
            Just(EventKind::Cancelled),
            Just(EventKind::State { state: RunState::Running, attempt: 2 }),
            text().prop_map(|text| EventKind::Delta { text }),
            text().prop_map(|reason| EventKind::Queued { position: 1, ahead: 2, reason }),
        ];
        let view = proptest::option::weighted(0.2, text().prop_map(|it| ClientView::llm_response("", &it)));
        let memo = proptest::option::weighted(0.2, text().prop_map(Value::from));
        (kind, text(), view, memo).prop_map(|(kind, message, view, memo)| event(kind, message, view, memo))
    }

    fn as_before(event: &Event) -> Vec<u8> {
        let Event { kind, message, view, memo, .. } = event;
        serde_json::to_vec(&PartsRef { kind, message, view, memo }).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn events_are_written_as_serde_json_does_and_read_as_it_does(event in events()) {
            let mut bytes = Vec::new();
            write(&event, &mut bytes);
            prop_assert_eq!(&bytes, &as_before(&event));
            let Event { kind, message, view, memo, .. } = event;
            prop_assert_eq!(read(&bytes).unwrap(), Parts { kind, message, view, memo });
        }

        #[test]
        fn what_is_no_event_is_none_for_both(event in events(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = as_before(&event);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let found = read(&bytes).ok();
            prop_assert_eq!(found, serde_json::from_slice(&bytes).ok());
        }
    }

    #[test]
    fn frequent_events_need_no_parser() {
        let text = || "eine Antwort, Wort für Wort".to_owned();
        for kind in [EventKind::Delta { text: text() }, EventKind::Log, EventKind::Progress] {
            for message in [String::new(), text()] {
                let bytes = as_before(&event(kind.clone(), message.clone(), None, None));
                let parts = Parts { kind: kind.clone(), message, view: None, memo: None };
                assert_eq!(read_frequent(&bytes), Some(parts));
            }
        }
    }
}
