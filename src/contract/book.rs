//! Tables that lie in files beside a mapping: thousands to a million rows, read once, looked up both ways.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use super::compile::place;
use super::openapi::list;
use super::spec::{Direction, MappingSpec, TableFileSpec};
use crate::config::{Diagnostic, SourceFile};

/// Most rows of a table that a `table` step takes; `lookup` takes any number.
pub(super) const SHORT: usize = 10_000;

/// The rows of a file: both columns' texts in one piece, and the order of each.
#[derive(Debug, Default)]
pub(super) struct Book {
    text: String,
    rows: Vec<Row>,
    /// Rows by the older code, which stands once, and by the newer one, which may stand in several.
    by_older: Vec<u32>,
    by_newer: Vec<u32>,
}

/// Where a row's codes begin and end in the text.
#[derive(Clone, Copy, Debug)]
struct Row {
    older: u32,
    newer: u32,
    end: u32,
}

/// What stands for a code on one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'b> {
    /// One code.
    One(&'b str),
    /// Several: which is meant, nobody knows.
    Several,
    /// None.
    Nothing,
}

impl Book {
    fn older(&self, row: u32) -> &str {
        let row = self.rows[row as usize];
        &self.text[row.older as usize..row.newer as usize]
    }

    fn newer(&self, row: u32) -> &str {
        let row = self.rows[row as usize];
        &self.text[row.newer as usize..row.end as usize]
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Older code, newer code.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_older.iter().map(|row| (self.older(*row), self.newer(*row)))
    }

    /// Newer codes that stand for several older ones.
    pub(super) fn ambiguous(&self) -> impl Iterator<Item = &str> {
        let pairs = self.by_newer.windows(2);
        pairs
            .filter(|pair| self.newer(pair[0]) == self.newer(pair[1]))
            .map(|pair| self.newer(pair[0]))
    }

    /// What a code becomes.
    pub(super) fn find(&self, way: Direction, code: &str) -> Found<'_> {
        match way {
            Direction::Up => match self.by_older.binary_search_by(|row| self.older(*row).cmp(code)) {
                Ok(at) => Found::One(self.newer(self.by_older[at])),
                Err(_) => Found::Nothing,
            },
            Direction::Down => {
                let first = self.by_newer.partition_point(|row| self.newer(*row) < code);
                let is_same = |at: usize| self.by_newer.get(at).is_some_and(|row| self.newer(*row) == code);
                match (is_same(first), is_same(first + 1)) {
                    (true, false) => Found::One(self.older(self.by_newer[first])),
                    (true, true) => Found::Several,
                    (false, _) => Found::Nothing,
                }
            }
        }
    }

    /// Reads a file. What is wrong with it is told where it stands.
    fn read(file: &SourceFile, spec: &TableFileSpec) -> Result<Self, Diagnostic> {
        let wrong = |line: u64, message: String, help: String| {
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            Diagnostic::error(file, line, 1, message).help(help)
        };
        let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
        let head = text.lines().next().unwrap_or_default();
        let delimiter = if head.contains(';') && !head.contains(',') {
            b';'
        } else {
            b','
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let unreadable = |error: &csv::Error| {
            let line = error.position().map_or(0, csv::Position::line);
            wrong(
                line,
                format!("this is no row of the table: {error}"),
                "give every row as many fields as the header".into(),
            )
        };
        let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
        let column = |name: &str| {
            let found = header.iter().position(|known| known == name);
            found.ok_or_else(|| {
                let message = format!("the table has no column `{name}`");
                wrong(1, message, format!("the header names {}", list(header.iter())))
            })
        };
        let (older, newer) = (column(&spec.older)?, column(&spec.newer)?);
        let mut book = Self::default();
        let mut lines = Vec::new();
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
            let line = record.position().map_or(0, csv::Position::line);
            let (one, other) = (
                record.get(older).unwrap_or_default(),
                record.get(newer).unwrap_or_default(),
            );
            if one.is_empty() || other.is_empty() {
                let help = "leave the row out, or give it both codes";
                return Err(wrong(line, "a row without one of its codes".to_owned(), help.into()));
            }
            // A file has a largest size far below what these can say.
            let at = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            let start = book.text.len();
            book.text.push_str(one);
            let middle = book.text.len();
            book.text.push_str(other);
            book.rows.push(Row {
                older: at(start),
                newer: at(middle),
                end: at(book.text.len()),
            });
            lines.push(line);
        }
        let count = u32::try_from(book.rows.len()).unwrap_or(u32::MAX);
        let mut sorted: Vec<u32> = (0..count).collect();
        sorted.sort_by(|one, other| book.older(*one).cmp(book.older(*other)));
        if let Some(pair) = sorted
            .windows(2)
            .find(|pair| book.older(pair[0]) == book.older(pair[1]))
        {
            let message = format!("a second row for `{}`", book.older(pair[1]));
            let help = format!("the first is in line {}", lines[pair[0] as usize]);
            return Err(wrong(lines[pair[1] as usize], message, help));
        }
        book.by_older.clone_from(&sorted);
        sorted.sort_by(|one, other| book.newer(*one).cmp(book.newer(*other)));
        book.by_newer = sorted;
        Ok(book)
    }
}

/// The tables of a mapping that lie in files, by name.
#[derive(Default)]
pub(super) struct Books<'f> {
    pub(super) books: HashMap<String, Arc<Book>>,
    /// The files, sorted by the names of the tables.
    pub(super) files: Vec<&'f SourceFile>,
}

impl<'f> Books<'f> {
    /// Finds and reads the files that a mapping names, and puts the rows of short ones into it.
    pub(super) fn open(
        spec: &mut MappingSpec,
        mapping: &SourceFile,
        files: &'f [SourceFile],
        found: &mut Vec<Diagnostic>,
    ) -> Self {
        let folder = mapping.path.parent().unwrap_or(Path::new(""));
        let mut opened = Self::default();
        for (name, table) in &mut spec.tables {
            let at = place(table);
            let table = &mut table.value;
            let Some(wanted) = table.file.clone() else { continue };
            let path = folder.join(&wanted.file);
            let Some(file) = files.iter().find(|file| file.path == path) else {
                let message = format!("there is no file {} for table `{name}`", path.display());
                let help = "name a .csv file below the folder of the contract";
                found.push(Diagnostic::error(mapping, at.0, at.1, message).help(help));
                continue;
            };
            match shared(file, &wanted) {
                Ok(book) => {
                    if book.len() <= SHORT {
                        table.rows = book
                            .rows()
                            .map(|(one, other)| (one.to_owned(), other.to_owned()))
                            .collect();
                    }
                    opened.books.insert(name.clone(), book);
                    opened.files.push(file);
                }
                Err(mistake) => found.push(mistake),
            }
        }
        opened
    }
}

/// A file that is used by several mappings, or again after a reload, is read once.
fn shared(file: &SourceFile, spec: &TableFileSpec) -> Result<Arc<Book>, Diagnostic> {
    static KNOWN: LazyLock<Mutex<HashMap<blake3::Hash, Weak<Book>>>> = LazyLock::new(Mutex::default);
    let mut hasher = blake3::Hasher::new();
    for part in [&*spec.older, &*spec.newer, &*file.text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(book) = known().get(&hash).and_then(Weak::upgrade) {
        return Ok(book);
    }
    let book = Arc::new(Book::read(file, spec)?);
    let mut known = known();
    known.retain(|_, book| book.strong_count() > 0);
    known.insert(hash, Arc::downgrade(&book));
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Book, Diagnostic> {
        let file = SourceFile {
            path: "contracts/orders/tables/sku.csv".into(),
            text: text.into(),
        };
        let spec = TableFileSpec {
            file: "tables/sku.csv".into(),
            older: "old".into(),
            newer: "new".into(),
        };
        Book::read(&file, &spec)
    }

    #[test]
    fn a_code_is_found_both_ways() {
        let book = read("note,old,new\n,4711,A-1\n\"x, y\",4712,A-2\n,4713,A-2\n").unwrap();
        assert_eq!(book.find(Direction::Up, "4712"), Found::One("A-2"));
        assert_eq!(book.find(Direction::Up, "4"), Found::Nothing);
        assert_eq!(book.find(Direction::Down, "A-1"), Found::One("4711"));
        assert_eq!(book.find(Direction::Down, "A-2"), Found::Several);
        assert_eq!(book.find(Direction::Down, "A-3"), Found::Nothing);
        assert_eq!(book.ambiguous().collect::<Vec<_>>(), ["A-2"]);
    }

    #[test]
    fn a_spreadsheet_s_way_of_writing_is_read_too() {
        let book = read("\u{feff}old;new\r\n 4711 ;Größe 1\r\n").unwrap();
        assert_eq!(book.find(Direction::Up, "4711"), Found::One("Größe 1"));
    }

    #[test]
    fn a_hundred_thousand_rows_are_found_again() {
        let rows = (0..100_000_u32).map(|number| format!("{number},{:08}", number.wrapping_mul(7_919)));
        let lines: Vec<String> = std::iter::once("old,new".to_owned()).chain(rows).collect();
        let book = read(&lines.join("\n")).unwrap();
        assert_eq!(book.len(), 100_000);
        for number in [0, 1, 99, 54_321, 99_999_u32] {
            let newer = format!("{:08}", number.wrapping_mul(7_919));
            assert_eq!(book.find(Direction::Up, &number.to_string()), Found::One(&newer));
            assert_eq!(book.find(Direction::Down, &newer), Found::One(&number.to_string()));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line, message) in [
            ("", 1, "the table has no column `old`"),
            ("old,neu\n1,2\n", 1, "the table has no column `new`"),
            ("old,new\n1,2\n3,\n", 3, "a row without one of its codes"),
            ("old,new\n1,2\n2,2\n1,3\n", 4, "a second row for `1`"),
            ("old,new\n1,2\n3\n", 3, "this is no row of the table"),
        ] {
            let mistake = read(text).unwrap_err();
            assert_eq!(mistake.line, line, "{mistake}");
            assert!(
                mistake.message.starts_with(message) && mistake.help.is_some(),
                "{mistake}"
            );
        }
    }
}
