//! Language models: what a worker asks of one, and the client of servers that speak OpenAI's Chat Completions.
//!
//! Reading order: [`LanguageModel`] → `openai` (one call and its retries) → `answer` (what the server sent) → `sse`.

mod answer;
mod error;
mod openai;
mod retry;
mod settings;
mod sse;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use error::{BadResponse, LlmError, Unavailable, Waited};
pub use openai::OpenAiCompatible;
pub use settings::{LlmSettings, LlmSettingsError};

pub use crate::model::Secret;

use crate::model::Usage;

/// Something that continues a conversation.
#[async_trait]
pub trait LanguageModel: Send + Sync {
    /// Asks for the next message of the conversation.
    ///
    /// `on_delta` is called with each piece of the text as it arrives; the pieces together are [`Completion::text`].
    /// When the call fails after a piece was handed on, the pieces so far are all there will be.
    async fn complete(
        &self,
        request: Prompt,
        on_delta: OnDelta<'_>,
        cancel: &CancellationToken,
    ) -> Result<Completion, LlmError>;
}

/// Is given each piece of an answer as it arrives.
pub type OnDelta<'a> = &'a mut (dyn FnMut(&str) + Send);

/// What a model is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What the model is to be and do. Empty: left out.
    pub system: String,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// Asks for a JSON object instead of prose. Servers want the word JSON to stand in the prompt as well.
    pub json: bool,
    /// The most tokens the model may write. `None`: as many as the model allows.
    pub max_tokens: Option<u32>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person, or the worker in the person's place.
    User,
    /// The model.
    Assistant,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The whole text.
    pub text: String,
    /// What it cost; zeros when the server does not tell.
    pub usage: Usage,
    /// Why the model stopped.
    pub finish_reason: FinishReason,
}

/// Why a model stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said everything.
    Stop,
    /// It reached [`Prompt::max_tokens`] or its own limit: the text is incomplete.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// Something else, or the server does not tell.
    Other,
}

impl Message {
    /// A message of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}
