//! Exact decimal arithmetic on the text of JSON numbers, as far as contracts need it.

use std::cmp::Ordering;

/// A JSON number, taken apart without rounding: any number of digits, any exponent.
///
/// Equality and order are those of the values: `1.50`, `15e-1` and `1.5` are one number.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// Zeros at the front of `whole` and `fraction` together.
    leading: usize,
    /// Significant digits, from the first to the last that is not zero. 0 for zero itself.
    significant: usize,
    /// Power of ten of the last significant digit.
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Takes a number apart. `None` if it is not a JSON number (RFC 8259), or its exponent has more than 15 digits.
    pub fn parse(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let magnitude = digits.trim_start_matches('0');
                if magnitude.len() > 15 {
                    return None;
                }
                let magnitude: i64 = if magnitude.is_empty() {
                    0
                } else {
                    magnitude.parse().ok()?
                };
                (
                    mantissa,
                    if exponent.starts_with('-') {
                        -magnitude
                    } else {
                        magnitude
                    },
                )
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole.as_bytes(), fraction.as_bytes()),
            None => (mantissa.as_bytes(), [].as_slice()),
        };
        let is_plain = whole == b"0" || !matches!(whole, [] | [b'0', ..]);
        let digits = whole.iter().chain(fraction);
        if !is_plain || !digits.clone().all(u8::is_ascii_digit) {
            return None;
        }
        let all = whole.len() + fraction.len();
        let leading = digits.clone().take_while(|digit| **digit == b'0').count();
        let trailing = digits.rev().take_while(|digit| **digit == b'0').count();
        let (significant, trailing) = if leading == all {
            (0, 0)
        } else {
            (all - leading - trailing, trailing)
        };
        Some(Self {
            negative: unsigned.len() < text.len() && significant > 0,
            whole,
            fraction,
            leading,
            significant,
            exponent: exponent - signed(fraction.len()) + signed(trailing),
        })
    }

    /// The significant digits, without zeros at either end.
    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        let all = self.whole.iter().chain(self.fraction);
        all.skip(self.leading).take(self.significant).copied()
    }

    /// A whole number, however it is written.
    pub fn is_integer(&self) -> bool {
        self.significant == 0 || self.exponent >= 0
    }

    /// Below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Digits needed after the decimal point.
    pub fn scale(&self) -> u64 {
        if self.significant == 0 {
            0
        } else {
            (-self.exponent).max(0).unsigned_abs()
        }
    }

    /// Whether this is `step` a whole number of times. `None` if `step` is zero or has more than 18 digits.
    pub fn is_multiple_of(&self, step: &Decimal<'_>) -> Option<bool> {
        if step.significant == 0 || step.significant > 18 {
            return None;
        }
        let divisor = step
            .digits()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        if self.significant == 0 {
            return Some(true);
        }
        // Neither has zeros at its end, so what is finer than the step is no multiple of it.
        let Ok(shift) = u64::try_from(self.exponent - step.exponent) else {
            return Some(false);
        };
        let divisor = u128::from(divisor);
        let digits = self
            .digits()
            .fold(0, |rest, digit| (rest * 10 + u128::from(digit - b'0')) % divisor);
        Some((digits * power_of_ten(shift, divisor)).is_multiple_of(divisor))
    }

    /// Plain digits without an exponent, such as `-1234.50`. At least `scale` digits after the point if `pad` is set.
    /// `None` if that takes more than 40 digits.
    pub fn plain(&self, pad: Option<usize>) -> Option<String> {
        let scale = usize::try_from(self.scale()).ok()?;
        let size = self.significant + usize::try_from(self.exponent.max(0)).ok()?;
        if size.max(scale) > 40 {
            return None;
        }
        let mut digits: Vec<u8> = self.digits().collect();
        if self.significant > 0 {
            digits.resize(size, b'0');
        }
        while digits.len() <= scale {
            digits.insert(0, b'0');
        }
        let point = digits.len() - scale;
        let scale = scale.max(pad.unwrap_or(0));
        digits.resize(point + scale, b'0');
        let mut text = String::with_capacity(digits.len() + 2);
        if self.negative {
            text.push('-');
        }
        for (position, digit) in digits.iter().enumerate() {
            if position == point {
                text.push('.');
            }
            text.push(char::from(*digit));
        }
        Some(text)
    }
}

/// A length, which never comes near the limit.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// 10^`exponent` modulo `divisor`, which has at most 18 digits.
fn power_of_ten(mut exponent: u64, divisor: u128) -> u128 {
    let mut power = 1 % divisor;
    let mut base = 10 % divisor;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * base % divisor;
        }
        base = base * base % divisor;
        exponent >>= 1;
    }
    power
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => return Ordering::Greater,
            (true, false) => return Ordering::Less,
            _ => {}
        }
        // Where the first digit stands decides before the digits do.
        let place = |number: &Self| {
            if number.significant == 0 {
                i64::MIN
            } else {
                number.exponent + signed(number.significant)
            }
        };
        let size = place(self)
            .cmp(&place(other))
            .then_with(|| self.digits().cmp(other.digits()));
        if self.negative { size.reverse() } else { size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal<'_> {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn numbers_compare_by_value_at_any_length() {
        for (one, order, other) in [
            ("1.50", Ordering::Equal, "15e-1"),
            ("-0", Ordering::Equal, "0.000e9"),
            (
                "12345678901234567890.12",
                Ordering::Greater,
                "12345678901234567890.11999",
            ),
            ("18446744073709551616", Ordering::Greater, "18446744073709551615"),
            ("-2", Ordering::Less, "-1.9"),
            ("-0.001", Ordering::Less, "0"),
            ("9e99999", Ordering::Greater, "1e99999"),
            ("0.1", Ordering::Less, "1"),
            ("100", Ordering::Greater, "99"),
        ] {
            assert_eq!(decimal(one).cmp(&decimal(other)), order, "{one} {other}");
        }
    }

    #[test]
    fn multiples_are_exact() {
        for (number, step, is_multiple) in [
            ("19.90", "0.01", true),
            ("19.905", "0.01", false),
            ("12345678901234567890.12", "0.01", true),
            ("12345678901234567890.123", "0.01", false),
            ("0.07", "0.005", true),
            ("1e30", "7", false),
            ("7e30", "7", true),
            ("0", "0.01", true),
            ("-4.5", "1.5", true),
            ("1e-400", "0.01", false),
        ] {
            assert_eq!(
                decimal(number).is_multiple_of(&decimal(step)),
                Some(is_multiple),
                "{number} {step}"
            );
        }
        assert_eq!(decimal("1").is_multiple_of(&decimal("0")), None);
    }

    #[test]
    fn plain_text_has_no_exponent() {
        for (number, pad, plain) in [
            ("1e2", None, "100"),
            ("19.90", None, "19.9"),
            ("19.9", Some(2), "19.90"),
            ("5", Some(2), "5.00"),
            ("0", Some(2), "0.00"),
            ("-12.5E-3", None, "-0.0125"),
            ("1E-3", Some(2), "0.001"),
            ("12345678901234567890.12", None, "12345678901234567890.12"),
        ] {
            assert_eq!(decimal(number).plain(pad).as_deref(), Some(plain), "{number}");
        }
        assert_eq!(decimal("1e41").plain(None), None);
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for wrong in [
            "",
            "-",
            ".5",
            "1.",
            "1e",
            "+1",
            "0x1",
            "NaN",
            "1e9999999999999999",
            "1 ",
            "01",
            "1e+",
        ] {
            assert!(Decimal::parse(wrong).is_none(), "{wrong}");
        }
        assert!(decimal("1.0e1").is_integer() && decimal("0.0").is_integer() && !decimal("10.5").is_integer());
    }
}
