//! `rungate watch`: a run's events until it ends.

use super::{
    Exit,
    args::WatchArgs,
    ask::Answers,
    client::Client,
    failure::Failure,
    follow::{Ended, Follow, OnInterrupt, Subject},
    interrupt::Interrupts,
    render,
    resume::Resume,
};

/// The command. A person at a terminal can answer what the run asks.
pub(super) async fn watch(args: WatchArgs) -> Result<Exit, Failure> {
    let mut client = Client::new(&args.gateway.gateway)?;
    let mut interrupts = Interrupts::new()?;
    let run = interrupts.or(client.get_run(&args.run_id)).await?;
    let mut out = render::new(args.follow.json, &run.pipeline_id);
    let follow = Follow {
        client: &mut client,
        out: &mut *out,
        answers: &mut Answers::from_terminal(),
        interrupts: &mut interrupts,
    };
    let subject = Subject {
        run_id: args.run_id.clone(),
        session_id: run.session_id,
        resume: Resume::new(args.after.trim(), run.last_sequence, args.follow.give_up_after),
        on_interrupt: OnInterrupt::Leave,
    };
    let ended = follow.until_end(subject).await?;
    if let Ended::ContinuedBy(run_id) = &ended {
        let argument = client.gateway().as_argument();
        out.notice(&format!("the answer is handled by another run; see: rungate watch {run_id}{argument}"))?;
    }
    Ok(ended.exit())
}
