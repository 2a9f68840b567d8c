//! Cuts the text of an expression into words.

use std::ops::Range;

use super::Mistake;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// Digits as JSON has them.
    Int(Box<str>),
    /// A JSON number with a point or an exponent.
    Decimal(Box<str>),
    Text(Box<str>),
    Name(Box<str>),
    /// A name in backticks, which no word is reserved in.
    Quoted(Box<str>),
    Symbol(&'static str),
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", ".?", "[?", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(",
    ")", "[", "]", "{", "}",
];

/// Words that CEL keeps for itself.
const RESERVED: [&str; 21] = [
    "in",
    "true",
    "false",
    "null",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Cuts a text into words; the last is always the end.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let start = lexer.at;
        let kind = lexer.token()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token {
            kind,
            span: start..lexer.at,
        });
        if is_end {
            return Ok(tokens);
        }
    }
}

/// Whether a word can be written as a name without backticks.
pub(super) fn is_name(word: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    word.bytes().next().is_some_and(is_start)
        && word.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit())
        && !is_reserved(word)
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn mistake(&self, start: usize, message: impl Into<String>) -> Mistake {
        Mistake::new(start..self.at.max(start), message)
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&mut self) -> Result<TokenKind, Mistake> {
        let rest = self.rest();
        let mut bytes = rest.bytes();
        let (first, second) = (bytes.next(), bytes.next());
        match (first, second) {
            (None, _) => Ok(TokenKind::End),
            (Some(b'0'..=b'9'), _) | (Some(b'.'), Some(b'0'..=b'9')) => self.number(),
            (Some(b'"' | b'\''), _) => self.string(false),
            (Some(b'r' | b'R'), Some(b'"' | b'\'')) => {
                self.at += 1;
                self.string(true)
            }
            (Some(b'b' | b'B'), Some(b'"' | b'\'')) => {
                let start = self.at;
                self.at += 1;
                Err(self
                    .mistake(start, "JSON has no bytes")
                    .help("write a string, without the `b`"))
            }
            (Some(b'`'), _) => self.quoted(),
            (Some(byte), _) if byte.is_ascii_alphabetic() || byte == b'_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let word = &rest[..end.unwrap_or(rest.len())];
                self.at += word.len();
                Ok(TokenKind::Name(word.into()))
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(TokenKind::Symbol(symbol))
                }
                None => Err(self.strange()),
            },
        }
    }

    fn strange(&mut self) -> Mistake {
        let start = self.at;
        let char = self.rest().chars().next().unwrap_or_default();
        self.at += char.len_utf8();
        let mistake = self.mistake(start, format!("`{}` means nothing here", char.escape_debug()));
        match char {
            '=' => mistake.help("to compare, write `==`"),
            '&' => mistake.help("write `&&`"),
            '|' => mistake.help("write `||`"),
            _ => mistake.help("names with other characters than letters, digits and `_` stand in backticks"),
        }
    }

    /// Takes what belongs to a set of bytes.
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| belongs(*byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn number(&mut self) -> Result<TokenKind, Mistake> {
        let start = self.at;
        if let Some(hex) = self
            .rest()
            .strip_prefix("0x")
            .or_else(|| self.rest().strip_prefix("0X"))
        {
            self.at = self.text.len() - hex.len();
            let digits = self.take(|byte| byte.is_ascii_hexdigit());
            let value = u128::from_str_radix(digits, 16)
                .map_err(|_| self.mistake(start, "`0x` is followed by 1 to 32 hexadecimal digits"))?;
            self.take(|byte| matches!(byte, b'u' | b'U'));
            self.end_of_number(start)?;
            return Ok(TokenKind::Int(value.to_string().into()));
        }
        let whole = self.take(|byte| byte.is_ascii_digit()).trim_start_matches('0');
        let mut text = if whole.is_empty() { "0" } else { whole }.to_owned();
        let mut is_decimal = false;
        let mut after = self.rest().bytes();
        if after.next() == Some(b'.') && after.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            text.push('.');
            text.push_str(self.take(|byte| byte.is_ascii_digit()));
            is_decimal = true;
        }
        if self.rest().starts_with(['e', 'E']) {
            self.at += 1;
            let sign = self.take(|byte| matches!(byte, b'+' | b'-'));
            let digits = self.take(|byte| byte.is_ascii_digit());
            if sign.len() > 1 || digits.is_empty() {
                return Err(self.mistake(start, "an exponent has digits, such as `1e3`"));
            }
            text.push('e');
            text.push_str(sign);
            text.push_str(digits);
            is_decimal = true;
        } else if !is_decimal {
            // CEL tells unsigned numbers apart; here a whole number is a whole number.
            if self.rest().starts_with(['u', 'U']) {
                self.at += 1;
            }
        }
        self.end_of_number(start)?;
        Ok(if is_decimal {
            TokenKind::Decimal(text.into())
        } else {
            TokenKind::Int(text.into())
        })
    }

    fn end_of_number(&mut self, start: usize) -> Result<(), Mistake> {
        let more = self.take(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if more.is_empty() {
            return Ok(());
        }
        let number = &self.text[start..self.at];
        Err(self.mistake(start, format!("`{number}` is no number")))
    }

    fn quoted(&mut self) -> Result<TokenKind, Mistake> {
        let start = self.at;
        self.at += 1;
        let rest = self.rest();
        let end = rest.find(['`', '\n']).filter(|end| rest[*end..].starts_with('`'));
        match end {
            Some(end) if end > 0 => {
                self.at += end + 1;
                Ok(TokenKind::Quoted(rest[..end].into()))
            }
            _ => Err(self.mistake(start, "a name in backticks is not empty and ends with a backtick")),
        }
    }

    fn string(&mut self, is_raw: bool) -> Result<TokenKind, Mistake> {
        let start = self.at;
        let rest = self.rest();
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| rest.starts_with(quote))
            .unwrap_or("\"");
        self.at += quote.len();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                return Ok(TokenKind::Text(text.into()));
            }
            match rest.chars().next() {
                Some('\n' | '\r') if quote.len() == 1 => break,
                Some('\\') if !is_raw => text.push(self.escape()?),
                Some(char) => {
                    text.push(char);
                    self.at += char.len_utf8();
                }
                None => break,
            }
        }
        Err(self
            .mistake(start, "this string has no end")
            .help(format!("end it with {quote}")))
    }

    fn escape(&mut self) -> Result<char, Mistake> {
        let start = self.at;
        let mut rest = self.rest().chars();
        rest.next();
        let Some(char) = rest.next() else {
            self.at = self.text.len();
            return Err(self.mistake(start, "this string has no end"));
        };
        self.at += 1 + char.len_utf8();
        let (digits, radix) = match char {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            '\\' | '?' | '"' | '\'' | '`' => return Ok(char),
            'x' | 'X' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                let mistake = self.mistake(start, format!("`\\{}` is no escape", char.escape_debug()));
                return Err(mistake.help("a backslash itself is written `\\\\`; in r\"…\" nothing is escaped"));
            }
        };
        let code = self
            .rest()
            .get(..digits)
            .filter(|code| code.chars().all(|c| c.is_digit(radix)));
        let value = code
            .and_then(|code| u32::from_str_radix(code, radix).ok())
            .and_then(char::from_u32);
        let value = value.ok_or_else(|| {
            let kind = if radix == 8 { "octal" } else { "hexadecimal" };
            self.mistake(
                start,
                format!("this escape has {digits} {kind} digits that name a character"),
            )
        })?;
        self.at += digits;
        Ok(value)
    }
}
