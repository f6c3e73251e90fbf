//! Tests of rlaif-video against reference implementations and real files.

mod parity;
