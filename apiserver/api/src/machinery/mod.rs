//! The machinery that reads every kind: quantities, selectors, patches, schemas, errors, time. No I/O, no async.

pub mod cel;
pub mod clock;
pub mod cron;
pub mod field;
pub mod gobase64;
pub mod gojson;
pub mod gonum;
pub mod gotime;
pub mod jsonpath;
pub mod managed_fields;
pub mod meta;
pub mod names;
pub mod object_meta;
pub mod patch;
pub mod problem;
pub mod quantity;
pub use skiff_cel::quote;
pub mod read;
pub mod room;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod time;
pub mod url;
pub mod yaml;
