//! Damaged files: moved aside, named in the log, and what is readable is kept.

use super::*;

/// A snapshot of `a`, `b`, `c` and a journal that changes `b`, deletes `c` and adds `d`, `e`.
async fn store_files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &FileOptions::default());
    for name in ["a", "b", "c"] {
        put(&store, session(name, "1")).await;
    }
    drop(store);
    let store = open(dir.path(), &NO_FOLDS);
    put(&store, session("b", "2")).await;
    delete(&store, "c").await;
    put(&store, session("d", "1")).await;
    put(&store, session("e", "1")).await;
    store.flush().await.unwrap();
    crashed(dir.path())
}

/// Opens the files twice: the first time tells of the damage and moves the file aside, the second finds none.
async fn check(dir: &Path, damaged: &Path, expected: &[(&str, &str)]) {
    let damaged_bytes = fs::read(damaged).unwrap();
    let (store, log) = logged(|| open(dir, &NO_FOLDS));
    assert_eq!(all(&store).await, map(expected));
    drop(store);
    let aside = moved_aside(dir);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(dir.join(&aside[0])).unwrap(), damaged_bytes, "nothing of it is lost");
    assert!(aside[0].starts_with(damaged.file_name().unwrap().to_str().unwrap()), "{aside:?}");
    assert!(log.contains("WARN") && log.contains(&aside[0]), "{log}");
    let (store, log) = logged(|| open(dir, &NO_FOLDS));
    assert_eq!(all(&store).await, map(expected));
    assert!(!log.contains("WARN"), "{log}");
    assert_eq!(moved_aside(dir).len(), 1);
}

#[tokio::test]
async fn a_lost_snapshot_leaves_what_the_journal_holds() {
    for text in ["", "\0\0\0\0", "[", "not JSON", "{\"a\":1}", "[1, 2]", "\u{feff}[]"] {
        let dir = store_files().await;
        fs::write(snapshot(dir.path()), text).unwrap();
        check(dir.path(), &snapshot(dir.path()), &[("b", "2"), ("d", "1"), ("e", "1")]).await;
    }
}

#[tokio::test]
async fn a_readable_row_next_to_a_damaged_one_is_kept() {
    let b_is_lost = &[("a", "1"), ("b", "2"), ("d", "1"), ("e", "1")];
    type Damage = fn(&str) -> String;
    let damages: [Damage; 8] = [
        |text| text.replace("\"session_id\": \"b\"", "\"session_id\": \"no id\""),
        |text| text.replace("\"session_id\": \"b\"", "\"session_id\": 7"),
        |text| text.replace("\"session_id\": \"b\",", ""),
        |text| text.replace("\"session_id\": \"b\",", "\"session_id\": \"b"),
        |text| text.replace("\"session_id\": \"b\",", "{{{[[[\"\0\u{1}"),
        |text| text.replace("  {\n    \"session_id\": \"b\"", "    \"session_id\": \"b\""),
        |text| text.replace("  },\n", "  }\n"),
        |text| text.trim_end().trim_end_matches(']').to_owned(),
    ];
    for damage in damages {
        let dir = store_files().await;
        let text = fs::read_to_string(snapshot(dir.path())).unwrap();
        assert_ne!(damage(&text), text);
        fs::write(snapshot(dir.path()), damage(&text)).unwrap();
        check(dir.path(), &snapshot(dir.path()), b_is_lost).await;
    }
}

#[tokio::test]
async fn a_snapshot_cut_anywhere_keeps_the_rows_before_the_cut() {
    let dir = store_files().await;
    let text = fs::read_to_string(snapshot(dir.path())).unwrap();
    let end_of_a = text.find('}').unwrap() + 1;
    for bytes in [end_of_a - 1, end_of_a, end_of_a + 1, end_of_a + 20] {
        let dir = crashed(dir.path());
        fs::write(snapshot(dir.path()), &text[..bytes]).unwrap();
        let mut expected = vec![("b", "2"), ("d", "1"), ("e", "1")];
        if bytes >= end_of_a {
            expected.push(("a", "1"));
        }
        check(dir.path(), &snapshot(dir.path()), &expected).await;
    }
}

#[tokio::test]
async fn a_damaged_line_of_a_journal_costs_that_change_alone() {
    for path in [journal, old_journal] {
        for garbage in
            ["garbage", "{}", "{\"revision\":9}", "\0\0\0", "{\"revision\":1,\"delete\":\"..\"}", "\u{fffd}{"]
        {
            let dir = store_files().await;
            let text = fs::read_to_string(journal(dir.path())).unwrap();
            let mut lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 4);
            lines[2] = garbage;
            fs::remove_file(journal(dir.path())).unwrap();
            let path = path(dir.path());
            fs::write(&path, lines.join("\n") + "\n").unwrap();
            check(dir.path(), &path, &[("a", "1"), ("b", "2"), ("e", "1")]).await;
        }
    }
}

#[tokio::test]
async fn damaged_files_of_one_second_do_not_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3 {
        fs::write(snapshot(dir.path()), format!("damage {number}")).unwrap();
        open(dir.path(), &NO_FOLDS);
    }
    assert_eq!(moved_aside(dir.path()).len(), 3);
}

#[tokio::test]
async fn a_damaged_snapshot_stays_until_a_whole_one_replaces_it() {
    let dir = store_files().await;
    let text = fs::read_to_string(snapshot(dir.path())).unwrap();
    fs::write(snapshot(dir.path()), &text[2..]).unwrap();
    // A directory where the next snapshot would be written: writing it fails.
    let next = dir.path().join("init_sessions.json.new");
    fs::create_dir(&next).unwrap();
    let expected = map(&[("a", "1"), ("b", "2"), ("d", "1"), ("e", "1")]);
    for _ in 0..2 {
        assert_eq!(all(&open(dir.path(), &NO_FOLDS)).await, expected);
    }
    fs::remove_dir(&next).unwrap();
    assert_eq!(all(&open(dir.path(), &NO_FOLDS)).await, expected);
    let (store, log) = logged(|| open(dir.path(), &NO_FOLDS));
    assert_eq!(all(&store).await, expected);
    assert!(!log.contains("WARN"), "{log}");
}
