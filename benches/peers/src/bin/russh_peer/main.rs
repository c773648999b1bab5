//! russh behind `bench_peer`'s command line, as client and as server. Its defaults are kept, but for
//! TCP_NODELAY and the algorithms asked for.

mod client;
mod server;

use std::borrow::Cow;

use peers::{Failure, Options, Verb, arguments, finish};
use russh::{Preferred, cipher, kex, mac};

/// russh's own lists, or the one algorithm asked for. The names that are no key exchange but announce
/// extensions stay.
fn preferred(options: &Options) -> Result<Preferred, Failure> {
    let mut preferred = Preferred::DEFAULT;
    if let Some(name) = &options.cipher {
        let name = cipher::Name::try_from(name.as_str()).map_err(|()| "unknown cipher")?;
        preferred.cipher = Cow::Owned(vec![name]);
    }
    if let Some(name) = &options.mac {
        let name = mac::Name::try_from(name.as_str()).map_err(|()| "unknown MAC")?;
        preferred.mac = Cow::Owned(vec![name]);
    }
    if let Some(name) = &options.kex {
        preferred.kex = Cow::Owned(vec![
            kex::Name::try_from(name.as_str()).map_err(|()| "unknown key exchange")?,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]);
    }
    Ok(preferred)
}

async fn run() -> Result<(), Failure> {
    let (options, verb) = arguments()?;
    if matches!(verb, Verb::Serve) {
        return server::serve(&options).await;
    }
    client::measure(options, verb).await
}

#[tokio::main]
async fn main() {
    finish("russh_peer", run().await);
}
