//! The proxy as a whole, with real connections, and the decisions it is made of as tables.

mod bad;
mod certificates;
mod classes;
mod lab;
mod passing;
mod plans;
mod reload;
mod routing;
mod telling;
