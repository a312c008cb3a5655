//! What sockets may do, and which.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use crate::model::Secret;

/// What sockets may do, and which.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WsSettings {
    /// What clients must say in their `hello`; empty: nothing.
    pub api_key: Secret,
    /// Sockets at a time. One more is refused with 503.
    pub most_sockets: usize,
    /// Runs that one socket watches at a time. One more is an error.
    pub most_watches: usize,
    /// The longest message of a client, in bytes. A longer one closes the socket.
    pub max_message: usize,
    /// Bytes of events that wait to be sent on one socket. Beyond it the socket takes no more from the logs.
    pub send_queue: usize,
    /// A socket whose queue is full and whose client takes nothing for so long is closed; it can resume.
    #[serde(with = "duration")]
    pub stall_timeout: Duration,
    /// How often the gateway pings.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// A socket on which nothing has come for so long is dead.
    #[serde(with = "duration")]
    pub dead_after: Duration,
}

impl Default for WsSettings {
    fn default() -> Self {
        Self {
            api_key: Secret::default(),
            most_sockets: 10_000,
            most_watches: 1024,
            max_message: 64 << 10,
            send_queue: 256 << 10,
            stall_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            dead_after: Duration::from_secs(60),
        }
    }
}

impl WsSettings {
    /// What is wrong with the values, if anything is.
    pub fn problem(&self) -> Option<String> {
        let never_zero = [
            ("ws.most_sockets", self.most_sockets == 0),
            ("ws.most_watches", self.most_watches == 0),
            ("ws.max_message", self.max_message == 0),
            ("ws.send_queue", self.send_queue == 0),
            ("ws.stall_timeout", self.stall_timeout.is_zero()),
            ("ws.ping_interval", self.ping_interval.is_zero()),
        ];
        if let Some((key, _)) = never_zero.iter().find(|(_, zero)| *zero) {
            return Some(format!("{key}: must be more than 0"));
        }
        let in_time = self.dead_after > self.ping_interval;
        (!in_time).then(|| "ws.dead_after: must be more than ws.ping_interval".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        toml::from_str::<WsSettings>(text).unwrap().problem()
    }

    #[test]
    fn what_no_socket_could_live_with_is_refused() {
        assert_eq!(problem(""), None);
        for key in ["most_sockets", "most_watches", "max_message", "send_queue"] {
            assert_eq!(problem(&format!("{key} = 0")), Some(format!("ws.{key}: must be more than 0")));
        }
        let told = problem("ping_interval = '60s'");
        assert_eq!(told.as_deref(), Some("ws.dead_after: must be more than ws.ping_interval"));
    }
}
