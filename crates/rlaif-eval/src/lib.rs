//! Benchmarks, answer extraction, bootstrap intervals and the HTML report.
