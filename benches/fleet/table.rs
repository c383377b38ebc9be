//! The rows of the table, and what is good enough.

use std::fmt;

/// One line of the table.
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// The unit of every number of the row, e.g. `ms`.
    pub unit: &'static str,
    /// The product's numbers.
    pub ours: Samples,
    /// What it is compared with: a name and numbers taken in turns with ours.
    pub peer: Option<(&'static str, Samples)>,
    /// What is good enough.
    pub limit: Limit,
}

/// A bound on our median, or on the ratio to the peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The ratio is this or more: for rates.
    RatioAtLeast(f64),
    /// The ratio is this or less: for times and sizes.
    RatioAtMost(f64),
    /// Our median is this or less, in the row's unit.
    AtMost(f64),
}

impl Row {
    /// The median of the rounds' ratios of ours to the peer's: load that comes and goes hits both sides of a round.
    pub fn ratio(&self) -> Option<f64> {
        let (_, peer) = self.peer.as_ref()?;
        let ratios = self.ours.0.iter().zip(&peer.0).map(|(ours, peer)| ours / peer);
        Some(Samples(ratios.collect()).median())
    }

    /// Whether the limit is met. A row that lacks what its limit is about is not good enough.
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::RatioAtLeast(bound) => self.ratio().is_some_and(|ratio| ratio >= bound),
            Limit::RatioAtMost(bound) => self.ratio().is_some_and(|ratio| ratio <= bound),
            Limit::AtMost(bound) => self.ours.median() <= bound,
        }
    }

    fn cells(&self) -> [String; 6] {
        let Self { name, unit, ours, peer, limit } = self;
        let peer = peer.as_ref().map_or("–".to_owned(), |(name, samples)| format!("{name}: {samples}"));
        let limit = match limit {
            Limit::RatioAtLeast(bound) => format!("≥ {bound:.2} ×"),
            Limit::RatioAtMost(bound) => format!("≤ {bound:.2} ×"),
            Limit::AtMost(bound) => format!("≤ {bound} {unit}"),
        };
        let ratio = self.ratio().map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"));
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        [format!("{name}, {unit}"), ours.to_string(), peer, ratio, limit, verdict.to_owned()]
    }
}

/// Numbers measured for the same thing, one a round.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The middle one, between the two middle ones of an even number; not a number when there is none.
    pub fn median(&self) -> f64 {
        let values = self.sorted();
        let middle = values.len() / 2;
        match values.get(middle) {
            None => f64::NAN,
            Some(upper) if values.len() % 2 == 1 => *upper,
            Some(upper) => values[middle - 1].midpoint(*upper),
        }
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.sorted();
        let (Some(least), Some(most)) = (values.first(), values.last()) else {
            return f.write_str("nothing");
        };
        let places = if *most < 100.0 { 1 } else { 0 };
        write!(f, "{:.places$} ({least:.places$} … {most:.places$})", self.median())
    }
}

/// The table in Markdown, readable as it is.
pub fn render(rows: &[Row]) -> String {
    let head = ["what", "ours: median (min … max)", "peer", "ratio", "limit", "verdict"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |cells: &[String; 6]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        format!("|{}", cells.collect::<String>())
    };
    let rule = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect::<String>();
    let mut text: Vec<String> = lines.iter().map(line).collect();
    text.insert(1, format!("|{rule}"));
    text.join("\n")
}
