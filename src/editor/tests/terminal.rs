//! A small terminal, of the VT100's kind: what is written behind the last column goes to the next row.

use unicode_width::UnicodeWidthChar;

pub(crate) struct Terminal {
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) at: (usize, usize),
    columns: usize,
    height: usize,
    /// What has left through the top.
    pub(crate) gone: Vec<String>,
    pub(crate) bells: usize,
}

impl Terminal {
    pub(crate) fn new(columns: usize, height: usize) -> Self {
        let rows = vec![vec![String::from(" "); columns]; height];
        Self { rows, at: (0, 0), columns, height, gone: Vec::new(), bells: 0 }
    }

    /// The same with rows that are shorter or longer, and cut where they are too long.
    pub(crate) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.rows.iter_mut().for_each(|row| row.resize(columns, String::from(" ")));
        self.at.1 = self.at.1.min(columns - 1);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("what is shown is UTF-8");
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => self.at.1 = 0,
                '\n' => self.line_feed(),
                '\x08' => self.at.1 = self.at.1.min(self.columns - 1).saturating_sub(1),
                '\x07' => self.bells += 1,
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['), "only CSI is written");
                    let mut number = String::new();
                    let last = loop {
                        match rest.next() {
                            Some(digit @ ('0'..='9' | ';')) => number.push(digit),
                            other => break other.expect("a sequence ends"),
                        }
                    };
                    self.sequence(number.parse().ok(), last);
                }
                c => {
                    assert!(!c.is_control(), "{c:?} is written");
                    self.put(c);
                }
            }
        }
    }

    fn line_feed(&mut self) {
        if self.at.0 + 1 < self.height {
            self.at.0 += 1;
            return;
        }
        self.gone.push(self.rows.remove(0).concat().trim_end().to_owned());
        self.rows.push(vec![String::from(" "); self.columns]);
    }

    fn put(&mut self, c: char) {
        let width = c.width().unwrap();
        if width == 0 {
            let mut at = self.at.1 - 1;
            while self.rows[self.at.0][at].is_empty() {
                at -= 1;
            }
            self.rows[self.at.0][at].push(c);
            return;
        }
        if self.at.1 + width > self.columns {
            self.at.1 = 0;
            self.line_feed();
        }
        let row = &mut self.rows[self.at.0];
        // The other half of a wide character goes with the first.
        if row[self.at.1].is_empty() {
            row[self.at.1 - 1] = String::from(" ");
        }
        for part in 0..width {
            row[self.at.1 + part] = if part == 0 { c.to_string() } else { String::new() };
        }
        self.at.1 += width;
        if let Some(next) = row.get_mut(self.at.1).filter(|next| next.is_empty()) {
            *next = String::from(" ");
        }
    }

    fn sequence(&mut self, number: Option<usize>, last: char) {
        let (row, column) = (self.at.0, self.at.1.min(self.columns - 1));
        let blank = |cells: &mut [String]| cells.fill(String::from(" "));
        match last {
            'A' => self.at.0 = row.saturating_sub(number.unwrap_or(1)),
            'C' => self.at.1 = (column + number.unwrap_or(1)).min(self.columns - 1),
            'H' => self.at = (0, 0),
            // Colours are not looked at.
            'm' => {}
            'K' => blank(&mut self.rows[row][column..]),
            'J' if number == Some(2) => self.rows.iter_mut().for_each(|row| blank(row)),
            'J' => {
                blank(&mut self.rows[row][column..]);
                self.rows[row + 1..].iter_mut().for_each(|row| blank(row));
            }
            other => panic!("no such sequence: {other}"),
        }
    }

    /// Its rows without trailing spaces, up to the last that shows something.
    pub(crate) fn text(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.rows.iter().map(|row| row.concat().trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}
