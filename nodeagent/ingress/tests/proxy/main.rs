//! The proxy as a whole, with real connections, and the decisions it is made of as tables.

mod bad;
mod gateways;
mod lab;
mod passing;
mod reload;
mod routing;
