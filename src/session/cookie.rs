//! The cookie that carries a session's id.

use cookie::{Cookie, SameSite};

use crate::model::SessionId;

/// The cookie's name.
pub const COOKIE_NAME: &str = "rungate_session_id";

/// The value of a `Set-Cookie` header that names the session. `secure` when the request came over TLS.
pub fn session_cookie(session_id: &SessionId, secure: bool) -> String {
    let cookie = Cookie::build((COOKIE_NAME, session_id.as_str()));
    cookie.path("/").http_only(true).same_site(SameSite::Lax).secure(secure).to_string()
}

/// The session named in the values of a request's `Cookie` headers. What is no session id is passed over.
pub fn session_id_of_cookies<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<SessionId> {
    let cookies = headers.into_iter().flat_map(Cookie::split_parse).flatten();
    let named = cookies.filter(|it| it.name() == COOKIE_NAME);
    named.filter_map(|it| SessionId::parse(it.value()).ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_reads_back() {
        let id = SessionId::parse("session_1").unwrap();
        let header = session_cookie(&id, false);
        assert_eq!(header, "rungate_session_id=session_1; HttpOnly; SameSite=Lax; Path=/");
        assert!(session_cookie(&id, true).contains("Secure"));
        assert_eq!(session_id_of_cookies(["a=b; rungate_session_id=session_1; c"]), Some(id));
    }

    #[test]
    fn other_cookies_name_no_session() {
        for header in ["", "rungate_session_id=", "rungate_session_id=../x", "xrungate_session_id=a", ";;=;"]
        {
            assert_eq!(session_id_of_cookies([header]), None, "{header:?}");
        }
    }
}
