//! `rungate runs`: the runs of a session.

use std::io::{self, IsTerminal as _};

use super::{
    Exit,
    args::{RunsArgs, RunsCommand},
    client::Client,
    export,
    failure::Failure,
    render::{
        table::{self, Table},
        text,
    },
    session_file::SessionFile,
};
use crate::{
    runtime::clock,
    wire::{self, v1},
};

/// Runs that are asked for at a time; the most that a gateway gives.
const PAGE: u32 = 200;

const HEAD: [&str; 7] = ["RUN", "PIPELINE", "STATE", "STARTED", "DURATION", "EVENTS", "ERROR"];

/// How a point in time is shown: a person reads how long ago it was, a program needs something that stays.
#[derive(Debug, Clone, Copy)]
enum When {
    Ago,
    Instant,
}

/// The command.
pub(super) async fn runs(args: RunsArgs) -> Result<Exit, Failure> {
    if let Some(RunsCommand::Export(args)) = args.command {
        return export::export(args).await;
    }
    let mut client = Client::new(&args.gateway.gateway)?;
    let session_id = match &args.session {
        Some(session_id) => session_id.clone(),
        None => match SessionFile::of(client.gateway()).read() {
            Some(session_id) => session_id.to_string(),
            None => {
                text::write_error("no session is remembered; `rungate run` begins one, --session names one");
                return Ok(Exit::Good);
            }
        },
    };
    let runs = newest(&mut client, &session_id, args.limit).await?;
    if args.json {
        for run in &runs {
            text::write_bytes(&wire::run_json(run))?;
        }
        return Ok(Exit::Good);
    }
    if runs.is_empty() {
        text::write_error(&format!("session {session_id} has no runs"));
        return Ok(Exit::Good);
    }
    let now = wire::timestamp(clock::now());
    let when = if io::stdout().is_terminal() { When::Ago } else { When::Instant };
    let mut table = Table::new(&HEAD);
    for run in &runs {
        table.row(row(run, now, when));
    }
    table.print()?;
    Ok(Exit::Good)
}

async fn newest(client: &mut Client, session_id: &str, limit: u32) -> Result<Vec<v1::Run>, Failure> {
    let mut runs = Vec::new();
    let mut page_token = String::new();
    loop {
        let left = limit - runs.len() as u32;
        let page = client.list_runs(session_id, left.min(PAGE) as i32, &page_token).await?;
        runs.extend(page.runs.into_iter().take(left as usize));
        page_token = page.next_page_token;
        if page_token.is_empty() || runs.len() as u32 >= limit {
            return Ok(runs);
        }
    }
}

fn row(run: &v1::Run, now: prost_types::Timestamp, when: When) -> Vec<table::Cell> {
    let started = run.started_at.or(run.created_at).map(|it| match when {
        When::Ago => text::ago(it, now),
        When::Instant => text::instant(it),
    });
    let state = run.state();
    let error = run.error.as_ref().map(|it| format!("{}: {}", it.code, it.message)).unwrap_or_default();
    let duration = run.started_at.map(|start| text::between(start, run.finished_at.unwrap_or(now)));
    vec![
        run.run_id.clone().into(),
        run.pipeline_id.clone().into(),
        table::Cell::toned(text::state_name(state), text::state_tone(state)),
        started.unwrap_or_default().into(),
        duration.unwrap_or_default().into(),
        run.last_sequence.to_string().into(),
        error.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_lasts_until_now() {
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let run = v1::Run {
            run_id: "run_1".to_owned(),
            pipeline_id: "count".to_owned(),
            state: v1::RunState::Running.into(),
            created_at: Some(at(0)),
            started_at: Some(at(10)),
            last_sequence: 7,
            ..Default::default()
        };
        let cells = |when| row(&run, at(75), when).into_iter().map(|it| it.text).collect::<Vec<_>>();
        let expected = ["run_1", "count", "running", "1970-01-01 00:00:10Z", "1m 05s", "7", ""];
        assert_eq!(cells(When::Instant), expected);
        assert_eq!(cells(When::Ago)[3], "1m ago");
    }
}
