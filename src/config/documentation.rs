//! Keeps `docs/configuration.md` true: its table is made of [`KEYS`] and the defaults, and its example is read.

use std::{fs, path::PathBuf};

use toml::{Table, Value};

use super::{Config, KEYS, Sources, load};

/// Between these lines stands the table.
const BEGIN: &str = "<!-- keys: made from src/config, do not edit -->\n";
const END: &str = "<!-- end of keys -->\n";

/// When this variable is set the table is written instead of compared.
const WRITE: &str = "RUNGATE_WRITE_DOCS";

/// What is in force when only what must be said is said of a worker and a server.
const LEAST: &str = "[workers.name]\ncommand = ['x']\n[mcp.servers.name]\ncommand = ['x']\n";

#[test]
fn the_table_in_the_documentation_is_the_one_of_the_program() {
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the line before the table");
    let (_, after) = rest.split_once(END).expect("the line after the table");
    let wanted = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
    if std::env::var_os(WRITE).is_some() {
        fs::write(page(), wanted).unwrap();
        return;
    }
    assert!(text == wanted, "the table is old; make it anew: {WRITE}=1 cargo test --lib config");
}

#[test]
fn the_example_in_the_documentation_is_a_configuration() {
    let text = fs::read_to_string(page()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let examples: Vec<_> = text.split("```toml\n").skip(1).filter_map(|it| it.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let file = folder.path().join("rungate.toml");
        fs::write(&file, example).unwrap();
        let loaded = load(Sources { file: Some(file), ..Sources::default() });
        assert!(loaded.is_ok(), "{example}\n{loaded:?}");
    }
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

fn table() -> String {
    let least: Config = toml::from_str(LEAST).unwrap();
    let defaults = Value::try_from(least).unwrap();
    let mut lines = vec![
        "| key | default | unit | environment variable | what it decides |".to_owned(),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    for key in KEYS {
        let default = default_of(&defaults, key.name, key.unit);
        let variable = match key.name.contains('*') {
            true => "–".to_owned(),
            false => format!("`RUNGATE_{}`", key.name.replace('.', "_").to_uppercase()),
        };
        let name = key.name.replace('*', "NAME");
        lines.push(format!("| `{name}` | {default} | {} | {variable} | {} |", key.unit, key.text));
    }
    lines.join("\n") + "\n"
}

fn default_of(defaults: &Value, name: &str, unit: &str) -> String {
    if name.contains('*') && name.ends_with(".command") {
        return "–".to_owned();
    }
    let found = name.split('.').try_fold(defaults, |value, part| value.get(part.replace('*', "name")));
    match found {
        None => "–".to_owned(),
        Some(Value::Integer(number)) if unit == "bytes" => format!("`{number}` ({})", binary(*number)),
        Some(Value::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "empty".to_owned(),
        Some(Value::Table(fields)) if *fields == Table::new() => "empty".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

/// The number in the largest binary unit that leaves nothing over.
fn binary(number: i64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
    let fits = units.iter().find(|(bits, _)| number % (1_i64 << bits) == 0);
    fits.map_or_else(String::new, |(bits, unit)| format!("{} {unit}", number >> bits))
}
