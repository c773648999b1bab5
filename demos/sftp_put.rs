//! Copies a file or a tree to a server, with a bar for each file; goes on with what is there in part, and
//! compares hashes if asked.

mod support;

use support::copying::{Copying, Outcome, local};

const USAGE: &str = "\
usage: sftp_put [-46Cpqrv] [--resume] [--verify] [--limit=BYTES] [--connections=N] [-P port] [-c ciphers]
                [-i identity] [-o option=value] local [user@]host:path
  -r, --recursive   a directory with all that is in it
  -R, --resume      go on with files that the server has in part; those that are whole stay
  -V, --verify      compare each file's hash with the server's
  -p, --preserve    permissions and times too
  --limit=BYTES     so many in a second, on average: 500K, 10M
  --connections=N   files of 8 MiB and more at least over so many connections at once: faster where the server's
                    window, or one processor at either end, is the limit; files get their names when they are
                    whole
  -q, --quiet       no bars and no summary";

fn run() -> Outcome<()> {
    let copying = Copying::from_env(USAGE)?;
    let (from, to) = (copying.words[0].clone(), copying.words[1].clone());
    let (connected, path) = copying.connect(&to)?;
    copying.run(connected, |transfer| transfer.put(local(&from), path))
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
