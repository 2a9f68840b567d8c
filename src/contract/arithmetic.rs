//! Exact arithmetic for steps that compute. What has no exact result is refused, or rounded where a mapping says so.

use std::borrow::Cow;

use rust_decimal::{Decimal as Number, RoundingStrategy};

use crate::json::Decimal;

/// A factor of two whole or decimal numbers: `1/1000`, `0.45359237`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    numerator: Number,
    denominator: Number,
}

impl Ratio {
    /// Reads a factor. Zero is none: it has no way back.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        let ratio = Self {
            numerator: number(numerator.trim())?,
            denominator: number(denominator.trim())?,
        };
        if ratio.numerator.is_zero() || ratio.denominator.is_zero() {
            return Err(format!("`{text}` has no inverse"));
        }
        Ok(ratio)
    }

    pub(super) fn inverse(self) -> Self {
        Self {
            numerator: self.denominator,
            denominator: self.numerator,
        }
    }

    /// Whether it keeps the sign.
    pub(super) fn is_positive(self) -> bool {
        self.numerator.is_sign_negative() == self.denominator.is_sign_negative()
    }

    /// How many digits after the point it adds at most; none if some products have no end.
    pub(super) fn digits(self) -> Option<u32> {
        let divisor = self.denominator.mantissa().unsigned_abs();
        let mut dividend = self.numerator.mantissa().unsigned_abs();
        let finer = i64::from(self.numerator.scale()) - i64::from(self.denominator.scale());
        for digits in 0..=28_u32 {
            if dividend.is_multiple_of(divisor) {
                return u32::try_from((i64::from(digits) + finer).max(0)).ok();
            }
            dividend = dividend.checked_mul(10)?;
        }
        None
    }

    fn is_one(self) -> bool {
        self.numerator == self.denominator
    }

    /// Multiplies the text of a decimal number. `round` is the number of digits after the point.
    pub(super) fn apply(self, text: &str, round: Option<u8>) -> Result<String, String> {
        let value = number(text)?;
        if self.is_one() && round.is_none() {
            return Ok(text.to_owned());
        }
        let overflow = || format!("`{}` has too many digits to be computed with", short(text));
        if let Some(digits) = round {
            let product = value.checked_mul(self.numerator).ok_or_else(overflow)?;
            let quotient = product.checked_div(self.denominator).ok_or_else(overflow)?;
            let rounded = quotient.round_dp_with_strategy(digits.into(), RoundingStrategy::MidpointNearestEven);
            return Ok(rounded.normalize().to_string());
        }
        // Not with the library's operators: they round what has too many digits.
        let product = value
            .mantissa()
            .checked_mul(self.numerator.mantissa())
            .ok_or_else(overflow)?;
        let scale = i64::from(value.scale()) + i64::from(self.numerator.scale()) - i64::from(self.denominator.scale());
        let divisor = self.denominator.mantissa();
        let (mut dividend, mut scale) = (product, scale);
        while dividend % divisor != 0 || scale < 0 {
            let finer = dividend.checked_mul(10);
            dividend = finer.ok_or_else(|| format!("`{}` has no exact result, and nothing is rounded", short(text)))?;
            scale += 1;
        }
        let quotient = u32::try_from(scale)
            .ok()
            .and_then(|scale| Number::try_from_i128_with_scale(dividend / divisor, scale).ok())
            .ok_or_else(overflow)?;
        Ok(quotient.normalize().to_string())
    }
}

/// Reads the text of a decimal number of at most 28 digits.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let decimal = Decimal::parse(text).ok_or_else(|| format!("`{}` is not a decimal number", short(text)))?;
    let plain = decimal.plain(None);
    plain
        .and_then(|plain| Number::from_str_exact(&plain).ok())
        .ok_or_else(|| format!("`{}` has too many digits to be computed with", short(text)))
}

/// Adds the texts of decimal numbers, exactly.
pub(super) fn sum<'t>(texts: impl IntoIterator<Item = Cow<'t, str>>) -> Result<String, String> {
    let overflow = || "a sum of too many digits".to_owned();
    let (mut sum, mut scale) = (0_i128, 0);
    for text in texts {
        let number = number(&text)?;
        let common = number.scale().max(scale);
        let raised = |mantissa: i128, by: u32| mantissa.checked_mul(10_i128.checked_pow(by)?);
        sum = raised(sum, common - scale)
            .zip(raised(number.mantissa(), common - number.scale()))
            .and_then(|(sum, number)| sum.checked_add(number))
            .ok_or_else(overflow)?;
        scale = common;
    }
    let sum = Number::try_from_i128_with_scale(sum, scale).map_err(|_| overflow())?;
    Ok(sum.to_string())
}

fn short(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(by: &str, text: &str) -> Result<String, String> {
        Ratio::parse(by).unwrap().apply(text, None)
    }

    #[test]
    fn factors_are_exact_both_ways() {
        assert_eq!(scaled("1/100", "19").unwrap(), "0.19");
        assert_eq!(scaled("0.45359237", "10").unwrap(), "4.5359237");
        let grams = Ratio::parse("1/1000").unwrap();
        for text in ["1500", "0", "-2.5", "12345678901234567890"] {
            let there = grams.apply(text, None).unwrap();
            assert_eq!(grams.inverse().apply(&there, None).unwrap(), text);
        }
        assert_eq!(scaled("1", "19.90").unwrap(), "19.90");
    }

    #[test]
    fn what_is_not_exact_is_refused_or_rounded_as_said() {
        assert!(scaled("1/3", "10").unwrap_err().contains("no exact result"));
        assert!(scaled("9000", &"9".repeat(28)).unwrap_err().contains("too many digits"));
        assert!(scaled("3", "1e99").unwrap_err().contains("too many digits"));
        assert!(scaled("3", "1,5").unwrap_err().contains("not a decimal"));
        let third = Ratio::parse("1/3").unwrap();
        assert_eq!(third.apply("10", Some(2)).unwrap(), "3.33");
        assert_eq!(Ratio::parse("1/2").unwrap().apply("0.25", Some(2)).unwrap(), "0.12");
        for wrong in ["0", "1/0", "x", "1/2/3", ""] {
            assert!(Ratio::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sums_keep_the_finest_digits() {
        assert_eq!(sum(["0.10".into(), "2".into(), "1e-3".into()]).unwrap(), "2.101");
        assert_eq!(sum([]).unwrap(), "0");
        assert!(sum(["x".into()]).is_err());
        let nines = "9".repeat(28);
        assert!(
            sum([nines.as_str().into(), "0.5".into()])
                .unwrap_err()
                .contains("too many digits")
        );
    }
}
