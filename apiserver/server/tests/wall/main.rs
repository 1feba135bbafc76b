//! What the server refuses and bears, tried from outside: rights, proxies, load, odd numbers, slow and rude clients.
//!
//! Each file tries one kind of attempt and says what has to come of it. `docs/security.md` lists them.

mod answers;
mod backend;
mod fairness;
mod load;
mod metrics;
mod numbers;
mod proxies;
mod rights;
mod server;
mod switched;
mod tokens;
mod watches;
