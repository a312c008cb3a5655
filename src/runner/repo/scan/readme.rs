//! What a README says a repository is: its title and its first paragraph, in plain words.

use serde::{Deserialize, Serialize};

/// Characters of a title and of a summary. Longer ones are cut, with `…`.
const TITLE_CHARS: usize = 200;
const SUMMARY_CHARS: usize = 1000;

/// What the README says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readme {
    /// The file.
    pub path: String,
    /// Its first heading; may be empty.
    pub title: String,
    /// Its first paragraph, without markup, badges and pictures; may be empty.
    pub summary: String,
}

/// How much a file name promises to be the README; lower is better. `None`: it is none.
pub(super) fn rank(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    ["readme.md", "readme.markdown", "readme.mdx", "readme.rst", "readme.adoc", "readme.txt", "readme"]
        .iter()
        .position(|it| *it == name)
}

/// Reads Markdown, and other markup as far as it is like it.
pub(super) fn read(path: &str, text: &str) -> Readme {
    let text = without_comments(without_front_matter(text));
    let (mut title, mut paragraph) = (String::new(), String::new());
    // A heading whose words come in the next line.
    let mut title_follows = false;
    let mut fenced = false;
    let lines: Vec<&str> = text.lines().collect();
    for (at, raw) in lines.iter().enumerate() {
        if raw.trim_start().starts_with("```") || raw.trim_start().starts_with("~~~") {
            fenced = !fenced;
            if paragraph.is_empty() { continue } else { break }
        }
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let heading = !fenced
            && (is_heading(raw) || (is_underline(next) && !plain(raw).is_empty() && paragraph.is_empty()));
        let words = plain(raw);
        match () {
            () if fenced || is_underline(raw) || is_directive(raw) => {}
            () if heading && !paragraph.is_empty() => break,
            () if title.is_empty() && (heading || title_follows) => {
                title_follows = words.is_empty();
                title = words;
            }
            // A second heading before any text: its section tells what the repository is.
            () if heading => {}
            () if words.is_empty() && !paragraph.is_empty() && raw.trim().is_empty() => break,
            () if words.is_empty() => {}
            () if !paragraph.is_empty() => paragraph = format!("{paragraph} {words}"),
            () => paragraph = words,
        }
        if paragraph.len() > SUMMARY_CHARS * 4 {
            break;
        }
    }
    Readme { path: path.to_owned(), title: cut(&title, TITLE_CHARS), summary: cut(&paragraph, SUMMARY_CHARS) }
}

fn without_front_matter(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("---\n") else { return text };
    rest.split_once("\n---\n").map_or(text, |(_, rest)| rest)
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

fn is_heading(line: &str) -> bool {
    let line = line.trim();
    let marks = line.trim_start_matches(['#', '=']);
    let level = line.len() - marks.len();
    ((1..=6).contains(&level) && marks.starts_with(' ')) || line.to_ascii_lowercase().starts_with("<h1")
}

fn is_underline(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 3 && ["=", "-", "~", "*", "#"].iter().any(|mark| line.replace(mark, "").is_empty())
}

/// Directives and substitutions of reStructuredText, attributes of AsciiDoc, link definitions and rows of tables.
fn is_directive(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("..")
        || line.starts_with('|')
        || (line.starts_with(':') && line[1..].contains(':'))
        || (line.starts_with('[') && line.contains("]: "))
}

/// A line without markup.
fn plain(line: &str) -> String {
    let line = line.trim().trim_start_matches(['#', '=', '>', ' ']);
    let line = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).unwrap_or(line);
    let text = without_tags(&without_links(line));
    let text = text.replace("**", "").replace("__", "").replace('`', "");
    let text =
        [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", "\""), ("&mdash;", "—")]
            .iter()
            .fold(text, |text, (entity, character)| text.replace(entity, character));
    let words: Vec<&str> = text.split_whitespace().map(emphasized).filter(|it| !it.is_empty()).collect();
    let text = words.join(" ");
    // What is left of a row of badges or of a rule is no text.
    if text.chars().any(char::is_alphanumeric) { text } else { String::new() }
}

/// `*word*` and `_word_` are the word.
fn emphasized(word: &str) -> &str {
    let inner =
        |mark| word.strip_prefix(mark).and_then(|it: &str| it.strip_suffix(mark)).filter(|it| !it.is_empty());
    inner('*').or_else(|| inner('_')).unwrap_or(word)
}

/// `[text](url)` and `[text][name]` become the text, pictures nothing. One pass, so that no nesting costs more.
fn without_links(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    // Where each open bracket's text begins in `out`, and whether it is a picture's.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '!' if line[at + 1..].starts_with('[') => {
                chars.next();
                open.push((out.len(), true));
            }
            '[' => open.push((out.len(), false)),
            ']' if !open.is_empty() => {
                let (start, picture) = open.pop().unwrap_or_default();
                let after = &line[at + 1..];
                let target = match after.chars().next() {
                    Some('(') => after.find(')'),
                    Some('[') => after.find(']'),
                    _ => None,
                };
                if let Some(length) = target {
                    while chars.next_if(|(it, _)| *it <= at + 1 + length).is_some() {}
                }
                if picture {
                    out.truncate(start);
                }
            }
            _ => out.push(c),
        }
    }
    out
}

fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        match after.find('>').filter(|_| is_tag) {
            Some(end) => rest = &after[end + 1..],
            // The tag goes on in the next line.
            None if is_tag && !after.contains(' ') => rest = "",
            None if is_tag && after.contains('=') => rest = "",
            None => {
                out.push('<');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn title_and_first_paragraph_are_found() {
        for (text, title, summary) in [
            (
                "# Name\n\nIt does **things**, see [docs](https://x).\nAnd more.\n\nSecond.",
                "Name",
                "It does things, see docs. And more.",
            ),
            (
                "[![Build](https://b.svg)](https://ci) ![x](y)\n\n# `name`\n\n[![Crates][c]][d]\n[c]: https://x\n\nA _small_ tool.",
                "name",
                "A small tool.",
            ),
            (
                "<h1 align=\"center\">\n  Name\n</h1>\n<p align=\"center\">\n<img src=\"x\">\n</p>\n\nText here.",
                "Name",
                "Text here.",
            ),
            ("<h1>Name</h1>\n<!-- note\n-->\nText &amp; more", "Name", "Text & more"),
            ("Name\n====\n\n.. image:: x.png\n\nText.\n\nOther", "Name", "Text."),
            ("---\nlayout: x\n---\n# Name\n> A quote.\n", "Name", "A quote."),
            ("# Name\n```sh\ninstall\n```\n## What\nText\n## Next\nno", "Name", "Text"),
            ("= Name\n:toc: left\n\nText", "Name", "Text"),
            ("just words", "", "just words"),
            ("", "", ""),
        ] {
            let readme = read("README.md", text);
            assert_eq!((readme.title.as_str(), readme.summary.as_str()), (title, summary), "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let readme = read("README", &format!("# {0}\n\n{0}", "ä".repeat(100_000)));
        assert_eq!(readme.title.chars().count(), TITLE_CHARS + 1);
        assert_eq!(readme.summary.chars().count(), SUMMARY_CHARS + 1);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "([#=\\-*_`<>!\\[\\]()|:&]|\\PC|\n){0,80}") {
            read("README", &text);
        }
    }
}
