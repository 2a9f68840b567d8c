//! Whatever is written and whatever is sent.

use proptest::prelude::*;

use super::*;

/// Parts of expressions, some of which fit together.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "total",
        "count",
        "orderNo",
        "status",
        "rush",
        "discount",
        "note",
        "orderDate",
        "requestedDate",
        "createdAt",
        "lines",
        "tags",
        "extra",
        "customer.name",
        "lines[0].taxes",
        "1",
        "2.50",
        "-3",
        "'OPEN'",
        "'12'",
        "null",
        "true",
        "[1, 2]",
        "l.quantity",
        "l.taxes",
        "l",
        "channel",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operators = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let unary = prop::sample::select(vec![
            "size",
            "string",
            "int",
            "decimal",
            "bool",
            "list",
            "round",
            "floor",
            "abs",
            "first",
            "last",
            "sort",
            "distinct",
            "sum",
            "min",
            "max",
            "has",
            "date",
            "timestamp",
            "year",
            "upper",
            "trim",
            "!",
            "-",
        ]);
        let macros = prop::sample::select(vec!["all", "exists", "filter", "map", "sum", "count", "sortBy"]);
        let binary = prop::sample::select(vec![
            "orValue",
            "or",
            "contains",
            "split",
            "substring",
            "min",
            "coalesce",
        ]);
        prop_oneof![
            (inner.clone(), operators, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (unary, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            (inner.clone(), macros, inner.clone()).prop_map(|(a, name, b)| format!("{a}.{name}(l, {b})")),
            (inner.clone(), binary, inner.clone()).prop_map(|(a, name, b)| format!("{a}.{name}({b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("[{a}]")),
            inner.prop_map(|a| format!("{{'x': {a}}}.x")),
        ]
    })
}

/// Orders that fit the schema.
fn documents() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            "-?[1-9][0-9]{0,3}(\\.[0-9]{1,2})?",
            Just("0".to_owned()),
            Just("1e3".to_owned())
        ]
    };
    let optional = |name: &'static str, value: BoxedStrategy<String>| {
        prop::option::of(value)
            .prop_map(move |value| value.map_or(String::new(), |value| format!(",\"{name}\":{value}")))
    };
    let text =
        || prop::sample::select(vec!["\"\"", "\"12\"", "\"Gr\\u00fc\\u00dfe\"", "\"x\\ny\""]).prop_map(str::to_owned);
    let date = || (1_i16..28).prop_map(|day| format!("\"2026-02-{day:02}\""));
    let anything =
        prop::sample::select(vec!["null", "1", "\"a\"", "[1]", "{}", "{\"x\":[null]}", "true"]).prop_map(str::to_owned);
    let line = (
        number(),
        number(),
        prop::sample::select(vec!["EA", "KG", "PAL"]),
        optional("taxes", prop::collection::vec(number(), 0..3).prop_map(|list| format!("[{}]", list.join(","))).boxed()),
        optional("weight", number().boxed()),
    )
        .prop_map(|(quantity, price, uom, taxes, weight)| {
            format!("{{\"pos\":10,\"sku\":\"s\",\"quantity\":{quantity},\"price\":{price},\"uom\":\"{uom}\"{taxes}{weight}}}")
        });
    let required = (
        number(),
        text(),
        date(),
        any::<bool>(),
        0_i32..9,
        prop::collection::vec(line, 1..4),
        prop::collection::vec(text(), 0..3),
    );
    let others = (
        optional("discount", number().boxed()),
        optional("note", prop_oneof![text(), Just("null".to_owned())].boxed()),
        optional("requestedDate", date().boxed()),
        optional("extra", anything.boxed()),
        optional(
            "customer",
            text().prop_map(|name| format!("{{\"name\":{name}}}")).boxed(),
        ),
    );
    (required, others).prop_map(|((total, number, date, rush, count, lines, tags), (a, b, c, d, e))| {
        format!(
            "{{\"total\":{total},\"orderNo\":{number},\"a-b\":{number},\"status\":\"OPEN\",\"orderDate\":{date},\
             \"createdAt\":\"2026-11-20T18:00:00.5+01:00\",\"rush\":{rush},\"count\":{count},\"lines\":[{}],\
             \"tags\":[{}]{a}{b}{c}{d}{e}}}",
            lines.join(","),
            tags.join(",")
        )
    })
}

/// Whether a value is what the checker said it would be.
fn fits(value: Option<Out<'_>>, kind: &Type) -> bool {
    let Some(mut value) = value else {
        return kind.may_be_absent;
    };
    match (value.open(), &kind.shape) {
        (Out::Null, shape) if *shape != Shape::Dyn => kind.may_be_null,
        (Out::Num(digits), Shape::Int) => crate::json::Decimal::parse(digits).is_some_and(|number| number.is_integer()),
        (Out::Str(text), Shape::String(codes)) => codes
            .as_ref()
            .is_none_or(|codes| codes.iter().any(|code| **code == **text)),
        (Out::Str(text), Shape::Date) => text.parse::<jiff::civil::Date>().is_ok(),
        (Out::Str(text), Shape::Timestamp) => text.parse::<jiff::Timestamp>().is_ok(),
        (Out::Arr(items), Shape::List { item, least, most }) => {
            let count = items.len() as u64;
            count >= *least
                && most.is_none_or(|most| count <= most)
                && items.iter().all(|value| fits(Some(value.clone()), item))
        }
        (_, Shape::Dyn)
        | (Out::Bool(_), Shape::Bool)
        | (Out::Num(_), Shape::Decimal)
        | (Out::Obj(_), Shape::Object(_) | Shape::Record(_)) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_checked_expression_never_meets_a_wrong_type(text in expressions(), json in documents()) {
        let Ok(expression) = Expression::compile(&text, &environment()) else { return Ok(()) };
        let document = Document::parse(Bytes::from(json.clone())).unwrap();
        let bindings = [Binding::Json(document.root()), Binding::Text("shop"), Binding::Absent];
        match expression.evaluate(&bindings) {
            Ok(value) => prop_assert!(
                fits(value.clone(), expression.result_type()),
                "{} is {:?}, not {}, with {}", text, value, expression.result_type(), json
            ),
            Err(EvaluationError::Failed(reason)) => prop_assert!(expression.is_fallible(), "{}: {}", text, reason),
            Err(EvaluationError::Overflow) => {}
            Err(error) => prop_assert!(false, "{}: {} with {}", text, error, json),
        }
    }

    #[test]
    fn no_document_makes_an_expression_panic(text in expressions(), json in "[\\[\\]{}:,0-9\"a-z]{0,20}") {
        let Ok(expression) = Expression::compile(&text, &environment()) else { return Ok(()) };
        if let Ok(document) = Document::parse(Bytes::from(json)) {
            let _ = expression.evaluate(&[Binding::Json(document.root())]);
        }
        let _ = expression.evaluate(&[]);
    }
}

#[test]
fn enough_of_the_drawn_expressions_are_right() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = expressions();
    let compiled = (0..2_000)
        .filter(|_| {
            let text = strategy.new_tree(&mut runner).unwrap().current();
            Expression::compile(&text, &environment()).is_ok()
        })
        .count();
    assert!(compiled > 300, "{compiled} of 2000");
}
