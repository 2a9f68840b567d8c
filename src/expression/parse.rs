//! Reads an expression: CEL's grammar, by the power with which operators bind.

use std::ops::Range;

use super::lex::{Token, TokenKind, is_reserved, lex};
use super::tree::{Binary, CONDITIONAL, PREFIX, Tree, TreeKind, Unary};
use super::{DEPTH_LIMIT, LENGTH_LIMIT, Mistake};

/// Reads a text as an expression. What comes back is at most [`DEPTH_LIMIT`] levels deep.
pub fn parse(text: &str) -> Result<Tree, Mistake> {
    if text.len() > LENGTH_LIMIT {
        let message = format!("an expression of {} bytes; at most {LENGTH_LIMIT} are read", text.len());
        return Err(Mistake::new(0..0, message).help("split it up"));
    }
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        nesting: 0,
    };
    let tree = parser.expression(CONDITIONAL)?;
    match parser.peek() {
        TokenKind::End => Ok(tree.tree),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    /// Never empty: the last is the end.
    tokens: Vec<Token>,
    next: usize,
    /// Calls of `expression` that have not returned.
    nesting: usize,
}

/// A tree and how deep it is.
struct Measured {
    tree: Tree,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.next].kind
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.next].span.clone()
    }

    /// Where the last word that was taken ends.
    fn end(&self) -> usize {
        self.tokens[self.next.saturating_sub(1)].span.end
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), TokenKind::Symbol(next) if *next == symbol);
        if is_next {
            self.advance();
        }
        is_next
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Mistake> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn unexpected(&self, wanted: &str) -> Mistake {
        let found = match self.peek() {
            TokenKind::End => "the end".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::Name(name) | TokenKind::Quoted(name) => format!("`{name}`"),
            TokenKind::Int(number) | TokenKind::Decimal(number) => format!("`{number}`"),
            TokenKind::Text(_) => "a string".to_owned(),
        };
        Mistake::new(self.span(), format!("{found} where {wanted} is expected"))
    }

    /// Puts a tree together of parts, the deepest of which is `depth` deep.
    fn grown(&self, kind: TreeKind, start: usize, depth: usize) -> Result<Measured, Mistake> {
        let span = start..self.end();
        if depth >= DEPTH_LIMIT {
            return Err(too_deep(span));
        }
        Ok(Measured {
            tree: Tree { kind, span },
            depth: depth + 1,
        })
    }

    /// An expression whose operators bind at least as tightly as `power`.
    fn expression(&mut self, power: u8) -> Result<Measured, Mistake> {
        self.nesting += 1;
        if self.nesting > DEPTH_LIMIT {
            return Err(too_deep(self.span()));
        }
        let start = self.span().start;
        let mut left = self.prefix()?;
        while let Some(operator) = self.operator().filter(|operator| operator.power() >= power) {
            self.advance();
            let right = self.expression(operator.power() + 1)?;
            let depth = left.depth.max(right.depth);
            let kind = TreeKind::Binary(operator, left.tree.into(), right.tree.into());
            left = self.grown(kind, start, depth)?;
        }
        if power == CONDITIONAL && self.takes("?") {
            let then = self.expression(CONDITIONAL + 1)?;
            self.expect(":")?;
            let otherwise = self.expression(CONDITIONAL)?;
            let depth = left.depth.max(then.depth).max(otherwise.depth);
            let kind = TreeKind::Conditional(left.tree.into(), then.tree.into(), otherwise.tree.into());
            left = self.grown(kind, start, depth)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<Binary> {
        let written = match self.peek() {
            TokenKind::Symbol(symbol) => symbol,
            TokenKind::Name(name) if **name == *"in" => "in",
            _ => return None,
        };
        [
            Binary::Or,
            Binary::And,
            Binary::Equal,
            Binary::NotEqual,
            Binary::Less,
            Binary::LessOrEqual,
            Binary::Greater,
            Binary::GreaterOrEqual,
            Binary::In,
            Binary::Add,
            Binary::Subtract,
            Binary::Multiply,
            Binary::Divide,
            Binary::Remainder,
        ]
        .into_iter()
        .find(|operator| operator.symbol() == written)
    }

    fn prefix(&mut self) -> Result<Measured, Mistake> {
        let start = self.span().start;
        let operator = match self.peek() {
            TokenKind::Symbol("!") => Unary::Not,
            TokenKind::Symbol("-") => Unary::Negate,
            _ => return self.postfix(),
        };
        self.advance();
        // Through `expression`, so that a row of signs is counted.
        let operand = self.expression(PREFIX)?;
        self.grown(TreeKind::Unary(operator, operand.tree.into()), start, operand.depth)
    }

    fn postfix(&mut self) -> Result<Measured, Mistake> {
        let start = self.span().start;
        let mut left = self.primary()?;
        loop {
            let is_optional = matches!(self.peek(), TokenKind::Symbol(".?" | "[?"));
            if self.takes(".") || self.takes(".?") {
                let name = match self.peek().clone() {
                    TokenKind::Name(name) if !matches!(&*name, "in" | "true" | "false" | "null") => name,
                    TokenKind::Quoted(name) => name,
                    _ => return Err(self.unexpected("the name of a field")),
                };
                let is_plain = matches!(self.peek(), TokenKind::Name(_));
                self.advance();
                left = if is_plain && !is_optional && self.takes("(") {
                    let (arguments, depth) = self.list(")")?;
                    let depth = depth.max(left.depth);
                    let kind = TreeKind::Call {
                        target: Some(left.tree.into()),
                        function: name,
                        arguments,
                    };
                    self.grown(kind, start, depth)?
                } else {
                    let kind = TreeKind::Select {
                        operand: left.tree.into(),
                        field: name,
                        is_optional,
                    };
                    self.grown(kind, start, left.depth)?
                };
            } else if self.takes("[") || self.takes("[?") {
                let index = self.expression(CONDITIONAL)?;
                self.expect("]")?;
                let depth = left.depth.max(index.depth);
                let kind = TreeKind::Index {
                    operand: left.tree.into(),
                    index: index.tree.into(),
                    is_optional,
                };
                left = self.grown(kind, start, depth)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn primary(&mut self) -> Result<Measured, Mistake> {
        let span = self.span();
        let start = span.start;
        let token = self.peek().clone();
        let kind = match token {
            TokenKind::Int(digits) => TreeKind::Int(digits),
            TokenKind::Decimal(digits) => TreeKind::Decimal(digits),
            TokenKind::Text(text) => TreeKind::Text(text),
            TokenKind::Quoted(name) => TreeKind::Name(name),
            TokenKind::Name(word) => match &*word {
                "null" => TreeKind::Null,
                "true" => TreeKind::Bool(true),
                "false" => TreeKind::Bool(false),
                word if is_reserved(word) => {
                    return Err(Mistake::new(span, format!("`{word}` is a word that CEL reserves"))
                        .help(format!("a field of this name is written `` `{word}` ``, in backticks")));
                }
                _ => {
                    self.advance();
                    if !self.takes("(") {
                        return self.grown(TreeKind::Name(word), start, 0);
                    }
                    let (arguments, depth) = self.list(")")?;
                    let kind = TreeKind::Call {
                        target: None,
                        function: word,
                        arguments,
                    };
                    return self.grown(kind, start, depth);
                }
            },
            TokenKind::Symbol("(") => {
                self.advance();
                let inner = self.expression(CONDITIONAL)?;
                self.expect(")")?;
                return Ok(inner);
            }
            TokenKind::Symbol("[") => {
                self.advance();
                let (items, depth) = self.list("]")?;
                return self.grown(TreeKind::List(items), start, depth);
            }
            TokenKind::Symbol("{") => {
                self.advance();
                let (members, depth) = self.members()?;
                return self.grown(TreeKind::Map(members), start, depth);
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.advance();
        self.grown(kind, start, 0)
    }

    /// Expressions with commas between them, up to the closing symbol. A comma may follow the last.
    fn list(&mut self, closing: &str) -> Result<(Vec<Tree>, usize), Mistake> {
        let (mut items, mut depth) = (Vec::new(), 0);
        while !self.takes(closing) {
            let item = self.expression(CONDITIONAL)?;
            depth = depth.max(item.depth);
            items.push(item.tree);
            if !self.takes(",") {
                self.expect(closing)?;
                break;
            }
        }
        Ok((items, depth))
    }

    fn members(&mut self) -> Result<(Vec<(Tree, Tree)>, usize), Mistake> {
        let (mut members, mut depth) = (Vec::new(), 0);
        while !self.takes("}") {
            let name = self.expression(CONDITIONAL)?;
            self.expect(":")?;
            let value = self.expression(CONDITIONAL)?;
            depth = depth.max(name.depth).max(value.depth);
            members.push((name.tree, value.tree));
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok((members, depth))
    }
}

fn too_deep(span: Range<usize>) -> Mistake {
    Mistake::new(span, format!("nesting deeper than {DEPTH_LIMIT} levels")).help("split it up")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(text: &str) -> String {
        parse(text)
            .unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
            .to_string()
    }

    fn mistake(text: &str) -> (Range<usize>, String) {
        let mistake = parse(text).expect_err(text);
        (mistake.at, mistake.message)
    }

    #[test]
    fn operators_bind_as_in_cel() {
        for (text, meant) in [
            ("a || b && c", "a || b && c"),
            ("(a || b) && c", "(a || b) && c"),
            ("1 + 2 * 3 - 4", "1 + 2 * 3 - 4"),
            ("1 - (2 - 3)", "1 - (2 - 3)"),
            ("(1 - 2) - 3", "1 - 2 - 3"),
            ("-a.b", "-a.b"),
            ("(-a).b", "(-a).b"),
            ("!a == b", "!a == b"),
            ("a ? b : c ? d : e", "a ? b : c ? d : e"),
            ("(a ? b : c) ? d : e", "(a ? b : c) ? d : e"),
            ("a ? (b ? c : d) : e", "a ? (b ? c : d) : e"),
            ("a in b && c", "a in b && c"),
            ("lines.all(l, l.quantity>0,)", "lines.all(l, l.quantity > 0)"),
            ("a.?b[?0].`c-d`[1]", "a.?b[?0].`c-d`[1]"),
            ("{'a': 1, 'b': [x,]}", "{\"a\": 1, \"b\": [x]}"),
            ("a // the rest is a comment\n + b", "a + b"),
            ("a.package", "a.`package`"),
        ] {
            assert_eq!(printed(text), meant, "{text}");
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (text, meant) in [
            ("12345678901234567890.1234567890", "12345678901234567890.1234567890"),
            ("19.90", "19.90"),
            (".5", "0.5"),
            ("1E-3", "1e-3"),
            ("0x1F", "31"),
            ("42u", "42"),
            ("007", "7"),
        ] {
            assert_eq!(printed(text), meant);
        }
    }

    #[test]
    fn strings_are_written_in_every_way_of_cel() {
        for (text, meant) in [
            (r#""a\"b""#, "a\"b"),
            (r"'a\'b\x41\u00e9\U0001F600\101\n'", "a'bAé😀A\n"),
            (r"r'\d+'", r"\d+"),
            ("'''it's\n\"here\"'''", "it's\n\"here\""),
            ("\"\"\"a\"b\"\"\"", "a\"b"),
            (r#"R"\""#, "\\"),
            ("''", ""),
        ] {
            assert_eq!(parse(text).unwrap().kind, TreeKind::Text(meant.into()), "{text}");
        }
    }

    #[test]
    fn a_mistake_says_what_and_where() {
        for (text, at, message) in [
            ("a = b", 2..3, "`=` means nothing here"),
            ("a +", 3..3, "the end where a value is expected"),
            ("f(a", 3..3, "the end where `)` is expected"),
            ("a b", 2..3, "`b` where an operator or the end is expected"),
            ("'abc", 0..4, "this string has no end"),
            ("x + 'a\nb'", 4..6, "this string has no end"),
            (r"'\q'", 1..3, "`\\q` is no escape"),
            (
                r"'\ud800'",
                1..3,
                "this escape has 4 hexadecimal digits that name a character",
            ),
            ("12abc", 0..5, "`12abc` is no number"),
            ("1e+", 0..3, "an exponent has digits, such as `1e3`"),
            ("b'abc'", 0..1, "JSON has no bytes"),
            ("for", 0..3, "`for` is a word that CEL reserves"),
            ("a.in", 2..4, "`in` where the name of a field is expected"),
            ("`", 0..1, "a name in backticks is not empty and ends with a backtick"),
            ("", 0..0, "the end where a value is expected"),
            ("ä", 0..2, "`ä` means nothing here"),
        ] {
            assert_eq!(mistake(text), (at, message.to_owned()), "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        for text in [
            "(".repeat(5_000),
            "!".repeat(5_000),
            "[".repeat(5_000),
            "a?a:".repeat(2_000),
            format!("a{}", ".b".repeat(2_000)),
            format!("1{}", "+1".repeat(2_000)),
        ] {
            assert!(mistake(&text).1.contains("nesting deeper"), "{text:.20}");
        }
        assert!(mistake(&" ".repeat(LENGTH_LIMIT + 1)).1.contains("at most"));
        assert!(parse(&format!("1{}", "+1".repeat(DEPTH_LIMIT - 1))).is_ok());
    }

    fn names() -> impl Strategy<Value = Box<str>> {
        prop_oneof!["[a-z_][a-z0-9_]{0,3}", "[a-zé -]{1,4}", Just("in".to_owned())].prop_map(Into::into)
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(TreeKind::Null),
            any::<bool>().prop_map(TreeKind::Bool),
            any::<u64>().prop_map(|number| TreeKind::Int(number.to_string().into())),
            "[1-9][0-9]{0,30}\\.[0-9]{1,9}(e-?[1-9])?".prop_map(|digits| TreeKind::Decimal(digits.into())),
            any::<String>().prop_map(|text| TreeKind::Text(text.into())),
            names().prop_map(TreeKind::Name),
        ]
        .prop_map(place);
        leaf.prop_recursive(5, 40, 3, |inner| {
            let boxed = || inner.clone().prop_map(Box::new);
            let operators = prop::sample::select(vec![
                Binary::Or,
                Binary::And,
                Binary::Equal,
                Binary::In,
                Binary::Less,
                Binary::Add,
                Binary::Subtract,
                Binary::Multiply,
                Binary::Divide,
            ]);
            prop_oneof![
                (operators, boxed(), boxed()).prop_map(|(operator, one, other)| TreeKind::Binary(operator, one, other)),
                (any::<bool>(), boxed()).prop_map(|(not, operand)| {
                    TreeKind::Unary(if not { Unary::Not } else { Unary::Negate }, operand)
                }),
                (boxed(), boxed(), boxed()).prop_map(|(a, b, c)| TreeKind::Conditional(a, b, c)),
                (boxed(), names(), any::<bool>()).prop_map(|(operand, field, is_optional)| TreeKind::Select {
                    operand,
                    field,
                    is_optional
                }),
                (boxed(), boxed(), any::<bool>()).prop_map(|(operand, index, is_optional)| TreeKind::Index {
                    operand,
                    index,
                    is_optional
                }),
                (
                    prop::option::of(boxed()),
                    "[a-h]{3}",
                    prop::collection::vec(inner.clone(), 0..3)
                )
                    .prop_map(|(target, function, arguments)| TreeKind::Call {
                        target,
                        function: function.into(),
                        arguments
                    }),
                prop::collection::vec(inner.clone(), 0..3).prop_map(TreeKind::List),
                prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(TreeKind::Map),
            ]
            .prop_map(place)
        })
    }

    fn place(kind: TreeKind) -> Tree {
        Tree { kind, span: 0..0 }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same_tree(tree in trees()) {
            let text = tree.to_string();
            prop_assert_eq!(parse(&text).expect(&text), tree);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), pieces in prop::collection::vec(pieces(), 0..30)) {
            for text in [text, pieces.concat()] {
                if let Err(mistake) = parse(&text) {
                    prop_assert!(text.get(mistake.at.clone()).is_some(), "{:?} in {}", mistake, text);
                }
            }
        }
    }

    fn pieces() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a", ".", ".?", "(", ")", "[", "]", "{", "}", ":", "?", "1", "1.5", "'x'", "\\", "\"", "'", "-", "!", "&&",
            "in", " ", "é", "r'", "`", "0x", "e", ",", "//", "\n", "==",
        ])
    }
}
