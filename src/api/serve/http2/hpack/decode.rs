//! Heads as clients send them.

use bytes::Bytes;

use super::{
    huffman,
    table::{Field, Table},
};

/// Octets of a number beyond its first: enough for any length that fits into a head.
const NUMBER_OCTETS: u32 = 4;

/// A head that cannot be read. The tables of both sides differ from then on: the connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed compressed head")]
pub(in super::super) struct Malformed;

/// Reads heads, one after the other.
#[derive(Debug)]
pub(in super::super) struct Decoder {
    table: Table,
}

/// What is left of a head.
struct Rest<'a>(&'a [u8]);

impl Decoder {
    /// For a new connection.
    pub(in super::super) fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Gives each field of a head to `each`.
    pub(in super::super) fn decode(
        &mut self,
        head: &[u8],
        mut each: impl FnMut(Field),
    ) -> Result<(), Malformed> {
        let mut rest = Rest(head);
        let mut first = true;
        while let Some(&octet) = rest.0.first() {
            match octet {
                0x80.. => each(self.table.get(rest.number(7)?)?),
                0x40.. => {
                    let field = self.literal(&mut rest, 6)?;
                    self.table.keep(field.clone());
                    each(field);
                }
                // The size of the table changes between heads, not within one.
                0x20.. if first => {
                    let most = rest.number(5)?;
                    self.table.resize(most)?;
                    continue;
                }
                0x20.. => return Err(Malformed),
                _ => each(self.literal(&mut rest, 4)?),
            }
            first = false;
        }
        Ok(())
    }

    fn literal(&self, rest: &mut Rest<'_>, prefix: u32) -> Result<Field, Malformed> {
        let name = match rest.number(prefix)? {
            0 => rest.text()?,
            number => self.table.get(number)?.name,
        };
        Ok(Field { name, value: rest.text()? })
    }
}

impl<'a> Rest<'a> {
    /// A number whose first octet has `prefix` bits of it (section 5.1).
    fn number(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let most = (1_usize << prefix) - 1;
        let mut number = usize::from(self.octet()?) & most;
        if number < most {
            return Ok(number);
        }
        for shift in (0..).step_by(7).take(NUMBER_OCTETS as usize) {
            let octet = self.octet()?;
            number += usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A text, as it is or in the Huffman code (section 5.2).
    fn text(&mut self) -> Result<Bytes, Malformed> {
        let coded = self.0.first().is_some_and(|it| it & 0x80 != 0);
        let length = self.number(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        if !coded {
            return Ok(Bytes::copy_from_slice(text));
        }
        // The shortest code has five bits.
        let mut decoded = Vec::with_capacity(length * 8 / 5);
        huffman::decode(text, &mut decoded)?;
        Ok(decoded.into())
    }

    fn octet(&mut self) -> Result<u8, Malformed> {
        let (octet, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*octet)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(decoder: &mut Decoder, head: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut fields = Vec::new();
        let text = |it: &Bytes| String::from_utf8_lossy(it).into_owned();
        decoder.decode(head, |it| fields.push((text(&it.name), text(&it.value))))?;
        Ok(fields)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let octet = |it: &[u8]| u8::from_str_radix(str::from_utf8(it).unwrap(), 16).unwrap();
        digits.chunks(2).map(octet).collect()
    }

    /// Three heads in a row, as they are (appendix C.3) and in the Huffman code (C.4).
    #[test]
    fn heads_of_the_specification_are_read() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        let head = |scheme: &str, path: &str, last: Option<(&str, &str)>| {
            let common = [(":method", "GET"), (":scheme", scheme), (":path", path)];
            let all = common.into_iter().chain([(":authority", "www.example.com")]).chain(last);
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        for heads in [plain, coded] {
            let mut decoder = Decoder::new();
            let mut read = |n: usize| fields(&mut decoder, &hex(heads[n])).unwrap();
            assert_eq!(read(0), head("http", "/", None));
            assert_eq!(read(1), head("http", "/", Some(("cache-control", "no-cache"))));
            assert_eq!(read(2), head("https", "/index.html", Some(("custom-key", "custom-value"))));
        }
    }

    /// With a table of 256 octets (appendix C.5).
    #[test]
    fn old_fields_make_room_for_new_ones() {
        let first = "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a \
                     3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d";
        let mut decoder = Decoder::new();
        assert_eq!(fields(&mut decoder, &hex(first)).unwrap()[0], (":status".to_owned(), "302".to_owned()));
        let second = fields(&mut decoder, &hex("4803 3330 37c1 c0bf")).unwrap();
        let names = second.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, [":status", "cache-control", "date", "location"]);
        // Of five fields the first had to go.
        assert_eq!(fields(&mut decoder, &[0xc2]), Err(Malformed));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let cases = [
            ("80", "number 0"),
            ("be", "a field that nobody has had kept"),
            ("41 05 61", "a text that is cut"),
            ("7f ff ff ff ff ff 01", "a number without end"),
            ("82 3f e1 01", "a size in the middle"),
            ("3f e2 1f", "a table larger than allowed"),
        ];
        for (head, why) in cases {
            assert_eq!(fields(&mut Decoder::new(), &hex(head)), Err(Malformed), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(heads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
            let mut decoder = Decoder::new();
            for head in heads {
                let _ = decoder.decode(&head, |_| ());
            }
        }
    }
}
