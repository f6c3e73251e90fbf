//! The operations against products over plain `f64` numbers, hand-worked values, and themselves on
//! other numbers of threads.

mod products;
mod support;
mod threads;
mod values;
