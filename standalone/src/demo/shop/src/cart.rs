//! What a customer wants to buy.

use crate::price::Cents;

/// One line of the cart.
pub struct Item {
    pub name: String,
    pub price: Cents,
    pub quantity: u32,
}

/// The cart.
#[derive(Default)]
pub struct Cart {
    items: Vec<Item>,
}

impl Cart {
    /// Puts an item into the cart.
    pub fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// What the customer pays for everything.
    pub fn total(&self) -> Cents {
        let mut total = Cents(0);
        for item in &self.items {
            total = total + item.price;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cart_costs_nothing() {
        assert_eq!(Cart::default().total(), Cents(0));
    }
}
