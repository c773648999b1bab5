//! The rows of the terminal that the line takes: what they should show, and the bytes that make them show it.
//!
//! Pure. Rows are ended by us and not by the terminal's margin, so that it need not wrap where we think it does;
//! only what has changed is written. Needs of a terminal: CR, LF, BS, and CUU, CUF, EL, ED of ECMA-48.

use super::draft::{accepts, width};

/// What a terminal has that does not say how large it is.
const DEFAULT_SIZE: (usize, usize) = (80, 24);
/// Room for a wide character: with fewer columns nothing can be drawn.
const LEAST_COLUMNS: usize = 2;

/// What is drawn in one place: a character and the marks on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    text: String,
    width: usize,
}

fn cells(text: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    text.chars().filter(|c| accepts(*c)).for_each(|c| add(&mut cells, "", c));
    cells
}

/// Adds a character with the change of colour before it.
fn add(cells: &mut Vec<Cell>, colour: &str, c: char) {
    match (width(c), cells.last_mut()) {
        (0, Some(last)) => {
            last.text.push_str(colour);
            last.text.push(c);
        }
        // A mark that stands on nothing.
        (0, None) => cells.push(Cell { text: format!("{colour} {c}"), width: 1 }),
        (width, _) => cells.push(Cell { text: format!("{colour}{c}"), width }),
    }
}

/// The cells of a prompt, which may change colours. The last change belongs to the last cell, so that what is
/// typed is drawn without any.
fn prompt_cells(prompt: &str) -> Vec<Cell> {
    let (mut cells, mut colour, mut rest) = (Vec::new(), String::new(), prompt);
    while let Some(c) = rest.chars().next() {
        let (change, behind) = rest.split_at_checked(colour_length(rest)).unwrap_or_default();
        colour.push_str(change);
        if change.is_empty() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            if accepts(c) {
                add(&mut cells, &std::mem::take(&mut colour), c);
            }
        } else {
            rest = behind;
        }
    }
    cells.iter_mut().last().into_iter().for_each(|last| last.text.push_str(&colour));
    cells
}

/// The length of the SGR sequence (ECMA-48 §8.3.117) that `text` begins with; 0 if it begins with none.
fn colour_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    behind.strip_prefix('m').map_or(0, |behind| text.len().saturating_sub(behind.len()))
}

type Row = Vec<Cell>;

fn row_width(row: &[Cell]) -> usize {
    row.iter().map(|cell| cell.width).sum()
}

/// What the rows should show.
struct Frame {
    rows: Vec<Row>,
    cursor: (usize, usize),
}

impl Frame {
    fn new(prompt: &str, before: &str, after: &str, (columns, height): (usize, usize)) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let (mut row, mut column, mut cursor) = (Vec::new(), 0_usize, None);
        let prompt = prompt_cells(prompt);
        let until = prompt.len().saturating_add(cells(before).len());
        // Taken together: a mark after the cursor stands on the character before it.
        let line = cells(&format!("{before}{after}"));
        for (at, cell) in prompt.into_iter().chain(line).enumerate() {
            if column.saturating_add(cell.width) > columns {
                rows.push(std::mem::take(&mut row));
                column = 0;
            }
            if at == until {
                cursor = Some((rows.len(), column));
            }
            column = column.saturating_add(cell.width);
            row.push(cell);
        }
        let full = column >= columns;
        rows.push(row);
        let cursor = cursor.unwrap_or_else(|| {
            if full {
                rows.push(Vec::new());
            }
            (rows.len().saturating_sub(1), if full { 0 } else { column })
        });
        // Of a line that is higher than the terminal, the part that ends with the cursor.
        let top = cursor.0.saturating_sub(height.saturating_sub(1));
        let rows = rows.into_iter().skip(top).take(height.max(1)).collect();
        Self { rows, cursor: (cursor.0.saturating_sub(top), cursor.1) }
    }
}

/// The rows as the terminal shows them now.
#[derive(Debug)]
pub(super) struct Screen {
    rows: Vec<Row>,
    prompt: String,
    /// The row and the column where the terminal's cursor is; the column after the last one when the last
    /// was just written.
    at: (usize, usize),
    size: (usize, usize),
}

impl Screen {
    /// A terminal of so many columns and rows whose cursor is at the beginning of an empty row.
    pub(super) fn new(size: (u32, u32)) -> Self {
        Self { rows: Vec::new(), prompt: String::new(), at: (0, 0), size: usable(size) }
    }

    /// Makes the terminal show the prompt and both texts with the cursor between them.
    pub(super) fn draw(&mut self, prompt: &str, before: &str, after: &str, out: &mut Vec<u8>) {
        if self.prompt != prompt {
            // Where a colour was changed is not looked for.
            self.erase(out);
            prompt.clone_into(&mut self.prompt);
        }
        let frame = Frame::new(prompt, before, after, self.size);
        let old = std::mem::take(&mut self.rows);
        for (number, row) in frame.rows.iter().enumerate() {
            let shown = old.get(number).map(Vec::as_slice).unwrap_or_default();
            let same = row.iter().zip(shown).take_while(|(new, old)| new == old).count();
            let (kept, new) = row.split_at(same);
            if new.is_empty() && same == shown.len() {
                continue;
            }
            self.go(number, row_width(kept), out);
            for cell in new {
                out.extend_from_slice(cell.text.as_bytes());
                self.at.1 = self.at.1.saturating_add(cell.width);
            }
            if row_width(row) < row_width(shown) {
                out.extend_from_slice(b"\x1b[K");
            }
        }
        if old.len() > frame.rows.len() {
            self.go(frame.rows.len(), 0, out);
            out.extend_from_slice(b"\x1b[J");
        }
        self.rows = frame.rows;
        self.go(frame.cursor.0, frame.cursor.1, out);
    }

    /// Moves the cursor, to the row below the last one at most.
    fn go(&mut self, row: usize, column: usize, out: &mut Vec<u8>) {
        let up = self.at.0.saturating_sub(row);
        if up > 0 {
            out.extend_from_slice(format!("\x1b[{up}A").as_bytes());
        }
        for _ in self.at.0..row {
            out.extend_from_slice(b"\r\n");
            self.at.1 = 0;
        }
        let now = self.at.1;
        // Behind the last column terminals differ in what a step back does.
        let inside = now < self.size.0;
        if now != column || !inside {
            match column {
                0 => out.push(b'\r'),
                _ if inside && column.saturating_add(1) == now => out.push(0x08),
                _ => out.extend_from_slice(format!("\r\x1b[{column}C").as_bytes()),
            }
        }
        self.at = (row, column);
    }

    /// Takes the line off the terminal; the cursor stays where it began.
    pub(super) fn erase(&mut self, out: &mut Vec<u8>) {
        self.go(0, 0, out);
        if !self.rows.is_empty() {
            out.extend_from_slice(b"\x1b[J");
        }
        self.rows.clear();
    }

    /// Leaves the line where it is and goes on below it.
    pub(super) fn leave(&mut self, out: &mut Vec<u8>) {
        self.go(self.rows.len().max(1), 0, out);
        self.rows.clear();
        self.at = (0, 0);
    }

    /// Empties the whole terminal.
    pub(super) fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[H\x1b[2J");
        self.rows.clear();
        self.at = (0, 0);
    }

    /// The terminal has another size. Whether it has broken long rows anew it does not tell; what is erased
    /// is only what is the line's in either case.
    pub(super) fn resize(&mut self, size: (u32, u32), out: &mut Vec<u8>) {
        self.erase(out);
        self.size = usable(size);
    }
}

fn usable((columns, rows): (u32, u32)) -> (usize, usize) {
    let or = |told: u32, default: usize| match usize::try_from(told) {
        Ok(0) | Err(_) => default,
        Ok(told) => told,
    };
    (or(columns, DEFAULT_SIZE.0).max(LEAST_COLUMNS), or(rows, DEFAULT_SIZE.1))
}
