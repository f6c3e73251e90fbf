//! Text from outside as Markdown that says just that, and tables of it.

use crate::format::printable;

/// One line that GitHub shows as it is written.
pub(super) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as code within a table, between more backticks than it has in a row.
pub(super) fn code(text: &str) -> String {
    let text = printable(text).replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    if text.is_empty() { text } else { format!("{fence}{pad}{text}{pad}{fence}") }
}

/// A table whose cells are Markdown already: the first columns flush left, all others flush right.
pub(super) struct Grid {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(titles: Vec<String>, left: usize) -> Self {
        Grid { left, rows: vec![titles] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(&format_row(row));
            if index == 0 {
                let rule = |column| if column < self.left { "---" } else { "---:" };
                let rules: Vec<String> = (0..row.len()).map(|c| rule(c).to_owned()).collect();
                text.push_str(&format_row(&rules));
            }
        }
        text
    }
}

fn format_row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(plain("a|b *c* <d> [e](f)\ng"), "a\\|b \\*c\\* &lt;d&gt; \\[e\\](f)?g");
        assert_eq!(code("run --x=1"), "`run --x=1`");
        assert_eq!(code("a `b` | c"), "`` a `b` \\| c ``");
        assert_eq!(code(""), "");
    }

    #[test]
    fn tables_align_their_numbers() {
        let mut grid = Grid::new(vec!["a".to_owned(), "b".to_owned()], 1);
        grid.row(vec!["x".to_owned(), "1".to_owned()]);
        assert_eq!(grid.render(), "| a | b |\n| --- | ---: |\n| x | 1 |\n");
    }
}
