//! Who follows runs and sessions.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_a_session_finds_the_channel_of_the_run_changed_when_woken() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut told = start(&log, 1).await;
    let mut session = log.follow_session(&session()).await;
    let mut run = log.follow(told.id()).await.unwrap();
    for number in 0..300u64 {
        session.mark_unchanged();
        run.mark_unchanged();
        let said = told.say(&log, "more");
        let woken = async {
            session.changed().await.unwrap();
            assert!(run.has_changed().unwrap(), "event {}", number + 2);
            assert_eq!(run.borrow().last_sequence, number + 2);
        };
        tokio::join!(woken, said);
    }
    session.mark_unchanged();
    told.end(&log).await;
    assert!(session.has_changed().unwrap());
    assert!(run.changed().await.is_ok(), "the last event is told before the channel closes");
    assert_eq!(run.borrow_and_update().last_sequence, told.events.len() as u64);
    assert!(run.changed().await.is_err());
}
