//! What a closed log gives back when it is opened again.

use super::*;

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut told, mut places) = (Vec::new(), Vec::new());
    for round in 0..3u128 {
        let log = open(folder.path());
        for it in &told {
            holds(&log, it).await;
        }
        assert_eq!(log.placed_after(&session(), 0, 100).await, places);
        for number in 0..4 {
            told.push(start(&log, round * 4 + number + 1).await);
        }
        for number in 0..10 {
            for it in told.iter_mut().filter(|it| !it.machine.run().state.is_terminal()) {
                it.say(&log, &format!("{number}{}", "é".repeat(number * 11))).await;
            }
        }
        let first = told.len() - 4;
        told[first].apply(&log, Command::Start).await.unwrap();
        told[first + 1].end(&log).await;
        let now = log.placed_after(&session(), 0, 100).await;
        assert!(now.is_sorted_by_key(|it| it.place) && now.starts_with(&places), "{now:?}");
        assert_eq!(now.len(), told.len());
        places = now;
        for it in &told {
            holds(&log, it).await;
        }
    }
    assert!(segments(folder.path()).len() > 5, "many segments");
    let log = open(folder.path());
    let live = told.iter().filter(|it| !it.machine.run().state.is_terminal()).map(Told::id);
    assert_eq!(log.live().await, live.collect::<Vec<_>>());
    assert_eq!(log.all().await, told.iter().map(Told::id).collect::<Vec<_>>());
    assert_eq!(log.params(told[2].id()).await.unwrap()["n"], "3");
    let page = log.list(ListRuns { session_id: session(), before: None, limit: 5 }).await.unwrap();
    let newest: Vec<_> = told.iter().rev().take(5).map(|it| it.machine.run().clone()).collect();
    assert_eq!((page.runs, page.more), (newest, true));
}

#[tokio::test]
async fn followers_are_told_of_more_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut told = start(&log, 1).await;
    let mut follower = log.follow(told.id()).await.unwrap();
    let session_follower = log.follow_session(&session()).await;
    told.say(&log, "two").await;
    assert_eq!(follower.borrow_and_update().last_sequence, 2);
    assert!(session_follower.has_changed().unwrap());
    told.end(&log).await;
    assert_eq!(follower.borrow_and_update().last_sequence, 3);
    assert!(follower.changed().await.is_err(), "nothing more comes");
    assert_eq!(log.follow(told.id()).await.unwrap().borrow().last_sequence, 3);
}

#[tokio::test]
async fn a_key_stands_for_its_run_after_restarts_and_after_the_run_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = {
        let log = open(folder.path());
        start(&log, 1).await
    };
    let used = UsedKey { run_id: told.id(), request: key("1").request };
    for dropped in [false, false, true, true] {
        let log = open(folder.path());
        if dropped && log.run(told.id()).await.is_ok() {
            told.end(&log).await;
            log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
        }
        assert_eq!(log.used_key(key("1").name).await, Some(used));
        let refused = log.create(new_run(2, Some(key("1"))).1).await;
        assert!(matches!(refused, Err(CreateError::KeyUsed(it)) if it == used), "{refused:?}");
        assert_eq!(log.run(told.id()).await.is_err(), dropped);
    }
}

#[tokio::test]
async fn a_key_that_is_used_again_stands_for_its_last_run() {
    let folder = tempfile::tempdir().unwrap();
    let last = RunId::new(Uuid::from_u128(2));
    {
        let log = open(folder.path());
        let mut first = start(&log, 1).await;
        first.end(&log).await;
        log.trim(Trim { ended_before: at(1000), keys_before: at(0) }).await;
        // A live run keeps the record of the drop in place.
        log.trim(Trim { ended_before: at(1000), keys_before: at(2) }).await;
        let (mut second, mut new) = new_run(2, Some(key("1")));
        new.run.created_at = at(5);
        log.create(new).await.unwrap();
        second.say(&log, "on").await;
    }
    for _ in 0..5 {
        let log = open(folder.path());
        assert_eq!(log.used_key(key("1").name).await.unwrap().run_id, last);
    }
}

#[tokio::test]
async fn of_many_starts_with_one_key_one_begins_and_the_others_find_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentRunLog::open(folder.path(), SegmentOptions::default()).unwrap();
    let starts = (1..=20).map(|number| {
        let log = &log;
        async move {
            match log.create(new_run(number, Some(key("one"))).1).await {
                Ok(()) => true,
                Err(CreateError::KeyUsed(used)) => {
                    log.run(used.run_id).await.unwrap();
                    false
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    let begun = futures::future::join_all(starts).await;
    assert_eq!(begun.iter().filter(|it| **it).count(), 1);
}

#[tokio::test]
async fn places_of_dropped_runs_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for number in 1..6 {
        let log = open(folder.path());
        let mut told = start(&log, number).await;
        let place = log.placed_after(&session(), 0, 10).await[0].place;
        assert!(place > last, "{place} after {last}");
        last = place;
        told.end(&log).await;
        trim(&log, 1000).await;
        assert!(log.all().await.is_empty());
    }
}

#[tokio::test]
async fn a_writer_that_was_overtaken_and_a_run_that_is_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut told = start(&log, 1).await;
    let mut zombie = told.clone();
    told.say(&log, "mine").await;
    let refused = zombie.apply(&log, Command::Emit(Draft::log("late"))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { expected: 1, actual: 2 })));
    assert!(matches!(log.create(new_run(1, None).1).await, Err(CreateError::Exists)));
    holds(&log, &told).await;
}

#[tokio::test]
async fn only_one_process_writes_and_others_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut told = start(&log, 1).await;
    told.say(&log, "one").await;
    let second = SegmentRunLog::open(folder.path(), small());
    assert!(matches!(second, Err(OpenLogError::InUse { .. })));
    let reader = SegmentRunLog::open_read_only(folder.path()).unwrap();
    holds(&reader, &told).await;
    let refused = reader.create(new_run(2, None).1).await;
    assert!(matches!(refused, Err(CreateError::Unavailable(_))));
    let mut late = told.clone();
    let refused = late.apply(&reader, Command::Start).await;
    assert!(matches!(refused, Err(AppendError::Closed)));
    told.say(&log, "two").await;
    drop(reader);
    holds(&log, &told).await;
}

#[tokio::test]
async fn a_log_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    start(&open(folder.path()), 1).await;
    let path = &segments(folder.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[12] = 77;
    std::fs::write(path, &bytes).unwrap();
    let refused = SegmentRunLog::open(folder.path(), small());
    assert!(matches!(refused, Err(OpenLogError::Format { found: 77, .. })));
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[tokio::test]
async fn of_two_runs_with_one_id_that_begin_at_once_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    let options = SegmentOptions { commit_interval: Duration::from_millis(20), ..small() };
    let log = SegmentRunLog::open(folder.path(), options).unwrap();
    let told = start(&log, 1).await;
    let (one, two) = tokio::join!(log.create(new_run(2, None).1), log.create(new_run(2, None).1));
    assert!(one.is_ok());
    assert!(matches!(two, Err(CreateError::Exists)), "{two:?}");
    holds(&log, &told).await;
}

#[tokio::test]
async fn a_run_that_begins_alone_does_not_wait_for_the_next_commit_and_takes_what_waits_along() {
    let folder = tempfile::tempdir().unwrap();
    let options = SegmentOptions { commit_interval: Duration::from_secs(3600), ..small() };
    let log = SegmentRunLog::open(folder.path(), options).unwrap();
    let mut told = start(&log, 1).await;
    let work = async {
        for number in 2..20 {
            let said = format!("before run {number}");
            let mut waits = Box::pin(told.say(&log, &said));
            assert!(futures::poll!(&mut waits).is_pending());
            tokio::task::yield_now().await;
            assert!(futures::poll!(&mut waits).is_pending(), "an event waits for its commit");
            start(&log, number).await;
            waits.await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("no start waits");
    holds(&log, &told).await;
}
