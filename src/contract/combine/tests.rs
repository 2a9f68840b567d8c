use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::json::Document;

fn document(values: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(values.as_bytes())).unwrap()
}

/// Applied to a list of values, of which `null` stands for one that is not there.
fn made(rule: &dyn Combination, values: &str, seen: &[&str]) -> Result<Vec<Option<String>>, String> {
    let document = document(values);
    let taken: Vec<_> = document
        .root()
        .elements()
        .map(|value| Some(value).filter(|value| !value.is_null()))
        .collect();
    let seen: Vec<_> = seen.iter().map(|text| Some(Cow::Borrowed(*text))).collect();
    let made = rule.combine(&taken, &seen)?;
    Ok(made
        .into_iter()
        .map(|part| part.map(|part| part.into_text().into_owned()))
        .collect())
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts
        .iter()
        .map(|text| Some((*text).to_owned()).filter(|text| !text.is_empty()))
        .collect()
}

fn split(more: MoreParts) -> Split {
    Split {
        count: 2,
        separator: " ".into(),
        more,
    }
}

fn join(more: MoreParts) -> Join {
    Join {
        separator: " ".into(),
        more,
    }
}

#[test]
fn a_name_is_split_and_joined() {
    assert_eq!(
        made(&split(MoreParts::Error), r#"["Ada Lovelace"]"#, &[]).unwrap(),
        some(&["Ada", "Lovelace"])
    );
    assert_eq!(
        made(&split(MoreParts::Error), r#"["Ada"]"#, &[]).unwrap(),
        some(&["Ada", ""])
    );
    assert_eq!(
        made(&split(MoreParts::Last), r#"["Ada King Lovelace"]"#, &[]).unwrap(),
        some(&["Ada", "King Lovelace"])
    );
    assert_eq!(
        made(&join(MoreParts::Error), r#"["Ada","Lovelace"]"#, &[]).unwrap(),
        some(&["Ada Lovelace"])
    );
    assert_eq!(
        made(&join(MoreParts::Error), r#"["Ada",null]"#, &[]).unwrap(),
        some(&["Ada"])
    );
}

#[test]
fn what_would_not_come_back_is_refused() {
    let error = |rule: &dyn Combination, values: &str| made(rule, values, &[]).unwrap_err();
    assert!(error(&split(MoreParts::Error), r#"["a b c"]"#).contains("3 parts where 2"));
    assert!(error(&split(MoreParts::Error), r#"["a "]"#).contains("empty part"));
    assert!(error(&split(MoreParts::Error), "[7]").contains("where text is expected"));
    assert!(error(&join(MoreParts::Error), r#"["a b","c"]"#).contains("told apart"));
    assert!(error(&join(MoreParts::Last), r#"["a b","c d"]"#).contains("told apart"));
    assert!(error(&join(MoreParts::Error), r#"[null,"c"]"#).contains("not there"));
    assert_eq!(
        made(&join(MoreParts::Last), r#"["a","c d"]"#, &[]).unwrap(),
        some(&["a c d"])
    );
}

fn order_key() -> (Pattern, Pattern) {
    let parts: BTreeMap<String, String> = [("country", "[A-Z]{2}"), ("plant", "[0-9]+"), ("number", "[0-9]{4}")]
        .map(|(name, expression)| (name.to_owned(), expression.to_owned()))
        .into();
    let template = |written: &str| Template::parse(written, &parts).unwrap();
    let joined = vec![template("{country}-{plant}.{number}")];
    let apart = vec![template("{country}"), template("P{plant}{number}")];
    let up = Pattern {
        from: joined.clone(),
        to: apart.clone(),
    };
    (
        up,
        Pattern {
            from: apart,
            to: joined,
        },
    )
}

#[test]
fn texts_are_read_and_written_by_their_parts() {
    let (up, down) = order_key();
    assert_eq!(made(&up, r#"["DE-100.4711"]"#, &[]).unwrap(), some(&["DE", "P1004711"]));
    assert_eq!(
        made(&down, r#"["DE","P1004711"]"#, &[]).unwrap(),
        some(&["DE-100.4711"])
    );
    assert!(
        made(&up, r#"["de-100.4711"]"#, &[])
            .unwrap_err()
            .contains("is not written as `{country}-{plant}.{number}`")
    );
    assert_eq!(made(&down, r#"["DE",null]"#, &[]).unwrap(), [None]);
}

#[test]
fn a_text_that_reads_in_two_ways_is_refused() {
    let parts: BTreeMap<String, String> = [("a", "x*"), ("b", "x*")]
        .map(|(n, e)| (n.to_owned(), e.to_owned()))
        .into();
    let template = |written: &str| Template::parse(written, &parts).unwrap();
    let up = Pattern {
        from: vec![template("{a}"), template("{b}")],
        to: vec![template("{a}{b}")],
    };
    assert_eq!(made(&up, r#"["xx",""]"#, &[]).unwrap(), some(&["xx"]));
    assert!(made(&up, r#"["x","x"]"#, &[]).unwrap_err().contains("read back"));
}

#[test]
fn a_template_says_what_is_wrong_with_it() {
    let parts: BTreeMap<String, String> = [("a", "("), ("b", "(x)"), ("c", "x")]
        .map(|(name, expression)| (name.to_owned(), expression.to_owned()))
        .into();
    for (written, message) in [
        ("{a}", "no regular expression"),
        ("{b}", "captures"),
        ("{d}", "none of the parts"),
        ("{c", "does not close"),
        ("{c}-{c}", "twice"),
    ] {
        assert!(
            Template::parse(written, &parts).unwrap_err().contains(message),
            "{written}"
        );
    }
}

#[test]
fn amounts_and_minor_units_follow_the_currency() {
    let up = ToMinorUnits;
    let down = FromMinorUnits {
        form: DecimalForm::String,
    };
    for (amount, currency, minor) in [
        ("\"19.90\"", "EUR", "1990"),
        ("500", "JPY", "500"),
        ("1.234", "KWD", "1234"),
        ("-0.05", "USD", "-5"),
    ] {
        assert_eq!(made(&up, &format!("[{amount}]"), &[currency]).unwrap(), some(&[minor]));
    }
    assert_eq!(made(&down, "[1990]", &["EUR"]).unwrap(), some(&["19.90"]));
    assert_eq!(made(&down, "[500]", &["JPY"]).unwrap(), some(&["500"]));
    assert_eq!(made(&down, "[-5]", &["USD"]).unwrap(), some(&["-0.05"]));
    assert!(made(&up, "[19.905]", &["EUR"]).unwrap_err().contains("smallest unit"));
    assert!(made(&up, "[1]", &["XYZ"]).unwrap_err().contains("ISO 4217"));
    assert!(made(&up, "[1]", &[]).unwrap_err().contains("without its currency"));
    assert!(made(&down, "[1.5]", &["EUR"]).unwrap_err().contains("whole number"));
}

#[test]
fn quantities_are_brought_to_one_unit() {
    let factors = [("KG", "1"), ("G", "1/1000"), ("LB", "0.45359237")];
    let up = ToUnit {
        factors: factors
            .map(|(code, factor)| (code.into(), Ratio::parse(factor).unwrap()))
            .into(),
        round: None,
    };
    assert_eq!(made(&up, r#"[1500,"G"]"#, &[]).unwrap(), some(&["1.5"]));
    assert_eq!(made(&up, r#"["2.50","KG"]"#, &[]).unwrap(), some(&["2.50"]));
    assert!(
        made(&up, r#"[1,"OZ"]"#, &[])
            .unwrap_err()
            .contains("`OZ` has no factor")
    );
    assert!(made(&up, "[1,null]", &[]).unwrap_err().contains("only one is there"));
    let down = FromUnit {
        factor: Ratio::parse("1/1000").unwrap().inverse(),
        unit: "G".into(),
        round: None,
    };
    assert_eq!(made(&down, "[1.5]", &[]).unwrap(), some(&["1500", "G"]));
}

#[test]
fn pages_and_offsets_are_the_same_places() {
    let (up, down) = (ToOffset { first: 1, default: 20 }, ToPage { first: 1, default: 20 });
    assert_eq!(made(&up, r#"["3","50"]"#, &[]).unwrap(), some(&["100", "50"]));
    assert_eq!(made(&up, r#"["2",null]"#, &[]).unwrap(), some(&["20", "20"]));
    assert_eq!(made(&down, r#"["100","50"]"#, &[]).unwrap(), some(&["3", "50"]));
    assert!(made(&down, r#"["15","10"]"#, &[]).unwrap_err().contains("no multiple"));
    assert!(made(&down, r#"["0","0"]"#, &[]).unwrap_err().contains("no multiple"));
    assert!(
        made(&up, r#"["0","10"]"#, &[])
            .unwrap_err()
            .contains("page 0 where the first is 1")
    );
    assert!(
        made(&up, r#"["99999999999999999","99999999999999999"]"#, &[])
            .unwrap_err()
            .contains("beyond")
    );
}

proptest! {
    #[test]
    fn random_texts_come_back_from_split_and_pattern(text in "[a-z ]{0,12}", key in "[A-Z]{1,3}-?[0-9.]{4,8}") {
        for more in [MoreParts::Error, MoreParts::Last] {
            let values = serde_json::json!([text]).to_string();
            if let Ok(parts) = made(&split(more), &values, &[]) {
                let parts = serde_json::to_string(&parts).unwrap();
                prop_assert_eq!(made(&join(more), &parts, &[]).unwrap(), some(&[&text]));
            }
        }
        let (up, down) = order_key();
        if let Ok(parts) = made(&up, &serde_json::json!([key]).to_string(), &[]) {
            let parts = serde_json::to_string(&parts).unwrap();
            prop_assert_eq!(made(&down, &parts, &[]).unwrap(), some(&[&key]));
        }
    }
}
