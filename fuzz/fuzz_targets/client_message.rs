//! Whatever a WebSocket client sends, the parser answers, and tells the `request_id` when there is one.
//!
//! `cargo +nightly fuzz run client_message` in the root of the repository, with cargo-fuzz.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rungate::api::ws::parse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(received) => assert!(received.request_id.is_none_or(|it| !it.is_empty() && it.len() <= 256)),
        // An error is sent to the client: it must stay small whatever the message was.
        Err(invalid) => assert!(invalid.message.len() < 1024, "{}", invalid.message.len()),
    }
});
