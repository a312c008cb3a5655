//! `rungate workers`: what can be started.

use tonic::Code;

use super::{
    Exit,
    args::WorkersArgs,
    client::Client,
    failure::Failure,
    render::{table::Table, text},
    session_file::SessionFile,
};
use crate::wire::{self, v1};

/// The command.
pub(super) async fn workers(args: WorkersArgs) -> Result<Exit, Failure> {
    let mut client = Client::new(&args.gateway.gateway)?;
    let workers = match &args.session {
        Some(session_id) => client.list_workers(session_id).await?,
        None => of_remembered(&mut client).await?,
    };
    if args.json {
        for worker in &workers {
            text::write_bytes(&wire::worker_json(worker))?;
        }
        return Ok(Exit::Good);
    }
    let mut table = Table::new(&["KEY", "BACKEND", "REQUIRES", "DESCRIPTION"]);
    for worker in workers {
        let requires = worker.requires.join(", ");
        table.row(vec![worker.key.into(), worker.backend.into(), requires.into(), worker.description.into()]);
    }
    table.print()?;
    Ok(Exit::Good)
}

/// With the workers of the remembered session, as long as the gateway knows it.
async fn of_remembered(client: &mut Client) -> Result<Vec<v1::Worker>, Failure> {
    let Some(session_id) = SessionFile::of(client.gateway()).read() else {
        return client.list_workers("").await;
    };
    match client.list_workers(session_id.as_str()).await {
        Err(failure) if failure.code() == Some(Code::NotFound) => client.list_workers("").await,
        workers => workers,
    }
}
