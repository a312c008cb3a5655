//! `--json`: one event a line, in the shape of the gateway's event streams.

use std::io::{self, Write};

use super::Render;
use crate::wire::{self, v1};

/// Writes events to `out` and notices to `err`.
pub(super) struct Json<O, E> {
    out: O,
    err: E,
}

impl<O: Write, E: Write> Json<O, E> {
    pub(super) fn new(out: O, err: E) -> Self {
        Self { out, err }
    }
}

impl<O: Write, E: Write> Render for Json<O, E> {
    fn event(&mut self, event: &v1::WatchRunResponse) -> io::Result<()> {
        let mut line = wire::response_json(event).to_vec();
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }

    fn notice(&mut self, text: &str) -> io::Result<()> {
        // Notices are an extra; when nobody reads them the events go on.
        drop(writeln!(self.err, "rungate: {text}"));
        Ok(())
    }

    fn prompt(&mut self) -> io::Result<()> {
        drop(write!(self.err, "> ").and_then(|()| self.err.flush()));
        Ok(())
    }

    fn answered(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn status(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let event = v1::WatchRunResponse {
            event_type: v1::EventType::Log.into(),
            message: "two\nlines".to_owned(),
            sequence: 7,
            ..Default::default()
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut json = Json::new(&mut out, &mut err);
        json.event(&event).unwrap();
        json.notice("beside").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() == 1 && text.ends_with('\n'), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["eventType"], "EVENT_TYPE_LOG");
        assert_eq!((&value["message"], &value["progressPercent"]), (&"two\nlines".into(), &0.into()));
        assert_eq!(value["sequence"], "7");
    }
}
