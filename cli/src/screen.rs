//! What is shown again and again: over what stood there, until Ctrl-C.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use terminal_size::{Height, Width};

use crate::context::Context;
use crate::failure::Failure;

/// Empties the terminal.
const CLEAR: &[u8] = b"\x1b[2J";

/// Where each text takes the place of the one before; on what is no terminal, they follow each other.
pub struct Screen {
    terminal: bool,
    clear: bool,
}

impl Screen {
    /// Standard output.
    pub fn new(context: &Context) -> Screen {
        let terminal = std::io::stdout().is_terminal() && !context.json;
        Screen { terminal, clear: terminal }
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Lines that fit: all, where it is no terminal.
    pub fn height(&self) -> usize {
        match self.terminal {
            true => size(terminal_size::terminal_size()).1,
            false => usize::MAX,
        }
    }

    /// Shows `text`, some lines.
    pub fn show(&mut self, context: &mut Context, text: &str) -> Result<(), Failure> {
        if std::mem::take(&mut self.clear) {
            context.out.write_all(CLEAR)?;
        }
        match self.terminal {
            true => context.out.write_all(frame(text, terminal_size::terminal_size()).as_bytes())?,
            false => context.out.write_all(text.as_bytes())?,
        }
        Ok(context.out.flush()?)
    }
}

/// Columns and lines to fill. The last line stays free for the cursor, and for the shell's prompt in the end.
fn size(size: Option<(Width, Height)>) -> (usize, usize) {
    let (width, height) = size.map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()));
    (width, usize::max(height, 2) - 1)
}

/// The text from the top of the terminal, over what stands there, cut to its size.
fn frame(text: &str, terminal: Option<(Width, Height)>) -> String {
    let (width, height) = size(terminal);
    let mut frame = String::from("\x1b[H");
    for line in text.lines().take(height) {
        frame.extend(line.chars().take(width));
        frame.push_str("\x1b[K\n");
    }
    frame.push_str("\x1b[J");
    frame
}

/// Ctrl-C sends a message instead of ending puntctl in the middle of a line.
pub fn catch_interrupt() -> Result<Receiver<()>, Failure> {
    let (interrupt, interrupted) = channel();
    let already = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        // The second time it is because the engine does not answer: nobody will look at the message.
        if already.swap(true, Ordering::Relaxed) || interrupt.send(()).is_err() {
            std::process::exit(0);
        }
    })
    .map_err(|error| Failure::usage(format!("Ctrl-C cannot be caught: {error}")))?;
    Ok(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_and_fits() {
        assert_eq!(
            frame("node  calls/s\ndrop        7\n", None),
            "\x1b[Hnode  calls/s\x1b[K\ndrop        7\x1b[K\n\x1b[J"
        );
        assert_eq!(frame("abc\ndef\nghi\n", Some((Width(2), Height(3)))), "\x1b[Hab\x1b[K\nde\x1b[K\n\x1b[J");
        assert_eq!(frame("abc\n", Some((Width(0), Height(0)))), "\x1b[H\x1b[K\n\x1b[J");
    }
}
