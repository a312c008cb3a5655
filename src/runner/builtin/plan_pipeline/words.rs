//! The conversation with a language model. Where the model fails or talks nonsense the rules take over, and the log says
//! so.

use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Known, Plan, rules};
use crate::{
    model::{RunError, Usage, WorkerKey, repo_name},
    runner::{
        Resolver, Task,
        llm::{Completion, LanguageModel, LlmError, Message, Prompt},
    },
};

/// Pieces of an answer on their way to the log. More are gathered into one until there is room.
const PIECES: usize = 64;

const ASK: &str = "You are the assistant of a gateway that runs work on software repositories. Say the following to the \
                   user in your own words, friendly and in at most three sentences. Ask exactly one question.";
const PLAN: &str = "You plan work on a software repository. Answer with one JSON object: {\"purpose\": what the user \
                    wants in one sentence, \"plan\": [keys of the workers to run, in order, out of the given ones only]}.";
const ANSWER: &str = "You are the assistant of a gateway that runs work on software repositories. Tell the user in at \
                      most six sentences what the repository is and what the plan will do. Invent nothing.";

#[derive(Deserialize)]
struct Planned {
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    plan: Vec<String>,
}

/// Says `text` in the model's words.
pub(super) async fn ask(
    task: &Task,
    model: &dyn LanguageModel,
    text: String,
) -> Result<(String, Option<Usage>), RunError> {
    match say(task, model, ASK, text.clone()).await? {
        Ok(said) => Ok((said.text, Some(said.usage))),
        Err(error) => {
            fall_back(task, &error).await?;
            task.emitter.log(text.clone()).await?;
            Ok((text, None))
        }
    }
}

/// Makes a plan, and tells the person of it.
pub(super) async fn plan(
    task: &Task,
    model: &dyn LanguageModel,
    resolver: &Resolver,
    known: &Known,
) -> Result<Plan, RunError> {
    let facts = facts(resolver, known).to_string();
    let prompt = Prompt {
        system: PLAN.to_owned(),
        messages: vec![Message::user(facts.clone())],
        json: true,
        max_tokens: None,
    };
    let planned = match model.complete(prompt, &mut |_| {}, &task.cancel).await {
        Ok(planned) => planned,
        Err(error) => {
            fall_back(task, &error).await?;
            return rules::plan(task, resolver, known).await;
        }
    };
    let mut usage = planned.usage;
    let name = repo_name(&known.address);
    let Some((purpose, workers)) = understand(&planned.text, resolver) else {
        task.emitter.log("the language model gave no plan; making one by rules").await?;
        return Ok(Plan { usage: Some(usage), ..rules::plan(task, resolver, known).await? });
    };
    let by_rules = rules::message(&name, known, &workers);
    let message =
        match say(task, model, ANSWER, format!("{facts}\n\nThe plan: {workers:?}\n\n{by_rules}")).await? {
            Ok(said) => {
                usage += said.usage;
                said.text
            }
            Err(error) => {
                fall_back(task, &error).await?;
                task.emitter.log(by_rules.clone()).await?;
                by_rules
            }
        };
    Ok(Plan { purpose: super::short(&purpose), message, workers, usage: Some(usage) })
}

/// What the model is told of the repository and the workers.
fn facts(resolver: &Resolver, known: &Known) -> serde_json::Value {
    let workers: Vec<_> =
        rules::candidates(resolver).map(|(key, text)| json!({"key": key, "does": text})).collect();
    let packages: Vec<_> = known.packages.packages.iter().take(50).map(|it| &it.name).collect();
    let entry_points: Vec<_> = known.scan.entry_points.iter().take(20).map(|it| &it.path).collect();
    json!({
        "user_says": known.wish,
        "repository": {
            "name": repo_name(&known.address),
            "files": known.scan.files,
            "languages_percent": known.scan.shares(),
            "readme": known.scan.readme,
            "entry_points": entry_points,
            "packages": packages,
        },
        "workers": workers,
    })
}

/// The purpose and the plan; workers that were not offered are left out, and none is named twice. `None` when nothing is left.
fn understand(text: &str, resolver: &Resolver) -> Option<(String, Vec<WorkerKey>)> {
    let text = text.trim().trim_start_matches("```json").trim_matches('`');
    let planned: Planned = serde_json::from_str(text).ok()?;
    let offered: Vec<_> = rules::candidates(resolver).map(|(key, _)| key).collect();
    let mut workers: Vec<WorkerKey> = Vec::new();
    for key in planned.plan.iter().map(|it| WorkerKey::new(it)) {
        if let Some(key) = offered.iter().find(|it| **it == key).filter(|it| !workers.contains(it)) {
            workers.push(key.clone());
        }
    }
    (!workers.is_empty() && !planned.purpose.trim().is_empty())
        .then(|| (planned.purpose.trim().to_owned(), workers))
}

/// Lets the model speak; its words reach the log piece by piece.
async fn say(
    task: &Task,
    model: &dyn LanguageModel,
    system: &str,
    text: String,
) -> Result<Result<Completion, LlmError>, RunError> {
    let prompt = Prompt {
        system: system.to_owned(),
        messages: vec![Message::user(text)],
        json: false,
        max_tokens: None,
    };
    let (pieces, mut said) = mpsc::channel::<String>(PIECES);
    let mut gathered = String::new();
    let speak = async move {
        let mut hand_on = |piece: &str| {
            gathered.push_str(piece);
            if let Ok(room) = pieces.try_reserve() {
                room.send(std::mem::take(&mut gathered));
            }
        };
        let completion = model.complete(prompt, &mut hand_on, &task.cancel).await;
        if !gathered.is_empty() {
            drop(pieces.send(gathered).await);
        }
        completion
    };
    let write = async {
        while let Some(piece) = said.recv().await {
            task.emitter.delta(piece).await?;
        }
        Ok::<_, RunError>(())
    };
    let (completion, written) = tokio::join!(speak, write);
    written?;
    Ok(completion)
}

async fn fall_back(task: &Task, error: &LlmError) -> Result<(), RunError> {
    Ok(task.emitter.log(format!("{error}; going on by rules")).await?)
}
