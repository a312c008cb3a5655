//! Torn ends are cut; damage is told, and costs its own run alone.

use super::*;

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// One segment with two runs whose records alternate.
async fn two_runs(folder: &Path) -> (Told, Told) {
    let log = SegmentRunLog::open(folder, SegmentOptions { segment_bytes: 1 << 20, ..small() }).unwrap();
    let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
    for number in 0..5 {
        one.say(&log, &format!("one {number}")).await;
        two.say(&log, &format!("two {number}")).await;
    }
    (one, two)
}

/// What is left where nobody closed the log: without the empty segment that tells how much of the one before counts.
fn as_killed(folder: &Path) {
    let last = segments(folder).pop().unwrap();
    assert!(records(&std::fs::read(&last).unwrap()).is_empty());
    std::fs::remove_file(last).unwrap();
}

#[tokio::test]
async fn damage_at_the_end_of_a_log_that_was_closed_is_not_taken_for_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    let files: Vec<_> =
        segments(folder.path()).into_iter().map(|it| (std::fs::read(&it).unwrap(), it)).collect();
    let (whole, path) = &files[0];
    let at = records(whole).last().unwrap().0;
    let harm = |bytes: &mut Vec<u8>, number| match number {
        0 => bytes[at + 10] ^= 1,
        1 => bytes[at + record::HEADER + 10] ^= 1,
        2 => bytes.truncate(at + record::HEADER + 10),
        _ => bytes.truncate(at),
    };
    for number in 0..4 {
        for (bytes, path) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        let mut harmed = whole.clone();
        harm(&mut harmed, number);
        std::fs::write(path, harmed).unwrap();
        for _ in 0..2 {
            let log = open(folder.path());
            let (found, error) = events(&log, two.id()).await;
            assert!(matches!(error, Some(ReadError::Damaged)), "harm {number}: {error:?}");
            assert_eq!(found, two.events[..two.events.len() - 1]);
            // Where nothing is left of the record nobody knows whose it was.
            if number == 1 {
                holds(&log, &one).await;
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_is_closed_again_and_again_makes_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    for _ in 0..5 {
        let log = open(folder.path());
        holds(&log, &one).await;
        holds(&log, &two).await;
    }
    assert_eq!(segments(folder.path()).len(), 2);
}

#[tokio::test]
async fn a_torn_end_is_cut_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    as_killed(folder.path());
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let last = records(&whole).last().unwrap().0;
    let mut before = two.clone();
    let lost = before.events.pop().unwrap();
    let mut run = before.machine.run().clone();
    run.last_sequence -= 1;
    before.machine = RunMachine::restore(run, 7);
    for cut in last..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut told = before.clone();
        {
            let log = open(folder.path());
            holds(&log, &one).await;
            let (found, error) = events(&log, told.id()).await;
            assert!(error.is_none() && found == told.events, "cut at {cut}: {error:?}");
            told.apply(&log, Command::Emit(Draft::log("instead"))).await.unwrap();
        }
        let log = open(folder.path());
        let (found, error) = events(&log, told.id()).await;
        assert!(error.is_none() && found == told.events, "cut at {cut}: {error:?}");
        assert_ne!(found.last(), Some(&lost));
        drop(log);
        for more in segments(folder.path()).split_off(1) {
            std::fs::remove_file(more).unwrap();
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_costs_its_own_run_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let of_one = records(&whole).into_iter().filter(|(_, it)| it.run_id == one.id()).skip(1);
    for (at, header) in of_one {
        if header.first_sequence == one.events.len() as u64 {
            continue;
        }
        for place in [0, 6, 30, record::HEADER - 1, record::HEADER, record::HEADER + 20] {
            std::fs::write(&path, &whole).unwrap();
            flip(&path, at + place);
            let log = open(folder.path());
            let (found, error) = events(&log, one.id()).await;
            let good = usize::try_from(header.first_sequence).unwrap() - 1;
            assert_eq!(found, one.events[..good], "byte {place} of event {}", header.first_sequence);
            assert!(matches!(error, Some(ReadError::Damaged)), "{error:?}");
            holds(&log, &two).await;
            assert!(log.run(one.id()).await.unwrap().state.is_terminal());
            assert_eq!(log.live().await, [two.id()]);
        }
    }
}

#[tokio::test]
async fn damage_while_the_log_is_open_is_never_served() {
    let folder = tempfile::tempdir().unwrap();
    two_runs(folder.path()).await;
    let log = open(folder.path());
    let (one, path) = (log.all().await[0], segments(folder.path()).remove(0));
    let (at, _) = records(&std::fs::read(&path).unwrap())[6];
    flip(&path, at + record::HEADER + 15);
    let (found, error) = events(&log, one).await;
    assert_eq!(found.len(), 3);
    assert!(matches!(error, Some(ReadError::Damaged)));
}

#[tokio::test]
async fn the_damaged_end_of_an_ended_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = two_runs(folder.path()).await;
    let log = open(folder.path());
    one.end(&log).await;
    two.say(&log, "after").await;
    drop(log);
    for path in segments(folder.path()) {
        let all = records(&std::fs::read(&path).unwrap());
        for (at, _) in all.into_iter().filter(|(_, it)| it.terminal) {
            flip(&path, at + record::HEADER + 30);
        }
    }
    let log = open(folder.path());
    let (found, error) = events(&log, one.id()).await;
    assert_eq!(found, one.events[..one.events.len() - 1]);
    assert!(matches!(error, Some(ReadError::Damaged)));
    assert!(log.run(one.id()).await.unwrap().state.is_terminal());
    holds(&log, &two).await;
}

#[tokio::test]
async fn damage_at_the_end_of_a_segment_that_was_left_is_not_taken_for_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut quiet = start(&log, 1).await;
    quiet.say(&log, &"q".repeat(1300)).await;
    let mut other = start(&log, 2).await;
    while segments(folder.path()).len() < 2 {
        other.say(&log, &"o".repeat(600)).await;
    }
    drop(log);
    let path = segments(folder.path()).remove(0);
    let (at, header) = *records(&std::fs::read(&path).unwrap()).last().unwrap();
    let files: Vec<_> =
        segments(folder.path()).into_iter().map(|it| (std::fs::read(&it).unwrap(), it)).collect();
    for place in [10, record::HEADER + 10] {
        // What nobody can need any more is removed.
        for (bytes, path) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        flip(&path, at + place);
        let log = open(folder.path());
        let (_, error) = events(&log, header.run_id).await;
        assert!(matches!(error, Some(ReadError::Damaged) | Some(ReadError::NotFound)), "{error:?}");
    }
}

#[tokio::test]
async fn the_damaged_end_of_a_segment_is_told_when_the_next_segment_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (mut quiet, mut other) = (start(&log, 1).await, start(&log, 2).await);
    quiet.say(&log, &"q".repeat(300)).await;
    other.end(&log).await;
    for number in 3..6 {
        let mut passing = start(&log, number).await;
        passing.say(&log, &"p".repeat(1000)).await;
        passing.end(&log).await;
    }
    trim(&log, 1000).await;
    let path = segments(folder.path()).remove(0);
    let second = folder.path().join("0000000002.segment");
    while second.exists() {
        start(&log, 6).await.end(&log).await;
        trim(&log, 1000).await;
    }
    drop(log);
    let (at, header) = *records(&std::fs::read(&path).unwrap()).last().unwrap();
    assert_eq!(header.run_id, quiet.id());
    flip(&path, at + record::HEADER + 10);
    let log = open(folder.path());
    let (found, error) = events(&log, quiet.id()).await;
    assert!(found.len() < quiet.events.len() && matches!(error, Some(ReadError::Damaged)), "{error:?}");
}

#[tokio::test]
async fn a_power_cut_that_loses_the_beginning_of_the_last_commit_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let all = records(&whole);
    // One more commit of two records, the first of which never got to the disk.
    let (at, header) = all[all.len() - 1];
    let payload = &whole[at + record::HEADER..];
    let next = record::Header { commit: header.commit + 1, first_sequence: 7, first: false, ..header };
    let mut torn = whole.clone();
    torn.extend(vec![0; 200]);
    torn.extend(next.encode());
    torn.extend(payload);
    std::fs::write(&path, torn).unwrap();
    let log = open(folder.path());
    holds(&log, &one).await;
    holds(&log, &two).await;
    assert_eq!(log.live().await.len(), 2);
}

#[tokio::test]
async fn a_dropped_run_stays_dropped_when_the_key_that_its_drop_keeps_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = two_runs(folder.path()).await;
    let log =
        SegmentRunLog::open(folder.path(), SegmentOptions { segment_bytes: 1 << 20, ..small() }).unwrap();
    one.end(&log).await;
    log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
    two.say(&log, "after").await;
    drop(log);
    let mut drops = segments(folder.path()).into_iter().filter_map(|path| {
        let all = records(&std::fs::read(&path).unwrap());
        let (at, _) = all.into_iter().find(|(_, it)| it.kind == record::Kind::Drop)?;
        Some((path, at))
    });
    let (path, at) = drops.next_back().unwrap();
    flip(&path, at + record::HEADER + 3);
    let log = open(folder.path());
    assert_eq!(log.all().await, [two.id()]);
    holds(&log, &two).await;
}

/// A run that goes on, of which the older records were copied by cleaning, and whose newest one is in a segment that
/// stays, with another run.
async fn copied_run(folder: &Path) -> (Told, Told) {
    let log = SegmentRunLog::open(folder, SegmentOptions { segment_bytes: 8000, ..small() }).unwrap();
    let (mut quiet, mut beside) = (start(&log, 1).await, start(&log, 2).await);
    quiet.say(&log, "first").await;
    let mut passing = start(&log, 3).await;
    passing.say(&log, &"p".repeat(5500)).await;
    passing.end(&log).await;
    beside.say(&log, &"b".repeat(3000)).await;
    quiet.say(&log, "last").await;
    beside.say(&log, &"b".repeat(3000)).await;
    beside.say(&log, &"b".repeat(3000)).await;
    trim(&log, 1000).await;
    while !segments(folder).iter().any(|it| copies(it) > 0)
        || segments(folder)[0].ends_with("0000000001.segment")
    {
        beside.say(&log, "on").await;
    }
    (quiet, beside)
}

fn copies(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap_or_default();
    records(&bytes).iter().filter(|(_, it)| it.copied_from.is_some()).count()
}

#[tokio::test]
async fn a_lost_end_is_told_although_what_comes_before_was_copied_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (quiet, beside) = copied_run(folder.path()).await;
    for path in segments(folder.path()) {
        let all = records(&std::fs::read(&path).unwrap());
        if let Some((at, _)) = all.iter().find(|(_, it)| it.run_id == quiet.id() && it.first_sequence == 3) {
            flip(&path, at + 10);
        }
    }
    for _ in 0..2 {
        let log = open(folder.path());
        let (found, error) = events(&log, quiet.id()).await;
        assert_eq!(found, quiet.events[..2]);
        assert!(matches!(error, Some(ReadError::Damaged)), "{error:?}");
        assert_eq!(log.live().await, [beside.id()]);
        holds(&log, &beside).await;
    }
}

#[tokio::test]
async fn of_a_record_that_is_there_twice_one_may_be_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = two_runs(folder.path()).await;
    let first = segments(folder.path()).remove(0);
    let whole = std::fs::read(&first).unwrap();
    // As a loss of power leaves it in the middle of cleaning: copies in a newer segment, the old one still there.
    let head = segment_head::SegmentHead::decode(&whole).unwrap();
    let head = segment_head::SegmentHead { number: 2, next_commit: 100, sealed: None, ..head };
    let mut copied = head.encode().to_vec();
    for (number, (at, header)) in records(&whole).into_iter().enumerate() {
        copied.extend(header.copy(100 + number as u64 / 3, number % 3 == 0).encode());
        copied.extend(&whole[at + record::HEADER..at + usize::try_from(header.length()).unwrap()]);
    }
    let second = folder.path().join("0000000002.segment");
    for path in [&first, &second] {
        for (at, _) in records(&whole) {
            std::fs::write(&first, &whole).unwrap();
            std::fs::write(&second, &copied).unwrap();
            flip(path, at + record::HEADER + 5);
            let log = open(folder.path());
            holds(&log, &one).await;
            holds(&log, &two).await;
            assert_eq!(log.live().await.len(), 2);
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), SegmentOptions { segment_bytes: 8000, ..small() }).unwrap();
    let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
    one.say(&log, "to be damaged").await;
    two.say(&log, "two").await;
    let mut passing = start(&log, 3).await;
    let path = segments(folder.path()).remove(0);
    let damaged = records(&std::fs::read(&path).unwrap())[2].0;
    flip(&path, damaged + record::HEADER + 5);
    passing.say(&log, &"p".repeat(5500)).await;
    passing.end(&log).await;
    two.say(&log, &"t".repeat(6000)).await;
    trim(&log, 1000).await;
    while !log.shared.table().segments.values().any(|it| it.damaged) {
        two.say(&log, "on").await;
    }
    for _ in 0..2 {
        holds(&log, &two).await;
        let (found, error) = events(&log, one.id()).await;
        assert_eq!((found.len(), matches!(error, Some(ReadError::Damaged))), (1, true), "{error:?}");
    }
    drop(log);
    let log = open(folder.path());
    holds(&log, &two).await;
    assert!(matches!(events(&log, one.id()).await.1, Some(ReadError::Damaged)));
}

#[tokio::test]
async fn a_run_that_was_copied_from_where_damage_lies_stays_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), SegmentOptions { segment_bytes: 8000, ..small() }).unwrap();
    let (mut one, mut passing) = (start(&log, 1).await, start(&log, 2).await);
    passing.say(&log, &"p".repeat(5000)).await;
    let mut stays = start(&log, 3).await;
    let path = segments(folder.path()).remove(0);
    let damaged = records(&std::fs::read(&path).unwrap()).pop().unwrap().0;
    flip(&path, damaged + record::HEADER + 5);
    passing.end(&log).await;
    stays.say(&log, &"s".repeat(7000)).await;
    trim(&log, 1000).await;
    // The beginning of one run is copied, then the damage is met: the segment stays.
    while !log.shared.table().segments.values().any(|it| it.damaged) {
        stays.say(&log, "on").await;
    }
    one.end(&log).await;
    trim(&log, 1000).await;
    // All else that tells of it goes.
    for number in 10..22 {
        let mut other = start(&log, number).await;
        other.say(&log, &"o".repeat(6000)).await;
        other.end(&log).await;
        trim(&log, 1000).await;
    }
    drop(log);
    let log = open(folder.path());
    assert!(matches!(log.run(one.id()).await, Err(ReadError::NotFound)));
    assert!(log.live().await.is_empty(), "the third is damaged");
}

#[tokio::test]
async fn a_file_without_a_head_is_removed() {
    for length in [0, 10, 64] {
        let folder = tempfile::tempdir().unwrap();
        let mut told = start(&open(folder.path()), 1).await;
        let headless = folder.path().join("0000000009.segment");
        std::fs::write(&headless, vec![0; length]).unwrap();
        let log = open(folder.path());
        assert!(!headless.exists());
        holds(&log, &told).await;
        told.say(&log, "on").await;
        drop(log);
        holds(&open(folder.path()), &told).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_much_at_once_gets_all_chunks_in_order_and_stops_before_damage() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = {
        let log = open(folder.path());
        let mut told = start(&log, 1).await;
        for number in 0..120 {
            told.say(&log, &format!("{number} {}", "x".repeat(150))).await;
        }
        told
    };
    assert!(segments(folder.path()).len() > 15, "as many chunks");
    let log = open(folder.path());
    let everything = || log.read(told.id(), 0, usize::MAX);
    // Several at the same time share what they read.
    for slice in futures::future::join_all((0..5).map(|_| everything())).await {
        let found: Vec<_> = slice.unwrap().entries.iter().map(|it| it.event.clone()).collect();
        assert_eq!(found, told.events);
    }
    let from_the_middle = log.read(told.id(), 33, usize::MAX).await.unwrap();
    assert_eq!(from_the_middle.entries.len(), told.events.len() - 33);
    // While it is open: the index still says that all is there.
    let path = segments(folder.path()).swap_remove(5);
    let bytes = std::fs::read(&path).unwrap();
    let (at, header) = records(&bytes)[2];
    flip(&path, at + record::HEADER);
    let good = usize::try_from(header.first_sequence).unwrap() - 1;
    let slice = log.read(told.id(), 0, usize::MAX).await.unwrap();
    told.events.truncate(good);
    assert_eq!(slice.entries.iter().map(|it| it.event.clone()).collect::<Vec<_>>(), told.events);
    let damaged = log.read(told.id(), good as u64, usize::MAX).await;
    assert!(matches!(damaged, Err(ReadError::Damaged)), "{damaged:?}");
}
