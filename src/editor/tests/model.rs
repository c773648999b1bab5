//! Random keys, with the editor and with a plain model of a line: a list of what is drawn in one place, and a
//! cursor in it.

use super::{Desk, Line};

struct Model {
    cells: Vec<String>,
    at: usize,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

/// What a key is typed as, and what it does to the model.
type Step = (&'static str, fn(&mut Model));

const STEPS: &[Step] = &[
    ("\x02", |it| it.at = it.at.saturating_sub(1)),
    ("\x06", |it| it.at = (it.at + 1).min(it.cells.len())),
    ("\x01", |it| it.at = 0),
    ("\x05", |it| it.at = it.cells.len()),
    ("\x1b[H", |it| it.at = 0),
    ("\x1b[D", |it| it.at = it.at.saturating_sub(1)),
    ("\x1b[C", |it| it.at = (it.at + 1).min(it.cells.len())),
    ("\x7f", |it| {
        if it.at > 0 {
            it.at -= 1;
            it.cells.remove(it.at);
        }
    }),
    ("\x1b[3~", |it| {
        if it.at < it.cells.len() {
            it.cells.remove(it.at);
        }
    }),
    ("\x0b", |it| it.cells.truncate(it.at)),
    ("\x15", |it| {
        it.cells.drain(..it.at);
        it.at = 0;
    }),
    ("\x0c", |_| {}),
];

const LETTERS: &[&str] = &["a", "b", "z", " ", "\u{e4}", "e\u{301}", "\u{5b57}", "\u{1f600}"];

/// The rows that a line takes, by the letters' widths.
fn rows(cells: &[String], columns: usize) -> (Vec<String>, usize) {
    let (mut rows, mut used) = (vec![String::new()], 0);
    for cell in cells {
        let width = if cell.starts_with(['\u{5b57}', '\u{1f600}']) { 2 } else { 1 };
        if used + width > columns {
            rows.push(String::new());
            used = 0;
        }
        rows.last_mut().unwrap().push_str(cell);
        used += width;
    }
    (rows, used)
}

#[test]
fn the_terminal_shows_what_the_model_has() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let columns = 3 + random.below(25);
        let mut desk = Desk::new(columns, 60);
        desk.begin("> ");
        let mut model = Model { cells: Vec::new(), at: 0 };
        for _ in 0..150 {
            match random.below(3) {
                0 => {
                    let (typed, step) = STEPS[random.below(STEPS.len())];
                    assert_eq!(desk.types(typed), None);
                    step(&mut model);
                }
                _ => {
                    let letter = LETTERS[random.below(LETTERS.len())];
                    // Byte by byte: a read may end anywhere.
                    for byte in letter.as_bytes() {
                        assert_eq!(desk.types([*byte]), None);
                    }
                    model.cells.insert(model.at, letter.to_owned());
                    model.at += 1;
                }
            }
            if random.below(20) == 0 {
                desk.show("a message");
            }
            check(&desk, &model, columns);
        }
        assert_eq!(desk.types("\r"), Some(Line::Text(model.cells.concat())));
        assert_eq!(desk.terminal.at.1, 0);
    }
}

fn check(desk: &Desk, model: &Model, columns: usize) {
    let prompt = ["> ".chars().map(String::from).collect(), model.cells.clone()].concat();
    let (mut wanted, _) = rows(&prompt, columns);
    wanted.iter_mut().for_each(|row| *row = row.trim_end().to_owned());
    while wanted.last().is_some_and(String::is_empty) {
        wanted.pop();
    }
    let shown = desk.terminal.text();
    assert!(shown.ends_with(&wanted), "{shown:?} and not {wanted:?}");
    // The cursor is where the next letter begins.
    let (before, used) = rows(&prompt[..model.at + 2], columns);
    let next = prompt.get(model.at + 2).map_or(1, |cell| rows(std::slice::from_ref(cell), columns).1);
    let (row, column) = if used + next > columns { (before.len(), 0) } else { (before.len() - 1, used) };
    let top = desk.terminal.at.0.checked_sub(row).expect("the cursor is in the line");
    assert_eq!((desk.terminal.at.0 - top, desk.terminal.at.1), (row, column), "{shown:?}");
    assert_eq!(desk.terminal.text()[top..].len(), wanted.len(), "{shown:?}");
}
