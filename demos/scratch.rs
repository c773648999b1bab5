//! Scratch.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = feramiko::SSHClient::builder().no_agent().no_default_keys().key_file("/tmp/ss/id", None).known_hosts_file("/tmp/ss/kh").missing_host_key(feramiko::AcceptNewPolicy).connect("root@127.0.0.1:2299")?;
    println!("{:?}", client.transport().negotiated());
    let out = client.output("uname -a; echo err >&2; exit 7")?;
    println!("{out:?}");
    let t = std::time::Instant::now();
    let out = client.output("head -c 300000000 /dev/zero")?;
    println!("{} bytes {:?} {:?}", out.stdout.len(), out.status, t.elapsed());
    let mut p = client.exec_command("cat | sha256sum")?;
    use std::io::*;
    let t = std::time::Instant::now();
    let mut i = p.stdin.take().unwrap();
    for _ in 0..300 { i.write_all(&vec![7; 1_000_000])?; }
    drop(i);
    println!("{:?} {:?}", p.wait_with_output()?, t.elapsed());
    client.close();
    Ok(())
}
