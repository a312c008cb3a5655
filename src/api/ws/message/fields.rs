//! The fields of one message, taken out by name. What is wrong with one is told with its name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A field that is missing or is not what it should be: its name, and what is wrong, to be read after the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) problem: String,
}

/// The fields of a JSON object. `null` counts as not there.
pub(super) struct Fields {
    /// Put before each name: a field of a field has a dotted name.
    prefix: &'static str,
    fields: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(prefix: &'static str, fields: Map<String, Value>) -> Self {
        Self { prefix, fields }
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Wrong> {
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.missing(name)),
        }
    }

    /// A text; without one it is empty.
    pub(super) fn optional(&mut self, name: &str) -> Result<String, Wrong> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "is not a text")),
        }
    }

    /// A text of at most so many bytes.
    pub(super) fn short_text(&mut self, name: &str, most: usize) -> Result<Option<String>, Wrong> {
        match self.text(name)? {
            Some(text) if text.len() > most => Err(self.wrong(name, format!("is longer than {most} bytes"))),
            text => Ok(text),
        }
    }

    /// True or false, which must be there.
    pub(super) fn required_flag(&mut self, name: &str) -> Result<bool, Wrong> {
        self.flag(name)?.ok_or_else(|| self.missing(name))
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "is neither true nor false")),
        }
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(name, "is not a whole number")),
            },
        }
    }

    /// Any JSON; without one `null`.
    pub(super) fn any(&mut self, name: &str) -> Value {
        self.take(name).unwrap_or_default()
    }

    /// An object, which must be there.
    pub(super) fn required_object(&mut self, name: &str) -> Result<Map<String, Value>, Wrong> {
        match self.take(name) {
            None => Err(self.missing(name)),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(self.wrong(name, "is not an object")),
        }
    }

    /// Texts by name, in the order in which they stand; none when the field is not there.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<(String, String)>, Wrong> {
        let fields = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(self.wrong(name, "is not an object")),
        };
        let texts = fields.into_iter().map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(self.wrong(&format!("{name}.{}", shown(&key)), "is not a text")),
        });
        texts.collect()
    }

    /// The same as a map.
    pub(super) fn text_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, Wrong> {
        Ok(self.texts(name)?.into_iter().collect())
    }

    pub(super) fn missing(&self, name: &str) -> Wrong {
        self.wrong(name, "is required")
    }

    pub(super) fn wrong(&self, name: &str, problem: impl Into<String>) -> Wrong {
        Wrong { field: format!("{}{name}", self.prefix), problem: problem.into() }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        // The order of what is left does not matter.
        self.fields.swap_remove(name).filter(|it| !it.is_null())
    }
}

/// So much of a text of the client's own as is repeated to it.
pub(super) fn shown(text: &str) -> String {
    const CHARS: usize = 64;
    text.chars().take(CHARS).collect()
}
