//! `rungate cancel`: ask a run to stop.

use super::{Exit, args::CancelArgs, client::Client, failure::Failure, render::text};

/// The command. A run that has ended keeps its state, which is told.
pub(super) async fn cancel(args: CancelArgs) -> Result<Exit, Failure> {
    let mut client = Client::new(&args.gateway.gateway)?;
    let state = client.cancel_run(&args.run_id, &args.reason).await?;
    text::write_line(&format!("{} {}", args.run_id, text::state_name(state)))?;
    Ok(Exit::Good)
}
