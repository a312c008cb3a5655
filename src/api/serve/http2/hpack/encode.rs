//! Heads as they go to clients.

use http::{HeaderName, HeaderValue, StatusCode};

use super::table::STATIC;

/// What a field begins with that no table keeps, and that no proxy may keep either (RFC 7541, section 6.2).
const NOT_KEPT: u8 = 0x00;
const NEVER_KEPT: u8 = 0x10;
/// The beginning of a head before which the table was given a size of nothing (RFC 7541, section 6.3).
pub(in super::super) const NO_TABLE: u8 = 0x20;
/// Number of the first field of the table known beforehand that is called `:status`; those with the frequent ones follow.
const STATUS: usize = 8;
const STATUSES: usize = 7;

/// Adds the status of a response.
pub(in super::super) fn encode_status(status: StatusCode, head: &mut Vec<u8>) {
    let known = STATIC[STATUS - 1..][..STATUSES].iter().position(|(_, value)| *value == status.as_str());
    if let Some(place) = known {
        return number((STATUS + place) as u32, 7, 0x80, head);
    }
    number(STATUS as u32, 4, NOT_KEPT, head);
    text(status.as_str().as_bytes(), head);
}

/// Adds a field.
pub(in super::super) fn encode(name: &HeaderName, value: &HeaderValue, head: &mut Vec<u8>) {
    let kind = if value.is_sensitive() { NEVER_KEPT } else { NOT_KEPT };
    let known = STATIC.iter().position(|(known, _)| *known == name.as_str());
    match known {
        Some(place) => number(place as u32 + 1, 4, kind, head),
        None => {
            head.push(kind);
            text(name.as_str().as_bytes(), head);
        }
    }
    text(value.as_bytes(), head);
}

fn text(text: &[u8], head: &mut Vec<u8>) {
    number(text.len() as u32, 7, 0, head);
    head.extend_from_slice(text);
}

/// A number whose first octet has `prefix` bits of it, below those of `kind` (section 5.1).
fn number(number: u32, prefix: u32, kind: u8, head: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if number < most {
        return head.push(kind | number as u8);
    }
    head.push(kind | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        head.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    head.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Decoder, *};

    fn read(head: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        let each = |it: super::super::table::Field| {
            fields.push((String::from_utf8(it.name.to_vec()).unwrap(), it.value.to_vec()));
        };
        Decoder::new().decode(head, each).unwrap();
        fields
    }

    #[test]
    fn frequent_statuses_take_one_octet() {
        for (status, length) in [(200, 1), (404, 1), (500, 1), (201, 5), (503, 5)] {
            let mut head = Vec::new();
            let status = StatusCode::from_u16(status).unwrap();
            encode_status(status, &mut head);
            assert_eq!(head.len(), length, "{status}");
            assert_eq!(read(&head), [(":status".to_owned(), status.as_str().as_bytes().to_vec())]);
        }
    }

    #[test]
    fn secrets_are_marked() {
        let (mut open, mut secret) = (Vec::new(), Vec::new());
        let mut value = HeaderValue::from_static("a=b");
        encode(&http::header::SET_COOKIE, &value, &mut open);
        value.set_sensitive(true);
        encode(&http::header::SET_COOKIE, &value, &mut secret);
        assert_eq!((open[0], secret[0]), (0x0f, 0x1f));
        assert_eq!(read(&open), read(&secret));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[a-z][a-z-]{0,300}", value in prop::collection::vec(0x20..0x7f_u8, 0..2000)) {
            let mut head = Vec::new();
            let header = HeaderName::from_bytes(name.as_bytes()).unwrap();
            encode(&header, &HeaderValue::from_bytes(&value).unwrap(), &mut head);
            prop_assert_eq!(read(&head), [(name, value)]);
        }
    }
}
