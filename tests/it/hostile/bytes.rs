//! Bytes that are no request at all.

use libtest_mimic::Trial;

use super::{answer, serves_as_before};
use crate::support::{
    gateway::{Gateway, Setup},
    trial,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::garbage_on_the_port", garbage),
        trial("hostile::garbage_after_the_http2_preface", http2_garbage),
    ]
}

/// Answered with 400 or closed, and soon.
async fn garbage() {
    let gateway = impatient().await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50).as_slice(),
        b"\0".repeat(1000).as_slice(),
        b"\r\n".repeat(1000).as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let told = answer(gateway.address(), bytes).await;
        let is_error = told.is_empty() || told.starts_with("HTTP/1.1 4") || told.starts_with("HTTP/1.0 4");
        assert!(is_error, "{:?} is answered with {told}", String::from_utf8_lossy(bytes));
    }
    serves_as_before(&gateway).await;
}

async fn http2_garbage() {
    let gateway = impatient().await;
    for frames in [
        // A frame larger than any may be.
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".as_slice(),
        // Data on a stream that was never opened.
        b"\x00\x00\x01\x00\x00\x00\x00\x00\x05x",
        // SETTINGS whose length is no multiple of six.
        b"\x00\x00\x05\x04\x00\x00\x00\x00\x00abcde",
        // HEADERS that are no HPACK.
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
        // WINDOW_UPDATE by nothing.
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x00".repeat(2000).as_slice(),
    ] {
        let told = answer(gateway.address(), &[PREFACE, frames].concat()).await;
        assert!(!told.starts_with("HTTP/1.1 2"), "{told}");
    }
    serves_as_before(&gateway).await;
}

/// A gateway that waits a second where others wait for ten.
async fn impatient() -> Gateway {
    let config =
        "[connections]\nheader_timeout = \"1s\"\nkeep_alive_interval = \"1s\"\nkeep_alive_timeout = \"1s\"\n";
    Setup::default().config(config).start().await
}
