//! A disk that is full, fails, or loses its power.

use super::{
    disk::{Dice, FakeDisk},
    world::{World, open_on},
    *,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Works, fails and loses power at places that `seed` decides, three times; gives how many
/// records were copied by cleaning, or what was found wrong.
async fn lives(seed: u64, sync: SyncMode) -> Result<usize, String> {
    let mut dice = Dice(seed);
    let (mut disk, mut world, mut copies) = (FakeDisk::default(), World::default(), 0);
    for life in 0..5 {
        let log = open_on(&disk, sync);
        world.check(&log).await.map_err(|it| format!("seed {seed}, life {life}: {it}"))?;
        let now = disk.operations();
        if dice.roll(2) == 0 {
            let first = now + dice.roll(40);
            disk.fail(first..first + 1 + dice.roll(8), [EIO, ENOSPC][dice.roll(2) as usize]);
        }
        let mut off = disk.off_at(now + dice.roll(160));
        world.work(&log, &mut dice, &mut off).await;
        copies += disk.copies();
        let after = disk.cut_power(&mut dice);
        drop(log);
        disk = after;
    }
    let log = open_on(&disk, sync);
    world.check(&log).await.map_err(|it| format!("seed {seed}, at the end: {it}"))?;
    Ok(copies)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whatever_the_disk_does() {
    let mut copies = 0;
    for seed in 0..150 {
        copies += lives(seed, SyncMode::Fsync).await.unwrap();
    }
    assert!(copies > 300, "{copies} records were copied");
}

#[tokio::test]
async fn the_checker_complains_of_a_log_that_does_not_sync() {
    let mut complaints = 0;
    for seed in 0..20 {
        complaints += u32::from(lives(seed, SyncMode::Os).await.is_err());
    }
    assert!(complaints > 0);
}

#[tokio::test]
async fn whichever_operation_fails_starts_are_refused_and_the_rest_goes_on_when_it_works_again() {
    for error in [EIO, ENOSPC] {
        for failing in 0..12 {
            let disk = FakeDisk::default();
            let log = open_on(&disk, SyncMode::Fsync);
            let mut told = start(&log, 1).await;
            let now = disk.operations();
            disk.fail(now + failing..now + failing + 5, error);
            for number in 0..12 {
                told.say(&log, &format!("{number} {}", "x".repeat(400))).await;
            }
            holds(&log, &told).await;
            let after = start(&log, 2).await;
            drop(log);
            let log = open_on(&disk, SyncMode::Fsync);
            holds(&log, &told).await;
            holds(&log, &after).await;
            drop(log);
            let log = open_on(&disk.cut_power(&mut Dice(failing)), SyncMode::Fsync);
            holds(&log, &told).await;
            holds(&log, &after).await;
        }
    }
}

#[tokio::test]
async fn while_the_disk_is_full_starts_are_refused_events_wait_and_no_files_gather() {
    let disk = FakeDisk::default();
    let log = open_on(&disk, SyncMode::Fsync);
    let told = start(&log, 1).await;
    let files = disk.files();
    disk.fail(disk.operations()..u64::MAX, ENOSPC);
    let mut waiting = told.clone();
    let mut append = Box::pin(async {
        waiting.say(&log, "waits").await;
        waiting
    });
    assert!(futures::poll!(&mut append).is_pending());
    let refused = log.create(new_run(2, Some(key("2"))).1).await;
    assert!(matches!(refused, Err(CreateError::Unavailable(_))), "{refused:?}");
    assert!(log.used_key(key("2").name).await.is_none());
    assert!(futures::poll!(&mut append).is_pending());
    holds(&log, &told).await;
    let tries = disk.operations() + 60;
    while disk.operations() < tries {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(disk.files() <= files + 1, "{} files", disk.files());
    disk.fail(0..0, ENOSPC);
    let told = append.await;
    holds(&log, &told).await;
    let second = start(&log, 2).await;
    drop(log);
    let log = open_on(&disk, SyncMode::Fsync);
    holds(&log, &told).await;
    holds(&log, &second).await;
}
