//! `rungate runs export`: runs and their events as JSON lines, read from a data folder.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::json;

use super::{Exit, args::ExportArgs, failure::Failure, render::text};
use crate::{
    model::{Run, RunId},
    storage::{ReadError, RunLog, SegmentRunLog},
    wire,
};

/// Bytes of events that are read at a time.
const BATCH_BYTES: usize = 1 << 20;

/// What was exported.
#[derive(Debug, Default, PartialEq, Eq)]
struct Exported {
    runs: usize,
    events: u64,
    /// Runs that could not be read to their end.
    damaged: usize,
    /// Runs that are not there.
    missing: Vec<RunId>,
}

/// The command.
pub(super) async fn export(args: ExportArgs) -> Result<Exit, Failure> {
    let log = open(&args.data)?;
    let all = args.run_ids.is_empty();
    let mut run_ids = if all { log.all().await } else { args.run_ids };
    let mut seen = HashSet::new();
    run_ids.retain(|it| seen.insert(*it));
    let exported = match &args.out {
        Some(file) => export_to(&*log, &run_ids, File::create(file)?).await?,
        None => export_to(&*log, &run_ids, io::stdout().lock()).await?,
    };
    let Exported { runs, events, damaged, missing } = exported;
    let damaged =
        if damaged == 0 { String::new() } else { format!(", damaged: {}", of(damaged as u64, "run")) };
    text::write_error(&format!("{}, {}{damaged}", of(runs as u64, "run"), of(events, "event")));
    // A gateway at work may have dropped some meanwhile. Those that a person has named are another matter.
    if all || missing.is_empty() { Ok(Exit::Good) } else { Err(Failure::NotFound(missing)) }
}

fn open(data: &Path) -> Result<Box<dyn RunLog>, Failure> {
    let folder = data.join("runs");
    let missing = format!("there are no runs in {}; --data names the folder of a gateway", data.display());
    if !folder.is_dir() {
        return Err(Failure::NoLog(missing));
    }
    let log = SegmentRunLog::open_read_only(&folder).map_err(|error| Failure::NoLog(error.to_string()))?;
    Ok(Box::new(log))
}

async fn export_to(log: &dyn RunLog, run_ids: &[RunId], out: impl Write) -> io::Result<Exported> {
    let mut out = BufWriter::new(out);
    let mut exported = Exported::default();
    for run_id in run_ids {
        match export_run(log, *run_id, &mut out, &mut exported).await? {
            Ok(()) => exported.runs += 1,
            Err(ReadError::NotFound) => exported.missing.push(*run_id),
            Err(error) => {
                exported.damaged += 1;
                text::write_error(&format!("run {run_id}: {error}; exported as far as it can be read"));
            }
        }
    }
    out.flush()?;
    Ok(exported)
}

/// Writes a run. The outer error is one of writing, the inner one of reading.
async fn export_run(
    log: &dyn RunLog,
    run_id: RunId,
    out: &mut impl Write,
    exported: &mut Exported,
) -> io::Result<Result<(), ReadError>> {
    let run = match log.run(run_id).await {
        Ok(run) => run,
        Err(error) => return Ok(Err(error)),
    };
    let params = log.params(run_id).await;
    let shown = params.as_ref().map_or(serde_json::Value::Null, |it| json!(it));
    writeln!(out, r#"{{"run":{},"params":{shown}}}"#, run_json(&run))?;
    let mut after = 0;
    loop {
        let slice = match log.read(run_id, after, BATCH_BYTES).await {
            Ok(slice) => slice,
            Err(error) => return Ok(Err(error)),
        };
        let Some(last) = slice.entries.last() else { break };
        after = last.event.sequence;
        for entry in &slice.entries {
            out.write_all(&wire::event_json(&entry.event))?;
            out.write_all(b"\n")?;
            exported.events += 1;
        }
    }
    Ok(params.map(drop))
}

fn of(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn run_json(run: &Run) -> String {
    String::from_utf8_lossy(&wire::run_json(&wire::run_message(run))).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{Command, Draft, Outcome, RunError, RunMachine, SessionId},
        runtime::clock,
        storage::{MemoryLimits, MemoryRunLog, NewRun},
    };

    async fn run(log: &MemoryRunLog, lines: usize) -> RunId {
        let (run_id, now) = (clock::new_run_id(), clock::now());
        let session_id = SessionId::new(Uuid::from_u128(1));
        let (mut machine, first) = RunMachine::create(run_id, session_id, "work".into(), now);
        let mut events = vec![first];
        let mut apply = |command| events.extend(machine.apply(command, now).unwrap());
        apply(Command::Start);
        (0..lines).for_each(|it| apply(Command::Emit(Draft::log(format!("line {it}\n\u{2028}")))));
        apply(Command::Finish(Outcome::Failed(RunError::interrupted())));
        let params = BTreeMap::from([("n".to_owned(), "7".to_owned())]);
        log.create(NewRun { run: machine.run().clone(), events, params, key: None }).await.unwrap();
        run_id
    }

    #[tokio::test]
    async fn each_run_is_a_line_and_its_events_follow() {
        let log = MemoryRunLog::new(MemoryLimits { per_run: 1 << 30, total: 1 << 30 });
        // The second one is read in several slices.
        let [short, long] = [run(&log, 1).await, run(&log, 5000).await];
        let gone = clock::new_run_id();
        let mut out = Vec::new();
        let exported = export_to(&log, &[short, gone, long], &mut out).await.unwrap();
        let wanted = Exported { runs: 2, events: 4 + 5003, damaged: 0, missing: vec![gone] };
        assert_eq!(exported, wanted);
        let lines: Vec<Value> =
            out.split(|it| *it == b'\n').filter_map(|it| serde_json::from_slice(it).ok()).collect();
        assert_eq!(lines.len(), 2 + 4 + 5003, "one line each");
        let (first, second) = (&lines[0], &lines[5]);
        for (line, id) in [(first, short), (second, long)] {
            assert_eq!(line["run"]["runId"], id.to_string());
            assert_eq!(line["run"]["state"], "RUN_STATE_FAILED");
            assert_eq!(line["params"], json!({"n": "7"}));
        }
        for (line, sequence) in lines[6..].iter().zip(1..) {
            let id = (&line["runId"], &line["sequence"]);
            assert_eq!(id, (&json!(long.to_string()), &json!(format!("{sequence}"))));
        }
        assert_eq!(lines[4]["error"]["code"], "interrupted");
    }
}
