//! A progress bar as scp draws it: name, percent, bytes, rate, time left. Drawn on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Often enough to look alive, seldom enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(200);
/// As scp: after this long without a byte, the transfer is called stalled.
const STALLED: Duration = Duration::from_secs(5);
/// The weight of what was known in the shown rate, which smooths it.
const MEMORY: f64 = 0.8;
/// What a terminal that does not tell its width gets.
const DEFAULT_WIDTH: usize = 80;
/// Percent, bytes, rate and time, with their gaps.
const FIGURES: usize = 4 + 1 + 7 + 1 + 9 + 1 + 9;

/// What a line of the bar says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    done: u64,
    total: Option<u64>,
    /// Bytes in a second.
    rate: f64,
    time: Time,
}

/// The last column.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    Left,
    Stalled,
    Took(Duration),
}

/// A transfer's bar. Without a terminal on standard output it draws nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    total: Option<u64>,
    /// Where a resumed transfer began.
    began: u64,
    start: Instant,
    /// When and at what count the rate was taken last.
    last: (Instant, u64),
    /// When bytes came last.
    moved: Instant,
    rate: f64,
    shown: bool,
}

impl Progress {
    /// Begins at byte `began` of `total`, and draws the first line.
    pub(crate) fn new(name: impl Into<String>, began: u64, total: Option<u64>) -> Self {
        let now = Instant::now();
        let progress = Self {
            name: name.into(),
            total,
            began,
            start: now,
            last: (now, began),
            moved: now,
            rate: 0.0,
            shown: io::stdout().is_terminal(),
        };
        progress.draw(began, Time::Left, "");
        progress
    }

    /// Keeps it from drawing (`-q`).
    pub(crate) fn quiet(mut self) -> Self {
        self.shown = false;
        self
    }

    /// Tells how far the transfer is; draws now and then.
    pub(crate) fn update(&mut self, done: u64) {
        let now = Instant::now();
        let (then, before) = self.last;
        let passed = now.duration_since(then);
        if passed < REDRAW {
            return;
        }
        if done > before {
            self.moved = now;
        }
        let rate = done.saturating_sub(before) as f64 / passed.as_secs_f64();
        self.rate = if self.rate == 0.0 { rate } else { self.rate * MEMORY + rate * (1.0 - MEMORY) };
        self.last = (now, done);
        let stalled = now.duration_since(self.moved) >= STALLED;
        self.draw(done, if stalled { Time::Stalled } else { Time::Left }, "");
    }

    /// Draws the last line, with the average rate and the time it took.
    pub(crate) fn finish(mut self, done: u64) {
        let took = self.start.elapsed();
        self.rate = done.saturating_sub(self.began) as f64 / took.as_secs_f64().max(0.001);
        self.draw(done, Time::Took(took), "\n");
    }

    fn draw(&self, done: u64, time: Time, end: &str) {
        if !self.shown {
            return;
        }
        let figures = Figures { done, total: self.total, rate: self.rate, time };
        let mut out = io::stdout().lock();
        // Nobody is helped when a bar that cannot be drawn stops the transfer.
        let _ = write!(out, "\r{}{end}", line(&self.name, figures, width()));
        let _ = out.flush();
    }
}

#[cfg(unix)]
fn width() -> usize {
    super::terminal::size().map_or(DEFAULT_WIDTH, |size| size.columns as usize)
}

#[cfg(not(unix))]
fn width() -> usize {
    DEFAULT_WIDTH
}

/// One line of at most `width` columns, one of which stays free so that no terminal wraps.
fn line(name: &str, figures: Figures, width: usize) -> String {
    let Figures { done, total, rate, time } = figures;
    let percent = match total {
        Some(0) => "100%".to_owned(),
        Some(total) => format!("{:3}%", u128::from(done.min(total)) * 100 / u128::from(total)),
        None => "  ? ".to_owned(),
    };
    let time = match (time, total) {
        (Time::Took(took), _) => format!("{}    ", clock(took.as_secs())),
        (Time::Stalled, _) => "- stalled".to_owned(),
        (Time::Left, Some(total)) if rate >= 1.0 => {
            format!("{} ETA", clock((total.saturating_sub(done) as f64 / rate) as u64))
        }
        (Time::Left, _) => "--:-- ETA".to_owned(),
    };
    let room = width.saturating_sub(FIGURES + 2);
    let name: String = name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    let name = shortened(&name, room);
    let line = format!("{name:room$} {percent} {:>7} {:>7}/s {time:>9}", size(done as f64), size(rate));
    line.chars().take(width.saturating_sub(1)).collect()
}

/// The end of a name is what tells files apart.
fn shortened(name: &str, room: usize) -> String {
    let length = name.chars().count();
    if length <= room { name.to_owned() } else { name.chars().skip(length - room).collect() }
}

/// Five columns or fewer of number, then the unit.
fn size(bytes: f64) -> String {
    const UNITS: &[&str] = &["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1000.0 {
        return format!("{bytes:.0} B");
    }
    let mut number = bytes / 1024.0;
    let mut unit = 0;
    while number >= 999.95 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number:.1}{}", UNITS[unit])
}

fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        1..=99 => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => "--:--".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures =
        Figures { done: 42 << 20, total: Some(100 << 20), rate: 1_048_576.0, time: Time::Left };

    #[test]
    fn a_line_says_it_all_in_the_width_it_has() {
        let shown = line("data.bin", FIGURES, 60);
        assert_eq!(shown, "data.bin                    42%  42.0MB   1.0MB/s 00:58 ETA");
        for width in [0, 1, 20, 35, 40, 80, 300] {
            assert!(line("data.bin", FIGURES, width).len() <= width.saturating_sub(1));
        }
    }

    #[test]
    fn the_end_of_a_long_name_stays() {
        let shown = line("/a/very/long/path/to/data.bin", FIGURES, 45);
        assert!(
            shown.starts_with("/to/data.bin"[1..].trim_start_matches("to")) || shown.contains("data.bin")
        );
        assert_eq!(shown.len(), 44);
        assert!(line("a\x1b[2Jb", FIGURES, 80).starts_with("a?[2Jb"));
    }

    #[test]
    fn odd_figures() {
        assert!(line("x", Figures { total: Some(0), done: 0, ..FIGURES }, 60).contains("100%"));
        assert!(line("x", Figures { total: None, ..FIGURES }, 60).contains("--:-- ETA"));
        assert!(line("x", Figures { rate: 0.0, ..FIGURES }, 60).contains("--:-- ETA"));
        assert!(line("x", Figures { time: Time::Stalled, ..FIGURES }, 60).ends_with("- stalled"));
        let took = Time::Took(Duration::from_secs(3700));
        assert!(line("x", Figures { time: took, ..FIGURES }, 60).contains("1:01:40"));
        assert!(line("x", Figures { done: u64::MAX, total: Some(1), ..FIGURES }, 60).contains("100%"));
    }

    #[test]
    fn sizes() {
        let shown: Vec<String> = [0.0, 999.0, 1000.0, 1536.0, 1_048_576.0, 1e12, 1e30].map(size).into();
        assert_eq!(shown[..5], ["0 B", "999 B", "1.0KB", "1.5KB", "1.0MB"]);
        assert_eq!(shown[5], "931.3GB");
    }

    #[test]
    fn without_a_terminal_it_is_silent_and_counts() {
        let mut progress = Progress::new("x", 0, Some(10)).quiet();
        progress.update(5);
        progress.finish(10);
    }
}
