//! Files of a server, paramiko's `demo_sftp`: lists the home directory, copies this program's source there and
//! back, and looks at what came. `demo_sftp [user@]host[:port]`.

mod support;

use std::io::{Read, Write};

use feramiko::{AcceptNewPolicy, SSHClient, SSHClientBuilder};
use support::prompt::{Echo, ask};

/// What is copied.
const TEXT: &[u8] = include_bytes!("demo_sftp.rs");
/// Where to: a directory in the user's home.
const DIRECTORY: &str = "demo_sftp_folder";

fn builder() -> SSHClientBuilder {
    SSHClient::builder()
        .missing_host_key(AcceptNewPolicy)
        .password_callback(|user| ask(&format!("Password for {user}: "), Echo::Off).ok().flatten())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let destination = std::env::args().nth(1).ok_or("usage: demo_sftp [user@]host[:port]")?;
    let client = builder().connect(&destination)?;
    let sftp = client.open_sftp()?;

    println!("{} holds:", sftp.getcwd()?);
    for entry in sftp.listdir_iter(".")? {
        println!("  {}", entry?);
    }

    if sftp.exists(DIRECTORY)? {
        println!("(assuming {DIRECTORY}/ is ours)");
    } else {
        sftp.mkdir(DIRECTORY, 0o755)?;
    }
    let name = format!("{DIRECTORY}/README");
    let file = sftp.open(&name, "w")?;
    writeln!(&file, "This was created by demo_sftp.")?;
    file.close()?;
    println!("created {name}");

    let name = format!("{DIRECTORY}/demo_sftp.rs");
    let put = sftp.putfo(&mut &TEXT[..], &name)?;
    println!("put {put} bytes into {name}");

    let mut back = Vec::new();
    sftp.open(&name, "r")?.read_to_end(&mut back)?;
    println!("read {} bytes back: {}", back.len(), if back == TEXT { "the same" } else { "something else" });

    let got = std::env::temp_dir().join("demo_sftp_README");
    sftp.get(format!("{DIRECTORY}/README"), &got)?;
    print!("got into {}: {}", got.display(), std::fs::read_to_string(&got)?);
    std::fs::remove_file(&got)?;
    client.close();
    Ok(())
}
