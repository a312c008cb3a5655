//! The Huffman code of texts (RFC 7541, section 5.2 and appendix B).

use super::Malformed;

/// Octets, and the end of a text.
const SYMBOLS: usize = 257;
const END: u16 = 256;
const LONGEST: usize = 30;
const SHORTEST: usize = 5;

/// Bits of each symbol's code. The codes themselves follow from it: they count up, shorter ones first, those of one length in
/// the order of their symbols.
#[rustfmt::skip]
const BITS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The symbols in the order of their codes.
static ORDERED: [u16; SYMBOLS] = ordered();
static LENGTHS: [Length; LONGEST + 1] = lengths();

/// The codes of one length.
#[derive(Clone, Copy)]
struct Length {
    /// The lowest code, how many there are, and the place of the first in the order.
    first: u32,
    count: u32,
    place: u32,
}

/// Adds the text that `coded` stands for to `text`.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut coded = coded.iter();
    let (mut waiting, mut bits) = (0_u64, 0);
    loop {
        while bits <= LONGEST
            && let Some(octet) = coded.next()
        {
            waiting = waiting << 8 | u64::from(*octet);
            bits += 8;
        }
        let Some((symbol, length)) = first_symbol(waiting, bits) else { break };
        if symbol == END {
            return Err(Malformed);
        }
        text.push(symbol as u8);
        bits -= length;
        waiting &= (1 << bits) - 1;
    }
    // What is left is the beginning of the end's code, which is all ones, and less than an octet.
    if bits < 8 && waiting == (1 << bits) - 1 { Ok(()) } else { Err(Malformed) }
}

/// The symbol that the first of `bits` bits stand for, and the length of its code.
fn first_symbol(waiting: u64, bits: usize) -> Option<(u16, usize)> {
    (SHORTEST..=LONGEST.min(bits)).find_map(|length| {
        let code = (waiting >> (bits - length)) as u32;
        let Length { first, count, place } = LENGTHS[length];
        let nth = code.checked_sub(first).filter(|nth| *nth < count)?;
        Some((ORDERED[(place + nth) as usize], length))
    })
}

const fn ordered() -> [u16; SYMBOLS] {
    let mut ordered = [0; SYMBOLS];
    let (mut place, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if BITS[symbol] as usize == length {
                ordered[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    ordered
}

const fn lengths() -> [Length; LONGEST + 1] {
    let mut lengths = [Length { first: 0, count: 0, place: 0 }; LONGEST + 1];
    let (mut code, mut place, mut length) = (0, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        let (mut symbol, mut count) = (0, 0);
        while symbol < SYMBOLS {
            if BITS[symbol] as usize == length {
                count += 1;
            }
            symbol += 1;
        }
        lengths[length] = Length { first: code, count, place };
        code += count;
        place += count;
        length += 1;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<String, Malformed> {
        let mut text = Vec::new();
        decode(coded, &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    /// As the specification has it (RFC 7541, appendix C.4 and C.6).
    #[test]
    fn texts_of_the_specification_are_read() {
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&host).unwrap(), "www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), "no-cache");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), "302");
        assert_eq!(decoded(&[]).unwrap(), "");
    }

    #[test]
    fn padding_is_the_beginning_of_the_end_and_short() {
        assert!(decoded(&[0x64, 0x02, 0xff]).is_err(), "eight bits of padding");
        assert!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbe]).is_err(), "padding with a zero");
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff]).is_err(), "the end itself");
    }

    #[test]
    fn every_octet_has_a_code() {
        for octet in 0..=255_u8 {
            let length = usize::from(BITS[usize::from(octet)]);
            let place = ORDERED.iter().position(|it| *it == u16::from(octet)).unwrap() as u32;
            let code = LENGTHS[length].first + (place - LENGTHS[length].place);
            let padded = u64::from(code) << (64 - length) | u64::MAX >> length;
            let mut text = Vec::new();
            decode(&padded.to_be_bytes()[..length.div_ceil(8)], &mut text).unwrap();
            assert_eq!(text, [octet]);
        }
    }
}
