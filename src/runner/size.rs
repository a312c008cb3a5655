//! Whether what a run ends with fits into one event, in every wire format.

use std::io;

use serde::Serialize;
use serde_json::Value;

use crate::model::{ClientView, RunError, limits};

/// Counts what is written and keeps nothing.
struct Counter(usize);

/// Refuses an output that clients could not read.
pub(super) fn check_output(value: &Value) -> Result<(), RunError> {
    check(value, limits::OUTPUT_BYTES)
        .map_err(|problem| RunError::permanent("output_too_large", format!("the output {problem}")))
}

/// Tells what is wrong with what a tool is given or gives back, if it is too large for an event.
pub fn check_answer(value: &Value) -> Result<(), String> {
    check(value, limits::ANSWER_BYTES)
}

fn check(value: &Value, most_bytes: usize) -> Result<(), String> {
    let most = limits::OUTPUT_DEPTH;
    if depth(value, most + 1) > most {
        return Err(format!("has more than {most} lists and objects inside each other"));
    }
    let bytes = json_bytes(value).max(protobuf_bytes(value));
    if bytes > most_bytes {
        return Err(format!("takes {bytes} bytes, and one event carries {most_bytes}"));
    }
    Ok(())
}

/// What is said instead of a view that clients could not read; `None` when they can.
pub(super) fn too_large(view: &ClientView) -> Option<String> {
    let (bytes, most) = (json_bytes(view), limits::VIEW_BYTES);
    (bytes > most).then(|| format!("a view of {bytes} bytes is left out: one event carries {most}"))
}

/// Bytes as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // Neither counting nor values that are JSON already can fail.
    drop(serde_json::to_writer(&mut counter, value));
    counter.0
}

/// Lists and objects inside each other, counted to `most`.
fn depth(value: &Value, most: usize) -> usize {
    let inner: &mut dyn Iterator<Item = &Value> = match value {
        _ if most == 0 => return 0,
        Value::Array(items) => &mut items.iter(),
        Value::Object(fields) => &mut fields.values(),
        _ => return 0,
    };
    1 + inner.map(|it| depth(it, most - 1)).max().unwrap_or(0)
}

/// Bytes as `google.protobuf.Value`. A short number takes several times what it takes as JSON.
fn protobuf_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 2,
        Value::Number(_) => 9,
        Value::String(text) => field(text.len()),
        Value::Array(items) => field(items.iter().map(|it| field(protobuf_bytes(it))).sum()),
        Value::Object(fields) => {
            field(fields.iter().map(|(key, it)| field(field(key.len()) + field(protobuf_bytes(it)))).sum())
        }
    }
}

/// Bytes of a field with `length` bytes in it: a tag, the length, and those.
fn field(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1);
    1 + bits.div_ceil(7) as usize + length
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;
    use crate::wire;

    #[test]
    fn bytes_are_those_of_the_wire() {
        for value in [
            json!(null),
            json!(1),
            json!("ä"),
            json!({"a": [1, 2, {"b": "c".repeat(200)}], "d": {}, "e": [], "f": true}),
            json!(vec![0; 40_000]),
        ] {
            assert_eq!(protobuf_bytes(&value), wire::value(&value).encoded_len(), "{value}");
            assert_eq!(json_bytes(&value), value.to_string().len());
        }
    }

    #[test]
    fn an_output_is_refused_when_any_form_of_it_is_too_large() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        let digits = |count: usize| json!(vec![1; count]);
        let fits = [nested(limits::OUTPUT_DEPTH), digits(limits::OUTPUT_BYTES / 12), json!(null)];
        let refused = [
            nested(limits::OUTPUT_DEPTH + 1),
            nested(1000),
            digits(limits::OUTPUT_BYTES / 4),
            json!("x".repeat(limits::OUTPUT_BYTES)),
        ];
        for value in fits {
            assert_eq!(check_output(&value), Ok(()));
        }
        for value in refused {
            assert_eq!(check_output(&value).unwrap_err().code, "output_too_large");
        }
    }
}
