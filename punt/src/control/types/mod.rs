//! What methods take and what they answer.
//!
//! [`input`] is what an operator says, in a configuration file, on a command line or on the socket: an unknown field
//! is an error. [`output`] is what the engine says: a field that a client does not know yet is passed over. What has
//! to do with punting lies both ways in one file a noun: [`reason`], [`policer`], [`sink`], [`registration`],
//! [`passive`].

pub mod input;
pub mod output;
pub mod passive;
pub mod policer;
pub mod reason;
pub mod registration;
mod reservation;
pub mod sink;

pub use input::*;
pub use output::*;
pub use passive::*;
pub use policer::*;
pub use reason::*;
pub use registration::*;
pub use reservation::Reservation;
pub use sink::*;
