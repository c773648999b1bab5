//! What a server answers, read, and told apart from what it may not answer.

use super::incoming::Reply;
use crate::error::Error;
use crate::sftp::packet::message::{Attrs, Data, ExtendedReply, Handle, Name, Status};
use crate::sftp::packet::{MAX_HANDLE, SFTPAttributes, SFTPEntry, SFTPError, SFTPStatus};
use crate::wire::{Malformed, Reader};

/// What was asked, as errors name it.
#[derive(Debug, Clone, Copy)]
pub(in crate::sftp) struct Asked<'a> {
    pub(in crate::sftp) operation: &'static str,
    pub(in crate::sftp) path: &'a [u8],
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(in crate::sftp) enum Answer {
    Done,
    Handle(Vec<u8>),
    /// The data stand behind [`DATA_FRONT`] bytes of their length, so that nothing is moved.
    Data(Vec<u8>),
    Names(Vec<SFTPEntry>),
    Attributes(SFTPAttributes),
    Extended(Vec<u8>),
}

/// The length in front of the data of an answer.
pub(in crate::sftp) const DATA_FRONT: usize = 4;

/// Why an answer is no use.
pub(in crate::sftp) enum Failed {
    /// The server says no.
    Refused(SFTPError),
    /// The server breaks the rules.
    Broken(Error),
}

impl From<Malformed> for Failed {
    fn from(malformed: Malformed) -> Self {
        Self::Broken(Error::protocol(format!("an SFTP answer {malformed}")))
    }
}

/// Reads an answer.
pub(in crate::sftp) fn read(reply: Reply, asked: Asked<'_>) -> Result<Answer, Failed> {
    let Reply { kind, body, .. } = reply;
    let mut reader = Reader::new(&body);
    let answer = match kind {
        Status::NUMBER => {
            let status = Status { id: 0, code: reader.get()?, text: reader.get()? };
            let words = status.words()?;
            if status.code != SFTPStatus::OK.0 {
                let error = SFTPError::new(SFTPStatus(status.code), words, asked.operation, asked.path);
                return Err(Failed::Refused(error));
            }
            Answer::Done
        }
        Handle::NUMBER => {
            let handle = reader.string()?;
            if handle.is_empty() || handle.len() > MAX_HANDLE {
                let text = format!("an SFTP handle of {} bytes", handle.len());
                return Err(Failed::Broken(Error::protocol(text)));
            }
            Answer::Handle(handle.to_vec())
        }
        Data::NUMBER => {
            reader.string()?;
            reader.finish()?;
            return Ok(Answer::Data(body));
        }
        Name::NUMBER => Answer::Names(names(&mut reader)?),
        Attrs::NUMBER => Answer::Attributes(reader.get()?),
        ExtendedReply::NUMBER => return Ok(Answer::Extended(body)),
        other => return Err(Failed::Broken(Error::protocol(format!("SFTP packet {other} as an answer")))),
    };
    reader.finish()?;
    Ok(answer)
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<SFTPEntry>, Malformed> {
    let count = reader.get::<u32>()?;
    let mut entries = Vec::new();
    // Ends with the packet, however large the count is.
    for _ in 0..count {
        entries.push(reader.get()?);
    }
    Ok(entries)
}

/// The error for an answer of the wrong kind.
pub(in crate::sftp) fn wrong(answer: &Answer, asked: Asked<'_>) -> Error {
    let kind = match answer {
        Answer::Done => "no more than success",
        Answer::Handle(_) => "a handle",
        Answer::Data(_) => "data",
        Answer::Names(_) => "names",
        Answer::Attributes(_) => "attributes",
        Answer::Extended(_) => "an extended reply",
    };
    Error::protocol(format!("the SFTP server answered {} with {kind}", asked.operation))
}
