//! What is dropped, what is kept, and what becomes of the files.

use super::*;

fn disk_use(folder: &Path) -> u64 {
    segments(folder).iter().map(|it| it.metadata().unwrap().len()).sum()
}

/// A run of some kilobytes that has ended.
async fn ended(log: &SegmentRunLog, number: u128) -> Told {
    let mut told = start(log, number).await;
    for _ in 0..10 {
        told.say(log, &"x".repeat(300)).await;
    }
    told.end(log).await;
    told
}

#[tokio::test]
async fn dropped_runs_give_their_room_back_and_stay_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for number in 1..=10 {
        ended(&log, number).await;
    }
    let full = disk_use(folder.path());
    trim(&log, 1000).await;
    assert!(log.all().await.is_empty());
    // The drops are on disk when what comes after them is.
    let told = start(&log, 11).await;
    trim(&log, 1000).await;
    assert!(disk_use(folder.path()) * 10 < full, "{} of {full}", disk_use(folder.path()));
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.all().await, [told.id()]);
    holds(&log, &told).await;
}

#[tokio::test]
async fn a_live_run_keeps_its_segment_and_no_dropped_run_comes_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut beside = start(&log, 1).await;
    let mut live = start(&log, 2).await;
    beside.say(&log, &"x".repeat(2500)).await;
    beside.end(&log).await;
    for number in 3..=6 {
        ended(&log, number).await;
    }
    for _ in 0..3 {
        trim(&log, 1000).await;
        live.say(&log, "still here").await;
    }
    drop(log);
    for _ in 0..2 {
        let log = open(folder.path());
        assert_eq!(log.all().await, [live.id()]);
        holds(&log, &live).await;
        for _ in 0..2 {
            trim(&log, 1000).await;
            live.say(&log, &"y".repeat(1500)).await;
        }
    }
}

#[tokio::test]
async fn the_record_of_a_drop_stays_as_long_as_a_part_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    // In one segment; nothing else is ever written that lives.
    let (live, mut beside) = (start(&log, 1).await, start(&log, 2).await);
    beside.end(&log).await;
    for number in 3..=8 {
        ended(&log, number).await;
        trim(&log, 1000).await;
    }
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.all().await, [live.id()]);
    holds(&log, &live).await;
}

#[tokio::test]
async fn age_decides_and_live_runs_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (old, mut young, live) = (ended(&log, 1).await, start(&log, 2).await, start(&log, 3).await);
    for _ in 0..40 {
        young.say(&log, "on").await;
    }
    young.end(&log).await;
    trim(&log, 20).await;
    assert!(matches!(log.run(old.id()).await, Err(ReadError::NotFound)));
    assert!(matches!(log.read(old.id(), 0, 1).await, Err(ReadError::NotFound)));
    assert!(matches!(log.follow(old.id()).await, Err(ReadError::NotFound)));
    holds(&log, &young).await;
    holds(&log, &live).await;
}

#[tokio::test]
async fn a_full_log_drops_what_ended_first_then_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), SegmentOptions { total: 12_500, ..small() }).unwrap();
    let first = ended(&log, 1).await;
    let second = ended(&log, 2).await;
    let mut live = start(&log, 3).await;
    live.say(&log, &"x".repeat(3000)).await;
    assert!(matches!(log.run(first.id()).await, Err(ReadError::NotFound)));
    holds(&log, &second).await;
    live.say(&log, &"x".repeat(5000)).await;
    assert_eq!(log.all().await, [live.id()]);
    let (_, mut large) = new_run(4, None);
    large.params.insert("large".to_owned(), "x".repeat(5000));
    assert!(matches!(log.create(large).await, Err(CreateError::Full)));
    let refused = live.apply(&log, Command::Emit(Draft::log("x".repeat(5000)))).await;
    assert!(matches!(refused, Err(AppendError::Full)));
    live.end(&log).await;
    holds(&log, &live).await;
}

#[tokio::test]
async fn one_run_has_its_share_and_so_many_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = SegmentOptions { per_run: 2000, most: 2, ..small() };
    let log = SegmentRunLog::open(folder.path(), options).unwrap();
    let (mut one, two) = (start(&log, 1).await, start(&log, 2).await);
    assert!(matches!(log.create(new_run(3, None).1).await, Err(CreateError::Full)));
    let refused = one.apply(&log, Command::Emit(Draft::log("x".repeat(2000)))).await;
    assert!(matches!(refused, Err(AppendError::Full)));
    one.end(&log).await;
    let three = start(&log, 3).await;
    assert_eq!(log.all().await, [two.id(), three.id()]);
}

#[tokio::test]
async fn what_waits_for_the_writer_takes_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = SegmentOptions { commit_interval: Duration::from_millis(20), total: 10_000, ..small() };
    let log = SegmentRunLog::open(folder.path(), options).unwrap();
    start(&log, 1).await;
    let large = |number| {
        let (_, mut new) = new_run(number, None);
        new.params.insert("large".to_owned(), "x".repeat(5000));
        log.create(new)
    };
    let (one, two) = tokio::join!(large(2), large(3));
    assert!(one.is_ok());
    assert!(matches!(two, Err(CreateError::Full)), "{two:?}");
}
