//! Capture files that Wireshark and tcpdump read, rotated by size.
//!
//! Each file stands for itself: one section, one interface block for each interface that packets came in on, and packets whose comment says
//! why they were punted. The newest is `FILE`, the one before `FILE.1`, and so on. They are opened below one directory without following a
//! symbolic link, whatever somebody puts there meanwhile.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

use super::Facts;
use super::batch::{Batch, split};
use super::output::{Progress, Then, Writer};
use super::running::IDLE;
use crate::class::Class;
use crate::record::Header;

/// What a packet takes in a file besides its bytes, at most: block, comment, and a new interface.
const AROUND: u64 = 512;
/// Bytes written at once, and so lost at once to a disk that is full: as many of the first records as fit are to be in the file.
const CHUNK: usize = 16 << 10;
/// `if_tsresol`: times are in units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// A capture.
pub(super) struct Capture {
    /// The directory in which its files are.
    directory: OwnedFd,
    name: String,
    size: u64,
    files: u32,
    /// The newest file; `None` if the last attempt to begin one failed.
    open: Option<Open>,
    /// When it was last seen that this is still where it belongs.
    seen: Instant,
}

/// The newest file of a capture.
struct Open {
    file: File,
    /// Bytes of whole blocks in it.
    length: u64,
    /// The interfaces that have a block, in the order of these blocks.
    interfaces: Vec<(u32, String)>,
    /// How many of these blocks are in the file.
    described: usize,
    /// Blocks on their way into the file.
    blocks: PcapNgWriter<Vec<u8>>,
    packets: u64,
}

impl Capture {
    /// Begins a capture; what is there from an earlier one is rotated away.
    pub fn open(directory: &Path, file: &str, size: u64, files: u32) -> io::Result<Capture> {
        let (parent, name) = below(directory, file)?;
        let said = |what: &Path, error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("a capture cannot be written to {}: {error}", what.display()),
            )
        };
        let path = directory.join(parent);
        fs::create_dir_all(directory).map_err(|error| said(directory, error))?;
        let root = File::open(directory).map_err(|error| said(directory, error))?;
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = openat2(&root, parent, beneath(flags)).map_err(|error| said(&path, error.into()))?;
        let (name, files, seen) = (name.into(), files.max(1), Instant::now());
        let mut capture = Capture { directory, name, size, files, open: None, seen };
        capture.begin().map_err(|error| said(&path.join(&capture.name), error))?;
        Ok(capture)
    }

    /// Begins anew if somebody has taken the newest file away: what is written to it nobody finds any more.
    fn look(&mut self) -> Result<(), i32> {
        self.seen = Instant::now();
        match &self.open {
            Some(open) if open.is_called(&self.directory, &self.name) => Ok(()),
            _ => self.begin().map_err(|error| errno(&error)),
        }
    }

    /// Begins the next file; the oldest goes.
    fn begin(&mut self) -> io::Result<()> {
        self.open = None;
        let numbered = |number: u32| match number {
            0 => self.name.clone(),
            _ => format!("{}.{number}", self.name),
        };
        let or_missing = |result: nix::Result<()>| match result {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        };
        // Where the last attempt failed there is nothing to rotate, and nothing may be lost by trying again.
        if fstatat(&self.directory, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            let oldest = numbered(self.files - 1);
            or_missing(unlinkat(&self.directory, oldest.as_str(), UnlinkatFlags::NoRemoveDir))?;
            for number in (0..self.files - 1).rev() {
                let (from, to) = (numbered(number), numbered(number + 1));
                or_missing(renameat(&self.directory, from.as_str(), &self.directory, to.as_str()))?;
            }
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let how = beneath(flags).mode(Mode::from_bits_truncate(0o640));
        let file = File::from(openat2(&self.directory, self.name.as_str(), how)?);
        let begun = Open::begin(file);
        if begun.is_err() {
            // Without its first block it is no capture.
            let _ = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        self.open = Some(begun?);
        Ok(())
    }

    /// Writes the records from `from` on, until a file is full or there are enough for one write. Returns how many records are in the file now.
    fn write_some(&mut self, batch: &Batch, from: usize, facts: &dyn Facts) -> Result<usize, Then> {
        let Some(open) = &mut self.open else { return Err(Then::Gone(Errno::ENOENT as i32)) };
        let mut count = 0;
        for record in batch.records().skip(from) {
            let waiting = open.blocks.get_ref().len();
            let length = open.length + waiting as u64;
            if waiting >= CHUNK {
                break;
            }
            if open.packets > 0 && length + record.len() as u64 + AROUND > self.size {
                break;
            }
            count += 1;
            if open.add(record, facts).is_err() {
                let errno = open.undo().map_or_else(|error| errno(&error), |()| Errno::EINVAL as i32);
                return Err(Then::Lost(count, errno));
            }
        }
        open.flush().map_err(|error| Then::Lost(count, errno(&error)))?;
        Ok(count)
    }
}

impl Writer for Capture {
    fn write(&mut self, batch: &Batch, facts: &dyn Facts) -> Progress {
        let mut done = 0;
        if self.seen.elapsed() >= IDLE
            && let Err(errno) = self.look()
        {
            return Progress { done, then: Then::Gone(errno) };
        }
        while done < batch.records().len() {
            match self.write_some(batch, done, facts) {
                Ok(0) => {
                    if let Err(error) = self.begin() {
                        return Progress { done, then: Then::Gone(errno(&error)) };
                    }
                }
                Ok(count) => done += count,
                Err(then) => return Progress { done, then },
            }
        }
        Progress { done, then: Then::Continue }
    }

    fn probe(&mut self) -> Result<(), i32> {
        self.look()
    }
}

impl Open {
    /// A file that has its first block.
    fn begin(file: File) -> io::Result<Open> {
        let blocks = writer(&[])?;
        let mut open = Open { file, length: 0, interfaces: Vec::new(), described: 0, blocks, packets: 0 };
        open.flush()?;
        Ok(open)
    }

    /// Whether it is the file of that name.
    fn is_called(&self, directory: &OwnedFd, name: &str) -> bool {
        let there = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let same = |there: FileStat, own: FileStat| (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino);
        there.is_ok_and(|there| fstat(&self.file).is_ok_and(|own| same(there, own)))
    }

    /// Adds a packet, and its interface if that is new here.
    fn add(&mut self, record: &[u8], facts: &dyn Facts) -> pcap_file::PcapResult<()> {
        let (header, frame) = split(record);
        let interface_id = match self.interfaces.iter().position(|(index, _)| *index == header.interface) {
            Some(position) => position,
            None => {
                let known = facts.interface(header.interface).map(|interface| interface.name);
                let name = known.unwrap_or_else(|| format!("interface {}", header.interface));
                self.blocks.write_pcapng_block(interface(&name))?;
                self.interfaces.push((header.interface, name));
                self.interfaces.len() - 1
            }
        };
        self.blocks.write_pcapng_block(EnhancedPacketBlock {
            interface_id: interface_id as u32,
            timestamp: Duration::from_nanos(header.received),
            original_len: header.original,
            data: frame.into(),
            options: vec![EnhancedPacketOption::Comment(comment(&header, facts).into())],
        })?;
        self.packets += 1;
        Ok(())
    }

    /// Writes all blocks, or none of them.
    fn flush(&mut self) -> io::Result<()> {
        let blocks = self.blocks.get_mut();
        let written = self.file.write_all(blocks);
        match &written {
            Ok(()) => {
                self.length += blocks.len() as u64;
                self.described = self.interfaces.len();
                blocks.clear();
            }
            Err(_) => self.undo()?,
        }
        written
    }

    /// Cuts off what was written of blocks that did not fit, and forgets them and the interfaces that they describe.
    fn undo(&mut self) -> io::Result<()> {
        self.interfaces.truncate(self.described);
        self.blocks = writer(&self.interfaces)?;
        self.blocks.get_mut().clear();
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

/// What makes blocks, beginning with the section's header and these interfaces.
fn writer(interfaces: &[(u32, String)]) -> io::Result<PcapNgWriter<Vec<u8>>> {
    let mut blocks = PcapNgWriter::new(Vec::new()).map_err(io::Error::other)?;
    for (_, name) in interfaces {
        blocks.write_pcapng_block(interface(name)).map_err(io::Error::other)?;
    }
    Ok(blocks)
}

/// The block that describes an interface.
fn interface(name: &str) -> InterfaceDescriptionBlock<'_> {
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(name.into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    }
}

/// What the operator reads beside a packet.
fn comment(header: &Header, facts: &dyn Facts) -> String {
    let reason = facts.reason(header.reason).unwrap_or_else(|| format!("reason {}", header.reason));
    let class = Class::ALL.get(header.class as usize).map_or("?", |class| class.name());
    let Header { registration, worker, sequence, lost, .. } = header;
    format!(
        "{reason} class {class} registration {registration} worker {worker} sequence {sequence} lost {lost}"
    )
}

/// The part of `file` that is below `directory`, as directory and name.
fn below<'a>(directory: &Path, file: &'a str) -> io::Result<(&'a Path, &'a str)> {
    let refused = || {
        let sentence = format!("{file} is not below {}, where captures are written", directory.display());
        io::Error::new(io::ErrorKind::InvalidInput, sentence)
    };
    let path = Path::new(file);
    let path = if path.is_absolute() { path.strip_prefix(directory).map_err(|_| refused())? } else { path };
    let goes_down = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) if goes_down => Ok((parent, name)),
        _ => Err(refused()),
    }
}

/// Opened so, a path cannot lead out of its directory.
fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}
