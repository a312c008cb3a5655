//! The conversation without a language model: rules that read the repository.

use super::{Known, Plan};
use crate::{
    model::{RunError, Session, WorkerKey, repo_name},
    runner::{Resolver, Task, Worker},
};

/// Words of a person's wish that are too short to tell workers apart.
const SHORTEST_WORD: usize = 4;
/// Workers of a plan, beside those that read the repository.
const MOST_WORKERS: usize = 8;

/// What is said first.
pub(super) fn greeting(session: &Session) -> String {
    if session.repo_url.is_empty() {
        return "Hello! What would you like to do? Tell me your goal, and name a repository: \
                the path of a folder on this machine, or a URL that git can clone."
            .to_owned();
    }
    format!("Hello! I can read {} for you. What would you like to find out, or to get done?", session.repo)
}

/// What is asked when a wish is known but no repository.
pub(super) fn which_repository() -> String {
    "Which repository is this about? Give me the path of a folder on this machine, or a URL that git can clone."
        .to_owned()
}

/// A plan by rules: read the repository, then run every worker that the person's words are about.
pub(super) async fn plan(task: &Task, resolver: &Resolver, known: &Known) -> Result<Plan, RunError> {
    let name = repo_name(&known.address);
    let wish = if known.wish.is_empty() { &task.request.session.purpose } else { &known.wish };
    let purpose = if wish.is_empty() { format!("Get to know {name}") } else { wish.clone() };
    let workers = workers_for(resolver, &purpose, known);
    let message = message(&name, known, &workers);
    task.emitter.log(message.clone()).await?;
    Ok(Plan { purpose, message, workers, usage: None })
}

/// The workers of a plan, by key.
pub(super) fn workers_for(resolver: &Resolver, purpose: &str, known: &Known) -> Vec<WorkerKey> {
    let mut planned: Vec<WorkerKey> = vec![super::repo_scan::KEY.into()];
    if !known.packages.packages.is_empty() {
        planned.push(super::package_graph::KEY.into());
    }
    let words: Vec<String> = words(purpose).collect();
    let mut scored: Vec<_> = candidates(resolver)
        .map(|key_and_text| {
            let (key, text) = key_and_text;
            let score = self::words(&text).filter(|it| words.contains(it)).count();
            (score, key)
        })
        .filter(|(score, key)| *score > 0 && !planned.contains(key))
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    planned.extend(scored.into_iter().take(MOST_WORKERS).map(|(_, key)| key));
    planned
}

/// Workers that a plan may be made of: all but those that make or show plans, or need parameters of their own.
pub(super) fn candidates(resolver: &Resolver) -> impl Iterator<Item = (WorkerKey, String)> {
    let plannable = |worker: &std::sync::Arc<dyn Worker>| {
        !matches!(
            worker.spec().key.normalized(),
            super::KEY | "worker_dag" | "test_pipeline" | "session_plan" | "mcp_tools" | "mcp_call"
        )
    };
    resolver.workers().into_iter().filter(plannable).map(|worker| {
        let spec = worker.spec();
        (spec.key.clone(), format!("{} {}", spec.key, spec.description))
    })
}

/// What the rules found, in words.
pub(super) fn message(name: &str, known: &Known, workers: &[WorkerKey]) -> String {
    let scan = &known.scan;
    let mut text = format!("I have read {name}: {} files", scan.files);
    let shares: Vec<_> =
        top_languages(known).map(|(language, share)| format!("{language} {share} %")).collect();
    if !shares.is_empty() {
        text.push_str(&format!(", mostly {}", shares.join(", ")));
    }
    text.push('.');
    if let Some(readme) = scan.readme.as_ref().filter(|it| !it.summary.is_empty()) {
        let summary: String = whole_sentences(&readme.summary).chars().take(300).collect();
        text.push_str(&format!(" Its README says: {summary}"));
        if !summary.ends_with(['.', '!', '?', '…']) {
            text.push('.');
        }
    }
    let packages = known.packages.packages.len();
    if packages > 0 {
        let edges = known.packages.dependencies.len();
        let cycles = known.packages.cycles.iter().filter(|it| !it.development).count();
        let packages = counted(packages, "package", "packages");
        let edges = counted(edges, "dependency", "dependencies");
        text.push_str(&format!(" It has {packages} with {edges} between them"));
        text.push_str(if cycles > 0 { ", some of them in a circle." } else { "." });
    }
    let mut starts: Vec<_> = scan.entry_points.iter().map(|it| it.path.as_str()).collect();
    starts.dedup();
    starts.truncate(3);
    if !starts.is_empty() {
        text.push_str(&format!(" It starts at {}.", starts.join(", ")));
    }
    let keys: Vec<_> = workers.iter().map(WorkerKey::as_str).collect();
    text.push_str(&format!(" The plan: {}. Start `session_plan` to run it.", keys.join(", ")));
    text
}

/// The text without a last sentence that only leads to a list.
fn whole_sentences(text: &str) -> &str {
    let Some(text) = text.strip_suffix(':') else { return text };
    text.rfind(". ").map_or(text, |at| &text[..=at])
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn top_languages(known: &Known) -> impl Iterator<Item = (String, u64)> {
    let mut shares: Vec<_> =
        known.scan.shares().into_iter().map(|(name, share)| (name.to_owned(), share)).collect();
    shares.sort_by_key(|(_, share)| std::cmp::Reverse(*share));
    shares.into_iter().take(3)
}

/// The words of a text that tell something, in lower case and without endings that do not matter.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.filter(|it| it.len() >= SHORTEST_WORD).map(|it| it.trim_end_matches(['s', 'e']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runner::{Catalog, CommandWorker, WorkerSettings};

    fn resolver() -> Resolver {
        let mut catalog = Catalog::builtin();
        for (key, description) in [("lint", "Finds style problems"), ("count", "counts the lines of a file")]
        {
            let settings = format!("command = ['true']\ndescription = '{description}'");
            let settings: WorkerSettings = toml::from_str(&settings).unwrap();
            catalog.add(Arc::new(CommandWorker::new(key.into(), settings, ".".into()))).unwrap();
        }
        Resolver::new(Arc::new(catalog), [])
    }

    #[test]
    fn a_sentence_that_only_leads_to_a_list_is_left_out() {
        assert_eq!(whole_sentences("A runtime for all. It is:"), "A runtime for all.");
        assert_eq!(whole_sentences("Contents:"), "Contents");
        assert_eq!(whole_sentences("One. Two"), "One. Two");
    }

    fn known() -> Known {
        Known {
            address: "/srv/one".into(),
            wish: String::new(),
            scan: Default::default(),
            packages: Default::default(),
        }
    }

    #[test]
    fn a_plan_has_the_workers_that_the_words_are_about() {
        let keys = |purpose| -> Vec<String> {
            workers_for(&resolver(), purpose, &known()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(keys("Please count my lines"), ["repo_scan", "count"]);
        assert_eq!(keys("which style problems are there?"), ["repo_scan", "lint"]);
        assert_eq!(keys("hello"), ["repo_scan"]);
    }
}
