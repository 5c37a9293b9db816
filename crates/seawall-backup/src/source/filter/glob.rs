//! Wildcards of gitignore syntax, over bytes.
//!
//! A pattern is a literal beginning and a row of tokens; matching keeps the set of all tokens the
//! text may have reached. That costs tokens times bytes at worst, whatever the pattern: ignore
//! files come from the trees that are read, and a backtracking matcher (git's own included) can
//! be made to run for ever by a few dozen stars.
//!
//! Bytes, not characters: names need not be UTF-8, and `?` stands for one byte, as in git.

/// Most tokens after the literal beginning.
const MAX_TOKENS: usize = 1_023;

/// Which bytes a bracket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class([u64; 4]);

impl Class {
    const EMPTY: Self = Self([0; 4]);

    const fn has(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn add_all(&mut self, is_in: impl Fn(u8) -> bool) {
        (0..=u8::MAX).filter(|byte| is_in(*byte)).for_each(|byte| self.add(byte));
    }

    fn fold(&mut self) {
        let before = *self;
        self.add_all(|byte| {
            before.has(byte.to_ascii_lowercase()) || before.has(byte.to_ascii_uppercase())
        });
    }

    fn negate(&mut self) {
        self.0.iter_mut().for_each(|word| *word = !*word);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: any byte but a slash.
    Any,
    /// `[…]`: one of these bytes, never a slash.
    Of(Class),
    /// `*`: any bytes but slashes, or none.
    Star,
    /// `**` at the end: any bytes, or none.
    Rest,
    /// The beginning of `**/`: the next two tokens, or none of them.
    MaybeDirs,
    /// The rest of `**/`: any bytes up to and with a slash.
    Dirs,
}

/// A compiled pattern without its modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    /// Before the first wildcard.
    head: Vec<u8>,
    /// From the first wildcard to the last.
    tokens: Vec<Token>,
    /// After the last wildcard.
    tail: Vec<u8>,
    fold: bool,
}

impl Glob {
    /// Compiles `pattern`; with `fold`, upper and lower case of ASCII are one. The error says
    /// what is wrong.
    pub(super) fn compile(pattern: &[u8], fold: bool) -> Result<Self, &'static str> {
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let plain = pattern.iter().position(special).unwrap_or(pattern.len());
        let mut head = pattern[..plain].to_vec();
        if fold {
            head.make_ascii_lowercase();
        }
        let mut parser = Parser { pattern, at: plain, fold };
        let mut tokens = Vec::new();
        while parser.at < pattern.len() {
            parser.token(&mut tokens)?;
        }
        let mut tail = Vec::new();
        while let Some(Token::Byte(byte)) = tokens.last() {
            tail.push(*byte);
            tokens.pop();
        }
        tail.reverse();
        if tokens.len() > MAX_TOKENS {
            return Err("it has more than 1023 bytes from its first wildcard to its last");
        }
        Ok(Self { head, tokens, tail, fold })
    }

    /// Whether the whole of `text` is described.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Some((head, rest)) = text.split_at_checked(self.head.len()) else { return false };
        let Some(middle) = rest.len().checked_sub(self.tail.len()) else { return false };
        let (middle, tail) = rest.split_at(middle);
        let same = |a: &[u8], b: &[u8]| if self.fold { a.eq_ignore_ascii_case(b) } else { a == b };
        same(head, &self.head) && same(tail, &self.tail) && self.wildcards_match(middle)
    }

    fn wildcards_match(&self, text: &[u8]) -> bool {
        match self.tokens[..] {
            [] => return text.is_empty(),
            [Token::Star] => return !text.contains(&b'/'),
            _ => {}
        }
        let mut reached = Reached::none();
        self.reach(0, &mut reached);
        for &byte in text {
            let byte = if self.fold { byte.to_ascii_lowercase() } else { byte };
            let mut next = Reached::none();
            for at in reached.each().filter(|at| *at < self.tokens.len()) {
                self.step(at, byte, &mut next);
            }
            if next.is_empty() {
                return false;
            }
            reached = next;
        }
        reached.has(self.tokens.len())
    }

    /// Takes one byte at token `at`.
    fn step(&self, at: usize, byte: u8, next: &mut Reached) {
        let (stays, goes_on) = match self.tokens[at] {
            Token::Byte(b) => (false, b == byte),
            Token::Any => (false, byte != b'/'),
            Token::Of(class) => (false, byte != b'/' && class.has(byte)),
            Token::Star => (byte != b'/', false),
            Token::Rest => (true, false),
            Token::MaybeDirs => (false, false),
            Token::Dirs => (true, byte == b'/'),
        };
        if stays {
            self.reach(at, next);
        }
        if goes_on {
            self.reach(at + 1, next);
        }
    }

    /// Notes token `at` and those that can be reached from it without a byte.
    fn reach(&self, mut at: usize, reached: &mut Reached) {
        loop {
            reached.add(at);
            match self.tokens.get(at) {
                Some(Token::Star | Token::Rest) => at += 1,
                Some(Token::MaybeDirs) => {
                    reached.add(at + 1);
                    at += 2;
                }
                _ => return,
            }
        }
    }
}

/// A set of numbers up to [`MAX_TOKENS`].
#[derive(Clone, Copy)]
struct Reached {
    words: [u64; (MAX_TOKENS + 1) / 64],
    /// Words in use.
    used: usize,
}

impl Reached {
    const fn none() -> Self {
        Self { words: [0; (MAX_TOKENS + 1) / 64], used: 0 }
    }

    fn add(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
        self.used = self.used.max(at / 64 + 1);
    }

    const fn has(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    const fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn each(&self) -> impl Iterator<Item = usize> + '_ {
        self.words[..self.used].iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(i * 64 + bit)
            })
        })
    }
}

struct Parser<'a> {
    pattern: &'a [u8],
    at: usize,
    fold: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn token(&mut self, out: &mut Vec<Token>) -> Result<(), &'static str> {
        let Some(byte) = self.take() else { return Ok(()) };
        match byte {
            b'?' => out.push(Token::Any),
            b'[' => out.push(Token::Of(self.class()?)),
            b'*' => self.stars(out),
            b'\\' => {
                let byte = self.take().ok_or("it ends in a backslash that escapes nothing")?;
                out.push(self.byte(byte));
            }
            byte => out.push(self.byte(byte)),
        }
        Ok(())
    }

    fn byte(&self, byte: u8) -> Token {
        Token::Byte(if self.fold { byte.to_ascii_lowercase() } else { byte })
    }

    /// Two or more stars between slashes, or between a slash and an end, cross slashes; any other
    /// number, anywhere else, is one star.
    fn stars(&mut self, out: &mut Vec<Token>) {
        let first = self.at - 1;
        while self.peek() == Some(b'*') {
            self.at += 1;
        }
        let begins = first == 0 || self.pattern[first - 1] == b'/';
        if self.at - first < 2 || !begins {
            out.push(Token::Star);
            return;
        }
        match (self.peek(), self.pattern.get(self.at + 1)) {
            (Some(b'/'), _) => {
                self.at += 1;
                out.extend([Token::MaybeDirs, Token::Dirs]);
            }
            (None, _) | (Some(b'\\'), Some(b'/')) => out.push(Token::Rest),
            _ => out.push(Token::Star),
        }
    }

    /// A bracket after its `[`.
    fn class(&mut self) -> Result<Class, &'static str> {
        const OPEN: &str = "a bracket in it is not closed";
        let negated = matches!(self.peek(), Some(b'!' | b'^'));
        self.at += usize::from(negated);
        let mut class = Class::EMPTY;
        // The first byte of a range that may follow.
        let mut low: Option<u8> = None;
        let mut is_first = true;
        loop {
            let byte = self.take().ok_or(OPEN)?;
            let after = self.peek();
            match (byte, low) {
                (b']', _) if !is_first => break,
                (b'-', Some(from)) if after.is_some_and(|next| next != b']') => {
                    let mut to = self.take().ok_or(OPEN)?;
                    if to == b'\\' {
                        to = self.take().ok_or(OPEN)?;
                    }
                    class.add_all(|byte| (from..=to).contains(&byte));
                    low = None;
                }
                (b'[', _) if after == Some(b':') => low = self.named(&mut class)?,
                _ => {
                    let byte = if byte == b'\\' { self.take().ok_or(OPEN)? } else { byte };
                    class.add(byte);
                    low = Some(byte);
                }
            }
            is_first = false;
        }
        if self.fold {
            class.fold();
        }
        if negated {
            class.negate();
        }
        Ok(class)
    }

    /// `[:name:]` after its `[`, or that `[` alone; returns it if a range may begin with it.
    fn named(&mut self, class: &mut Class) -> Result<Option<u8>, &'static str> {
        let rest = &self.pattern[self.at + 1..];
        let end = rest.iter().position(|b| *b == b']').ok_or("a bracket in it is not closed")?;
        let Some(name) = rest[..end].strip_suffix(b":") else {
            class.add(b'[');
            return Ok(Some(b'['));
        };
        let is_in: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |byte| matches!(byte, b' '..=b'~'),
            b"punct" => u8::is_ascii_punctuation,
            b"space" => |byte| matches!(byte, b'\t'..=b'\r' | b' '),
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return Err("a class in it, such as [:alpha:], has an unknown name"),
        };
        class.add_all(|byte| is_in(&byte));
        self.at += 1 + end + 1;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::compile(pattern.as_bytes(), false).expect("valid").matches(text.as_bytes())
    }

    #[test]
    fn stars_cross_slashes_only_in_pairs() {
        assert!(matches("a*c", "abbc") && matches("a*c", "ac") && !matches("a*c", "ab/c"));
        assert!(matches("**/c", "c") && matches("**/c", "a/b/c") && !matches("**/c", "ac"));
        assert!(matches("a/**/c", "a/c") && matches("a/**/c", "a/b/b/c"));
        assert!(matches("a/**", "a/b/c") && !matches("a/**", "a"));
        assert!(!matches("a/b**/c", "a/b/x/c") && matches("a/b**/c", "a/bx/c"));
    }

    #[test]
    fn brackets() {
        assert!(matches("[]a]", "]") && matches("[!]a]", "b") && !matches("[^]a]", "a"));
        assert!(matches("[a-c]x[[:digit:]_]", "bx7") && matches("[a-]", "-"));
        assert!(!matches("a[/]b", "a/b") && !matches("a[!x]b", "a/b"));
        for bad in ["[a", "[", "a\\", "[[:nope:]]", "[a\\"] {
            assert!(Glob::compile(bad.as_bytes(), false).is_err(), "{bad}");
        }
    }

    #[test]
    fn case_is_folded_only_when_asked() {
        let folded = Glob::compile(b"Rea[D-e]*.TXT", true).expect("valid");
        assert!(folded.matches(b"READme.txt") && folded.matches(b"reaEme.txt"));
        assert!(!matches("README", "readme"));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = "a*".repeat(500) + "b";
        let glob = Glob::compile(pattern.as_bytes(), false).expect("within the limit");
        assert!(!glob.matches("a".repeat(4_000).as_bytes()));
        assert!(Glob::compile("*a".repeat(600).as_bytes(), false).is_err());
        // What precedes the first wildcard does not count.
        let long = "a".repeat(4_000);
        assert!(matches(&long, &long));
    }
}
