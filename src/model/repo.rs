//! The name of a repository, read off its address.

/// The last path segment of a repository's address, without `.git`; empty where none is left.
///
/// Trimmed; one trailing `/` and then `.git` removed; of the scp form `git@host:path` the part after the colon.
pub fn repo_name(address: &str) -> String {
    let address = address.trim();
    let address = address.strip_suffix('/').unwrap_or(address);
    let address = address.strip_suffix(".git").unwrap_or(address);
    let path = match address.split_once(':') {
        Some((_, path)) if !address.contains("://") => path,
        _ => address,
    };
    match path.rsplit('/').next() {
        None | Some("." | "..") => String::new(),
        Some(name) => name.to_owned(),
    }
}

/// The address without the user and the password that may stand in it: what is shown of it. A name alone may be a token.
pub fn shown_address(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{repo_name, shown_address};

    #[test]
    fn no_secret_of_an_address_is_shown() {
        for (address, shown) in [
            ("https://ada:secret@git.example/a.git", "https://git.example/a.git"),
            ("https://token@git.example/a@b", "https://git.example/a@b"),
            ("https://git.example/a", "https://git.example/a"),
            ("git@host:path", "git@host:path"),
            ("/srv/a@b", "/srv/a@b"),
        ] {
            assert_eq!(shown_address(address), shown);
        }
    }

    #[test]
    fn the_name_is_the_last_segment() {
        for (address, name) in [
            ("https://github.com/tokio-rs/mini-redis.git", "mini-redis"),
            ("https://github.com/tokio-rs/mini-redis/", "mini-redis"),
            ("https://github.com/tokio-rs/mini-redis.git/", "mini-redis"),
            ("git@github.com:tokio-rs/tokio.git", "tokio"),
            ("git@host:tokio", "tokio"),
            ("file:///srv/repos/one", "one"),
            ("/srv/repos/two", "two"),
            ("  three  ", "three"),
            ("ssh://git@host:22/four.git", "four"),
            ("", ""),
            ("/", ""),
            (".", ""),
            ("..", ""),
            ("https://", ""),
        ] {
            assert_eq!(repo_name(address), name, "{address:?}");
        }
    }
}
