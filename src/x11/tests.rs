//! Names of displays, files and first packets: what is read, and what is refused.

use std::net::IpAddr;
use std::slice;

use super::*;

const COOKIE: [u8; 16] = *b"0123456789abcdef";

fn cookie() -> Cookie {
    Cookie::from_bytes(&COOKIE).unwrap()
}

#[test]
fn displays() {
    let local = |number, screen| Some(Display { place: Place::Local, number, screen });
    let tcp =
        |host: &str, number, screen| Some(Display { place: Place::Tcp(host.to_owned()), number, screen });
    let launchd = "/private/tmp/com.apple.launchd.x/org.xquartz:0";
    // As long as it may be, it is read again with what is written around it.
    let (long, path) = ("h".repeat(255), format!("/{}", "p".repeat(254)));
    let colons = "a:".repeat(127);
    for (text, display) in [
        (":0", local(0, 0)),
        (":10.2", local(10, 2)),
        ("unix:1", local(1, 0)),
        ("unix/:1.0", local(1, 0)),
        ("unix/host:1", local(1, 0)),
        ("host/unix:1", local(1, 0)),
        ("localhost:10.0", tcp("localhost", 10, 0)),
        ("tcp/host.example.org:3", tcp("host.example.org", 3, 0)),
        ("[::1]:3.1", tcp("::1", 3, 1)),
        ("::1:3", tcp("::1", 3, 0)),
        (":59535", local(59_535, 0)),
        (launchd, Some(Display { place: Place::Socket(launchd.into()), number: 0, screen: 0 })),
        (
            "/tmp/socket:1.3",
            Some(Display { place: Place::Socket("/tmp/socket:1".into()), number: 1, screen: 3 }),
        ),
        (&format!("{long}:1"), tcp(&long, 1, 0)),
        (&format!("{colons}:1"), tcp(&colons, 1, 0)),
        (
            &format!("{path}:1"),
            Some(Display { place: Place::Socket(format!("{path}:1").into()), number: 1, screen: 0 }),
        ),
    ] {
        let read = Display::parse(text);
        assert_eq!(read, display, "{text}");
        assert_eq!(read.and_then(|read| Display::parse(&read.to_string())), display, "{text}");
    }
    let (long, path) = (format!("h{long}:0"), format!("{path}p:0"));
    for text in [
        "",
        "0",
        ":",
        ":x",
        ":-1",
        ":+1",
        ":1.",
        ":1.x",
        ":1.+2",
        ":59536",
        ":70000",
        ":1.2.3",
        "-f:0",
        "a b:0",
        "`id`:0",
        "a\n:0",
        "$(id):0",
        "\":0",
        "decnet/host:0",
        "a/b/c:0",
        "[:0",
        "[unix]:0",
        "tcp/[unix]:0",
        "/no/number",
        &long,
        &path,
    ] {
        assert_eq!(Display::parse(text), None, "{text}");
    }
}

#[test]
fn cookies_are_digits_of_one_length() {
    let text = cookie().to_hex();
    assert_eq!(text.expose(), b"30313233343536373839616263646566");
    assert_eq!(Cookie::from_hex(text.expose()), Some(cookie()));
    assert_eq!(Cookie::from_hex(&text.expose().to_ascii_uppercase()), Some(cookie()));
    for length in 0..32 {
        assert_eq!(Cookie::from_hex(&text.expose()[..length]), None);
    }
    for bad in [&b"30313233343536373839616263646566\n"[..], b"3031323334353637383961626364656\n", &[b'3'; 34]]
    {
        assert_eq!(Cookie::from_hex(bad), None);
    }
    for length in [0, 15, 17, 32] {
        assert_eq!(Cookie::from_bytes(&vec![b'3'; length]), None);
    }
    assert_ne!(Cookie::random().unwrap(), Cookie::random().unwrap());
    assert!(!format!("{:?}", cookie()).contains("30"));
}

#[test]
fn cookies_of_files() {
    let entry = |address: &Address, number, byte| {
        let cookie = Cookie::from_bytes(&[byte; 16]).unwrap();
        Entry { address: address.clone(), number, cookie }.encode().unwrap().expose().to_vec()
    };
    let (here, there) = (Address::Local(b"here".to_vec()), Address::Internet("10.0.0.1".parse().unwrap()));
    let six = Address::Internet(IpAddr::from([1; 16]));
    let file = [
        entry(&here, 0, 1),
        entry(&there, 0, 2),
        entry(&six, 0, 3),
        entry(&here, 10, 4),
        entry(&Address::Wild, 11, 5),
        entry(&here, 10, 6),
    ]
    .concat();
    let found = |addresses: &[Address], number| {
        Authority(&file).cookie(addresses, number).map(|cookie| cookie.bytes()[0])
    };
    assert_eq!(found(slice::from_ref(&here), 0), Some(1));
    assert_eq!(found(slice::from_ref(&there), 0), Some(2));
    assert_eq!(found(&[six.clone(), there.clone()], 0), Some(2));
    assert_eq!(found(&[six], 0), Some(3));
    assert_eq!(found(slice::from_ref(&here), 10), Some(4));
    assert_eq!(found(&[there], 11), Some(5));
    assert_eq!(found(&[Address::Local(b"her".to_vec())], 0), None);
    assert_eq!(found(slice::from_ref(&here), 1), None);
    // As xauth writes it: an entry of another protocol, and one with a cookie of another length, are none.
    let other = file.windows(18).position(|bytes| bytes == PROTOCOL.as_bytes()).unwrap();
    let mut file = file.clone();
    file[other] = b'X';
    assert_eq!(Authority(&file).cookie(slice::from_ref(&here), 0), None);
    let mut short = entry(&here, 0, 1);
    let at = short.len() - 18;
    short.splice(at..at + 3, [0, 15]);
    let behind = [&short[..], &entry(&here, 0, 2)].concat();
    let found = Authority(&behind).cookie(slice::from_ref(&here), 0);
    assert_eq!(found, Cookie::from_bytes(&[2; 16]));
    // A file that ends anywhere gives what stands before.
    let one = entry(&here, 0, 1);
    for length in 0..one.len() {
        assert_eq!(Authority(&one[..length]).cookie(slice::from_ref(&here), 0), None);
        let more = [&one[..], &one[..length]].concat();
        assert!(Authority(&more).cookie(slice::from_ref(&here), 0).is_some());
    }
    // No number: all of them.
    let mut all = one;
    let at = all.windows(3).position(|bytes| bytes == [0, 1, b'0']).unwrap();
    all.splice(at..at + 3, [0, 0]);
    assert!(Authority(&all).cookie(&[here], 7).is_some());
}

fn first_packet(big: bool, name: &[u8], data: &[u8]) -> Vec<u8> {
    let number = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut packet = vec![if big { b'B' } else { b'l' }, 0];
    for value in [11, 0, u16::try_from(name.len()).unwrap(), u16::try_from(data.len()).unwrap(), 0] {
        packet.extend(number(value));
    }
    for field in [name, data] {
        packet.extend(field);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    packet
}

#[test]
fn first_packets() {
    let real = Cookie::from_bytes(&[7; 16]).unwrap();
    for big in [true, false] {
        let packet = first_packet(big, PROTOCOL.as_bytes(), &COOKIE);
        let header: [u8; HEADER] = packet[..HEADER].try_into().unwrap();
        assert_eq!(FirstPacket::rest(header), Ok(packet.len() - HEADER));
        let read = FirstPacket::parse(&packet).unwrap();
        assert_eq!(*read.cookie(), cookie());
        assert_eq!(read.with(Some(&real)).expose(), first_packet(big, PROTOCOL.as_bytes(), &[7; 16]));
        assert_eq!(read.with(None).expose(), first_packet(big, b"", b""));
        for length in 0..packet.len() {
            assert!(FirstPacket::parse(&packet[..length]).is_err(), "{length}");
        }
        assert!(FirstPacket::parse(&[&packet[..], b"x"].concat()).is_err());
        for (name, data) in [
            (&b""[..], &b""[..]),
            (b"XDM-AUTHORIZATION-1", &COOKIE),
            (b"MIT-MAGIC-COOKIE-2", &COOKIE),
            (PROTOCOL.as_bytes(), &COOKIE[..15]),
            (PROTOCOL.as_bytes(), &[0; 17]),
            (PROTOCOL.as_bytes(), &[]),
            (&[0; 60_000], &[0; 60_000]),
        ] {
            assert!(FirstPacket::parse(&first_packet(big, name, data)).is_err());
        }
    }
    let mut packet = first_packet(true, PROTOCOL.as_bytes(), &COOKIE);
    packet[0] = b'b';
    assert!(FirstPacket::parse(&packet).is_err());
}
