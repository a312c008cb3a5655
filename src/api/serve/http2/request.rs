//! A request's head, out of the fields that a client has sent (RFC 9113, section 8).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri};

use super::{HEAD_BYTES, hpack::Field};

/// Fields that only a connection of HTTP/1.1 can have (section 8.2.2).
const OF_CONNECTIONS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Collects the fields of one head. Those beyond [`HEAD_BYTES`] are only counted.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    headers: HeaderMap,
    size: usize,
    /// Breaks a rule.
    malformed: bool,
}

/// A head that is not one, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHead {
    /// Breaks a rule of the protocol: the stream ends.
    Malformed,
    /// Longer than [`HEAD_BYTES`]: answered with 431.
    TooLong,
}

impl Fields {
    /// Takes the next field.
    pub(super) fn add(&mut self, field: Field) {
        self.size += field.size();
        if self.size > HEAD_BYTES || self.malformed {
            return;
        }
        if self.take(field).is_none() {
            self.malformed = true;
        }
    }

    /// The head of a request, without its body.
    pub(super) fn request(self) -> Result<Request<()>, BadHead> {
        if self.size > HEAD_BYTES {
            return Err(BadHead::TooLong);
        }
        self.into_request().ok_or(BadHead::Malformed)
    }

    /// What follows a request's body.
    pub(super) fn trailers(self) -> Result<HeaderMap, BadHead> {
        let pseudo = [&self.method, &self.scheme, &self.authority, &self.path];
        if self.malformed || pseudo.iter().any(|it| it.is_some()) {
            return Err(BadHead::Malformed);
        }
        if self.size > HEAD_BYTES { Err(BadHead::TooLong) } else { Ok(self.headers) }
    }

    /// `None`: it breaks a rule.
    fn take(&mut self, Field { name, value }: Field) -> Option<()> {
        if !name.starts_with(b":") {
            return self.take_header(&name, value);
        }
        let place = match &name[..] {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            _ => return None,
        };
        // They come first, and once.
        if place.is_some() || !self.headers.is_empty() {
            return None;
        }
        *place = Some(value);
        Some(())
    }

    fn take_header(&mut self, name: &[u8], value: Bytes) -> Option<()> {
        let name = HeaderName::from_lowercase(name).ok()?;
        let value = HeaderValue::from_maybe_shared(value).ok()?;
        if OF_CONNECTIONS.contains(&name.as_str()) || name == header::TE && value != "trailers" {
            return None;
        }
        self.headers.try_append(name, value).ok()?;
        Some(())
    }

    fn into_request(self) -> Option<Request<()>> {
        if self.malformed {
            return None;
        }
        let method = Method::from_bytes(&self.method?).ok()?;
        let mut parts = uri::Parts::default();
        parts.authority = match self.authority {
            Some(it) => Some(uri::Authority::from_maybe_shared(it).ok()?),
            None => None,
        };
        if method == Method::CONNECT {
            // Has an authority alone (section 8.5).
            if parts.authority.is_none() || self.scheme.is_some() || self.path.is_some() {
                return None;
            }
        } else {
            let path = self.path.filter(|it| it.starts_with(b"/") || it == "*")?;
            let scheme = self.scheme?;
            parts.path_and_query = Some(uri::PathAndQuery::from_maybe_shared(path).ok()?);
            // Without an authority there is a path alone.
            parts.scheme = match parts.authority {
                Some(_) => Some(scheme[..].try_into().ok()?),
                None => None,
            };
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}

/// The length of the body that a request tells; `None` when it tells none, an error when it is not a number.
pub(super) fn told_length(headers: &HeaderMap) -> Result<Option<u64>, BadHead> {
    let mut told = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = told.next() else { return Ok(None) };
    let digits = first.to_str().ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let length = digits.and_then(|it| it.parse().ok()).ok_or(BadHead::Malformed)?;
    if told.all(|it| it == first) { Ok(Some(length)) } else { Err(BadHead::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a:1"), (":path", "/b?c")];

    fn fields(all: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in all {
            let [name, value] = [name, value].map(|it| Bytes::copy_from_slice(it.as_bytes()));
            fields.add(Field { name, value });
        }
        fields
    }

    #[test]
    fn a_request_is_read() {
        let request =
            fields(&[&GET[..], &[("x", "1"), ("x", "2"), ("te", "trailers")]].concat()).request().unwrap();
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_2));
        assert_eq!(request.uri(), "http://a:1/b?c");
        assert_eq!(request.headers().get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        let alone = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]).request().unwrap();
        assert_eq!(alone.uri(), "/");
        let connect = fields(&[(":method", "CONNECT"), (":authority", "a:1")]).request().unwrap();
        assert_eq!(connect.uri(), "a:1");
        let all = [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
        assert_eq!(fields(&all).request().unwrap().uri().path(), "*");
    }

    #[test]
    fn what_breaks_a_rule_is_malformed() {
        let with = |field| [&GET[..], &[field]].concat();
        let mut cases: Vec<_> = [
            ("Upper", "case"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("", "x"),
            ("a b", "x"),
            ("a", "line\nbreak"),
            (":path", "/again"),
            (":status", "200"),
            (":protocol", "websocket"),
        ]
        .map(with)
        .into();
        cases.extend((0..4).filter(|it| *it != 2).map(|it| [&GET[..it], &GET[it + 1..]].concat()));
        cases.push([&[("x", "1")][..], &GET[..]].concat());
        cases.extend(["", "b"].map(|it| [&GET[..3], &[(":path", it)]].concat()));
        cases.push([&GET[..2], &[(":authority", "a b"), GET[3]]].concat());
        for case in cases {
            assert_eq!(fields(&case).request().err(), Some(BadHead::Malformed), "{case:?}");
        }
        assert_eq!(fields(&[("x", "1"), (":path", "/")]).trailers().err(), Some(BadHead::Malformed));
        assert_eq!(fields(&[("x", "1")]).trailers().unwrap()["x"], "1");
    }

    #[test]
    fn a_long_head_is_told_and_not_held() {
        let long = "x".repeat(HEAD_BYTES / 2);
        let mut fields = fields(&GET);
        for _ in 0..5 {
            let value = Bytes::copy_from_slice(long.as_bytes());
            fields.add(Field { name: Bytes::from_static(b"x"), value });
        }
        assert_eq!(fields.headers.len(), 1);
        assert_eq!(fields.request().err(), Some(BadHead::TooLong));
    }

    #[test]
    fn a_length_is_one_number() {
        let told = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for it in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(it));
            }
            told_length(&headers)
        };
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(told(&["12"]), Ok(Some(12)));
        assert_eq!(told(&["12", "12"]), Ok(Some(12)));
        for bad in [&["12", "13"][..], &["+1"], &[""], &["99999999999999999999"], &["a"]] {
            assert_eq!(told(bad), Err(BadHead::Malformed), "{bad:?}");
        }
    }
}
