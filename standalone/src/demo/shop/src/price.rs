//! Money, in whole cents.

use std::ops::{Add, Mul};

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cents(pub u64);

impl Add for Cents {
    type Output = Cents;

    fn add(self, other: Cents) -> Cents {
        Cents(self.0 + other.0)
    }
}

impl Mul<u32> for Cents {
    type Output = Cents;

    fn mul(self, times: u32) -> Cents {
        Cents(self.0 * u64::from(times))
    }
}
