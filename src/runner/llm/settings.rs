//! Which language model, where, and how patiently.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::Secret;

/// The language model that workers may ask. Left out, there is none, and workers do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LlmSettings {
    /// Where the API is: the address in front of `/chat/completions`, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The key, sent as a bearer token. Empty: none is sent, as local servers like it.
    pub api_key: Secret,
    /// The name of the model, as the server knows it.
    pub model: String,
    /// How long a connection may take to be made.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long the server may be silent: before its answer begins, and between two pieces of it.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// How long one call may take with all its retries.
    #[serde(with = "duration")]
    pub total_timeout: Duration,
    /// How often a call is tried again after a rate limit, a failure of the server or of the connection.
    pub max_retries: u32,
    /// The longest answer in bytes; a longer one fails the call.
    pub max_output_bytes: usize,
}

/// Why settings of a language model cannot be used.
#[derive(Debug, Error)]
pub enum LlmSettingsError {
    /// No model is named.
    #[error("llm.model is missing: the name of the model, as the server knows it")]
    NoModel,
    /// The address cannot be called.
    #[error("llm.base_url must be an http or https address without query, user or password")]
    BadBaseUrl,
    /// The key cannot be sent.
    #[error("llm.api_key holds characters that cannot be sent in a header")]
    BadApiKey,
    /// Bounds that let nothing pass.
    #[error("llm.{0} must be greater than zero")]
    Zero(&'static str),
    /// The HTTP client could not be made.
    #[error("the HTTP client for the language model could not be made")]
    Client(#[source] reqwest::Error),
}

impl LlmSettings {
    /// True when anything was set, so that half a configuration is told of instead of being taken for none.
    pub fn is_configured(&self) -> bool {
        *self != Self::default()
    }

    /// The address that is called.
    pub(super) fn endpoint(&self) -> Result<Url, LlmSettingsError> {
        let url = Url::parse(self.base_url.trim()).map_err(|_| LlmSettingsError::BadBaseUrl)?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || !plain || url.password().is_some() {
            return Err(LlmSettingsError::BadBaseUrl);
        }
        let base = url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/chat/completions")).map_err(|_| LlmSettingsError::BadBaseUrl)
    }

    /// What is wrong with the settings, beside the address and the key.
    pub(super) fn check(&self) -> Result<(), LlmSettingsError> {
        if self.model.trim().is_empty() {
            return Err(LlmSettingsError::NoModel);
        }
        let zero = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("total_timeout", self.total_timeout.is_zero()),
            ("max_output_bytes", self.max_output_bytes == 0),
        ];
        match zero.into_iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(LlmSettingsError::Zero(name)),
            None => Ok(()),
        }
    }
}

impl Default for LlmSettings {
    fn default() -> Self {
        Self {
            base_url: "https://api.openai.com/v1".to_owned(),
            api_key: Secret::default(),
            model: String::new(),
            connect_timeout: Duration::from_secs(10),
            // Models that think first are silent for long before the first piece.
            idle_timeout: Duration::from_mins(2),
            total_timeout: Duration::from_mins(10),
            max_retries: 3,
            max_output_bytes: 1 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_base(base_url: &str) -> LlmSettings {
        LlmSettings { base_url: base_url.to_owned(), model: "m".to_owned(), ..LlmSettings::default() }
    }

    #[test]
    fn nothing_set_means_no_model() {
        assert!(!LlmSettings::default().is_configured());
        assert!(!serde_json::from_str::<LlmSettings>("{}").unwrap().is_configured());
        assert!(LlmSettings { api_key: Secret::new("k"), ..LlmSettings::default() }.is_configured());
    }

    #[test]
    fn settings_are_read_with_units_and_without_unknown_keys() {
        let read: LlmSettings =
            toml::from_str("model = 'm'\nidle_timeout = '1m 30s'\nmax_retries = 0").unwrap();
        assert_eq!(read.idle_timeout, Duration::from_secs(90));
        assert_eq!(read.max_retries, 0);
        let unknown = toml::from_str::<LlmSettings>("modle = 'm'").unwrap_err().to_string();
        assert!(unknown.contains("modle"), "{unknown}");
    }

    #[test]
    fn the_key_is_not_in_what_is_printed() {
        let settings = LlmSettings { api_key: Secret::new("sk-1"), ..with_base("http://h/v1") };
        assert!(!format!("{settings:?}").contains("sk-1"));
        let printed = toml::to_string(&settings).unwrap();
        assert!(!printed.contains("sk-1") && printed.contains("idle_timeout = \"2m\""), "{printed}");
    }

    #[test]
    fn the_path_follows_the_base_address() {
        assert_eq!(with_base("http://h:1/v1").endpoint().unwrap().as_str(), "http://h:1/v1/chat/completions");
        assert_eq!(
            with_base("http://h:1/v1//").endpoint().unwrap().as_str(),
            "http://h:1/v1/chat/completions"
        );
        assert_eq!(with_base("https://h").endpoint().unwrap().as_str(), "https://h/chat/completions");
        for bad in ["", "h/v1", "ftp://h", "http://u:p@h/v1", "http://h/v1?k=1", "http://h/#x"] {
            assert!(matches!(with_base(bad).endpoint(), Err(LlmSettingsError::BadBaseUrl)), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(matches!(LlmSettings::default().check(), Err(LlmSettingsError::NoModel)));
        let settings = LlmSettings { max_output_bytes: 0, ..with_base("http://h") };
        assert!(matches!(settings.check(), Err(LlmSettingsError::Zero("max_output_bytes"))));
    }
}
