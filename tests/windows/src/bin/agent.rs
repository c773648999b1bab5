//! Plays an agent: `agent pipe NAME OWNER HOW KEY…` on a named pipe, `agent window HOW KEY…` as Pageant's
//! window. OWNER is `us` or, in the system's short form, whose pipe it is to be. HOW is `honest`, `deaf`
//! (never answers), `long` (answers with a length beyond any) or `mute` (takes no second connection, or
//! refuses the message).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::os::windows::io::FromRawHandle;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::time::Duration;

use feramiko::{AddOptions, AgentServer, PKey};
use windows_sys::Win32::Foundation::{CloseHandle, HWND, INVALID_HANDLE_VALUE, LPARAM, LRESULT, WPARAM};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidA, ConvertStringSecurityDescriptorToSecurityDescriptorW,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::PIPE_ACCESS_DUPLEX;
use windows_sys::Win32::System::DataExchange::COPYDATASTRUCT;
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::System::Memory::{
    FILE_MAP_ALL_ACCESS, MapViewOfFile, OpenFileMappingA, UnmapViewOfFile,
};
use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, CreateNamedPipeW, PIPE_TYPE_BYTE, PIPE_WAIT};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    CreateWindowExW, DefWindowProcW, DispatchMessageW, GetMessageW, MSG, RegisterClassW, WM_COPYDATA,
    WNDCLASSW,
};
use windows_sys::w;

/// What the window's procedure has.
static WINDOW: OnceLock<(AgentServer, String)> = OnceLock::new();
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
/// As many bytes as the client's memory has.
const MAP: usize = 256 * 1024 + 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pipe", name, owner, how, keys @ ..] => pipe(name, owner, how, server(keys)),
        ["window", how, keys @ ..] => window(how, server(keys)),
        _ => panic!("agent pipe NAME OWNER HOW KEY… | agent window HOW KEY…"),
    }
}

fn server(keys: &[&str]) -> AgentServer {
    let server = AgentServer::builder().build();
    for key in keys {
        server.add(&PKey::from_file(key, None).unwrap(), &AddOptions::default()).unwrap();
    }
    server
}

fn ready() {
    println!("ready");
    io::stdout().flush().unwrap();
}

/// A security descriptor of which only the owner is said; for the life of the program.
fn owned_by(owner: &str) -> SECURITY_ATTRIBUTES {
    let owner = if owner == "us" { our_sid() } else { owner.to_owned() };
    let text: Vec<u16> = format!("O:{owner}").encode_utf16().chain([0]).collect();
    let mut descriptor = null_mut();
    // SAFETY: the text has its end; the descriptor is allocated for us.
    let made = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            1,
            &raw mut descriptor,
            null_mut(),
        )
    };
    assert_ne!(made, 0, "{}", io::Error::last_os_error());
    let length = size_of::<SECURITY_ATTRIBUTES>() as u32;
    SECURITY_ATTRIBUTES { nLength: length, lpSecurityDescriptor: descriptor, bInheritHandle: 0 }
}

/// The user we run as, as text.
fn our_sid() -> String {
    let (mut token, mut user, mut used, mut text) = (null_mut(), [0_u64; 16], 0, null_mut());
    // SAFETY: what is written to has its size, and outlives the calls; the text has its end.
    unsafe {
        assert_ne!(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token), 0);
        let place = user.as_mut_ptr();
        assert_ne!(GetTokenInformation(token, TokenUser, place.cast(), 128, &raw mut used), 0);
        let sid = place.cast::<TOKEN_USER>().read().User.Sid;
        assert_ne!(ConvertSidToStringSidA(sid, &raw mut text), 0);
        CStr::from_ptr(text.cast()).to_str().unwrap().to_owned()
    }
}

fn pipe(name: &str, owner: &str, how: &str, server: AgentServer) {
    let attributes = owned_by(owner);
    let name: Vec<u16> = format!(r"\\.\pipe\{name}").encode_utf16().chain([0]).collect();
    let most = if how == "mute" { 1 } else { 255 };
    for number in 0.. {
        // SAFETY: the name has its end, the attributes outlive the call.
        let end = unsafe {
            CreateNamedPipeW(
                name.as_ptr(),
                PIPE_ACCESS_DUPLEX,
                PIPE_TYPE_BYTE | PIPE_WAIT,
                most,
                4096,
                4096,
                0,
                &raw const attributes,
            )
        };
        assert_ne!(end, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
        if number == 0 {
            ready();
        }
        // SAFETY: the handle is a pipe's. That a client was quicker is an error that is none.
        unsafe { ConnectNamedPipe(end, null_mut()) };
        // SAFETY: the handle is ours alone.
        let stream = unsafe { File::from_raw_handle(end) };
        let (server, how) = (server.clone(), how.to_owned());
        let serving = std::thread::spawn(move || serve(stream, &how, &server));
        if most == 1 {
            serving.join().unwrap();
        }
    }
}

fn serve(mut stream: File, how: &str, server: &AgentServer) {
    match how {
        "honest" => server.serve_stream(stream).unwrap(),
        "long" => {
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.write_all(&[0xff; 16]).unwrap();
        }
        _ => std::thread::sleep(LONG),
    }
}

fn window(how: &str, server: AgentServer) {
    assert!(WINDOW.set((server, how.to_owned())).is_ok());
    let name = w!("Pageant");
    // SAFETY: all zero is a class without anything; a null handle means this program.
    let class = WNDCLASSW {
        lpfnWndProc: Some(procedure),
        hInstance: unsafe { GetModuleHandleW(null()) },
        lpszClassName: name,
        ..unsafe { std::mem::zeroed() }
    };
    // SAFETY: the class and its name live through the call.
    assert_ne!(unsafe { RegisterClassW(&raw const class) }, 0, "{}", io::Error::last_os_error());
    // SAFETY: the names have their ends; the rest may be null.
    let window = unsafe {
        CreateWindowExW(0, name, name, 0, 0, 0, 100, 100, null_mut(), null_mut(), class.hInstance, null())
    };
    assert!(!window.is_null(), "{}", io::Error::last_os_error());
    ready();
    // SAFETY: all zero is a message.
    let mut message: MSG = unsafe { std::mem::zeroed() };
    // SAFETY: the message takes what is got and lives through both calls.
    while unsafe { GetMessageW(&raw mut message, null_mut(), 0, 0) } > 0 {
        // SAFETY: as above.
        unsafe { DispatchMessageW(&raw const message) };
    }
}

/// What Pageant does with its messages.
///
/// # Safety
/// Called by the system, with what a message of each kind has.
unsafe extern "system" fn procedure(window: HWND, message: u32, wparam: WPARAM, lparam: LPARAM) -> LRESULT {
    if message != WM_COPYDATA {
        // SAFETY: what was given is handed on.
        return unsafe { DefWindowProcW(window, message, wparam, lparam) };
    }
    let place: *const COPYDATASTRUCT = std::ptr::with_exposed_provenance(lparam as usize);
    // SAFETY: that is what the message has.
    let data = unsafe { place.read() };
    assert_eq!(data.dwData, 0x804e_50ba);
    // SAFETY: the system has copied so many bytes for us.
    let name = unsafe { std::slice::from_raw_parts(data.lpData.cast::<u8>(), data.cbData as usize) };
    assert_eq!(name.iter().position(|byte| *byte == 0), Some(name.len() - 1));
    let (server, how) = WINDOW.get().unwrap();
    match how.as_str() {
        "honest" => answer(name, |frame| {
            let mut stream = Letter { request: Cursor::new(frame), answer: Vec::new() };
            server.serve_stream(&mut stream).unwrap();
            stream.answer
        }),
        "long" => answer(name, |_| vec![0xff; 16]),
        "deaf" => std::thread::sleep(LONG),
        _ => return 0,
    }
    1
}

/// Reads the frame from the memory of that name and writes what is made of it over it.
fn answer(name: &[u8], make: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    // SAFETY: the name has its end; the memory has at least so many bytes, or mapping it fails.
    unsafe {
        let map = OpenFileMappingA(FILE_MAP_ALL_ACCESS, 0, name.as_ptr());
        assert!(!map.is_null(), "{}", io::Error::last_os_error());
        let view = MapViewOfFile(map, FILE_MAP_ALL_ACCESS, 0, 0, MAP);
        assert!(!view.Value.is_null(), "{}", io::Error::last_os_error());
        let memory = std::slice::from_raw_parts_mut(view.Value.cast::<u8>(), MAP);
        let length = u32::from_be_bytes(memory[..4].try_into().unwrap()) as usize;
        let made = make(memory[..4 + length].to_vec());
        memory[..made.len()].copy_from_slice(&made);
        UnmapViewOfFile(view);
        CloseHandle(map);
    }
}

/// One request, and its answer.
struct Letter {
    request: Cursor<Vec<u8>>,
    answer: Vec<u8>,
}

impl Read for Letter {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.request.read(buf)
    }
}

impl Write for Letter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
