//! `plan_pipeline` end to end: with a language model, with one that fails or talks nonsense, and with none.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    openai_server::{Answer, OpenAiServer},
    story, trial,
};

const GREETING: &str = "Good day! What may I find out for you?";

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("conversation::a_model_greets_piece_by_piece", greeting),
        trial("conversation::a_model_makes_the_plan", plan),
        trial("conversation::nonsense_of_a_model_is_replaced_by_rules", nonsense),
        trial("conversation::a_model_that_fails_is_replaced_by_rules", failing),
        trial("conversation::without_a_model_rules_make_a_plan_that_runs", rules),
        trial("conversation::a_wish_without_a_repository_is_kept", which_repository),
    ]
}

/// A gateway, a client of it, and a session about a small repository.
struct Talk {
    _gateway: Gateway,
    client: Client,
    repository: TempDir,
    session: String,
    bootstrap: Vec<Value>,
}

impl Talk {
    async fn begin(model: Option<&OpenAiServer>) -> Self {
        let mut setup = Setup::default();
        if let Some(model) = model {
            let model =
                format!("[llm]\nbase_url = \"{}\"\nmodel = \"m\"\napi_key = \"key\"\n", model.base_url);
            setup = setup.config(&model);
        }
        let gateway = setup.start().await;
        let client = Client::new(Protocol::Grpc, gateway.address());
        let repository = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"thing\"\nversion = \"1.0.0\"\n";
        for (name, text) in [
            ("README.md", "# thing\n\nCounts the stars above.\n"),
            ("Cargo.toml", manifest),
            ("main.rs", "fn main() {}\n"),
        ] {
            std::fs::write(repository.path().join(name), text).unwrap();
        }
        let made = client.call("InitRun", json!({"repoUrl": repository.path()})).await.unwrap();
        let bootstrap = story::log_of(client, story::text(&made["bootstrapRunId"])).await;
        let session = story::text(&made["sessionId"]).to_owned();
        Self { _gateway: gateway, client, repository, session, bootstrap }
    }

    async fn say(&self, input: &str) -> Vec<Value> {
        let said = json!({"sessionId": self.session, "input": input});
        let answer = self.client.call("SubmitRunInput", said).await.unwrap();
        story::log_of(self.client, story::text(&answer["runId"])).await
    }

    async fn session(&self) -> Value {
        self.client.call("GetSession", json!({"sessionId": self.session})).await.unwrap()["session"].clone()
    }
}

fn said(log: &[Value]) -> String {
    log.iter().filter_map(|it| it["delta"]["text"].as_str()).collect()
}

fn told(log: &[Value], text: &str) -> bool {
    log.iter().any(|it| it["message"].as_str().is_some_and(|it| it.contains(text)))
}

/// The output of a run that has made a plan.
fn planned(log: &[Value]) -> &Value {
    let end = log.last().unwrap();
    assert_eq!(
        (&end["eventType"], &end["message"]),
        (&json!("EVENT_TYPE_COMPLETE"), &json!("COMPLETE")),
        "{end:#}"
    );
    assert_eq!(end["clientView"]["phase"], "plan");
    &end["result"]["output"]
}

async fn greeting() {
    let model = OpenAiServer::start([Answer::words(GREETING)]).await;
    let talk = Talk::begin(Some(&model)).await;
    let log = &talk.bootstrap;
    assert_eq!(said(log), GREETING);
    let end = log.last().unwrap();
    assert_eq!(end["message"], "INPUT_REQUIRED");
    assert_eq!(end["clientView"], json!({"phase": "bootstrap", "llmResponse": GREETING}));
    assert_eq!(end["result"]["output"]["followup_question"], GREETING);
    assert_eq!(end["result"]["usage"], json!({"inputTokens": "7", "outputTokens": "3"}));
    let asked = model.asked();
    assert_eq!((asked.len(), asked[0].authorization.as_deref()), (1, Some("Bearer key")));
    assert_eq!((&asked[0].body["model"], &asked[0].body["stream"]), (&json!("m"), &json!(true)));
}

async fn plan() {
    let chosen = json!({
        "purpose": "Count what it counts",
        // What does not exist, is no part of a plan, or stands there twice is left out.
        "plan": ["REPO_SCAN", "no_such_worker", "plan_pipeline", "session_plan", "package_graph", "repo_scan"],
    });
    let answers = [
        Answer::words(GREETING),
        Answer::Plain(format!("```json\n{chosen}\n```")),
        Answer::words("It counts stars. The plan reads it."),
    ];
    let model = OpenAiServer::start(answers).await;
    let talk = Talk::begin(Some(&model)).await;
    let log = talk.say("what does it count?").await;
    let output = planned(&log);
    assert_eq!(output["purpose"], "Count what it counts");
    assert_eq!(output["plan"], json!(["repo_scan", "package_graph"]));
    assert_eq!(output["assistant_message"], "It counts stars. The plan reads it.");
    assert_eq!(said(&log), "It counts stars. The plan reads it.");
    let usage = &log.last().unwrap()["result"]["usage"];
    assert_eq!(usage, &json!({"inputTokens": "14", "outputTokens": "6"}), "both questions are charged");
    let facts = model.asked()[1].body.to_string();
    assert!(facts.contains("Counts the stars above") && facts.contains("what does it count?"), "{facts}");
    assert_eq!(talk.session().await["purpose"], "Count what it counts");
    let run = story::start(talk.client, &talk.session, "session_plan").await.unwrap();
    let log = story::log_of(talk.client, &run).await;
    assert_eq!(log.last().unwrap()["result"]["output"]["repo_scan"]["files"], 3.0, "{log:#?}");
}

async fn nonsense() {
    for answer in ["I am a teapot.", "{\"plan\": [\"no_such_worker\"], \"purpose\": \"x\"}", "[]"] {
        let model = OpenAiServer::start([Answer::words(GREETING), Answer::Plain(answer.to_owned())]).await;
        let talk = Talk::begin(Some(&model)).await;
        let log = talk.say("what does it count?").await;
        assert!(told(&log, "the language model gave no plan; making one by rules"), "{log:#?}");
        assert_eq!(planned(&log)["plan"], json!(["repo_scan", "package_graph"]));
        let usage = &log.last().unwrap()["result"]["usage"];
        assert_eq!(usage, &json!({"inputTokens": "7", "outputTokens": "3"}), "nonsense is charged too");
    }
}

async fn failing() {
    let model = OpenAiServer::start([Answer::status(401)]).await;
    let talk = Talk::begin(Some(&model)).await;
    let by_rules = "the language model did not accept the API key; going on by rules";
    assert!(told(&talk.bootstrap, by_rules), "{:#?}", talk.bootstrap);
    assert!(told(&talk.bootstrap, "Hello!"));
    assert!(!told(&talk.bootstrap, "scripted"), "what the server said is not for clients");
    let log = talk.say("what does it count?").await;
    assert!(told(&log, by_rules));
    assert_eq!(planned(&log)["plan"], json!(["repo_scan", "package_graph"]));
}

async fn rules() {
    let talk = Talk::begin(None).await;
    assert!(told(&talk.bootstrap, "Hello!"), "{:#?}", talk.bootstrap);
    let log = talk.say("what does it count?").await;
    let output = planned(&log);
    assert_eq!(output["purpose"], "what does it count?");
    assert!(story::text(&output["assistant_message"]).contains("Counts the stars above"), "{output:#}");
    let session = talk.session().await;
    assert_eq!(session["repoUrl"], json!(talk.repository.path()));
    assert_eq!(session["purpose"], "what does it count?");
    let run = story::start(talk.client, &talk.session, "session_plan").await.unwrap();
    let output = story::log_of(talk.client, &run).await.pop().unwrap()["result"]["output"].clone();
    assert_eq!(output["package_graph"]["packages"][0]["name"], "thing", "{output:#}");
}

async fn which_repository() {
    let gateway = Setup::default().start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let said = json!({"sessionId": session, "input": "count the lines"});
    let answer = client.call("SubmitRunInput", said).await.unwrap();
    let log = story::log_of(client, story::text(&answer["runId"])).await;
    assert_eq!(log.last().unwrap()["message"], "INPUT_REQUIRED");
    assert!(told(&log, "Which repository"), "{log:#?}");
    let read = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(read["session"]["purpose"], "count the lines");
}
