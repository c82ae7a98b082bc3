//! The control protocol: JSON-RPC 2.0 over a Unix stream socket, one object a line.
//!
//! - A line, with its newline, is at most [`MAX_LINE`] bytes, in both directions.
//! - Where many things are changed at once, `params` is an array of up to [`MAX_BATCH`] objects; it is taken whole
//!   or refused whole.
//! - A list answers `{"items": [...], "after": CURSOR}`; asked again with `after` set to that cursor it goes on,
//!   until the cursor is `null`. `limit` bounds the items of one answer.
//!
//! ```text
//! -> {"jsonrpc":"2.0","id":1,"method":"route.add","params":{"prefix":"10.2.0.0/16","via":"10.0.1.2"}}
//! <- {"jsonrpc":"2.0","id":1,"result":null}
//! ```

mod batch;
mod client;
mod message;
mod page;
mod params;
pub mod types;

pub use batch::batches;
pub use client::{Client, ClientError};
pub use message::{Request, Response, RpcError, code};
pub use page::{Page, Paging};
pub use params::{many, one};

/// The longest line, in bytes, its newline included.
pub const MAX_LINE: usize = 1 << 20;

/// The most objects in one `params` array, and the most items in one answer.
pub const MAX_BATCH: usize = 4096;

/// Where the engine listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/puntd/puntd.sock";

/// The environment variable that names another socket.
pub const SOCKET_VARIABLE: &str = "PUNTD_SOCKET";
