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

#[cfg(test)]
mod tests {
    use super::repo_name;

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
