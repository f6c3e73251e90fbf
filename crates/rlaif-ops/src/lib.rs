//! Fused tensor operations with gradients of their own, and a portable form of each.
