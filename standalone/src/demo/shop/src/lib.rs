//! A small shop.

pub mod cart;
pub mod invoice;
pub mod price;
