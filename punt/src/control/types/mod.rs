//! What methods take and what they answer.
//!
//! [`input`] is what an operator says, in a configuration file, on a command line or on the socket: an unknown field
//! is an error. [`output`] is what the engine says: a field that a client does not know yet is passed over.

pub mod input;
pub mod output;
mod reservation;

pub use input::*;
pub use output::*;
pub use reservation::Reservation;
