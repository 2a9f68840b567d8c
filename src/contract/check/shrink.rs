//! Makes a document smaller for as long as the same thing goes wrong with it.

use super::sample::Sample;

/// Documents that are tried for one finding.
const TRIES: usize = 600;

/// A smaller document with which the same goes wrong: members and items left out, texts and numbers made simple.
pub(super) fn shrink(sample: &Sample, fails: &mut dyn FnMut(&Sample) -> bool) -> Sample {
    let mut best = sample.clone();
    let mut left = TRIES;
    loop {
        let mut is_smaller = false;
        let mut path = Vec::new();
        is_smaller |= walk(&mut best, &mut path, &mut left, fails);
        if !is_smaller || left == 0 {
            return best;
        }
    }
}

/// Tries everything at a place, then at the places inside it. True if anything became smaller.
fn walk(best: &mut Sample, path: &mut Vec<usize>, left: &mut usize, fails: &mut dyn FnMut(&Sample) -> bool) -> bool {
    let mut is_smaller = false;
    let mut turn = 0;
    while let Some((value, smaller)) = inside(best, path).and_then(|value| Some((value, candidate(value, turn)?))) {
        if *left == 0 {
            return is_smaller;
        }
        turn += 1;
        if smaller == *value {
            continue;
        }
        *left -= 1;
        let mut next = best.clone();
        if let Some(place) = inside_mut(&mut next, path) {
            *place = smaller;
        }
        if fails(&next) {
            *best = next;
            is_smaller = true;
            // The same place has fewer members now: the same turn is another candidate.
            turn = turn.saturating_sub(1);
        }
    }
    let count = match inside(best, path) {
        Some(Sample::Arr(elements)) => elements.len(),
        Some(Sample::Obj(members)) => members.len(),
        _ => 0,
    };
    for position in 0..count {
        path.push(position);
        is_smaller |= walk(best, path, left, fails);
        path.pop();
    }
    is_smaller
}

/// The so-many-th thing to try, which may be the value itself; `None` if there are no more.
fn candidate(value: &Sample, turn: usize) -> Option<Sample> {
    match value {
        Sample::Obj(members) => {
            let mut fewer = members.clone();
            (turn < members.len()).then(|| {
                fewer.remove(turn);
                Sample::Obj(fewer)
            })
        }
        Sample::Arr(elements) => {
            let count = elements.len();
            let halves = if count > 3 { 2 } else { 0 };
            match turn {
                0 if halves > 0 => Some(Sample::Arr(elements[..count / 2].to_vec())),
                1 if halves > 0 => Some(Sample::Arr(elements[count / 2..].to_vec())),
                // Long lists are halved; one item at a time only once they are short.
                _ if turn - halves < count.min(12) => {
                    let mut fewer = elements.clone();
                    fewer.remove(turn - halves);
                    Some(Sample::Arr(fewer))
                }
                _ => None,
            }
        }
        Sample::Str(text) => {
            let count = text.chars().count();
            let taken = |most: usize| text.chars().take(most).collect();
            let smaller: String = match turn {
                0 => String::new(),
                1 if count > 0 => "a".to_owned(),
                2 => taken(count / 2),
                3 => taken(count.saturating_sub(1)),
                4 => text.chars().map(|_| 'a').collect(),
                5 => text.chars().skip(1).collect(),
                1 => return Some(value.clone()),
                _ => return None,
            };
            Some(Sample::Str(smaller))
        }
        Sample::Num(text) => {
            let smaller = match turn {
                0 => "0",
                1 => "1",
                2 => text.split(['e', 'E']).next().unwrap_or_default(),
                3 => text.split('.').next().unwrap_or_default(),
                4 if text.contains('.') => &text[..text.len() - 1],
                4 => text,
                _ => return None,
            };
            let smaller = smaller.trim_end_matches('.');
            let is_simpler = smaller.len() < text.len() || (smaller.len() == text.len() && smaller < text.as_str());
            Some(if is_simpler {
                Sample::Num(smaller.to_owned())
            } else {
                value.clone()
            })
        }
        Sample::Null | Sample::Bool(_) => None,
    }
}

fn inside<'s>(value: &'s Sample, path: &[usize]) -> Option<&'s Sample> {
    path.iter().try_fold(value, |value, position| match value {
        Sample::Arr(elements) => elements.get(*position),
        Sample::Obj(members) => members.get(*position).map(|(_, value)| value),
        _ => None,
    })
}

fn inside_mut<'s>(value: &'s mut Sample, path: &[usize]) -> Option<&'s mut Sample> {
    path.iter().try_fold(value, |value, position| match value {
        Sample::Arr(elements) => elements.get_mut(*position),
        Sample::Obj(members) => members.get_mut(*position).map(|(_, value)| value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Sample {
        Sample::Str(value.to_owned())
    }

    #[test]
    fn only_what_fails_is_left() {
        let line = |sku: &str| Sample::Obj(vec![("sku".to_owned(), text(sku)), ("note".to_owned(), text("x"))]);
        let mut lines: Vec<Sample> = (0..40).map(|number| line(&format!("A-{number}"))).collect();
        lines[33] = line("a \" and more");
        let big = Sample::Obj(vec![
            ("name".to_owned(), text("Jörg")),
            ("lines".to_owned(), Sample::Arr(lines)),
            ("total".to_owned(), Sample::Num("19.90".to_owned())),
        ]);
        let mut tried = 0;
        let small = shrink(&big, &mut |sample| {
            tried += 1;
            sample.to_string().contains(r#"\""#)
        });
        assert_eq!(small.to_string(), r#"{"lines":[{"sku":"\""}]}"#);
        assert!(tried <= TRIES);
    }

    #[test]
    fn numbers_become_simple_and_shrinking_ends_where_everything_fails() {
        let number = |text: &str| Sample::Num(text.to_owned());
        let is_fine = |sample: &Sample| sample.to_string().contains('.');
        assert_eq!(
            shrink(&number("1234.567e0"), &mut |sample| is_fine(sample)),
            number("1234.5")
        );
        let nested = Sample::Arr(vec![Sample::Arr(vec![text("abc"); 9]); 9]);
        assert_eq!(shrink(&nested, &mut |_| true), Sample::Arr(Vec::new()));
    }
}
