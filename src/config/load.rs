//! Puts the configuration together from its sources, and says clearly what is wrong with them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Config, KEYS};

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "rungate.toml";
/// What environment variables begin with.
const ENV_PREFIX: &str = "RUNGATE_";
/// Names are taken for misspelt keys when they are at least so similar, on a scale from 0 to 1.
const SIMILAR: f64 = 0.6;

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file that was named; without one `rungate.toml` is read if it is there.
    pub file: Option<PathBuf>,
    /// Environment variables; only those with the prefix `RUNGATE_` count.
    pub environment: Vec<(String, String)>,
    /// Flags, as dotted keys with their values.
    pub flags: Vec<(&'static str, Value)>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The named file cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`{}", .nearest.as_ref().map(|it| format!("; did you mean `{it}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file or the environment.
        place: String,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value does not fit its key.
    #[error("{0}")]
    BadValue(String),
}

/// Reads the sources; a later one overrides an earlier one key by key.
pub fn load(sources: Sources) -> Result<Config, ConfigError> {
    let mut table = Table::new();
    let mut folder = PathBuf::from(".");
    if let Some((file, text)) = read_file(sources.file)? {
        folder = file.parent().filter(|it| !it.as_os_str().is_empty()).map_or(folder, Path::to_owned);
        table = text
            .parse()
            .map_err(|error| ConfigError::Malformed { file: file.clone(), source: Box::new(error) })?;
        check_keys(&file.display().to_string(), &table)?;
    }
    for (name, text) in sources.environment {
        if let Some(name) = name.strip_prefix(ENV_PREFIX).filter(|name| !is_of_orchestrator(name)) {
            let key = key_of_variable(name)?;
            set(&mut table, key, value_of_text(key, &text)?);
        }
    }
    for (key, value) in sources.flags {
        set(&mut table, key, value);
    }
    let config: Result<Config, toml::de::Error> = Value::Table(table).try_into();
    let config = config.map_err(|error| ConfigError::BadValue(error.to_string()))?;
    match config.run.problem().or_else(|| config.ws.problem()) {
        Some(problem) => Err(ConfigError::BadValue(problem)),
        None => Ok(Config { folder, ..config }),
    }
}

/// True for the variables that Kubernetes sets for a service of the name `rungate`.
fn is_of_orchestrator(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

fn read_file(named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let required = named.is_some();
    let file = named.unwrap_or_else(|| DEFAULT_FILE.into());
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some((file, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { file, source }),
    }
}

fn check_keys(place: &str, table: &Table) -> Result<(), ConfigError> {
    let mut keys = Vec::new();
    flatten(table, "", &mut keys);
    for key in keys {
        if !KEYS.iter().any(|it| fits(it.name, &key)) {
            let nearest = nearest(&key, KEYS.iter().map(|it| it.name));
            return Err(ConfigError::UnknownKey { place: place.to_owned(), key, nearest });
        }
    }
    Ok(())
}

/// The dotted names of all values. A table that a key stands for as a whole is a value.
fn flatten(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if !KEYS.iter().any(|it| fits(it.name, &key)) => flatten(inner, &key, keys),
            _ => keys.push(key),
        }
    }
}

/// True when `key` is named by `name`, in which a `*` stands for one segment.
fn fits(name: &str, key: &str) -> bool {
    let (mut names, mut keys) = (name.split('.'), key.split('.'));
    loop {
        match (names.next(), keys.next()) {
            (None, None) => return true,
            (Some(name), Some(key)) if name == "*" || name == key => {}
            _ => return false,
        }
    }
}

fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let last = wrong.rsplit('.').next().unwrap_or(wrong);
    let scored = names.map(|name| {
        let name_last = name.rsplit('.').next().unwrap_or(name);
        let whole = strsim::jaro_winkler(wrong, name);
        (whole.max(0.95 * strsim::jaro_winkler(last, name_last)), name)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= SIMILAR).then(|| best.1.to_owned())
}

fn key_of_variable(name: &str) -> Result<&'static str, ConfigError> {
    let variable = |key: &str| key.replace('.', "_").to_uppercase();
    let settable = || KEYS.iter().map(|it| it.name).filter(|it| !it.contains('*'));
    settable().find(|key| variable(key) == name).ok_or_else(|| {
        let nearest = nearest(&name.to_lowercase(), settable());
        let nearest = nearest.map(|it| format!("{ENV_PREFIX}{}", variable(&it)));
        ConfigError::UnknownKey {
            place: "environment".to_owned(),
            key: format!("{ENV_PREFIX}{name}"),
            nearest,
        }
    })
}

/// The text as the type that the key's default has; a list is separated by commas.
fn value_of_text(key: &str, text: &str) -> Result<Value, ConfigError> {
    let defaults = Value::try_from(Config::default()).unwrap_or_else(|_| Value::Table(Table::new()));
    let default = key.split('.').try_fold(&defaults, |table, name| table.get(name));
    let wrong = |wanted: &str| {
        let variable = key.replace('.', "_").to_uppercase();
        ConfigError::BadValue(format!("{ENV_PREFIX}{variable}: `{text}` is no {wanted}"))
    };
    match default {
        Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|_| wrong("whole number")),
        Some(Value::Boolean(_)) => {
            text.trim().parse().map(Value::Boolean).map_err(|_| wrong("true or false"))
        }
        _ if KEYS.iter().any(|it| it.name == key && it.unit.starts_with("list")) => {
            let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            Ok(Value::Array(items.map(|it| Value::String(it.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Sources {
        let environment = pairs.iter().map(|(key, it)| ((*key).to_owned(), (*it).to_owned())).collect();
        Sources { environment, ..Sources::default() }
    }

    fn file(text: &str) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rungate.toml");
        fs::write(&path, text).unwrap();
        (dir, Sources { file: Some(path), ..Sources::default() })
    }

    #[test]
    fn the_table_of_keys_is_complete() {
        let Ok(Value::Table(defaults)) = Value::try_from(Config::default()) else { panic!("a table") };
        let mut keys = Vec::new();
        flatten(&defaults, "", &mut keys);
        let listed: BTreeSet<_> = KEYS.iter().map(|it| it.name.to_owned()).collect();
        let missing: Vec<_> = keys.iter().filter(|it| !listed.contains(*it)).collect();
        assert!(missing.is_empty(), "not in KEYS: {missing:?}");
    }

    #[test]
    fn later_sources_override_earlier_ones() {
        let (_dir, mut sources) = file("listen = \"127.0.0.1:1\"\n[run]\nretention = \"1m\"\nmost = 7\n");
        sources.environment =
            environment(&[("RUNGATE_RUN_RETENTION", "2m"), ("RUNGATE_LISTEN", "127.0.0.1:2")]).environment;
        sources.flags = vec![("listen", Value::String("127.0.0.1:3".into()))];
        let config = load(sources).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.run.retention, Duration::from_secs(120));
        assert_eq!(config.run.most, 7);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        for (text, nearest) in [
            ("[run]\nretension = \"1m\"", "did you mean `run.retention`?"),
            ("lisen = \"127.0.0.1:1\"", "did you mean `listen`?"),
            ("retention = \"1m\"", "retention`?"),
        ] {
            let (_dir, sources) = file(text);
            let error = load(sources).unwrap_err().to_string();
            assert!(error.contains(nearest), "{error}");
        }
        let error = load(environment(&[("RUNGATE_RUN_RETENSION", "1m")])).unwrap_err().to_string();
        assert!(error.contains("did you mean `RUNGATE_RUN_RETENTION`?"), "{error}");
    }

    #[test]
    fn a_bad_value_is_told() {
        let (_dir, sources) = file("[run]\nretention = 5\n");
        assert!(load(sources).is_err());
        let error = load(environment(&[("RUNGATE_RUNNER_PARALLEL", "many")])).unwrap_err().to_string();
        assert_eq!(error, "RUNGATE_RUNNER_PARALLEL: `many` is no whole number");
        let error = load(environment(&[("RUNGATE_RUN_MOST", "0")])).unwrap_err().to_string();
        assert_eq!(error, "run.most: must be more than 0");
    }

    #[test]
    fn a_pause_of_watchers_is_none_or_a_sensible_one() {
        for (text, good) in
            [("0s", true), ("2ms", true), ("20ms", true), ("1ms", false), ("21ms", false), ("1s", false)]
        {
            let loaded = load(environment(&[("RUNGATE_WATCH_COALESCE", text)]));
            assert_eq!(loaded.is_ok(), good, "{text}");
            if let Err(error) = loaded {
                let error = error.to_string();
                assert!(error.contains("watch.coalesce is 0s (off), or from 2ms to 20ms"), "{error}");
            }
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let sources = Sources { file: Some("/nowhere/rungate.toml".into()), ..Sources::default() };
        assert!(matches!(load(sources), Err(ConfigError::Unreadable { .. })));
    }
}
