//! What the customer gets on paper.

use crate::cart::Cart;

/// The last line of an invoice.
pub fn last_line(cart: &Cart) -> String {
    let cents = cart.total().0;
    format!("To pay: {}.{:02}", cents / 100, cents % 100)
}
