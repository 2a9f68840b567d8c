//! Days written by a pattern, such as `dd.MM.yyyy`.

use jiff::civil::Date;

/// How a day is written: `yyyy`, `MM` and `dd` once each, anything but letters between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatePattern {
    pieces: Vec<Piece>,
    /// As it was written.
    pub(super) text: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Year,
    Month,
    Day,
    Text(Box<str>),
}

impl DatePattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let known = [("yyyy", Piece::Year), ("MM", Piece::Month), ("dd", Piece::Day)];
            let (piece, length) = match known.into_iter().find(|(letters, _)| rest.starts_with(letters)) {
                Some((letters, piece)) => (piece, letters.len()),
                None if first.is_alphanumeric() => return Err(format!("`{text}` is no way to write a day")),
                None => {
                    let end = rest.find(char::is_alphanumeric).unwrap_or(rest.len());
                    (Piece::Text(rest[..end].into()), end)
                }
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        let once = |piece: &Piece| pieces.iter().filter(|other| *other == piece).count() == 1;
        if [Piece::Year, Piece::Month, Piece::Day].iter().all(once) {
            let text = text.into();
            Ok(Self { pieces, text })
        } else {
            Err(format!("`{text}` does not name year, month and day once each"))
        }
    }

    /// `2026-11-20`.
    pub(super) fn iso() -> Self {
        let dash = || Piece::Text("-".into());
        Self {
            pieces: vec![Piece::Year, dash(), Piece::Month, dash(), Piece::Day],
            text: "yyyy-MM-dd".into(),
        }
    }

    /// The day that is written so. `None` if it is written otherwise, or there is no such day.
    pub(super) fn read(&self, text: &str) -> Option<Date> {
        let (mut year, mut month, mut day) = (0, 0, 0);
        let mut rest = text;
        for piece in &self.pieces {
            match piece {
                Piece::Year => year = take_digits(&mut rest, 4)?,
                Piece::Month => month = i8::try_from(take_digits(&mut rest, 2)?).ok()?,
                Piece::Day => day = i8::try_from(take_digits(&mut rest, 2)?).ok()?,
                Piece::Text(between) => rest = rest.strip_prefix(&**between)?,
            }
        }
        rest.is_empty().then(|| Date::new(year, month, day).ok()).flatten()
    }

    /// The day, written so.
    pub(super) fn write(&self, day: Date) -> String {
        let mut text = String::with_capacity(10);
        for piece in &self.pieces {
            match piece {
                Piece::Year => push_digits(&mut text, day.year(), 4),
                Piece::Month => push_digits(&mut text, day.month().into(), 2),
                Piece::Day => push_digits(&mut text, day.day().into(), 2),
                Piece::Text(between) => text.push_str(between),
            }
        }
        text
    }
}

fn take_digits(rest: &mut &str, count: usize) -> Option<i16> {
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten()
}

/// A number with zeros in front.
fn push_digits(text: &mut String, number: i16, width: usize) {
    let digits = number.to_string();
    text.extend(std::iter::repeat_n('0', width.saturating_sub(digits.len())));
    text.push_str(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written_by_their_pattern() {
        for (pattern, text) in [
            ("yyyy-MM-dd", "2026-11-20"),
            ("dd.MM.yyyy", "20.11.2026"),
            ("yyyyMMdd", "20261120"),
            ("MM/dd/yyyy", "11/20/2026"),
        ] {
            let pattern = DatePattern::parse(pattern).unwrap();
            let day = pattern.read(text).unwrap();
            assert_eq!(day, Date::constant(2026, 11, 20));
            assert_eq!(pattern.write(day), text);
            for wrong in [
                "",
                "20261",
                "2026-1-20",
                "30.02.2026",
                "20.11.2026 ",
                "+026-11-20",
                "2026-13-01",
            ] {
                assert_eq!(pattern.read(wrong), None, "{wrong}");
            }
        }
    }

    #[test]
    fn a_pattern_names_each_part_once() {
        for wrong in ["", "yyyy", "dd.MM.yy", "dd.MM.yyyy dd", "DD.MM.yyyy", "yyyy-MM-ddTHH"] {
            assert!(DatePattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
