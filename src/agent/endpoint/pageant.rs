//! PuTTY's Pageant behind its window, and the calls of Windows that pipes need.
//!
//! The only file with `unsafe`: these calls have no safe interface in a crate that we would take. A
//! request to the window is a message that names a piece of shared memory; the answer is written over
//! it (`windows/agent-client.c` of PuTTY). Knows frames only by their length.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, ERROR_PIPE_NOT_CONNECTED, ERROR_SUCCESS,
    FALSE, HANDLE, HWND, INVALID_HANDLE_VALUE, LocalFree, TRUE, WAIT_OBJECT_0,
};
use windows_sys::Win32::Security::Authentication::Identity::{GetUserNameExW, NameUserPrincipal};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT};
use windows_sys::Win32::Security::Cryptography::{CRYPTPROTECTMEMORY_CROSS_PROCESS, CryptProtectMemory};
use windows_sys::Win32::Security::{
    EqualSid, GetTokenInformation, InitializeSecurityDescriptor, IsWellKnownSid, OWNER_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorOwner,
    TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::DataExchange::COPYDATASTRUCT;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE,
    UnmapViewOfFile,
};
use windows_sys::Win32::System::Pipes::WaitNamedPipeW;
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, GetCurrentThreadId, INFINITE, OpenProcessToken, WaitForSingleObject,
};
use windows_sys::Win32::System::WindowsProgramming::GetUserNameW;
use windows_sys::Win32::UI::WindowsAndMessaging::{
    FindWindowW, SMTO_BLOCK, SendMessageTimeoutW, WM_COPYDATA,
};
use windows_sys::core::BOOL;
use zeroize::Zeroizing;

use super::{Connection, Endpoint, left};
use crate::agent::exchange::FRAME_BYTES;

/// What says that a message is for an agent; PuTTY's number.
const AGENT_COPYDATA: usize = 0x804e_50ba;
/// The shared memory: one frame and its length.
const MAP_BYTES: usize = FRAME_BYTES + 4;
/// The only revision of security descriptors that there is.
const DESCRIPTOR_REVISION: u32 = 1;
/// Room for a token's user in words: at most 16 bytes, and 68 for the longest SID.
const USER_WORDS: usize = 16;
/// Room for a user's name; Windows has at most 256 characters, domain names a little more.
const NAME: usize = 1024;

/// What is left until a deadline as the system counts it: at least 1, or for ever.
fn milliseconds(deadline: Option<Instant>) -> io::Result<u32> {
    const LONGEST: u32 = INFINITE - 1;
    let left = left(deadline)?.map(|left| u32::try_from(left.as_millis()).unwrap_or(LONGEST));
    Ok(left.map_or(INFINITE, |left| left.saturating_add(1).min(LONGEST)))
}

/// A string as the system takes it, with its end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

/// Whether an error has this number of the system.
fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// The handle that a call gave, which gives null when it fails.
///
/// # Safety
/// Nobody else closes it.
unsafe fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and ours alone by the contract of this function.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Waits until a pipe has a free end.
pub(super) fn wait_free(path: &Path, deadline: Option<Instant>) -> io::Result<()> {
    let (name, wait) = (wide(path.as_os_str()), milliseconds(deadline)?);
    // SAFETY: the name has its end and outlives the call.
    if unsafe { WaitNamedPipeW(name.as_ptr(), wait) } == FALSE {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads from a pipe that was opened for overlapped calls.
pub(super) fn read(pipe: &File, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
    let length = u32::try_from(buf.len()).unwrap_or(u32::MAX);
    let start = |handle, overlapped| {
        // SAFETY: `buf` has so many bytes, is ours alone and outlives `transfer`.
        unsafe { ReadFile(handle, buf.as_mut_ptr(), length, null_mut(), overlapped) }
    };
    // SAFETY: `start` begins one operation, with what it is given.
    unsafe { transfer(pipe, deadline, start) }
}

/// Writes to a pipe that was opened for overlapped calls.
pub(super) fn write(pipe: &File, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = |handle, overlapped| {
        // SAFETY: `bytes` are so many and outlive `transfer`.
        unsafe { WriteFile(handle, bytes.as_ptr(), length, null_mut(), overlapped) }
    };
    // SAFETY: `start` begins one operation, with what it is given.
    unsafe { transfer(pipe, deadline, start) }
}

/// Begins an operation and sees it end, by itself or cancelled at the deadline.
///
/// # Safety
/// `start` begins at most one operation, on the handle and with the structure that it is given; the
/// buffer of it lives until this function returns.
unsafe fn transfer(
    pipe: &File,
    deadline: Option<Instant>,
    start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> BOOL,
) -> io::Result<usize> {
    let wait = milliseconds(deadline)?;
    // SAFETY: neither attributes nor a name are given, and nobody else has the handle.
    let event = unsafe { owned(CreateEventW(null(), TRUE, FALSE, null()))? };
    let mut overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
    let (handle, overlapped) = (pipe.as_raw_handle(), &raw mut overlapped);
    let mut late = false;
    if start(handle, overlapped) == FALSE {
        let error = io::Error::last_os_error();
        if !is(&error, ERROR_IO_PENDING) {
            return Err(closed(error));
        }
        // SAFETY: the event is open.
        late = unsafe { WaitForSingleObject(event.as_raw_handle(), wait) } != WAIT_OBJECT_0;
        if late {
            // SAFETY: the handle is open; the structure is that of an operation on it, which may be over.
            unsafe { CancelIoEx(handle, overlapped) };
        }
    }
    let mut count = 0;
    // SAFETY: the structure is that of the operation begun. The call waits for its end, of a cancelled one
    // too: from then on the system touches neither the structure nor the buffer.
    if unsafe { GetOverlappedResult(handle, overlapped, &raw mut count, TRUE) } == FALSE {
        let error = io::Error::last_os_error();
        let cut = late && is(&error, ERROR_OPERATION_ABORTED);
        return Err(if cut { io::ErrorKind::TimedOut.into() } else { closed(error) });
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// An agent that has hung up, by one name.
fn closed(error: io::Error) -> io::Error {
    if is(&error, ERROR_PIPE_NOT_CONNECTED) { io::ErrorKind::BrokenPipe.into() } else { error }
}

/// The user that this program runs as: what the system tells of its token.
struct User(Box<[u64; USER_WORDS]>);

impl User {
    fn current() -> io::Result<Self> {
        let mut token = null_mut();
        // SAFETY: the pseudo-handle of this process needs no closing; `token` takes a handle.
        if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == FALSE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave the handle to us alone.
        let token = unsafe { owned(token)? };
        let mut user = Self(Box::new([0; USER_WORDS]));
        let size = u32::try_from(size_of_val(&*user.0)).unwrap_or(0);
        let (place, mut used) = (user.0.as_mut_ptr().cast(), 0);
        // SAFETY: `place` has `size` bytes, and the alignment of the pointer that the structure begins with.
        let told =
            unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, place, size, &raw mut used) };
        if told == FALSE { Err(io::Error::last_os_error()) } else { Ok(user) }
    }

    /// Points into the box: valid as long as this value lives.
    fn sid(&self) -> PSID {
        // SAFETY: the system has written this structure there, and the box has its size and alignment.
        unsafe { self.0.as_ptr().cast::<TOKEN_USER>().read() }.User.Sid
    }
}

/// Who made a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    /// The system or its administrators.
    System,
    Other,
}

/// A security descriptor that the system has allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: GetSecurityInfo allocated it for us to free, once.
        unsafe { LocalFree(self.0) };
    }
}

/// Who made the pipe that this is an end of: another user may have made one of that name first.
pub(super) fn owner(pipe: &File) -> io::Result<Owner> {
    let user = User::current()?;
    let (mut sid, mut descriptor): (PSID, PSECURITY_DESCRIPTOR) = (null_mut(), null_mut());
    // SAFETY: the handle is open; what is not asked for may be null, and the rest takes a pointer each.
    let failed = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut sid,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if failed != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(failed.cast_signed()));
    }
    let _descriptor = Descriptor(descriptor);
    if sid.is_null() {
        return Ok(Owner::Other);
    }
    // SAFETY: both are SIDs of the system's; one lives with the descriptor, the other with `user`.
    let us = unsafe { EqualSid(sid, user.sid()) } != FALSE;
    let system = [WinLocalSystemSid, WinBuiltinAdministratorsSid]
        .into_iter()
        // SAFETY: as above.
        .any(|known| unsafe { IsWellKnownSid(sid, known) } != FALSE);
    Ok(if us {
        Owner::Us
    } else if system {
        Owner::System
    } else {
        Owner::Other
    })
}

/// The name of the user as PuTTY takes it: that of a domain without the domain, or the local one.
pub(super) fn user_name() -> io::Result<String> {
    let mut name = [0; NAME];
    let room = || u32::try_from(NAME).unwrap_or(0);
    let mut size = room();
    // SAFETY: the array has `size` characters.
    let principal = unsafe { GetUserNameExW(NameUserPrincipal, name.as_mut_ptr(), &raw mut size) };
    if !principal {
        size = room();
        // SAFETY: as above.
        if unsafe { GetUserNameW(name.as_mut_ptr(), &raw mut size) } == FALSE {
            return Err(io::Error::last_os_error());
        }
    }
    let text: Vec<u16> = name.into_iter().take_while(|unit| *unit != 0).collect();
    let text = String::from_utf16(&text).map_err(io::Error::other)?;
    let user = if principal { text.split('@').next() } else { Some(text.as_str()) };
    Ok(user.unwrap_or_default().to_owned())
}

/// Encrypts a block with a key that all programs of the user share until the system is started anew.
/// Where it cannot be done it stays as it was, for PuTTY too.
pub(super) fn protect(block: &mut [u8; 16]) {
    // SAFETY: the block has 16 bytes, which is the size that the call takes a multiple of.
    unsafe { CryptProtectMemory(block.as_mut_ptr().cast(), 16, CRYPTPROTECTMEMORY_CROSS_PROCESS) };
}

/// Pageant's window.
#[derive(Debug)]
pub(super) struct Window;

impl Endpoint for Window {
    fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
        find()?;
        Ok(Box::<Letters>::default())
    }
}

fn find() -> io::Result<HWND> {
    let name = windows_sys::w!("Pageant");
    // SAFETY: the name has its end.
    let window = unsafe { FindWindowW(name, name) };
    if window.is_null() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "Pageant is not running"));
    }
    Ok(window)
}

/// Requests as messages to the window: sent when the answer is asked for.
#[derive(Default)]
struct Letters {
    request: Zeroizing<Vec<u8>>,
    answer: io::Cursor<Zeroizing<Vec<u8>>>,
}

impl Connection for Letters {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        if !self.request.is_empty() {
            let request = std::mem::take(&mut self.request);
            self.answer = io::Cursor::new(ask(&request, deadline)?);
        }
        self.answer.read(buf)
    }

    fn write(&mut self, bytes: &[u8], _: Option<Instant>) -> io::Result<usize> {
        if bytes.len() > MAP_BYTES.saturating_sub(self.request.len()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let whole = [self.request.as_slice(), bytes].concat();
        self.request = Zeroizing::new(whole);
        Ok(bytes.len())
    }
}

/// Sends a request to the window and takes its answer, length and all.
fn ask(request: &[u8], deadline: Option<Instant>) -> io::Result<Zeroizing<Vec<u8>>> {
    let window = find().map_err(|_| io::ErrorKind::BrokenPipe)?;
    // SAFETY: the call has no conditions.
    let thread = unsafe { GetCurrentThreadId() };
    // A late answer must not be taken for that of the next request, nor a stranger know the name before.
    let name = format!("PageantRequest{thread:08x}{:016x}", RandomState::new().hash_one(thread));
    let shared = Shared::new(&name)?;
    shared.put(request);
    let mut name = name.into_bytes();
    name.push(0);
    let data = COPYDATASTRUCT {
        dwData: AGENT_COPYDATA,
        cbData: u32::try_from(name.len()).unwrap_or(0),
        lpData: name.as_mut_ptr().cast(),
    };
    let place = (&raw const data).expose_provenance().cast_signed();
    let (wait, mut answered) = (milliseconds(deadline)?, 0);
    // SAFETY: the structure and the name outlive the call, which copies them for the window's program; a
    // window that is gone by now is an error.
    let sent =
        unsafe { SendMessageTimeoutW(window, WM_COPYDATA, 0, place, SMTO_BLOCK, wait, &raw mut answered) };
    if sent == 0 {
        let error = io::Error::last_os_error();
        return Err(if is(&error, ERROR_SUCCESS) { io::ErrorKind::TimedOut.into() } else { error });
    }
    if answered == 0 {
        // What it cannot read or does not take.
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(shared.frame())
}

/// Memory that Pageant opens by its name. It belongs to the user, which Pageant looks at, also where
/// what a program makes would belong to the administrators.
struct Shared {
    view: MEMORY_MAPPED_VIEW_ADDRESS,
    _map: OwnedHandle,
}

impl Shared {
    fn new(name: &str) -> io::Result<Self> {
        let (user, name) = (User::current()?, wide(OsStr::new(name)));
        let mut descriptor = SECURITY_DESCRIPTOR::default();
        let place: PSECURITY_DESCRIPTOR = (&raw mut descriptor).cast();
        // SAFETY: `place` is a descriptor, first made one; the SID lives as long as `user`.
        let made = unsafe {
            InitializeSecurityDescriptor(place, DESCRIPTOR_REVISION) != FALSE
                && SetSecurityDescriptorOwner(place, user.sid(), FALSE) != FALSE
        };
        if !made {
            return Err(io::Error::last_os_error());
        }
        let attributes = SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: place,
            bInheritHandle: FALSE,
        };
        let size = u32::try_from(MAP_BYTES).unwrap_or(u32::MAX);
        // SAFETY: attributes, descriptor, user and name outlive the call. No file is a handle that is none.
        let map = unsafe {
            CreateFileMappingW(
                INVALID_HANDLE_VALUE,
                &raw const attributes,
                PAGE_READWRITE,
                0,
                size,
                name.as_ptr(),
            )
        };
        let taken = is(&io::Error::last_os_error(), ERROR_ALREADY_EXISTS);
        // SAFETY: the call gave the handle to us alone.
        let map = unsafe { owned(map)? };
        if taken {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // SAFETY: the map is open and has so many bytes.
        let view = unsafe { MapViewOfFile(map.as_raw_handle(), FILE_MAP_WRITE, 0, 0, MAP_BYTES) };
        if view.Value.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { view, _map: map })
    }

    /// Writes what fits from the beginning. Byte by byte, as another program may look on.
    fn put(&self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().take(MAP_BYTES).enumerate() {
            // SAFETY: the view has `MAP_BYTES` bytes and lives as long as this value.
            unsafe { self.view.Value.cast::<u8>().add(at).write_volatile(*byte) };
        }
    }

    /// The first bytes, as they are now: another program may change them at any time.
    fn get(&self, count: usize) -> Zeroizing<Vec<u8>> {
        let byte = |at| {
            // SAFETY: the view has `MAP_BYTES` bytes and lives as long as this value.
            unsafe { self.view.Value.cast::<u8>().add(at).read_volatile() }
        };
        Zeroizing::new((0..count.min(MAP_BYTES)).map(byte).collect())
    }

    /// The frame that begins there; of one that is too long only the length, which says so.
    fn frame(&self) -> Zeroizing<Vec<u8>> {
        let length = self.get(4).iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        self.get(if length > FRAME_BYTES { 4 } else { length.saturating_add(4) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // There may be a private key in it.
        self.put(&[0; MAP_BYTES]);
        // SAFETY: the view is that of MapViewOfFile, and nobody uses it any more.
        unsafe { UnmapViewOfFile(self.view) };
    }
}
