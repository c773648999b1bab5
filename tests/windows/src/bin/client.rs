//! Asks an agent: `client WHERE list` shows its keys, `client WHERE sign FILE` signs with the first one
//! as `ssh-keygen -Y sign -n file` does, `client WHERE add FILE` gives it a key. WHERE is `env`,
//! `pageant`, `where` Pageant's pipe is looked for, or the path of a pipe. An error is shown with the
//! seconds that it took.

use std::error::Error;
use std::time::{Duration, Instant};

use feramiko::{AddOptions, Agent, PKey, SignatureHash, SshSignature};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let begun = Instant::now();
    if let Err(error) = run(&words) {
        println!("{error} after {} s", begun.elapsed().as_secs());
    }
}

fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let agent = match words[0] {
        "env" => Agent::from_env()?,
        "pageant" => Agent::pageant()?,
        path => Agent::connect(path)?,
    };
    let agent = agent.answer_timeout(Duration::from_secs(2)).sign_timeout(Duration::from_secs(3));
    match words[1..] {
        ["list"] => {
            for key in agent.keys()? {
                println!("{} {}", key.public_key().fingerprint(), key.comment());
            }
        }
        ["sign", file] => {
            let key = agent.keys()?.into_iter().next().ok_or("no key")?;
            let signature = SshSignature::sign(
                &PKey::from(key),
                "file",
                SignatureHash::Sha512,
                std::fs::File::open(file)?,
            )?;
            print!("{}", signature.to_armored());
        }
        ["add", file] => {
            agent.add(&PKey::from_file(file, None)?, &AddOptions::default())?;
            println!("added");
        }
        // A second connection while this one has the pipe's only end.
        ["second"] => drop(Agent::connect(words[0])?),
        _ => return Err("client WHERE list | sign FILE | add FILE | second".into()),
    }
    Ok(())
}
