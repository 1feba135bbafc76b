//! How a reconciliation says that it cannot go on.

/// An [`Error::Failed`](skiff_watching::Error::Failed) with this message, as `format!` makes it.
macro_rules! failed {
    ($($text:tt)*) => {
        skiff_watching::Error::Failed(format!($($text)*))
    };
}
