//! Answers into a stream: little ones gathered, data read straight behind its header.

use std::io::{self, Write};

use crate::sftp::packet::MAX_DATA;
use crate::sftp::packet::message::{Data, frame};
use crate::sftp::server::SFTPResult;
use crate::wire::{Encode, Writer};

/// Answers are written when so much has gathered, even if more requests are here: the client gets something
/// to do meanwhile.
const GATHERED: usize = 64 * 1024;
/// Before the data of a DATA packet: its length, its number, the request's, the length of the data.
const HEADER: usize = 13;

/// Answers that are not yet written. The bytes beyond `used` are there from before, so that nothing need be
/// cleared that is written to anyway.
#[derive(Debug, Default)]
pub(super) struct Page {
    bytes: Vec<u8>,
    used: usize,
    /// For making small ones.
    scratch: Vec<u8>,
}

impl Page {
    /// The next so many bytes.
    fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.used.saturating_add(length);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.used..end).unwrap_or_default()
    }

    /// Adds a packet.
    pub(super) fn put(&mut self, message: &impl Encode) {
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        packet.extend_from_slice(&[0; 4]);
        message.encode(&mut packet);
        frame(&mut packet);
        self.room(packet.len()).copy_from_slice(&packet);
        self.used = self.used.saturating_add(packet.len());
        self.scratch = packet;
    }

    /// Adds the DATA that `read` puts into its place; nothing is added when it puts nothing there.
    pub(super) fn put_data(
        &mut self,
        id: u32,
        length: u32,
        read: impl FnOnce(&mut [u8]) -> SFTPResult<usize>,
    ) -> SFTPResult<bool> {
        let length = usize::try_from(length.min(MAX_DATA)).unwrap_or_default();
        let mut fields = std::mem::take(&mut self.scratch);
        let room = self.room(HEADER.saturating_add(length)).split_first_chunk_mut::<HEADER>();
        let Some((header, data)) = room else { return Ok(false) };
        let read = read(data).map(|count| count.min(length));
        let count = *read.as_ref().unwrap_or(&0);
        // As `Data` would have them: the packet's length, the number, the request's, the data's length.
        let told = u32::try_from(count).unwrap_or_default();
        fields.clear();
        fields.put(&told.saturating_add(9)).put(&Data::NUMBER).put(&id).put(&told);
        header.copy_from_slice(&fields);
        self.scratch = fields;
        read?;
        if count > 0 {
            self.used = self.used.saturating_add(HEADER).saturating_add(count);
        }
        Ok(count > 0)
    }

    fn write_to(&mut self, to: &mut impl Write) -> io::Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let used = std::mem::take(&mut self.used);
        to.write_all(self.bytes.get(..used).unwrap_or_default())?;
        to.flush()
    }
}

/// The page and where it goes.
#[derive(Debug)]
pub(super) struct Output<W> {
    pub(super) page: Page,
    write: W,
}

impl<W: Write> Output<W> {
    pub(super) fn new(write: W) -> Self {
        Self { page: Page::default(), write }
    }

    /// Writes what has gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.page.write_to(&mut self.write)
    }

    /// Writes what has gathered if that is much.
    pub(super) fn flush_much(&mut self) -> io::Result<()> {
        if self.page.used >= GATHERED { self.flush() } else { Ok(()) }
    }

    /// Writes what has gathered here, then what has in a page of somebody else.
    pub(super) fn flush_page(&mut self, page: &mut Page) -> io::Result<()> {
        self.flush()?;
        page.write_to(&mut self.write)
    }
}
