//! Starting, stopping, reading.

use std::time::Duration;

use futures::future::join_all;
use http::{HeaderMap, HeaderName};
use serde_json::json;

use crate::support::{client::Client, story};

/// A cancelled run ends with CANCELLED, and all who watch are told.
pub(super) async fn cancel(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let mut watch = client.watch(&run);
    let mut log = watch.take(1).await;
    let caller = story::caller(client);
    let answer = caller.call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap();
    let state = story::text(&answer["state"]);
    assert!(["RUN_STATE_CANCELLING", "RUN_STATE_CANCELLED"].contains(&state), "{state}");
    log.extend(watch.all().await);
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    assert_eq!(log, story::log_of(client, &run).await);
    let read = caller.call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!(read["run"]["state"], "RUN_STATE_CANCELLED");
    assert_eq!(read["run"]["lastSequence"], log.len().to_string());
}

/// A run that has ended keeps its state.
pub(super) async fn cancel_of_an_ended_run(client: Client) {
    let (run, log) = story::finished(client, "worker_DAG").await;
    let answer = client.call("CancelRun", json!({"runId": run})).await.unwrap();
    assert_eq!(answer, json!({"state": "RUN_STATE_SUCCEEDED"}));
    assert_eq!(story::log_of(client, &run).await, log);
}

/// Of a hundred starts in one session exactly one passes, and all others say why.
pub(super) async fn a_hundred_starts_at_once(client: Client) {
    let session = story::session(client).await;
    let starts = (0..100).map(|_| story::start(client, &session, "test_pipeline"));
    let (started, refused): (Vec<_>, Vec<_>) = join_all(starts).await.into_iter().partition(Result::is_ok);
    assert_eq!(started.len(), 1);
    let run = started[0].as_ref().unwrap();
    for failure in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("failed_precondition", "SESSION_BUSY"));
        assert_eq!(failure.metadata["active_run_id"], *run);
    }
    let log = story::log_of(client, run).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE");
}

/// A session, its runs and the workers read the same everywhere.
pub(super) async fn lists_and_reads(client: Client) {
    let repo_url = "https://git.example/team/thing.git/";
    let made = client.call("InitRun", json!({"userId": "ada", "repoUrl": repo_url})).await.unwrap();
    assert_eq!(made["repoName"], "thing");
    let (session, bootstrap) = (story::text(&made["sessionId"]), story::text(&made["bootstrapRunId"]));
    story::log_of(client, bootstrap).await;
    let run = story::start(client, session, " Worker_dag ").await.unwrap();
    story::log_of(client, &run).await;

    let read = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(read["session"]["userId"], "ada");
    assert_eq!(read["session"]["repoUrl"], repo_url);
    assert_eq!(read["session"].get("activeRunId"), None);
    let page = |token: String| {
        client.call("ListRuns", json!({"sessionId": session, "pageSize": 1, "pageToken": token}))
    };
    let first = page(String::new()).await.unwrap();
    assert_eq!(first["runs"][0]["runId"], run);
    assert_eq!(first["runs"][0]["pipelineId"], "worker_DAG");
    let second = page(story::text(&first["nextPageToken"]).to_owned()).await.unwrap();
    assert_eq!(second["runs"][0]["runId"], bootstrap);
    assert_eq!(second.get("nextPageToken"), None);
    let workers = client.call("ListWorkers", json!({})).await.unwrap();
    let workers = workers["workers"].as_array().unwrap();
    for key in ["test_pipeline", "worker_DAG"] {
        assert!(workers.iter().any(|it| it["key"] == key), "{key} in {workers:#?}");
    }
}

/// A watch with a deadline ends with it, after the events that came before; the run goes on.
pub(super) async fn deadline(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let (seen, failure) = client.watch_within(&run, Duration::from_millis(1200)).until_failure().await;
    assert_eq!(failure.expect("the deadline comes first").code, "deadline_exceeded");
    let log = story::log_of(client, &run).await;
    assert!(seen.len() < log.len());
    assert_eq!(seen, log[..seen.len()]);
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE");
}

/// InitRun names the session in a cookie; with it alone everything else finds the session.
pub(super) async fn session_by_cookie(client: Client) {
    let (made, headers) = client.call_with("InitRun", json!({}), HeaderMap::new()).await.unwrap();
    let set: Vec<_> = headers["set-cookie"].to_str().unwrap().split("; ").collect();
    let session = story::text(&made["sessionId"]);
    assert_eq!(set[0], format!("rungate_session_id={session}"));
    let mut attributes = set[1..].to_vec();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax"]);
    story::log_of(client, story::text(&made["bootstrapRunId"])).await;

    let cookie = || headers_of(&[("cookie", &format!("theme=dark; {}", set[0]))]);
    let (read, _) = client.call_with("GetSession", json!({}), cookie()).await.unwrap();
    assert_eq!(read["session"]["sessionId"], session);
    let (started, _) =
        client.call_with("StartRun", json!({"pipelineId": "worker_DAG"}), cookie()).await.unwrap();
    story::log_of(client, story::text(&started["runId"])).await;
    let (again, _) = client.call_with("InitRun", json!({}), cookie()).await.unwrap();
    assert_eq!(again["sessionId"], session);

    let unknown = headers_of(&[("cookie", "rungate_session_id=unknown"), ("x-forwarded-proto", "https")]);
    let (fresh, headers) = client.call_with("InitRun", json!({}), unknown).await.unwrap();
    assert!(![session, "unknown"].contains(&story::text(&fresh["sessionId"])));
    assert!(headers["set-cookie"].to_str().unwrap().contains("; Secure"));
}

fn headers_of(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}
