//! puntctl: drives puntd over its control socket.
fn main() {}
