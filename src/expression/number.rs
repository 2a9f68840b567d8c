//! Exact decimal arithmetic: what cannot be said exactly is a fault, and nothing is rounded that was not asked to be.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::json::Decimal;

/// A number of up to 38 digits: `mantissa` / 10^`scale`.
///
/// Equality and order are those of the values: `1.50` and `1.5` are one number, though they are written differently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    mantissa: i128,
    scale: u8,
}

/// Most digits after the point.
const SCALE_LIMIT: u8 = 38;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// More than 38 digits.
    Overflow,
    ByZero,
    /// A quotient without end.
    Inexact,
}

/// What becomes of digits that are left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    HalfUp,
    HalfDown,
    HalfEven,
    Up,
    Down,
    Ceiling,
    Floor,
}

impl Rounding {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("HALF_UP", Self::HalfUp),
        ("HALF_DOWN", Self::HalfDown),
        ("HALF_EVEN", Self::HalfEven),
        ("UP", Self::Up),
        ("DOWN", Self::Down),
        ("CEILING", Self::Ceiling),
        ("FLOOR", Self::Floor),
    ];
}

impl Number {
    pub(super) const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// Reads a JSON number. `None` if it is none, or has more digits than are computed with.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::parse_plain(text).or_else(|| {
            let number = Decimal::parse(text)?;
            Self::parse_plain(&number.plain(None)?)
        })
    }

    /// Digits and a point.
    fn parse_plain(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mut mantissa, mut scale, mut has_point) = (0_i128, 0_u8, false);
        if unsigned.len() <= 18 {
            // Nearly all numbers; 64 bits are much faster.
            let mut small = 0_i64;
            for byte in unsigned.bytes() {
                match byte {
                    b'0'..=b'9' => {
                        small = small * 10 + i64::from(byte - b'0');
                        scale += u8::from(has_point);
                    }
                    b'.' if !has_point => has_point = true,
                    _ => return None,
                }
            }
            mantissa = small.into();
        } else {
            for byte in unsigned.bytes() {
                match byte {
                    b'0'..=b'9' => {
                        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                        scale = scale.checked_add(u8::from(has_point))?;
                    }
                    b'.' if !has_point => has_point = true,
                    _ => return None,
                }
            }
        }
        if unsigned.is_empty() || unsigned == "." || scale > SCALE_LIMIT {
            return None;
        }
        let mantissa = if unsigned.len() < text.len() {
            -mantissa
        } else {
            mantissa
        };
        Some(Self { mantissa, scale })
    }

    /// Plain digits, as many after the point as it is known to have.
    pub(super) fn text(self) -> String {
        let scale = usize::from(self.scale);
        let mut text = String::with_capacity(24);
        // Writing to a string does not fail.
        let _ = write!(text, "{:0width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        if scale > 0 {
            text.insert(text.len() - scale, '.');
        }
        if self.mantissa < 0 {
            text.insert(0, '-');
        }
        text
    }

    /// The same text for the same value.
    pub(super) fn canonical_text(self) -> String {
        self.trimmed().text()
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The value, if it is whole and not huge.
    pub(super) fn to_i64(self) -> Option<i64> {
        let small = self.trimmed();
        (small.scale == 0).then(|| i64::try_from(small.mantissa).ok()).flatten()
    }

    pub(super) fn is_whole(self) -> bool {
        self.trimmed().scale == 0
    }

    pub(super) fn add(self, other: Self) -> Result<Self, Fault> {
        self.aligned(other, i128::checked_add)
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, Fault> {
        self.aligned(other, i128::checked_sub)
    }

    /// What is left of a division towards zero; it has the sign of the first.
    pub(super) fn remainder(self, other: Self) -> Result<Self, Fault> {
        if other.is_zero() {
            return Err(Fault::ByZero);
        }
        self.aligned(other, i128::checked_rem)
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, Fault> {
        let product = |one: Self, other: Self| {
            let scale = one.scale + other.scale;
            let mantissa = one.mantissa.checked_mul(other.mantissa)?;
            (scale <= SCALE_LIMIT).then_some(Self { mantissa, scale })
        };
        product(self, other)
            .or_else(|| product(self.trimmed(), other.trimmed()))
            .ok_or(Fault::Overflow)
    }

    /// The quotient, if it has an end.
    pub(super) fn divide(self, other: Self) -> Result<Self, Fault> {
        let (mut numerator, mut denominator) = self.fraction(other, 0)?;
        let mut scale = 0;
        // A quotient ends if only tens are left to divide by; each of these digits takes a two and a five away.
        while numerator % denominator != 0 {
            let shared = gcd(denominator, 10);
            if shared == 1 {
                return Err(Fault::Inexact);
            }
            numerator = numerator.checked_mul(10 / shared).ok_or(Fault::Overflow)?;
            denominator /= shared;
            scale += 1;
            if scale > SCALE_LIMIT {
                return Err(Fault::Overflow);
            }
        }
        let mantissa = numerator / denominator;
        Ok(Self { mantissa, scale })
    }

    /// The quotient with so many digits after the point.
    pub(super) fn divide_rounded(self, other: Self, digits: u8, rounding: Rounding) -> Result<Self, Fault> {
        let (numerator, denominator) = self.fraction(other, digits)?;
        Ok(Self {
            mantissa: rounding.divide(numerator, denominator),
            scale: digits,
        })
    }

    /// With exactly so many digits after the point.
    pub(super) fn round(self, digits: u8, rounding: Rounding) -> Result<Self, Fault> {
        let mantissa = if digits >= self.scale {
            scaled(self.mantissa, digits - self.scale).ok_or(Fault::Overflow)?
        } else {
            match scaled(1, self.scale - digits) {
                Some(divisor) => rounding.divide(self.mantissa, divisor),
                None => 0,
            }
        };
        Ok(Self {
            mantissa,
            scale: digits,
        })
    }

    pub(super) fn negate(self) -> Result<Self, Fault> {
        let mantissa = self.mantissa.checked_neg().ok_or(Fault::Overflow)?;
        Ok(Self { mantissa, ..self })
    }

    pub(super) fn abs(self) -> Result<Self, Fault> {
        if self.mantissa < 0 { self.negate() } else { Ok(self) }
    }

    /// Numerator and denominator, above zero, of the quotient times 10^`digits`, in lowest terms.
    fn fraction(self, other: Self, digits: u8) -> Result<(i128, i128), Fault> {
        if other.is_zero() {
            return Err(Fault::ByZero);
        }
        let (mut numerator, mut denominator) = (self.mantissa, other.mantissa);
        let shift = i16::from(other.scale) + i16::from(digits) - i16::from(self.scale);
        let tens = u8::try_from(shift.unsigned_abs()).unwrap_or(u8::MAX);
        let reduce = |numerator: &mut i128, denominator: &mut i128| {
            let shared = gcd(*numerator, *denominator);
            *numerator /= shared;
            *denominator /= shared;
        };
        reduce(&mut numerator, &mut denominator);
        for _ in 0..tens {
            // One digit at a time, so that what cancels out does not overflow.
            let (grows, shrinks) = if shift > 0 {
                (&mut numerator, &mut denominator)
            } else {
                (&mut denominator, &mut numerator)
            };
            let shared = gcd(*shrinks, 10);
            *shrinks /= shared;
            *grows = grows.checked_mul(10 / shared).ok_or(Fault::Overflow)?;
        }
        reduce(&mut numerator, &mut denominator);
        if denominator < 0 {
            let negate = |value: i128| value.checked_neg().ok_or(Fault::Overflow);
            (numerator, denominator) = (negate(numerator)?, negate(denominator)?);
        }
        Ok((numerator, denominator))
    }

    fn aligned(self, other: Self, compute: fn(i128, i128) -> Option<i128>) -> Result<Self, Fault> {
        let align = |one: Self, other: Self| {
            let scale = one.scale.max(other.scale);
            let mantissa = compute(
                scaled(one.mantissa, scale - one.scale)?,
                scaled(other.mantissa, scale - other.scale)?,
            )?;
            Some(Self { mantissa, scale })
        };
        align(self, other)
            .or_else(|| align(self.trimmed(), other.trimmed()))
            .ok_or(Fault::Overflow)
    }

    /// Without zeros at the end of its fraction.
    fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self {
            mantissa: value.into(),
            scale: 0,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (
            scaled(self.mantissa, scale - self.scale),
            scaled(other.mantissa, scale - other.scale),
        ) {
            (Some(one), Some(other)) => one.cmp(&other),
            // At most one does not fit: it is the larger one, in its direction.
            (None, _) => self.mantissa.cmp(&0),
            (_, None) => 0.cmp(&other.mantissa),
        }
    }
}

impl Rounding {
    /// A quotient without its fraction. The denominator is above zero.
    fn divide(self, numerator: i128, denominator: i128) -> i128 {
        let (quotient, rest) = (numerator / denominator, numerator % denominator);
        if rest == 0 {
            return quotient;
        }
        let half = rest.abs().cmp(&(denominator - rest.abs()));
        let is_away = match self {
            Self::HalfUp => half != Ordering::Less,
            Self::HalfDown => half == Ordering::Greater,
            Self::HalfEven => half == Ordering::Greater || half == Ordering::Equal && quotient % 2 != 0,
            Self::Up => true,
            Self::Down => false,
            Self::Ceiling => numerator > 0,
            Self::Floor => numerator < 0,
        };
        // With a rest the denominator is at least two, so the quotient is far from the limits.
        if is_away {
            quotient + numerator.signum()
        } else {
            quotient
        }
    }
}

/// A value with zeros behind it.
fn scaled(value: i128, zeros: u8) -> Option<i128> {
    if zeros == 0 {
        return Some(value);
    }
    10_i128.checked_pow(zeros.into())?.checked_mul(value)
}

/// The greatest common divisor, 1 for two zeros.
fn gcd(one: i128, other: i128) -> i128 {
    let (mut one, mut other) = (one.unsigned_abs(), other.unsigned_abs());
    while other != 0 {
        (one, other) = (other, one % other);
    }
    // Only two values of -2^127 share 2^127.
    i128::try_from(one.max(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use num_traits::{Signed, Zero};
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn results_have_the_digits_that_were_computed() {
        let (one, other) = (number("19.90"), number("3"));
        assert_eq!(one.multiply(other).unwrap().text(), "59.70");
        assert_eq!(one.add(number("0.1")).unwrap().text(), "20.00");
        assert_eq!(one.subtract(number("20")).unwrap().text(), "-0.10");
        assert_eq!(number("7").divide(number("8")).unwrap().text(), "0.875");
        assert_eq!(number("0.06").divide(number("0.2")).unwrap().text(), "0.3");
        assert_eq!(one.divide(other), Err(Fault::Inexact));
        assert_eq!(one.divide(Number::ZERO), Err(Fault::ByZero));
        assert_eq!(number("1e3").text(), "1000");
        assert_eq!(number("12.5E-3").text(), "0.0125");
        assert_eq!(number("-7.5").remainder(number("2")).unwrap().text(), "-1.5");
    }

    #[test]
    fn what_does_not_fit_is_a_fault_and_never_rounded() {
        let large = number(&"9".repeat(38));
        assert_eq!(large.multiply(number("10")), Err(Fault::Overflow));
        assert_eq!(large.add(number("0.1")), Err(Fault::Overflow));
        assert_eq!(
            number("1e-20").multiply(number("1e-20")),
            Err(Fault::Overflow),
            "forty digits after the point"
        );
        assert!(Number::parse(&"9".repeat(40)).is_none());
        assert!(Number::parse("1e-39").is_none());
        // Zeros at the end are no digits.
        assert_eq!(
            number("1.0000000000000000000000").multiply(number("2.00000000000000000000")),
            Ok(number("2"))
        );
    }

    #[test]
    fn rounding_goes_where_its_name_says() {
        for (mode, expected) in [
            ("HALF_UP", ["3", "-3", "2", "2"]),
            ("HALF_DOWN", ["2", "-2", "2", "1"]),
            ("HALF_EVEN", ["2", "-2", "2", "2"]),
            ("UP", ["3", "-3", "3", "2"]),
            ("DOWN", ["2", "-2", "2", "1"]),
            ("CEILING", ["3", "-2", "3", "2"]),
            ("FLOOR", ["2", "-3", "2", "1"]),
        ] {
            let (_, rounding) = Rounding::ALL.into_iter().find(|(name, _)| *name == mode).unwrap();
            for (text, expected) in ["2.5", "-2.5", "2.1", "1.50"].into_iter().zip(expected) {
                assert_eq!(
                    number(text).round(0, rounding).unwrap().text(),
                    expected,
                    "{text} {mode}"
                );
            }
        }
        assert_eq!(number("2").round(2, Rounding::HalfUp).unwrap().text(), "2.00");
        let third = number("10").divide_rounded(number("3"), 4, Rounding::HalfUp);
        assert_eq!(third.unwrap().text(), "3.3333");
    }

    fn rational(number: Number) -> BigRational {
        BigRational::new(number.mantissa.into(), BigInt::from(10).pow(number.scale.into()))
    }

    fn numbers() -> impl Strategy<Value = Number> {
        let mantissas = prop_oneof![
            -1_000_i128..1_000,
            any::<i64>().prop_map(i128::from),
            any::<i128>(),
            (any::<i64>(), 0_u32..20).prop_map(|(value, zeros)| i128::from(value).saturating_mul(10_i128.pow(zeros))),
        ];
        (mantissas, prop_oneof![0_u8..5, 0..=SCALE_LIMIT]).prop_map(|(mantissa, scale)| Number { mantissa, scale })
    }

    fn roundings() -> impl Strategy<Value = Rounding> {
        prop::sample::select(Rounding::ALL.map(|(_, rounding)| rounding).to_vec())
    }

    /// Rounded with whole numbers of any size.
    fn rounded(value: &BigRational, digits: u8, rounding: Rounding) -> BigRational {
        let unit = BigRational::from_integer(BigInt::from(10).pow(digits.into()));
        let value = value * &unit;
        let half = BigRational::new(1.into(), 2.into());
        let below = value.floor();
        let rest = &value - &below;
        let is_even = (below.to_integer() % 2_i32).is_zero();
        let goes_up = match rounding {
            _ if rest.is_zero() => false,
            Rounding::Ceiling => true,
            Rounding::Floor => false,
            Rounding::Up => value.is_positive(),
            Rounding::Down => value.is_negative(),
            _ if rest != half => rest > half,
            Rounding::HalfUp => value.is_positive(),
            Rounding::HalfDown => value.is_negative(),
            Rounding::HalfEven => !is_even,
        };
        (if goes_up { below + BigInt::from(1) } else { below }) / unit
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn arithmetic_agrees_with_rationals_of_any_size(
            one in numbers(), other in numbers(), digits in 0_u8..10, rounding in roundings()
        ) {
            let (a, b) = (rational(one), rational(other));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            if let Ok(sum) = one.add(other) {
                prop_assert_eq!(rational(sum), &a + &b);
            }
            if let Ok(difference) = one.subtract(other) {
                prop_assert_eq!(rational(difference), &a - &b);
            }
            if let Ok(product) = one.multiply(other) {
                prop_assert_eq!(rational(product), &a * &b);
            }
            if let Ok(round) = one.round(digits, rounding) {
                prop_assert_eq!(rational(round), rounded(&a, digits, rounding));
            }
            match one.divide(other) {
                Ok(quotient) => prop_assert_eq!(rational(quotient) * &b, a.clone()),
                Err(fault) => prop_assert_eq!(b.is_zero(), fault == Fault::ByZero),
            }
            if let Ok(quotient) = one.divide_rounded(other, digits, rounding) {
                prop_assert_eq!(rational(quotient), rounded(&(&a / &b), digits, rounding));
            }
            if let Ok(rest) = one.remainder(other) {
                prop_assert_eq!(rational(rest), &a % &b);
            }
        }

        #[test]
        fn small_numbers_never_overflow(
            (one, other) in ((-1_000_000_000_i64..1_000_000_000, 0_u8..5), (-1_000_000_000_i64..1_000_000_000, 0_u8..5))
        ) {
            let [one, other] = [one, other].map(|(mantissa, scale)| Number { mantissa: mantissa.into(), scale });
            prop_assert!(one.add(other).is_ok() && one.multiply(other).is_ok());
            prop_assert!(other.is_zero() || one.divide_rounded(other, 6, Rounding::HalfUp).is_ok());
            prop_assert_eq!(Number::parse(&one.text()), Some(one));
            prop_assert_eq!(number(&one.text()).text(), one.text());
        }
    }
}
