//! Segments in which little is needed go, and what is needed of them stays.

use super::{
    disk::{Dice, FakeDisk},
    *,
};

const SEGMENT: u64 = 4000;

fn options(total: u64) -> SegmentOptions {
    SegmentOptions { segment_bytes: SEGMENT, total, ..small() }
}

fn open_on(disk: &FakeDisk, total: u64) -> SegmentRunLog {
    let folder = Path::new("a disk in memory");
    SegmentRunLog::on(Box::new(disk.clone()), folder, options(total), None).unwrap()
}

/// Waits until there is nothing to clean.
async fn cleaned(log: &SegmentRunLog) {
    let total = log.shared.options.total;
    while !super::super::cleaning::is_clean(&log.shared.table(), total) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes of all files, and bytes of kept runs.
fn disk_and_kept(log: &SegmentRunLog) -> (u64, u64) {
    let table = log.shared.table();
    (table.segments.values().map(|it| it.length).sum(), table.live_bytes)
}

/// A run without a key that says so many lines and ends.
async fn short_run(log: &SegmentRunLog, number: u128, lines: usize) -> Told {
    let (mut told, new) = new_run(number, None);
    log.create(new).await.unwrap();
    for line in 0..lines {
        told.say(log, &format!("{number}.{line} {}", "s".repeat(250))).await;
    }
    told.end(log).await;
    told
}

/// Runs that go on, each with a line between others that end and are dropped: their records are all over the log, and
/// little else is needed.
async fn scattered(log: &SegmentRunLog, live: &mut [Told], short: std::ops::Range<u128>) {
    for number in short {
        short_run(log, number, 4).await;
        let count = live.len();
        live[usize::try_from(number).unwrap() % count].say(log, &format!("after {number}")).await;
    }
    trim(log, 1000).await;
}

#[tokio::test]
async fn disk_use_falls_in_step_while_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    let mut live = vec![start(&log, 1).await];
    let mut most = 0;
    for round in 1..=20 {
        scattered(&log, &mut live, round * 100..round * 100 + 10).await;
        cleaned(&log).await;
        let (disk, kept) = disk_and_kept(&log);
        // What is written, what is being cleaned, and drops that are still needed.
        assert!(disk <= 4 * kept + 3 * SEGMENT, "{disk} bytes for {kept} after round {round}");
        most = most.max(disk);
    }
    let files: u64 = segments(folder.path()).iter().map(|it| it.metadata().unwrap().len()).sum();
    assert_eq!(files, disk_and_kept(&log).0);
    // 20 rounds wrote 10 runs of more than a kilobyte each.
    assert!(most < 20 * 10 * 1200 / 2, "{most}");
    holds(&log, &live[0]).await;
    live[0].end(&log).await;
    drop(log);
    let log = SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    assert_eq!(log.all().await, [live[0].id()]);
    holds(&log, &live[0]).await;
    trim(&log, 10_000).await;
    short_run(&log, 9999, 1).await;
    cleaned(&log).await;
    assert!(disk_and_kept(&log).0 <= 2 * SEGMENT);
}

#[tokio::test]
async fn all_files_stay_below_the_total_while_runs_of_all_ages_are_dropped() {
    let (disk, total) = (FakeDisk::default(), 100_000);
    let log = open_on(&disk, total);
    let (mut dice, mut going, mut ended) = (Dice(3), Vec::new(), Vec::new());
    for number in 1..400u128 {
        let (told, new) = new_run(number, None);
        log.create(new).await.unwrap();
        going.push(told);
        // Who says most is dropped last: what is dropped lies between what is kept.
        for told in &mut going {
            for _ in 0..dice.roll(3) {
                told.say(&log, &"x".repeat(dice.roll(400) as usize)).await;
            }
        }
        if going.len() > 12 {
            let mut done = going.swap_remove(dice.roll(12) as usize);
            done.end(&log).await;
            ended.push(done);
        }
        if number % 20 == 0 {
            cleaned(&log).await;
            let (used, kept) = disk_and_kept(&log);
            assert!(kept <= total / 5 * 4 + SEGMENT, "{kept} kept of {total}");
            assert!(used <= total + 2 * SEGMENT, "{used} of {total}");
        }
    }
    let kept = log.all().await;
    assert!(disk_and_kept(&log).1 > total / 2, "the room is used");
    assert!(kept.len() + 20 < going.len() + ended.len(), "some were dropped");
    drop(log);
    let log = open_on(&disk, total);
    assert_eq!(log.all().await, kept);
    for told in going.iter().chain(ended.iter().filter(|it| kept.contains(&it.id()))) {
        holds(&log, told).await;
    }
}

#[tokio::test]
async fn who_reads_meanwhile_reads_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    let mut live = vec![start(&log, 1).await, start(&log, 2).await];
    for told in &mut live {
        for line in 0..50 {
            told.say(&log, &format!("{line} at first")).await;
        }
    }
    let first = live.clone();
    let write = async {
        for round in 1..=12 {
            scattered(&log, &mut live, round * 100..round * 100 + 6).await;
        }
    };
    let read = async {
        loop {
            for told in &first {
                let (found, error) = events(&log, told.id()).await;
                assert!(error.is_none() && found.starts_with(&told.events), "{error:?}");
                assert_eq!(log.params(told.id()).await.unwrap().len(), 1);
            }
            tokio::task::yield_now().await;
        }
    };
    let export = async {
        loop {
            let (path, first) = (folder.path().to_owned(), first.clone());
            let reader = tokio::task::spawn_blocking(move || SegmentRunLog::open_read_only(path).unwrap());
            let reader = reader.await.unwrap();
            for told in &first {
                let (found, error) = events(&reader, told.id()).await;
                assert!(error.is_none() && found.starts_with(&told.events), "{error:?}");
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = async { tokio::join!(read, export); } => {}
    }
    for told in &live {
        holds(&log, told).await;
    }
}

/// A log that is about to clean: the drops of what was between the records of two runs are yet to come.
async fn about_to_clean(disk: &FakeDisk) -> (SegmentRunLog, Vec<Told>, Told) {
    let log = open_on(disk, 1 << 30);
    let mut live = vec![start(&log, 1).await, start(&log, 2).await];
    let mut keyed = start(&log, 3).await;
    keyed.end(&log).await;
    for number in 100..110 {
        short_run(&log, number, 4).await;
        live[usize::try_from(number).unwrap() % 2].say(&log, &format!("after {number}")).await;
    }
    (log, live, keyed)
}

/// Demands what must be so however far the cleaning came; then cleans to the end and demands it again.
async fn goes_on(disk: &FakeDisk, live: &[Told], keyed: &Told, what: &str) {
    for round in 0..3 {
        let log = open_on(disk, 1 << 30);
        for told in live {
            holds(&log, told).await;
        }
        let goes_on: Vec<_> = live.iter().map(Told::id).collect();
        assert_eq!(log.live().await, goes_on, "{what}, round {round}");
        assert_eq!(log.used_key(key("3").name).await.unwrap().run_id, keyed.id(), "{what}, round {round}");
        log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
        short_run(&log, 1000 + round, 1).await;
        cleaned(&log).await;
        let all = log.all().await;
        assert!(all.len() <= 3, "{what}, round {round}: {all:?}");
    }
}

#[tokio::test]
async fn the_power_may_go_at_every_step() {
    let mut steps = 0;
    for step in 0.. {
        let disk = FakeDisk::default();
        let (log, live, keyed) = about_to_clean(&disk).await;
        let mut off = disk.off_at(disk.operations() + step);
        log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
        let done = tokio::select! {
            biased;
            _ = off.wait_for(|it| *it) => false,
            () = quiet(&log) => true,
        };
        for seed in 0..3 {
            let after = disk.cut_power(&mut Dice(step * 7 + seed));
            goes_on(&after, &live, &keyed, &format!("power off at {step}, seed {seed}")).await;
        }
        drop(log);
        if done {
            steps = step;
            break;
        }
    }
    assert!(steps > 10, "{steps} steps");
}

/// Waits until what was dropped is on disk, and cleaned away.
async fn quiet(log: &SegmentRunLog) {
    while !log.shared.table().undurable_drops.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cleaned(log).await;
}

#[tokio::test]
async fn every_step_may_fail() {
    for step in 0..40 {
        let disk = FakeDisk::default();
        let (log, live, keyed) = about_to_clean(&disk).await;
        let first = disk.operations() + step;
        disk.fail(first..first + 1 + step % 5, 28);
        log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
        quiet(&log).await;
        for told in &live {
            holds(&log, told).await;
        }
        let after = disk.cut_power(&mut Dice(step));
        drop(log);
        goes_on(&after, &live, &keyed, &format!("operation {step} fails")).await;
    }
}

#[tokio::test]
async fn the_record_of_a_drop_is_copied_as_long_as_a_part_of_its_run_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    let log = open();
    // The first segment stays: most of it is of a run that goes on.
    let mut stays = start(&log, 1).await;
    let (mut dropped, new) = new_run(2, None);
    log.create(new).await.unwrap();
    dropped.end(&log).await;
    stays.say(&log, &"x".repeat(2200)).await;
    short_run(&log, 9, 2).await;
    trim(&log, 1000).await;
    // The drop is among others in segments of which nearly nothing else is needed.
    let mut live = vec![start(&log, 3).await];
    for round in 1..8 {
        scattered(&log, &mut live, round * 100..round * 100 + 8).await;
        cleaned(&log).await;
    }
    drop(log);
    let files = segments(folder.path()).into_iter().map(|it| std::fs::read(it).unwrap());
    let all: Vec<_> = files.flat_map(|it| records(&it)).map(|(_, it)| it).collect();
    let drops = all.iter().filter(|it| it.kind == record::Kind::Drop && it.run_id == dropped.id());
    assert!(drops.clone().count() == 1 && drops.clone().all(|it| it.copied_from.is_some()));
    assert!(all.iter().any(|it| it.kind == record::Kind::Begin && it.run_id == dropped.id()));
    let log = open();
    assert_eq!(log.all().await, [stays.id(), live[0].id()]);
    holds(&log, &stays).await;
    holds(&log, &live[0]).await;
}

#[tokio::test]
async fn keys_of_dropped_runs_survive_cleaning_until_they_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    let mut live = start(&log, 1).await;
    let keep_keys = Trim { ended_before: at(1000), keys_before: at(0) };
    for number in 2..=40 {
        let mut told = start(&log, number).await;
        told.say(&log, &"x".repeat(1200)).await;
        told.end(&log).await;
        live.say(&log, "on").await;
        log.trim(keep_keys).await;
    }
    quiet(&log).await;
    let with_keys = disk_and_kept(&log).0;
    drop(log);
    let log = SegmentRunLog::open(folder.path(), options(1 << 30)).unwrap();
    for number in 2..=40u128 {
        let used = log.used_key(key(&number.to_string()).name).await.unwrap();
        assert_eq!(used.run_id, RunId::new(Uuid::from_u128(number)));
    }
    assert_eq!(log.all().await, [live.id()]);
    trim(&log, 1000).await;
    short_run(&log, 50, 12).await;
    quiet(&log).await;
    let (disk, kept) = disk_and_kept(&log);
    assert!(disk < with_keys / 2 + kept, "{disk} of {with_keys}");
    holds(&log, &live).await;
}
