//! What the kernel is told, for real.
