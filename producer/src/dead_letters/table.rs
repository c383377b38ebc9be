//! Dead letters as a table whose last column ends where the terminal does.

use console::{measure_text_width, pad_str, truncate_str};
use jiff::Timestamp;

use super::letter::{Letter, age};

const HEAD: [&str; 7] = ["ID", "TICKET", "STEP", "ATTEMPTS", "DIED (UTC)", "AGE", "REASON"];

/// A reason is shown at least this wide, in columns, however narrow the terminal is.
const NARROWEST_REASON: usize = 24;

/// The lines of the table; `width`: of the terminal in columns, where there is one.
#[must_use]
pub fn lines(letters: &[Letter<'_>], now: Timestamp, width: Option<usize>) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(letters.iter().map(|letter| cells(letter, now)));
    let wide = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len() - 1).map(wide).collect();
    let before: usize = widths.iter().map(|width| width + 2).sum();
    let room = width.map(|width| width.saturating_sub(before).max(NARROWEST_REASON));
    let line = |row: &[String; 7]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&pad_str(cell, width + 2, console::Alignment::Left, None));
        }
        let reason = &row[HEAD.len() - 1];
        line.push_str(&room.map_or_else(|| reason.into(), |room| truncate_str(reason, room, "…")));
        line
    };
    rows.iter().map(line).collect()
}

fn cells(letter: &Letter<'_>, now: Timestamp) -> [String; 7] {
    let died = letter.died_at();
    let unknown = || "-".to_owned();
    [
        letter.id(),
        letter.ticket(),
        letter.step(),
        letter.attempts().to_string(),
        died.map_or_else(unknown, |at| at.strftime("%Y-%m-%d %H:%M").to_string()),
        died.map_or_else(unknown, |at| age(at, now)),
        letter.reason(),
    ]
}
