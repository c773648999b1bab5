//! An open file. What is done to it is done to the descriptor: its path may mean another file by now.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::{attributes, times};
use crate::sftp::packet::{SFTPAttributes, SFTPRange, StatVfs};
use crate::sftp::server::interface::SFTPHandle;
use crate::sftp::server::refusal::{SFTPRefusal, SFTPResult};
use crate::sys::dir;
use crate::sys::filedata::{self, FileSystem};

#[derive(Debug)]
pub(super) struct LocalFile {
    pub(super) file: File,
    /// Whether writes go to the end, wherever they say.
    pub(super) append: bool,
}

impl SFTPHandle for LocalFile {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(SFTPRefusal::from),
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> SFTPResult<()> {
        if self.append {
            (&self.file).write_all(data)?
        } else {
            self.file.write_all_at(data, offset)?
        }
        Ok(())
    }

    fn stat(&self) -> SFTPResult<SFTPAttributes> {
        Ok(attributes(&dir::stat_file(&self.file)?))
    }

    fn chattr(&self, attributes: &SFTPAttributes) -> SFTPResult<()> {
        if let Some(size) = attributes.size {
            self.file.set_len(size)?;
        }
        if let Some(mode) = attributes.permissions() {
            dir::set_file_permissions(&self.file, mode)?;
        }
        if let Some(times) = times(attributes) {
            dir::set_file_times(&self.file, times)?;
        }
        if let Some(owner) = attributes.owner {
            dir::set_file_owner(&self.file, owner)?;
        }
        Ok(())
    }

    fn fsync(&self) -> SFTPResult<()> {
        Ok(self.file.sync_all()?)
    }

    fn statvfs(&self) -> SFTPResult<StatVfs> {
        Ok(figures(&filedata::file_system(&self.file)?))
    }

    fn next_range(&self, offset: u64) -> SFTPResult<Option<SFTPRange>> {
        let found = filedata::next_data(&self.file, offset)?;
        Ok(found.map(|(begin, end)| SFTPRange { offset: begin, length: end.saturating_sub(begin) }))
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    /// The kernel reads ahead; a thread of ours would only be woken.
    fn overlaps_reads(&self) -> bool {
        false
    }
}

pub(super) fn figures(found: &FileSystem) -> StatVfs {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    StatVfs {
        block_size: found.block_size,
        fragment_size: found.fragment_size,
        blocks: found.blocks,
        blocks_free: found.blocks_free,
        blocks_available: found.blocks_available,
        files: found.files,
        files_free: found.files_free,
        files_available: found.files_available,
        file_system_id: found.id,
        flags: flag(found.read_only, StatVfs::READ_ONLY) | flag(found.no_setuid, StatVfs::NO_SETUID),
        name_max: found.name_max,
    }
}
