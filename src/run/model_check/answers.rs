//! Answers, the deadline, the worker's end and a cancel in every order: one of them ends a request, and all agree which.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng as _, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use tokio::sync::oneshot;

use super::*;
use crate::{
    model::{Answer, Closing, EventKind, Refused, Request, RequestKey, RequestKind, RunState},
    run::EmitError,
};

/// Schedules in which the request was ended by each, and in which a cancel met it.
#[derive(Debug, Default)]
struct Ends {
    answered: [AtomicUsize; 2],
    expired: AtomicUsize,
    withdrawn: AtomicUsize,
    cancelled_first: AtomicUsize,
}

#[test]
fn any_order_of_answers_deadline_and_cancel_has_one_outcome() {
    for ends in [
        try_all(RandomScheduler::new_from_seed(2, SCHEDULES)),
        try_all(PctScheduler::new_from_seed(2, PCT_DEPTH, SCHEDULES)),
    ] {
        let Ends { answered: [one, other], expired, withdrawn, cancelled_first } = &*ends;
        let seen = [one, other, expired, withdrawn, cancelled_first].map(|it| it.load(Ordering::Relaxed));
        assert!(seen.iter().all(|it| *it > 0), "{ends:?}");
    }
}

fn try_all(scheduler: impl Scheduler + 'static) -> Arc<Ends> {
    let ends = Arc::new(Ends::default());
    let counts = ends.clone();
    runner(scheduler).run(move || block_on(play(counts.clone())));
    ends
}

fn key() -> RequestKey {
    RequestKey::new(RequestKind::Tool, "t")
}

fn answer(number: usize) -> Answer {
    Answer::Tool(json!(number))
}

/// A worker that asks once, two clients of which each says its own answer twice, the deadline, and a cancel.
async fn play(ends: Arc<Ends>) {
    let (log, machine) = begin().await;
    let (writer, handle) = Writer::new(machine, log.clone());
    let writing = spawn(writer.run());
    let (asked, told) = oneshot::channel();
    let worker = spawn(ask_and_wait(handle.clone(), asked));
    told.await.unwrap();
    let clients = [0, 1].map(|number| spawn(answer_twice(handle.clone(), log.clone(), number)));
    let deadline = spawn({
        let handle = handle.clone();
        async move {
            dawdle().await;
            close(handle, Closing::Expired).await
        }
    });
    let cancelled = spawn({
        let log = log.clone();
        async move {
            dawdle().await;
            let cancelled = handle.apply(Command::Cancel { reason: String::new() }).await;
            if cancelled.is_err() {
                assert!(log.appended().last().unwrap().kind.is_terminal(), "its end can be read already");
            }
            cancelled
        }
    });
    let (heard, withdrawn) = worker.await.unwrap();
    let expired = deadline.await.unwrap();
    let cancelled = cancelled.await.unwrap();
    let mut answered = Vec::new();
    for client in clients {
        answered.push(client.await.unwrap());
    }
    writing.await.unwrap();

    let events = log.appended();
    let closed = events.iter().filter_map(|it| match &it.kind {
        EventKind::Closed { closing, .. } => Some((it.sequence, closing.clone())),
        _ => None,
    });
    let closed: Vec<_> = closed.collect();
    let [(sequence, closing)] = closed.as_slice() else { panic!("a request ends once: {events:#?}") };
    for (number, taken) in answered.iter().enumerate() {
        let won = *closing == Closing::Answered(answer(number));
        assert_eq!(taken.is_ok(), won, "who was told that his answer counts finds it: {events:#?}");
        ends.answered[number].fetch_add(usize::from(won), Ordering::Relaxed);
    }
    assert_eq!(expired.is_ok(), *closing == Closing::Expired);
    assert_eq!(withdrawn, *closing == Closing::Withdrawn);
    match closing {
        // One that is told to stop need not listen any more.
        Closing::Answered(_) if heard.is_none() => assert!(cancelled.is_ok()),
        Closing::Answered(answer) => assert_eq!(heard.as_ref(), Some(answer), "the worker hears it"),
        _ => assert_eq!(heard, None),
    }
    ends.expired.fetch_add(usize::from(expired.is_ok()), Ordering::Relaxed);
    ends.withdrawn.fetch_add(usize::from(withdrawn), Ordering::Relaxed);

    let cancelling =
        events.iter().find(|it| matches!(it.kind, EventKind::State { state: RunState::Cancelling, .. }));
    assert_eq!(cancelling.is_some(), cancelled.is_ok());
    let is_cancelled = events.last().unwrap().kind == EventKind::Cancelled;
    assert_eq!(is_cancelled, cancelled.is_ok(), "{events:#?}");
    if cancelling.is_some_and(|it| it.sequence < *sequence) {
        assert!(!matches!(closing, Closing::Answered(_)), "no answer is taken after a cancel: {events:#?}");
        ends.cancelled_first.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives what it heard, and whether it took its request back.
async fn ask_and_wait(writer: WriterHandle, asked: oneshot::Sender<()>) -> (Option<Answer>, bool) {
    writer.apply(Command::Start).await.unwrap();
    let request = Request::Tool { tool_name: "t".to_owned(), args: json!(null) };
    let deadline = Timestamp::UNIX_EPOCH;
    let pending = writer.ask(key().id, request, deadline, None).await.unwrap();
    let refused = close(writer.clone(), Closing::Withdrawn).await;
    assert!(refused.is_err(), "what is awaited is not taken back");
    asked.send(()).unwrap();
    let cancelled = writer.cancelled().clone();
    // Its end by a cancel, and its end by the answer or the deadline: whichever it hears first.
    let heard = tokio::select! {
        answer = pending => answer.ok(),
        () = cancelled.cancelled() => None,
    };
    let withdrawn = close(writer.clone(), Closing::Withdrawn).await.is_ok();
    let outcome = Outcome::Succeeded { message: String::new(), output: json!(null), view: None, usage: None };
    drop(writer.apply(Command::Finish(outcome)).await);
    (heard, withdrawn)
}

/// Lets others go first, so that each has its chance whoever was there first.
async fn dawdle() {
    for _ in 0..thread_rng().gen_range(0..40u8) {
        yield_now().await;
    }
}

/// The answer again gets what the answer got.
async fn answer_twice(writer: WriterHandle, log: Arc<Stepped>, number: usize) -> Result<RunState, EmitError> {
    dawdle().await;
    let first = close(writer.clone(), Closing::Answered(answer(number))).await;
    if first.is_err() {
        let ended = |it: &Event| {
            let cancelling = EventKind::State { state: RunState::Cancelling, attempt: 1 };
            matches!(it.kind, EventKind::Closed { .. }) || it.kind == cancelling || it.kind.is_terminal()
        };
        assert!(log.appended().iter().any(ended), "why it is refused can be read already");
    }
    let again = close(writer, Closing::Answered(answer(number))).await;
    match again {
        Err(EmitError::Refused(Refused::Ended(_)) | EmitError::Gone) => {}
        _ => assert_eq!(first.is_ok(), again.is_ok()),
    }
    first
}

async fn close(writer: WriterHandle, closing: Closing) -> Result<RunState, EmitError> {
    writer.close(Some(key()), closing).await
}
