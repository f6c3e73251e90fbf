//! Oracles: anything that can put answers in order.
