//! The line of `ls -l`: what a server shows for a file, and we for one whose server shows nothing.

use std::ops::RangeInclusive;

use super::attributes::SFTPAttributes;
use crate::sys::local_time;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a line says besides the attributes.
#[derive(Debug)]
pub(in crate::sftp) struct Long<'a> {
    /// Hard links.
    pub(in crate::sftp) links: Option<u64>,
    pub(in crate::sftp) user: &'a str,
    pub(in crate::sftp) group: &'a str,
    /// The seconds since 1970 whose times are shown with hours instead of the year: the last half year, as
    /// `ls` does. None shows both.
    pub(in crate::sftp) recent: Option<RangeInclusive<i64>>,
}

impl Long<'_> {
    /// The line without the name. The form is OpenSSH's, which programs take apart by its columns.
    pub(in crate::sftp) fn show(&self, attributes: &SFTPAttributes) -> String {
        let links = self.links.map_or_else(|| "?".to_owned(), |links| links.to_string());
        let size = attributes.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        let (user, group) = (self.user, self.group);
        let date =
            attributes.times.map_or_else(|| "?".to_owned(), |(_, modified)| self.date(modified.seconds));
        format!("{} {links:>3} {user:<8} {group:<8} {size:>8} {date}", attributes.mode_string())
    }

    fn date(&self, seconds: i64) -> String {
        let shown = local_time::shown(u64::try_from(seconds).unwrap_or_default());
        let month = usize::try_from(shown.month.saturating_sub(1)).ok().and_then(|month| MONTHS.get(month));
        let day = format!("{} {:>2}", month.unwrap_or(&"?"), shown.day);
        let (hour, minute, year) = (shown.hour, shown.minute, shown.year);
        match &self.recent {
            None => format!("{day} {hour:02}:{minute:02} {year}"),
            Some(recent) if recent.contains(&seconds) => format!("{day} {hour:02}:{minute:02}"),
            Some(_) => format!("{day}  {year}"),
        }
    }
}
