//! `plan_pipeline`: the conversation that finds out what the user wants.
//!
//! Without input it greets and asks. With input it reads the repository, through the workers it requires, and answers
//! with a message, a purpose and a plan. The words come from the language model where one is configured (`words`), else
//! from rules that read the repository (`rules`).

mod rules;
mod words;

use async_trait::async_trait;
use serde_json::json;

use super::{package_graph, repo_scan, repository};
use crate::{
    model::{
        ClientView, Graph, GraphEdge, GraphNode, RunError, SessionUpdate, Usage, WorkerKey, shown_address,
    },
    runner::{
        Resolver, RunRequest, Task, Worker, WorkerOutput, WorkerSpec,
        repo::{packages::PackageGraph, scan::Scan},
    },
};

pub(super) const KEY: &str = "plan_pipeline";

/// The message of the COMPLETE event when the person is to answer.
const INPUT_REQUIRED: &str = "INPUT_REQUIRED";
/// The message of the COMPLETE event when there is a plan.
const COMPLETE: &str = "COMPLETE";
/// The part of the work that questions and greetings belong to.
const BOOTSTRAP: &str = "bootstrap";
/// The part of the work that the plan belongs to.
const PLAN: &str = "plan";

/// See the module.
pub(super) struct PlanPipeline {
    spec: WorkerSpec,
}

/// What is known when the plan is made.
struct Known {
    address: String,
    /// What the person wants, in their words; may be empty.
    wish: String,
    scan: Scan,
    packages: PackageGraph,
}

/// What comes out.
struct Plan {
    purpose: String,
    message: String,
    workers: Vec<WorkerKey>,
    usage: Option<Usage>,
}

impl PlanPipeline {
    pub(super) fn new() -> Self {
        let spec = WorkerSpec::builtin(KEY, "Finds out what you want, reads the repository, makes a plan");
        Self { spec: WorkerSpec { requires: vec![repo_scan::KEY.into(), package_graph::KEY.into()], ..spec } }
    }
}

#[async_trait]
impl Worker for PlanPipeline {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    /// The repository is read only when there is something to answer to, and something to read.
    fn requires(&self, request: &RunRequest) -> Vec<WorkerKey> {
        let reads =
            !repository::user_input(request).is_empty() && repository::repo_address(request).is_some();
        if reads { self.spec.requires.clone() } else { Vec::new() }
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let input = repository::user_input(&task.request);
        if input.is_empty() {
            return ask(&task, rules::greeting(&task.request.session), None).await;
        }
        let Some(address) = repository::repo_address(&task.request) else {
            let learnt = SessionUpdate { purpose: short(input), ..SessionUpdate::default() };
            return ask(&task, rules::which_repository(), Some(learnt)).await;
        };
        let wish = match repository::mention(&task.request) {
            Some(mention) => mention.rest,
            None => input.to_owned(),
        };
        let known = Known {
            address,
            wish: short(&wish),
            scan: input_of(&task, repo_scan::KEY)?,
            packages: input_of(&task, package_graph::KEY)?,
        };
        task.emitter.progress(30, "making a plan").await?;
        let resolver = task.context.resolver(&task.request.session);
        let plan = match task.context.model() {
            Some(model) => words::plan(&task, model, &resolver, &known).await?,
            None => rules::plan(&task, &resolver, &known).await?,
        };
        Ok(answer(&resolver, known, plan))
    }
}

/// Asks the person something; the run ends, and the answer starts the next one.
async fn ask(task: &Task, question: String, learnt: Option<SessionUpdate>) -> Result<WorkerOutput, RunError> {
    let (question, usage) = match task.context.model() {
        Some(model) => words::ask(task, model, question).await?,
        None => {
            task.emitter.log(question.clone()).await?;
            (question, None)
        }
    };
    let value = json!({
        "assistant_message": question,
        "purpose": learnt.as_ref().map_or("", |it| it.purpose.as_str()),
        "repo_url": "",
        "need_more_input": true,
        "followup_question": question,
    });
    let view = Some(ClientView::llm_response(BOOTSTRAP, &question));
    Ok(WorkerOutput { value, view, message: Some(INPUT_REQUIRED.to_owned()), usage, learnt })
}

fn answer(resolver: &Resolver, known: Known, plan: Plan) -> WorkerOutput {
    let keys: Vec<_> = plan.workers.iter().map(WorkerKey::as_str).collect();
    let value = json!({
        "assistant_message": plan.message,
        "purpose": plan.purpose,
        "repo_url": shown_address(&known.address),
        "need_more_input": false,
        "followup_question": "",
        "plan": keys,
    });
    let view = Some(plan_view(resolver, &plan.workers, &plan.purpose));
    let learnt = SessionUpdate { purpose: plan.purpose, repo_url: known.address, plan: plan.workers };
    WorkerOutput { value, view, message: Some(COMPLETE.to_owned()), usage: plan.usage, learnt: Some(learnt) }
}

/// The workers of a plan as a graph, with what they require, an edge from each requirement, and the purpose at the end.
pub(super) fn plan_view(resolver: &Resolver, workers: &[WorkerKey], purpose: &str) -> ClientView {
    let mut graph = Graph::default();
    let end = super::session_plan::KEY;
    let mut shown: Vec<WorkerKey> = Vec::new();
    let mut left: Vec<WorkerKey> = workers.iter().rev().cloned().collect();
    while let Some(key) = left.pop() {
        if shown.contains(&key) {
            continue;
        }
        if let Some(worker) = resolver.resolve(&key) {
            let spec = worker.spec();
            graph.nodes.push(GraphNode::new(spec.key.as_str(), spec.key.as_str(), &spec.description));
            for required in &spec.requires {
                let required =
                    resolver.resolve(required).map_or(required.clone(), |it| it.spec().key.clone());
                graph.edges.push(GraphEdge::new(required.as_str(), spec.key.as_str()));
                left.push(required);
            }
        }
        shown.push(key);
    }
    let last = graph.nodes.iter().filter(|node| !graph.edges.iter().any(|edge| edge.from == node.uid));
    let to_end: Vec<_> = last.map(|node| GraphEdge::new(&node.uid, end)).collect();
    graph.edges.extend(to_end);
    graph.nodes.push(GraphNode::new(end, end, purpose));
    ClientView::graph(PLAN, graph)
}

fn input_of<T: serde::de::DeserializeOwned>(task: &Task, key: &str) -> Result<T, RunError> {
    let output = task.inputs.get(&key.into())?;
    serde_json::from_value(output.value.clone()).map_err(|error| {
        RunError::permanent("internal", format!("the output of {key} is not understood: {error}"))
    })
}

/// Words that fit into a session.
fn short(text: &str) -> String {
    text.chars().take(500).collect()
}
