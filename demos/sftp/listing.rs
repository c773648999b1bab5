//! `ls` and `df`, in OpenSSH's layout.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::io;

use feramiko::{Error, SFTPAttributes, SFTPClient, StatVfs};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::commands::{Sort, View};
use crate::glob::{Match, Remote, entries, glob_braces};
use crate::interrupt::interrupted;
use crate::messages::{Done, complain, fault, print, refused, say};
use crate::paths::{append, strip};

/// What a terminal that does not tell its width gets.
const WIDTH: usize = 80;
/// Users and groups of one request.
const NUMBERS: usize = 512;

/// A line of a listing.
struct Row {
    name: Vec<u8>,
    /// The line that the server has for it, where ours lacks names.
    long: Option<Vec<u8>>,
    attributes: Option<SFTPAttributes>,
}

/// Names of the server's users and groups; none for those that have none.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    users: HashMap<u32, Option<Vec<u8>>>,
    groups: HashMap<u32, Option<Vec<u8>>>,
}

const USERS_GROUPS: &str = "users-groups-by-id@openssh.com";

impl Owners {
    /// Asks for those that are not known yet.
    fn learn<'a>(&mut self, client: &SFTPClient, found: impl Iterator<Item = &'a SFTPAttributes>) {
        if !client.has_extension(USERS_GROUPS) {
            return;
        }
        let (users, groups): (BTreeSet<u32>, BTreeSet<u32>) = found.filter_map(|found| found.owner).unzip();
        let users: Vec<u32> = users.into_iter().filter(|id| !self.users.contains_key(id)).collect();
        let groups: Vec<u32> = groups.into_iter().filter(|id| !self.groups.contains_key(id)).collect();
        let mut asked = [users.chunks(NUMBERS), groups.chunks(NUMBERS)];
        loop {
            let [users, groups] = &mut asked;
            let (users, groups) = (users.next().unwrap_or_default(), groups.next().unwrap_or_default());
            if users.is_empty() && groups.is_empty() {
                return;
            }
            let (names, group_names) = match client.users_groups_by_id(users, groups) {
                // They may be had another time.
                Err(Error::Cancelled) => return,
                // Numbers will do where the names cannot be had.
                found => found.unwrap_or_default(),
            };
            let keep = |names: Vec<feramiko::RemoteName>| {
                names.into_iter().map(|name| Some(name.into_bytes()).filter(|name| !name.is_empty()))
            };
            self.users.extend(users.iter().copied().zip(keep(names).chain(std::iter::repeat(None))));
            self.groups.extend(groups.iter().copied().zip(keep(group_names).chain(std::iter::repeat(None))));
        }
    }

    fn names(&self, (uid, gid): (u32, u32), numeric: bool) -> (Vec<u8>, Vec<u8>) {
        let name = |known: &HashMap<u32, Option<Vec<u8>>>, id: u32| {
            let name = known.get(&id).cloned().flatten().filter(|_| !numeric);
            name.unwrap_or_else(|| id.to_string().into_bytes())
        };
        (name(&self.users, uid), name(&self.groups, gid))
    }
}

/// Lists a pattern of the user's, or a directory.
pub(crate) fn list(
    client: &SFTPClient,
    owners: &mut Owners,
    pattern: &[u8],
    below: Option<&[u8]>,
    view: View,
) -> Done {
    let found = glob_braces(&Remote(client), pattern);
    if interrupted() {
        return Ok(());
    }
    match found.iter().filter(|it| it.attributes.is_some()).count() {
        0 => return Err(fault(&[b"Can't ls: \"", pattern, b"\" not found"])),
        // As OpenSSH, whatever words stand behind it that nothing matched.
        1 if found[0].attributes.as_ref().is_some_and(SFTPAttributes::is_dir) => {
            return list_directory(client, owners, &found[0].path, below, view);
        }
        _ => {}
    }
    let row = |it: Match| Row { name: it.path, long: None, attributes: it.attributes };
    let mut rows: Vec<Row> = found.into_iter().map(row).collect();
    let longest = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    sort(&mut rows, view);
    owners.learn(client, rows.iter().filter_map(|row| row.attributes.as_ref()));
    for row in &mut rows {
        row.name = strip(&row.name, below).to_vec();
    }
    show(&rows, owners, longest, view);
    Ok(())
}

/// Lists what is in a directory.
pub(crate) fn list_directory(
    client: &SFTPClient,
    owners: &mut Owners,
    path: &[u8],
    below: Option<&[u8]>,
    view: View,
) -> Done {
    let entries = match entries(client, path) {
        Ok(entries) => entries,
        Err(error) => {
            return Err(fault(&[b"remote readdir(\"", path, b"\"): ", refused(&error)?.as_bytes()]));
        }
    };
    let mut rows = Vec::new();
    for name in [&b"."[..], b".."].into_iter().filter(|_| view.all) {
        let attributes = client.lstat(append(path, name)).ok();
        rows.push(Row { name: name.to_vec(), long: None, attributes });
    }
    let named = client.has_extension(USERS_GROUPS) || view.numeric || view.human;
    for entry in entries {
        if view.all || !entry.name.as_bytes().starts_with(b".") {
            let long = Some(entry.longname.into_bytes()).filter(|long| !named && !long.is_empty());
            rows.push(Row { name: entry.name.into_bytes(), long, attributes: Some(entry.attributes) });
        }
    }
    let longest = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    sort(&mut rows, view);
    owners.learn(client, rows.iter().filter_map(|row| row.attributes.as_ref()));
    for row in &mut rows {
        row.name = strip(&append(path, &row.name), below).to_vec();
    }
    show(&rows, owners, longest + strip(path, below).len(), view);
    Ok(())
}

fn sort(rows: &mut [Row], view: View) {
    let modified = |row: &Row| row.attributes.as_ref().and_then(SFTPAttributes::modified);
    let size = |row: &Row| row.attributes.as_ref().and_then(|it| it.size).unwrap_or_default();
    let order = |a: &Row, b: &Row| match view.sort {
        Sort::Name => a.name.cmp(&b.name),
        // The newest and the largest first.
        Sort::Time => modified(b).cmp(&modified(a)),
        Sort::Size => size(b).cmp(&size(a)),
        Sort::Not => Ordering::Equal,
    };
    match (view.sort, view.reverse) {
        (Sort::Not, _) => {}
        (_, false) => rows.sort_by(order),
        (_, true) => rows.sort_by(|a, b| order(b, a)),
    }
}

/// The terminal's width, as OpenSSH asks for it: by standard input.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(WIDTH)
}

/// How many columns names of that length come in, and how wide each is.
pub(crate) fn columns(longest: usize) -> (usize, usize) {
    let width = width();
    let columns = (width / (longest + 2)).max(1);
    (columns, width / columns)
}

fn show(rows: &[Row], owners: &Owners, longest: usize, view: View) {
    let (columns, space) = if view.single { (1, 0) } else { columns(longest) };
    let mut column = 1;
    for row in rows {
        if interrupted() {
            break;
        }
        if view.long {
            show_long(row, owners, view);
            continue;
        }
        let mut name = row.name.clone();
        name.resize(name.len().max(space), b' ');
        print(&crate::messages::shown(&name));
        column = if column >= columns { 1 } else { column + 1 };
        if column == 1 {
            print(b"\n");
        }
    }
    if !view.long && column != 1 {
        print(b"\n");
    }
}

fn show_long(row: &Row, owners: &Owners, view: View) {
    match (&row.long, &row.attributes) {
        (Some(long), _) => say(&[long]),
        (None, Some(attributes)) => say(&[&long(attributes, owners, view), &row.name]),
        (None, None) => complain(&[b"no stat information for ", &row.name]),
    }
}

/// A line without its name.
fn long(attributes: &SFTPAttributes, owners: &Owners, view: View) -> Vec<u8> {
    let size = attributes.size.unwrap_or_default();
    let size = if view.human { scaled(u128::from(size)) } else { size.to_string() };
    let (mut user, mut group) = owners.names(attributes.owner.unwrap_or_default(), view.numeric);
    user.resize(user.len().max(8), b' ');
    group.resize(group.len().max(8), b' ');
    let seconds = attributes.times.map_or(0, |(_, modified)| modified.seconds);
    // What strmode(3) makes of a mode ends in a blank.
    let mode = format!("{}    ? ", attributes.mode_string());
    let end = format!(" {size:>8} {} ", date(seconds));
    [mode.as_bytes(), &user, b" ", &group, end.as_bytes()].concat()
}

/// A time as ls(1) shows it: with hours in the last half year, else with the year.
fn date(seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return String::new() };
    let now = Timestamp::now();
    let recent = time <= now && time > now.checked_sub((365 * 12).hours()).unwrap_or(now);
    let form = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    time.to_zoned(TimeZone::system()).strftime(form).to_string()
}

/// A size with a unit, as fmt_scaled(3).
fn scaled(number: u128) -> String {
    const UNITS: &str = "BKMGTPE";
    let mut unit = 0;
    while number >> (10 * unit) >= 1024 && unit + 1 < UNITS.len() {
        unit += 1;
    }
    let letter = UNITS.chars().nth(unit).unwrap_or('?');
    let mut whole = number >> (10 * unit);
    let below = if unit == 0 { 0 } else { (number & ((1 << (10 * unit)) - 1)) >> (10 * (unit - 1)) };
    let mut tenths = (10 * below + 512) / 1024;
    if tenths >= 10 {
        whole += 1;
        tenths = 0;
    }
    match whole {
        0 => "0B".to_owned(),
        100.. if tenths >= 5 => format!("{}{letter}", whole + 1),
        _ if unit == 0 || whole >= 100 => format!("{whole}{letter}"),
        _ => format!("{whole}.{tenths}{letter}"),
    }
}

/// `df`.
pub(crate) fn space(client: &SFTPClient, path: &[u8], human: bool, inodes: bool) -> Done {
    if !client.has_extension("statvfs@openssh.com") {
        return Err(fault(&[b"Server does not support statvfs@openssh.com extension"]));
    }
    let found = match client.statvfs(path) {
        Ok(found) => found,
        Err(error) => return Err(fault(&[b"remote statvfs: ", refused(&error)?.as_bytes()])),
    };
    print(figures(&found, human, inodes).as_bytes());
    Ok(())
}

fn figures(found: &StatVfs, human: bool, inodes: bool) -> String {
    let percent = |used: u64, all: u64| match all {
        0 => "ERR".to_owned(),
        all => format!("{:3}%", u128::from(used) * 100 / u128::from(all)),
    };
    let (files, blocks) = (found.files, found.blocks);
    let (used_files, used) =
        (files.saturating_sub(found.files_free), blocks.saturating_sub(found.blocks_free));
    if inodes {
        return format!(
            "     Inodes        Used       Avail      (root)    %Capacity\n\
             {files:>11} {used_files:>11} {:>11} {:>11}         {}\n",
            found.files_available,
            found.files_free,
            percent(used_files, files),
        );
    }
    let bytes = |blocks: u64| u128::from(blocks) * u128::from(found.fragment_size);
    let all = [blocks, used, found.blocks_available, found.blocks_free].map(bytes);
    let capacity = percent(used, blocks);
    if human {
        let [size, used, available, root] = all.map(scaled);
        return format!(
            "    Size     Used    Avail   (root)    %Capacity\n\
             {size:>7}B {used:>7}B {available:>7}B {root:>7}B         {capacity}\n"
        );
    }
    let [size, used, available, root] = all.map(|bytes| bytes / 1024);
    format!(
        "        Size         Used        Avail       (root)    %Capacity\n\
         {size:>12} {used:>12} {available:>12} {root:>12}         {capacity}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_scaled() {
        for (number, expected) in [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (102_400, "100K"),
            (1_048_575, "1024K"),
            (1 << 30, "1.0G"),
            (10_737_418_240, "10.0G"),
        ] {
            assert_eq!(scaled(number), expected, "{number}");
        }
    }

    #[test]
    fn figures_of_a_file_system() {
        let mut found = StatVfs::default();
        (found.fragment_size, found.blocks, found.blocks_free, found.blocks_available) =
            (4096, 1000, 250, 200);
        let shown = figures(&found, false, false);
        assert!(
            shown.ends_with("        4000         3000          800         1000          75%\n"),
            "{shown}"
        );
        assert!(figures(&found, false, true).ends_with("ERR\n"));
        assert!(figures(&found, true, false).contains("   3.9MB"));
    }
}
