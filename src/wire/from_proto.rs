//! From protobuf to `model`.

use prost_types::value::Kind;
use serde_json::{Number, Value};

/// A `google.protobuf.Value` as JSON. What JSON cannot say (not a number, infinity) becomes null.
pub fn json_value(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(it)) => Value::Bool(*it),
        Some(Kind::NumberValue(it)) => json_number(*it),
        Some(Kind::StringValue(it)) => Value::String(it.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json_value).collect()),
        Some(Kind::StructValue(fields)) => {
            Value::Object(fields.fields.iter().map(|(key, it)| (key.clone(), json_value(it))).collect())
        }
    }
}

/// Whole numbers stay whole, so that what went in as 1 does not come out as 1.0.
fn json_number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
