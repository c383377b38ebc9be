use std::iter::Sum;
use std::ops::{Add, AddAssign};

use jira_agent::config::ModelPrices;

/// Bytes of text for one token, on the safe side: English and code have three to five, and a letter of Chinese,
/// Japanese or Korean is three bytes and about one token.
const BYTES_PER_TOKEN: usize = 3;

/// The tokens of one or of several calls. The four kinds do not overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fresh input: neither read from the prompt cache nor written to it.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Input written to the prompt cache.
    pub cache_write: u64,
    /// Input read from the prompt cache.
    pub cache_read: u64,
}

impl Usage {
    /// The tokens of the whole prompt.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_write).saturating_add(self.cache_read)
    }

    /// The price in US dollars.
    #[must_use]
    pub fn cost(&self, prices: &ModelPrices) -> f64 {
        let part = |tokens: u64, price: f64| tokens as f64 * price / 1_000_000.0;
        part(self.input, prices.input)
            + part(self.output, prices.output)
            + part(self.cache_write, prices.cache_write)
            + part(self.cache_read, prices.cache_read)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_read: self.cache_read.saturating_add(other.cache_read),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(calls: I) -> Self {
        calls.fold(Self::default(), Add::add)
    }
}

/// About how many tokens a text is, for budgets: its bytes by three, where a run of blanks counts as one byte
/// because tokenizers take it for one token. Real counts are mostly 0.6 to 1.1 times this.
#[must_use]
pub fn estimate_tokens(text: &str) -> u32 {
    let mut bytes: usize = 0;
    let mut after_blank = false;
    for byte in text.bytes() {
        let blank = byte == b' ' || byte == b'\t';
        if !(blank && after_blank) {
            bytes += 1;
        }
        after_blank = blank;
    }
    u32::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Usage =
        Usage { input: 1_000_000, output: 200_000, cache_write: 100_000, cache_read: 2_000_000 };

    #[test]
    fn every_kind_of_token_has_its_own_price() {
        let prices = ModelPrices { input: 3.0, output: 15.0, cache_write: 3.75, cache_read: 0.3 };
        assert!((CALL.cost(&prices) - (3.0 + 3.0 + 0.375 + 0.6)).abs() < 1e-9);
        assert!(Usage::default().cost(&prices).abs() < f64::EPSILON);
    }

    #[test]
    fn calls_add_up_and_never_overflow() {
        let sum: Usage = [CALL, CALL].into_iter().sum();
        assert_eq!((sum.input, sum.output), (2_000_000, 400_000));
        assert_eq!(sum.prompt(), 6_200_000);
        let most = Usage { input: u64::MAX, ..CALL };
        assert_eq!((most + CALL).input, u64::MAX);
    }

    #[test]
    fn an_estimate_counts_bytes_by_three_and_a_run_of_blanks_once() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("abcd"), 2);
        assert_eq!(estimate_tokens("a                b"), 1);
        assert_eq!(estimate_tokens("漢字"), 2);
    }
}
