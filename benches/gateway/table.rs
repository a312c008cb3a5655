//! What the rows have found.

use std::fmt::Write as _;

/// One row of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) row: String,
    /// The figures.
    pub(crate) figures: String,
    /// What the least program for the same work takes, measured in the same run.
    pub(crate) floor: String,
    /// The figure against the floor.
    pub(crate) ratio: String,
    /// What is wanted.
    pub(crate) target: String,
    /// Whether it is reached; `None` where nothing is wanted.
    pub(crate) met: Option<bool>,
    /// How it was taken.
    pub(crate) how: String,
}

/// The table under way: each line is printed when it is found, and all of them at the end.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

impl Line {
    /// A row that was not measured.
    pub(crate) fn skipped(row: impl Into<String>, why: &str) -> Self {
        Self { row: row.into(), figures: format!("skipped: {why}"), ..Self::default() }
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "",
        }
    }
}

impl Table {
    /// Takes up a line, and prints it.
    pub(crate) fn add(&mut self, line: Line) {
        let parts = [
            ("", &line.figures),
            ("floor ", &line.floor),
            ("ratio ", &line.ratio),
            ("target ", &line.target),
        ];
        let told = parts.iter().filter(|(_, text)| !text.is_empty());
        let told: Vec<_> = told.map(|(name, text)| format!("{name}{text}")).collect();
        println!("{}: {} {}", line.row, told.join(" · "), line.verdict());
        self.lines.push(line);
    }

    /// All of it in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "| row | figures | floor | ratio | target | | how |\n".to_owned();
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for line in &self.lines {
            let Line { row, figures, floor, ratio, target, how, .. } = line;
            let verdict = line.verdict();
            // Writing to a text does not fail.
            let _ =
                writeln!(text, "| {row} | {figures} | {floor} | {ratio} | {target} | {verdict} | {how} |");
        }
        text
    }
}
