//! Finds the repository that a person speaks of in a free text.

use super::address::RepoAddress;

/// Characters of a text that are looked at. A person names the repository early; what follows is theirs alone.
const SEARCHED_CHARS: usize = 20_000;

/// What ends an address in running text, besides white space: quotes and brackets around it.
const AROUND: &[char] =
    &['"', '\'', '`', '<', '>', '(', ')', '“', '”', '„', '‘', '’', '«', '»', '，', '。', '、', '|'];

/// What belongs to the sentence when it stands at the end of an address.
const SENTENCE: &[char] = &['.', ',', ';', ':', '!', '?', '…', '*', '_', '}', '{'];

/// A repository's address, and the text without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// As it was written.
    pub address: String,
    /// The other words.
    pub rest: String,
}

/// Finds the first URL of a repository, else the first `user@host:path`, else the first absolute path.
///
/// A path with spaces in it is found between quotes. A path in the home folder (`~/x`) is not taken: whose home it is
/// cannot be told.
pub fn find_mention(text: &str) -> Option<Mention> {
    let end = text.char_indices().nth(SEARCHED_CHARS).map_or(text.len(), |(at, _)| at);
    let searched = &text[..end];
    let (start, end) = find_url(searched)
        .or_else(|| find_quoted_path(searched))
        .or_else(|| find_word(searched, is_scp))
        .or_else(|| find_word(searched, is_path))?;
    let address = text[start..end].to_owned();
    let before = text[..start].trim_end_matches(opens).trim_end();
    let after = text[end..].trim_start_matches(closes).trim_start();
    let gap = if before.is_empty() || after.is_empty() || after.starts_with(SENTENCE) { "" } else { " " };
    Some(Mention { address, rest: format!("{before}{gap}{after}").trim().to_owned() })
}

fn find_url(text: &str) -> Option<(usize, usize)> {
    text.match_indices("://").find_map(|(colon, _)| {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let start = text[..colon].rfind(|c| !is_scheme(c)).map_or(0, |at| at + char_at(text, at).len_utf8());
        checked(text, start, word_end(text, start))
    })
}

fn find_quoted_path(text: &str) -> Option<(usize, usize)> {
    text.char_indices().filter(|(_, c)| matches!(c, '"' | '\'' | '`')).find_map(|(at, quote)| {
        let start = at + 1;
        let length = text[start..].find(quote)?;
        let inside = &text[start..start + length];
        (is_path(inside) && inside.contains(' ')).then(|| checked(text, start, start + length))?
    })
}

fn find_word(text: &str, fits: fn(&str) -> bool) -> Option<(usize, usize)> {
    let starts = text.char_indices().filter(|(at, c)| {
        let before = text[..*at].chars().next_back();
        !is_end(*c) && before.is_none_or(|it| is_end(it) || it == '[' || it == '=')
    });
    starts.map(|(at, _)| (at, word_end(text, at))).find_map(|(start, end)| {
        let (start, end) = checked(text, start, end)?;
        fits(&text[start..end]).then_some((start, end))
    })
}

/// The bounds without what belongs to the sentence, when an address is left between them.
fn checked(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let mut word = text.get(start..end)?;
    loop {
        let mut shorter = word.trim_end_matches(SENTENCE);
        // A bracket that was not opened inside closes the sentence's.
        while shorter.matches(']').count() > shorter.matches('[').count() && shorter.ends_with(']') {
            shorter = &shorter[..shorter.len() - 1];
        }
        if shorter.len() == word.len() {
            break;
        }
        word = shorter;
    }
    RepoAddress::parse(word).ok().map(|_| (start, start + word.len()))
}

fn is_scp(word: &str) -> bool {
    word.contains('@') && !word.contains("://")
}

fn is_path(word: &str) -> bool {
    let second = word.strip_prefix('/').and_then(|it| it.chars().next());
    second.is_some_and(|it| it.is_alphanumeric() || matches!(it, '.' | '_' | '-'))
}

fn word_end(text: &str, start: usize) -> usize {
    text[start..].find(is_end).map_or(text.len(), |length| start + length)
}

fn is_end(c: char) -> bool {
    c.is_whitespace() || c.is_control() || AROUND.contains(&c)
}

fn opens(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '<' | '(' | '[' | '“' | '„' | '‘' | '«' | '*' | '_')
}

fn closes(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '>' | ')' | ']' | '“' | '”' | '’' | '»' | '*' | '_')
}

fn char_at(text: &str, at: usize) -> char {
    text[at..].chars().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_repository_and_the_other_words_are_told_apart() {
        for (text, address, rest) in [
            ("look at https://github.com/a/b please", "https://github.com/a/b", "look at please"),
            ("https://github.com/a/b", "https://github.com/a/b", ""),
            ("Explain https://github.com/a/b.git.", "https://github.com/a/b.git", "Explain."),
            ("(see https://github.com/a/b), then test", "https://github.com/a/b", "(see, then test"),
            ("<https://github.com/a/b>", "https://github.com/a/b", ""),
            ("read [b](https://github.com/a/b) now", "https://github.com/a/b", "read [b] now"),
            ("what is git@host:a/b.git about?", "git@host:a/b.git", "what is about?"),
            ("draw file:///srv/x", "file:///srv/x", "draw"),
            ("draw /srv/x, all of it", "/srv/x", "draw, all of it"),
            ("draw \"/srv/a b/x\" now", "/srv/a b/x", "draw now"),
            ("`/srv/x`", "/srv/x", ""),
            ("repo=/srv/x", "/srv/x", "repo="),
            ("https://[::1]:80/a]", "https://[::1]:80/a", ""),
            ("„https://host/ä“ ansehen", "https://host/ä", "ansehen"),
            ("in /srv/x like https://host/a", "https://host/a", "in /srv/x like"),
        ] {
            let found = find_mention(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.address.as_str(), found.rest.as_str()), (address, rest), "{text}");
        }
    }

    #[test]
    fn other_texts_speak_of_no_repository() {
        for text in [
            "",
            "hello",
            "tests and/or docs",
            "~/x",
            "me@host.example",
            "write to me@host.example: thanks",
            "1 / 2",
            "//",
            "ftp://host/x",
            "https://",
            "a:b",
            "w/o",
            "it is 5:30",
        ] {
            assert_eq!(find_mention(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_searched(text in "(\\PC|[ \\n/:@\"'`.\\[\\]()]|https://|git@){0,60}") {
            if let Some(found) = find_mention(&text) {
                prop_assert!(text.contains(&found.address));
                prop_assert!(RepoAddress::parse(&found.address).is_ok());
                prop_assert!(found.rest.len() <= text.len());
            }
        }
    }
}
