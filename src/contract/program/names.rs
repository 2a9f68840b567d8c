//! Finding what belongs to a member's name, quickly: an order has dozens of members, and each is looked up once.

use crate::json::Name;

/// Values by name. Built once, asked for every member of every document.
#[derive(Debug)]
pub(super) struct Names<T> {
    entries: Box<[(Box<str>, T)]>,
    /// Positions in `entries`, one more than that, by hash; 0 is nothing. A power of two, at most half full.
    table: Box<[u16]>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T> Names<T> {
    /// Of a name that is given twice, the first counts. At most 65,534 names; more are not found.
    pub(super) fn new(entries: Vec<(Box<str>, T)>) -> Self {
        let size = (entries.len() * 2).next_power_of_two();
        let mut table = vec![0; size];
        for (position, (name, _)) in (1..u16::MAX).zip(&entries) {
            let mut at = hash(name.as_bytes()) & (size - 1);
            while table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            table[at] = position;
        }
        Self {
            entries: entries.into(),
            table: table.into(),
        }
    }

    /// The position of a member's name.
    pub(super) fn find(&self, name: Name<'_>) -> Option<u16> {
        match name.as_it_stands() {
            Some(bytes) => self.find_bytes(bytes),
            None => self.find_bytes(name.text().as_bytes()),
        }
    }

    fn find_bytes(&self, name: &[u8]) -> Option<u16> {
        let last = self.table.len() - 1;
        let mut at = hash(name) & last;
        loop {
            let position = self.table[at].checked_sub(1)?;
            if self.entries[usize::from(position)].0.as_bytes() == name {
                return Some(position);
            }
            at = (at + 1) & last;
        }
    }

    /// What belongs to a name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.find_bytes(name.as_bytes()).map(|position| self.at(position))
    }

    /// All names, with what belongs to them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    /// What stands at a position that `find` gave.
    pub(super) fn at(&self, position: u16) -> &T {
        &self.entries[usize::from(position)].1
    }
}

/// Names of one object mostly differ in length or in one of these letters.
fn hash(bytes: &[u8]) -> usize {
    let letter = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    let length = bytes.len();
    length + letter(0) * 7 + letter(length / 2) * 31 + letter(length.wrapping_sub(1)) * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_are_not() {
        let names: Vec<(Box<str>, usize)> = (0..200).map(|number| (format!("n{number}").into(), number)).collect();
        let names = Names::new(names);
        for number in 0..200 {
            assert_eq!(
                names
                    .find_bytes(format!("n{number}").as_bytes())
                    .map(|at| *names.at(at)),
                Some(number)
            );
        }
        for unknown in ["", "n200", "n", "N1"] {
            assert_eq!(names.find_bytes(unknown.as_bytes()), None, "{unknown}");
        }
        assert_eq!(Names::<u8>::default().find_bytes(b"a"), None);
    }

    #[test]
    fn the_first_of_two_counts() {
        let names = Names::new(vec![("a".into(), 1), ("a".into(), 2)]);
        assert_eq!(names.find_bytes(b"a").map(|at| *names.at(at)), Some(1));
    }
}
