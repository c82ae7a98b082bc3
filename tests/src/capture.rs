//! Captures: the files that net_pcap reads and writes.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError};

/// When the first packet of a capture was seen: it is the same each time.
const FIRST: Duration = Duration::from_secs(1_700_000_000);
/// The time between two packets.
const APART: Duration = Duration::from_micros(10);

/// Writes frames to a file.
///
/// # Errors
/// What the file system says.
pub fn write<'a>(path: &Path, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<(), PcapError> {
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut writer =
        PcapWriter::with_header(BufWriter::new(File::create(path).map_err(PcapError::IoError)?), header)?;
    let mut time = FIRST;
    for frame in frames {
        writer.write_packet(&PcapPacket::new(time, frame.len() as u32, frame))?;
        time += APART;
    }
    Ok(())
}

/// Reads the frames of a file.
///
/// # Errors
/// What the file system says, or if it is no capture.
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>, PcapError> {
    let mut reader = PcapReader::new(BufReader::new(File::open(path).map_err(PcapError::IoError)?))?;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet?.data.into_owned());
    }
    Ok(frames)
}
