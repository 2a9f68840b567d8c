use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::json::Document;

mod laws;

/// Orders, with a field of every kind.
pub(super) struct Orders;

const ORDER: &[&str] = &[
    "orderNo",
    "status",
    "total",
    "discount",
    "note",
    "orderDate",
    "requestedDate",
    "createdAt",
    "lines",
    "tags",
    "customer",
    "rush",
    "count",
    "extra",
    "a-b",
];
const LINE: &[&str] = &["pos", "sku", "quantity", "price", "uom", "taxes", "weight"];

fn codes(list: &[&str]) -> Shape {
    Shape::String(Some(list.iter().map(|code| Box::from(*code)).collect()))
}

fn list(item: Type, least: u64, most: Option<u64>) -> Type {
    let item = Box::new(item);
    Shape::List { item, least, most }.into()
}

impl Schemas for Orders {
    fn field(&self, place: &str, name: &str) -> Option<Type> {
        let object = |place: &str| Type::from(Shape::Object(place.into()));
        Some(match (place, name) {
            ("Order", "orderNo" | "a-b") | ("Line", "sku") | ("Customer", "name") => Type::string(),
            ("Order", "status") => codes(&["OPEN", "SHIPPED"]).into(),
            ("Order", "total") | ("Line", "quantity" | "price") => Shape::Decimal.into(),
            ("Order", "discount") | ("Line", "weight") => Type::from(Shape::Decimal).or_absent(),
            ("Order", "note") => Type::string().or_null().or_absent(),
            ("Order", "orderDate") => Shape::Date.into(),
            ("Order", "requestedDate") => Type::from(Shape::Date).or_absent(),
            ("Order", "createdAt") => Shape::Timestamp.into(),
            ("Order", "lines") => list(object("Line"), 1, Some(200)),
            ("Order", "tags") => list(Type::string(), 0, None),
            ("Order", "customer") => object("Customer").or_absent(),
            ("Order", "rush") => Shape::Bool.into(),
            ("Order", "count") | ("Line", "pos") => Shape::Int.into(),
            ("Order", "extra") => Type::from(Shape::Dyn).or_absent(),
            ("Line", "uom") => codes(&["EA", "KG", "PAL"]).into(),
            ("Line", "taxes") => list(Shape::Decimal.into(), 0, Some(5)).or_absent(),
            _ => return None,
        })
    }

    fn field_names(&self, place: &str) -> Vec<String> {
        let names = if place == "Order" { ORDER } else { LINE };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

pub(super) fn environment() -> Environment<'static> {
    let units = BTreeMap::from([
        ("EA".to_owned(), "each".to_owned()),
        ("KG".to_owned(), "kilogram".to_owned()),
    ]);
    Environment::new(&Orders)
        .subject("this", Shape::Object("Order".into()).into())
        .variable("channel", Type::string())
        .variable("limit", Type::from(Shape::Decimal).or_absent())
        .table("unit", Arc::new(units))
}

const DOCUMENT: &str = r#"{"orderNo":"SO-0417","status":"OPEN","total":59.75,"orderDate":"2026-11-20",
    "requestedDate":"2026-12-01","createdAt":"2026-11-20T23:30:00+00:00","note":null,
    "lines":[{"pos":10,"sku":"4711-A","quantity":2.50,"price":19.90,"uom":"EA","taxes":[0.19,0.07]},
             {"pos":20,"sku":"0815","quantity":1e1,"price":1.00,"uom":"KG"}],
    "tags":["b","a","b"],"rush":false,"count":3,"a-b":"Grüße",
    "extra":{"list":[1,"2",null],"text":"12.5","when":"2026-01-01"}}"#;

pub(super) fn document() -> Document {
    Document::parse(Bytes::from_static(DOCUMENT.as_bytes())).unwrap()
}

fn compile(text: &str) -> Expression {
    Expression::compile(text, &environment()).unwrap_or_else(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{text}\n{}", lines.join("\n"))
    })
}

/// The result as JSON text.
fn result(text: &str) -> Result<String, String> {
    let (expression, document) = (compile(text), document());
    let bindings = [Binding::Json(document.root()), Binding::Text("shop"), Binding::Absent];
    let out = expression.evaluate(&bindings).map_err(|error| error.to_string())?;
    Ok(out.map_or("nothing".to_owned(), |out| String::from_utf8(out.into_bytes()).unwrap()))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn expressions_have_these_results() {
    for (text, expected) in [
        // Numbers keep what they were written with until something is computed.
        ("total", "59.75"),
        ("lines[1].quantity", "1e1"),
        ("lines[0].quantity.orValue(0) * lines[0].price.orValue(0)", "49.7500"),
        (
            "12345678901234567890123456789012345678901234567890.5",
            "12345678901234567890123456789012345678901234567890.5",
        ),
        ("0.1 + 0.2 == 0.3", "true"),
        ("-count", "-3"),
        ("-(-1)", "1"),
        ("7 / 2", "3.5"),
        ("7 % 4", "3"),
        ("count + 1", "4"),
        ("2 * 3 + 4 - 1", "9"),
        (
            "total == round(lines.sum(l, l.quantity * l.price), 2, 'HALF_UP')",
            "true",
        ),
        ("total == round(sum(lines.map(l, l.quantity * l.price)), 2)", "true"),
        ("round(10 / 3, 4)", "3.3333"),
        ("round(2.5, 0, 'HALF_EVEN')", "2"),
        ("round(2)", "2"),
        ("round(1.005, 2)", "1.01"),
        ("floor(7 / 2)", "3"),
        ("ceil(-0.5)", "0"),
        ("abs(-2.50)", "2.50"),
        ("min(3, 2.5, 4)", "2.5"),
        ("max(lines.map(l, l.quantity))", "1e1"),
        ("1.50 == 1.5", "true"),
        ("100000000000000000000000000000000000000000.5 > 1", "true"),
        // Strings.
        ("'a' + 'b'", "\"ab\""),
        ("orderNo.substring(3)", "\"0417\""),
        ("`a-b`.substring(2, 4)", "\"üß\""),
        ("this['a-b'].size()", "5"),
        ("orderNo.substring(3, 99)", "\"0417\""),
        ("orderNo.substring(9)", "\"\""),
        (
            "orderNo.startsWith('SO') && orderNo.endsWith('7') && orderNo.contains('-0')",
            "true",
        ),
        ("orderNo.matches('^SO-[0-9]{4}$')", "true"),
        ("`a-b`.upper()", "\"GRÜSSE\""),
        ("' x '.trim()", "\"x\""),
        ("orderNo.replace('-', '/')", "\"SO/0417\""),
        ("orderNo.split('-')", "[\"SO\",\"0417\"]"),
        ("tags.join(', ')", "\"b, a, b\""),
        ("string(count).pad(5, '0')", "\"00003\""),
        ("'ab'.padEnd(4, '.')", "\"ab..\""),
        ("'%s: %s%%'.format([orderNo, total])", "\"SO-0417: 59.75%\""),
        ("string(1e3)", "\"1000\""),
        ("string(rush)", "\"false\""),
        ("decimal('19.90')", "19.90"),
        ("int('12') + 1", "13"),
        ("bool('true')", "true"),
        // Nothing and null.
        ("has(note)", "true"),
        ("has(discount)", "false"),
        ("note == null", "true"),
        ("discount == null", "true"),
        ("null != customer.name", "false"),
        ("discount.orValue(0)", "0"),
        ("coalesce(note, customer.name, 'none')", "\"none\""),
        ("has(discount) && discount > 1", "false"),
        ("!has(discount) || discount > 1", "true"),
        ("note != null ? note.size() : 0", "0"),
        ("note == null || note.size() > 3", "true"),
        ("discount", "nothing"),
        ("optional.none()", "nothing"),
        ("rush ? optional.of(1) : optional.none()", "nothing"),
        ("{'a': discount, 'b': note, 'c': [total]}", "{\"b\":null,\"c\":[59.75]}"),
        ("lines[7]", "nothing"),
        ("lines[0].?taxes[1]", "0.07"),
        ("has(extra.text) && extra.text == '12.5'", "true"),
        ("extra.nowhere.at.all", "nothing"),
        ("extra.list[1]", "\"2\""),
        ("extra['text']", "\"12.5\""),
        ("decimal(extra.text.orValue('0')) * 2", "25.0"),
        ("list(extra.list.orValue([])).map(x, x)", "[1,\"2\",null]"),
        // Lists.
        ("lines.all(l, l.quantity > 0)", "true"),
        ("lines.exists(l, l.uom == 'PAL')", "false"),
        ("lines.exists_one(l, l.uom == 'KG')", "true"),
        ("lines.filter(l, l.quantity > 5).map(l, l.sku)", "[\"0815\"]"),
        ("lines.map(l, l.uom == 'EA', l.pos)", "[10]"),
        ("lines.count(l, l.price >= 1)", "2"),
        ("lines.all(l, !has(l.taxes) || l.taxes.all(t, t < 1))", "true"),
        ("lines.map(l, l.pos).distinct().size() == lines.size()", "true"),
        ("tags.distinct()", "[\"b\",\"a\"]"),
        ("tags.sort()", "[\"a\",\"b\",\"b\"]"),
        ("lines.sortBy(l, l.price).map(l, l.pos)", "[20,10]"),
        ("lines.first().sku", "\"4711-A\""),
        ("lines.last().pos", "20"),
        ("tags.first().orValue('')", "\"b\""),
        ("'a' in tags", "true"),
        ("status in ['OPEN']", "true"),
        ("2.50 in lines.map(l, l.quantity)", "true"),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("[1, 2.0] == [1.0, 2]", "true"),
        ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1.0}", "true"),
        ("size(tags) + count(tags)", "6"),
        ("[].sum()", "0"),
        (
            "lines.map(l, {'nr': l.pos, 'uom': table('unit', l.uom).or('?')})",
            "[{\"nr\":10,\"uom\":\"each\"},{\"nr\":20,\"uom\":\"kilogram\"}]",
        ),
        // Days and times.
        ("orderDate", "\"2026-11-20\""),
        ("requestedDate.orValue(orderDate) >= orderDate + 3", "true"),
        ("requestedDate.orValue(orderDate) - orderDate", "11"),
        ("orderDate - 20", "\"2026-10-31\""),
        ("orderDate.format('dd.MM.yyyy')", "\"20.11.2026\""),
        ("date('24.12.2026', 'dd.MM.yyyy')", "\"2026-12-24\""),
        ("date(createdAt, 'Europe/Berlin')", "\"2026-11-21\""),
        ("createdAt < timestamp('2026-11-21T00:30:00+01:00')", "false"),
        ("createdAt == timestamp('2026-11-21T00:30:00+01:00')", "true"),
        ("orderDate.year() * 100 + orderDate.month()", "202611"),
        ("orderDate.weekday()", "5"),
        ("string(orderDate).substring(0, 4)", "\"2026\""),
        ("min(orderDate, date('2026-01-01'))", "\"2026-01-01\""),
        // Names.
        ("channel == 'shop' && this.count == 3", "true"),
        ("limit == null", "true"),
        ("lines.all(count, count.pos > 1) && count == 3", "true"),
    ] {
        assert_eq!(result(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn failures_say_why_and_can_be_caught() {
    for (text, caught, message) in [
        ("int(orderNo)", "int(orderNo).or(0)", "`SO-0417` is not a whole number"),
        ("int(total)", "int(total).or(0)", "`59.75` is not a whole number"),
        ("1 / (count - 3)", "(1 / (count - 3)).or(0)", "a division by zero"),
        (
            "1 / count",
            "(1 / count).or(0)",
            "a quotient without an end, which nothing rounds",
        ),
        (
            "date(orderNo)",
            "date(orderNo).or(orderDate)",
            "`SO-0417` is not a day written as yyyy-MM-dd",
        ),
        (
            "table('unit', orderNo)",
            "table('unit', orderNo).or('')",
            "table unit has no row for `SO-0417`",
        ),
        (
            "bool(orderNo)",
            "bool(orderNo).or(false)",
            "`SO-0417` is not true or false",
        ),
        (
            "decimal(extra.orValue(1))",
            "decimal(extra.orValue(1)).or(0)",
            "an object is not a number",
        ),
        (
            "1e37 * int('1000')",
            "(1e37 * int('1000')).or(0)",
            "a number has more than 38 digits",
        ),
    ] {
        assert!(compile(text).is_fallible(), "{text}");
        assert_eq!(result(text).unwrap_err(), message, "{text}");
        assert!(!compile(caught).is_fallible(), "{caught}");
        assert!(result(caught).is_ok(), "{caught}");
    }
    for sure in [
        "round(count / 3, 2)",
        "count % 2",
        "date('2026-11-20')",
        "total * total",
        "string(total)",
    ] {
        assert!(!compile(sure).is_fallible(), "{sure}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn mistakes_of_type_are_told_with_place_and_remedy() {
    for (text, part, message, help) in [
        ("totl > 1", "totl", "`totl` is not known", "did you mean `total`?"),
        (
            "this.stats",
            "this.stats",
            "`this` has no field `stats`",
            "did you mean `status`?",
        ),
        (
            "lines.all(l, l.qty > 0)",
            "l.qty",
            "`l` has no field `qty`",
            "there is pos, sku, quantity, price, uom, taxes, weight",
        ),
        ("total.x", "total.x", "`total` is a decimal and has no fields", ""),
        (
            "orderNo > 1",
            "orderNo > 1",
            "`orderNo` is a string and `1` an int: they are never equal",
            "write `int(orderNo)`",
        ),
        (
            "orderNo == 1",
            "orderNo == 1",
            "`orderNo` is a string and `1` an int: they are never equal",
            "write `int(orderNo)`",
        ),
        (
            "status == 'OPNE'",
            "status == 'OPNE'",
            "`status` is never `OPNE`",
            "did you mean `OPEN`?",
        ),
        (
            "lines.all(l, l.uom in ['EA', 'KGM'])",
            "l.uom in ['EA', 'KGM'",
            "`l.uom` is never `KGM`",
            "did you mean `KG`?",
        ),
        (
            "discount > 1",
            "discount",
            "`discount` may be absent",
            "write `discount.orValue(…)`, or ask `has(discount)` before",
        ),
        (
            "note.size() > 1",
            "note",
            "`note` may be null",
            "write `note.orValue(…)`, or ask `note != null` before",
        ),
        (
            "has(note) && note.size() > 1",
            "note",
            "`note` may be null",
            "write `note.orValue(…)`, or ask `note != null` before",
        ),
        (
            "has(discount) || discount > 1",
            "discount",
            "`discount` may be absent",
            "write `discount.orValue(…)`, or ask `has(discount)` before",
        ),
        (
            "customer.name == 'x'",
            "customer.name",
            "`customer.name` may be absent",
            "write `customer.name.orValue(…)`, or ask `has(customer.name)` before",
        ),
        (
            "lines[0].pos + 1",
            "lines[0].pos",
            "`lines[0].pos` may be absent",
            "write `lines[0].pos.orValue(…)`, or ask `has(lines[0].pos)` before",
        ),
        (
            "tags.first() == 'a'",
            "tags.first()",
            "`tags.first()` may be absent",
            "write `tags.first().orValue(…)`",
        ),
        (
            "has(extra) && extra > 1",
            "extra",
            "`extra` is any value, which has no order",
            "say what it is, such as `decimal(extra)`",
        ),
        (
            "has(extra) && extra + 1 > 2",
            "extra",
            "`extra` is any value, not a number",
            "write `decimal(extra)`",
        ),
        ("'a' + 1", "1", "`1` is an int, not a string", "write `string(1)`"),
        ("rush && count", "count", "`count` is an int, not a bool", ""),
        ("!total", "total", "`total` is a decimal, not a bool", ""),
        (
            "rush ? 1 : 'a'",
            "rush ? 1 : 'a'",
            "`rush ? 1 : \"a\"` is now an int and now a string",
            "let both be of one type",
        ),
        (
            "orderDate > '2026-01-01'",
            "orderDate > '2026-01-01'",
            "`orderDate` is a date and `\"2026-01-01\"` a string: they are never equal",
            "write `date(\"2026-01-01\")`",
        ),
        (
            "orderDate.substring(1)",
            "orderDate",
            "`orderDate` is a date, not a string",
            "write `string(orderDate)`",
        ),
        (
            "date('2026-02-30')",
            "'2026-02-30'",
            "`2026-02-30` is not a day written as yyyy-MM-dd",
            "",
        ),
        (
            "date(orderNo, 'dd.mm.yyyy')",
            "'dd.mm.yyyy'",
            "`dd.mm.yyyy` is no way to write a day",
            "write yyyy, MM and dd, such as 'dd.MM.yyyy'",
        ),
        (
            "date(createdAt)",
            "createdAt",
            "which day it is depends on where",
            "write `date(createdAt, 'Europe/Berlin')`",
        ),
        (
            "orderNo.matches(channel)",
            "channel",
            "`channel` is computed, and a pattern has to be written out",
            "write a string",
        ),
        (
            "orderNo.matches('(?=x)')",
            "'(?=x)'",
            "this pattern cannot be used: look-around, including look-ahead and look-behind, is not supported",
            "patterns are RE2's: without look-around and back-references",
        ),
        (
            "round(total, 99)",
            "99",
            "`99` is no number of digits",
            "write a number from 0 to 20",
        ),
        (
            "round(total, 2, 'HALF')",
            "'HALF'",
            "`\"HALF\"` is no way of rounding",
            "write one of 'HALF_UP', 'HALF_DOWN', 'HALF_EVEN', 'UP', 'DOWN', 'CEILING', 'FLOOR'",
        ),
        (
            "rond(total)",
            "rond(total)",
            "there is no function `rond`",
            "did you mean `round`?",
        ),
        (
            "orderNo.substring()",
            "orderNo.substring()",
            "`substring` takes 2 to 3 values and was given 1",
            "in `x.f(y)` the first of them is `x`",
        ),
        ("total.all(x, x > 1)", "total", "`total` is decimal, not a list", ""),
        (
            "lines.all(1, true)",
            "1",
            "`1` is no name for the items",
            "write a name: `lines.all(l, l.quantity > 0)`",
        ),
        (
            "lines.sum()",
            "lines",
            "`lines` is a list of object, not of numbers",
            "say what to add up: `lines.sum(x, x.amount)`",
        ),
        (
            "total.or(1)",
            "total.or(1)",
            "`total` never fails",
            "for what may be absent or null, write `orValue`",
        ),
        (
            "table('units', orderNo).or('')",
            "'units'",
            "there is no table `units`",
            "did you mean `unit`?",
        ),
        (
            "lines.sort()",
            "lines",
            "`lines` is a list of object, which cannot be told apart or put in order",
            "take one field of each: `lines.map(x, x.name)`, or `lines.sortBy(x, x.name)`",
        ),
        (
            "{count: 1}",
            "count",
            "`count` is no name of a member",
            "write a string, such as {'amount': 1}",
        ),
        (
            "'%s'.format([1, 2])",
            "'%s'",
            "1 places for 2 values",
            "write `%s` once for each value",
        ),
        (
            "has(1 + 1)",
            "1 + 1",
            "`1 + 1` is no field that could be asked for",
            "write `has(a.b)`",
        ),
        (
            "lines.map(l, l.taxes)",
            "l.taxes",
            "`l.taxes` may be absent",
            "write `l.taxes.orValue(…)`, or ask `has(l.taxes)` before",
        ),
        (
            "'a' in this",
            "this",
            "`this` is an object, not a list",
            "to ask for a field, write `has(this.…)`",
        ),
        (
            "string(lines)",
            "lines",
            "`lines` is a list(object), which is no text",
            "write `lines.join(', ')`",
        ),
    ] {
        let mistakes = Expression::compile(text, &environment()).expect_err(text);
        let mistake = &mistakes[0];
        let found = (
            &text[mistake.at.clone()],
            &*mistake.message,
            mistake.help.as_deref().unwrap_or(""),
        );
        assert_eq!(found, (part, message, help), "{text}");
        assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = Expression::compile("totl > 1 && stats == 'x' && discount > 1", &environment()).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|mistake| mistake.at.start).collect();
    assert_eq!(places, [0, 12, 28]);
}

#[test]
fn what_is_read_is_known() {
    let reads = |text: &str| -> Vec<String> {
        let expression = compile(text);
        let reads = expression.reads().iter();
        reads
            .map(|read| format!("{read}{}", if read.is_whole { "" } else { "?" }))
            .collect()
    };
    assert_eq!(
        reads("lines.all(l, l.quantity > 0 && l.taxes.orValue([]).all(t, t < limit.orValue(1)))"),
        ["limit", "this.lines?", "this.lines[].quantity", "this.lines[].taxes"]
    );
    assert_eq!(
        reads("has(customer.name) ? customer : null"),
        ["this.customer", "this.customer.name?"]
    );
    assert_eq!(reads("lines.filter(l, l.pos > 1)"), ["this.lines", "this.lines[].pos"]);
    assert_eq!(reads("lines[count].sku"), ["this.count", "this.lines[].sku"]);
    assert_eq!(
        reads("lines[count].taxes.orValue([]).all(t, t > 0)"),
        ["this.count", "this.lines[].taxes"]
    );
    assert_eq!(reads("channel == 'x'"), ["channel"]);
}

#[test]
fn result_types_are_known() {
    for (text, kind) in [
        ("count + 1", "int"),
        ("count + 1.0", "decimal"),
        ("count / 2", "decimal"),
        ("round(total)", "int"),
        ("round(total, 2)", "decimal"),
        ("discount", "decimal or nothing"),
        ("note", "string or null or nothing"),
        ("rush ? null : total", "decimal or null"),
        ("lines.map(l, l.pos)", "list(int)"),
        ("orderDate - orderDate", "int"),
        ("orderDate + 1", "date"),
        ("extra.a", "any value or nothing"),
        ("[1, 'a']", "list(any value)"),
    ] {
        assert_eq!(compile(text).result_type().to_string(), kind, "{text}");
    }
    let shape = compile("rush ? 'a' : 'b'").result_type().shape.clone();
    assert_eq!(shape, codes(&["a", "b"]));
}

#[test]
fn cost_is_bounded_before_and_while_it_runs() {
    assert_eq!(compile("count + 1").cost(), Some(4));
    assert!(compile("lines.all(l, l.pos > 0)").cost().unwrap() < 2_000);
    assert_eq!(compile("tags.all(t, t != '')").cost(), None);
    let cubic = "lines.all(a, lines.all(b, lines.all(c, a.pos + b.pos > c.pos)))";
    let mistake = Expression::compile(cubic, &environment()).unwrap_err().remove(0);
    assert!(mistake.message.contains("more than 1000000 steps"), "{mistake}");

    let many = format!("[{}]", vec!["\"a\""; 2_000].join(","));
    let document = Document::parse(Bytes::from(many)).unwrap();
    let environment = Environment::new(&NoSchemas).variable("x", Type::list(Type::string()));
    for (text, expected) in [
        ("x.all(a, x.all(b, a == b))", EvaluationError::Steps),
        ("x.map(a, x.map(b, b)).size()", EvaluationError::Memory),
        ("x.map(a, 'a'.pad(100000, '-')).size()", EvaluationError::Memory),
        ("'a'.pad(99999999999, 'x')", EvaluationError::Memory),
        (
            "x.join('').replace('', x.join('')).replace('', x.join(''))",
            EvaluationError::Memory,
        ),
    ] {
        let expression = Expression::compile(text, &environment).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(
            expression.evaluate(&[Binding::Json(document.root())]).unwrap_err(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn values_on_their_way_out_are_read_like_documents() {
    let document = document();
    let mut out = Out::Raw(document.root());
    out.open_all();
    for text in [
        "total",
        "lines.map(l, l.quantity)",
        "lines[1].sku",
        "lines",
        "extra.list.orValue([]) == [1.0, '2', null]",
        "this == this",
    ] {
        let expression = compile(text);
        let of_json = expression.evaluate(&[Binding::Json(document.root())]).unwrap().unwrap();
        let of_out = expression.evaluate(&[Binding::Out(&out)]).unwrap().unwrap();
        let plain = |mut out: Out<'_>| {
            out.open_all();
            String::from_utf8(out.into_bytes()).unwrap()
        };
        assert_eq!(plain(of_json), plain(of_out), "{text}");
    }
}

#[test]
fn a_document_that_does_not_fit_is_an_error() {
    let document = Document::parse(Bytes::from_static(br#"{"total":"x","lines":{},"orderDate":"soon"}"#)).unwrap();
    for (text, message) in [
        ("total + 1", "a string where a number is expected"),
        ("lines.all(l, true)", "an object where a list is expected"),
        ("rush || rush", "nothing where true or false is expected"),
        ("orderDate + 1", "a string where a day is expected"),
        ("count > 1", "a number where what it is compared with is expected"),
    ] {
        let error = compile(text).evaluate(&[Binding::Json(document.root())]).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

/// What stands between two marks of the chapter.
fn documented(start: &str) -> &'static str {
    let chapter = include_str!("../../contracts/README.md")
        .split("\n## Expressions\n")
        .nth(1)
        .unwrap();
    let block = chapter.split(start).nth(1).unwrap();
    block.split("```").next().unwrap()
}

#[test]
fn the_documented_examples_are_true() {
    let document = Document::parse(Bytes::from(documented("```json\n"))).unwrap();
    let examples: Vec<_> = documented("```cel\n").lines().collect();
    assert!(examples.len() > 15);
    for example in examples {
        let (text, expected) = example.split_once("  // ").expect(example);
        let expression = compile(text);
        let out = expression
            .evaluate(&[Binding::Json(document.root())])
            .expect(example)
            .expect(example);
        assert_eq!(String::from_utf8(out.into_bytes()).unwrap(), expected, "{text}");
    }
}
