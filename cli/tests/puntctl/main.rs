//! puntctl as a user runs it, against an engine that answers what the test tells it to.

mod commands;
mod config;
mod fake;
mod load;
mod punting;
mod watch;
