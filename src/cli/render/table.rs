//! Tables: columns as wide as what is in them.

use std::io::{self, IsTerminal as _};

use super::{
    style::{Paint, Tone},
    text,
};

/// Rows of cells under a head.
pub(in crate::cli) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// A text in its tone.
pub(in crate::cli) struct Cell {
    pub(in crate::cli) text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone.
    pub(in crate::cli) fn toned(text: String, tone: Tone) -> Self {
        Self { text: text::one_line(&text), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(text, Tone::Normal)
    }
}

impl Table {
    /// A table without rows.
    pub(in crate::cli) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|it| Cell::toned((*it).to_owned(), Tone::Quiet)).collect()] }
    }

    /// Adds a row, with a cell for each of the head's.
    pub(in crate::cli) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes the table to standard output; a terminal gets lines that fit.
    pub(in crate::cli) fn print(&self) -> io::Result<()> {
        let columns = io::stdout().is_terminal().then(text::terminal_columns);
        self.lines(Paint::of_stdout(), columns).iter().try_for_each(|line| text::write_line(line))
    }

    fn lines(&self, paint: Paint, columns: Option<usize>) -> Vec<String> {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|place| self.rows.iter().map(|row| row[place].text.chars().count()).max().unwrap_or(0))
            .collect();
        self.rows.iter().map(|row| line(row, &widths, paint, columns)).collect()
    }
}

/// The last cell is not filled up, and is the one that is cut.
fn line(row: &[Cell], widths: &[usize], paint: Paint, columns: Option<usize>) -> String {
    let mut line = String::new();
    let mut used = 0;
    for (place, (cell, width)) in row.iter().zip(widths).enumerate() {
        let last = place + 1 == row.len();
        let room = columns.map_or(usize::MAX, |it| it.saturating_sub(used));
        let shown = if last { text::cut(&cell.text, room) } else { cell.text.clone() };
        let fill = if last { 0 } else { width + 2 - cell.text.chars().count() };
        line.push_str(&paint.paint(cell.tone, &shown));
        line.push_str(&" ".repeat(fill));
        used += width + 2;
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["KEY", "DESCRIPTION"]);
        for (key, description) in [("a", "says\na lot of words"), ("longer", "")] {
            table.row(vec![key.to_owned().into(), description.to_owned().into()]);
        }
        table
    }

    #[test]
    fn columns_stand_below_each_other() {
        let lines = table().lines(Paint::plain(), None);
        assert_eq!(lines, ["KEY     DESCRIPTION", "a       says a lot of words", "longer"]);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_last_column() {
        assert_eq!(table().lines(Paint::plain(), Some(14))[1], "a       says …");
    }
}
