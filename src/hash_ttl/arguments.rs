//! The arguments of the commands on fields with deadlines.
//!
//! What is read here is where the fields stand and what the options say; what an argument means is decided in
//! Valkey's order, so that of two mistakes the same one is named. The order differs from command to command:
//!
//! | command | order of the checks |
//! |---|---|
//! | `HEXPIRE` and its relatives | the word `FIELDS`, the conditions, the number of fields, the time; then the key |
//! | `HGETEX` | the word `FIELDS`, the options, the number of fields; then the key, then the time |
//! | `HSETEX` | the same; then the key, `NX` and `XX`, then the time, `FNX` and `FXX` |
//! | `HPERSIST`, `HGETDEL`, `HTTL` and its relatives | the word `FIELDS`, which has one place, the number of fields; then the key |
//!
//! Where an option comes twice the last one counts; two options that contradict each other are refused. The
//! word `FIELDS` is looked for behind the key (and the time), so that a key may be called like a word of the
//! syntax.

use bytes::Bytes;

use crate::resp::{parse_integer, text};

/// Why arguments were refused. `Display` is the whole error line after the dash, code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// An option that is unknown, incomplete or contradicted by another one.
    #[error("ERR syntax error")]
    Syntax,
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// There is no list of fields, or its length is not the one that is announced.
    #[error("ERR numfields should be greater than 0 and match the provided number of fields")]
    FieldCount,
    /// An unknown condition; the text is its beginning.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    /// Contradicting conditions.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    NxWithOthers,
    /// Contradicting conditions.
    #[error("ERR GT and LT options at the same time are not compatible")]
    GtWithLt,
    /// A time that is negative or cannot be represented.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
}

/// How a command gives a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMilliseconds,
}

impl TimeForm {
    /// The form of the argument that follows `option`: `EX`, `PX`, `EXAT` or `PXAT` in any case.
    pub fn of_option(option: &[u8]) -> Option<TimeForm> {
        let forms = [
            ("EX", TimeForm::Seconds),
            ("PX", TimeForm::Milliseconds),
            ("EXAT", TimeForm::UnixSeconds),
            ("PXAT", TimeForm::UnixMilliseconds),
        ];
        forms.into_iter().find(|(name, _)| option.eq_ignore_ascii_case(name.as_bytes())).map(|(_, form)| form)
    }

    /// The absolute time in milliseconds, possibly negative; `None` if it cannot be represented.
    pub fn absolute_ms(self, time: i64, now_ms: u64) -> Option<i64> {
        let ms = match self {
            TimeForm::Seconds | TimeForm::UnixSeconds => time.checked_mul(1000)?,
            TimeForm::Milliseconds | TimeForm::UnixMilliseconds => time,
        };
        match self {
            TimeForm::Seconds | TimeForm::Milliseconds => ms.checked_add(i64::try_from(now_ms).ok()?),
            TimeForm::UnixSeconds | TimeForm::UnixMilliseconds => Some(ms),
        }
    }

    /// A deadline in this form, seconds to the nearest one: what the `TTL` family answers.
    pub fn report(self, deadline_ms: u64, now_ms: u64) -> i64 {
        let ms = match self {
            TimeForm::Seconds | TimeForm::Milliseconds => deadline_ms.saturating_sub(now_ms),
            TimeForm::UnixSeconds | TimeForm::UnixMilliseconds => deadline_ms,
        };
        let time = match self {
            TimeForm::Seconds | TimeForm::UnixSeconds => ms.saturating_add(500) / 1000,
            TimeForm::Milliseconds | TimeForm::UnixMilliseconds => ms,
        };
        i64::try_from(time).unwrap_or(i64::MAX)
    }

    /// The deadline of a field in milliseconds since the Unix epoch; `command` is for the error.
    fn field_deadline_ms(
        self,
        time: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, ArgumentError> {
        let time = parse_integer(time).ok_or(ArgumentError::NotInteger)?;
        let ms = (time >= 0).then(|| self.absolute_ms(time, now_ms)).flatten();
        ms.and_then(|ms| u64::try_from(ms).ok()).ok_or(ArgumentError::InvalidExpire(command))
    }
}

/// When a deadline is to be set, by the deadline that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    no_deadline: bool,
    has_deadline: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    /// Reads `NX`, `XX`, `GT` and `LT` in any case and number.
    pub fn parse(args: &[Bytes]) -> Result<Conditions, ArgumentError> {
        let mut conditions = Conditions::default();
        for arg in args {
            match arg.to_ascii_uppercase().as_slice() {
                b"NX" => conditions.no_deadline = true,
                b"XX" => conditions.has_deadline = true,
                b"GT" => conditions.later = true,
                b"LT" => conditions.earlier = true,
                _ => return Err(ArgumentError::UnsupportedOption(printable(arg))),
            }
        }
        let Conditions { no_deadline, has_deadline, later, earlier } = conditions;
        if no_deadline && (has_deadline || later || earlier) {
            return Err(ArgumentError::NxWithOthers);
        }
        if later && earlier {
            return Err(ArgumentError::GtWithLt);
        }
        Ok(conditions)
    }

    /// Whether they are met. No deadline counts as later than any.
    pub fn met(&self, old_ms: Option<u64>, new_ms: u64) -> bool {
        (!self.no_deadline || old_ms.is_none())
            && (!self.has_deadline || old_ms.is_some())
            && (!self.later || old_ms.is_some_and(|old_ms| new_ms > old_ms))
            && (!self.earlier || old_ms.is_none_or(|old_ms| new_ms < old_ms))
    }
}

/// The most bytes of a client's argument that an error line shows, as in Valkey.
pub(crate) const MAX_SHOWN_BYTES: usize = 128;

/// Bytes as text for an error line: at most [`MAX_SHOWN_BYTES`] of them and none from the first zero byte on,
/// as in Valkey, without line breaks.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text::from_bytes(&bytes[..bytes.len().min(MAX_SHOWN_BYTES)]);
    text.replace(['\r', '\n'], " ")
}

/// The fields that a command names: where they stand in its argv.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    argv: &'a [Bytes],
    first: usize,
    step: usize,
}

impl<'a> Named<'a> {
    /// Every argument from `first` on is a field.
    pub fn fields(argv: &'a [Bytes], first: usize) -> Self {
        Named { argv, first, step: 1 }
    }

    /// Fields and their values in turn, from `first` on. A field without a value is left out.
    pub fn pairs(argv: &'a [Bytes], first: usize) -> Self {
        let whole = argv.len() - argv.len().saturating_sub(first) % 2;
        Named { argv: &argv[..whole], first, step: 2 }
    }

    /// How many are named, each as often as it is.
    pub fn len(&self) -> usize {
        self.argv.len().saturating_sub(self.first) / self.step
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their positions and names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a Bytes)> + use<'a> {
        let argv = self.argv;
        (self.first..argv.len()).step_by(self.step).map(|at| (at, &argv[at]))
    }

    /// The value of the field at a position, where fields and values alternate.
    pub(super) fn value(&self, at: usize) -> &'a Bytes {
        &self.argv[at + 1]
    }
}

/// The position of the word `FIELDS`, from `from` on; it is followed by something.
fn find_fields(argv: &[Bytes], from: usize) -> Result<usize, ArgumentError> {
    let searched = argv.get(from..argv.len().saturating_sub(1)).unwrap_or_default();
    let at = searched.iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS"));
    at.map(|at| from + at).ok_or(ArgumentError::FieldCount)
}

/// The position of the first field of the list that begins with the word `FIELDS` at `at` and has `step`
/// arguments for each.
fn first_field(argv: &[Bytes], at: usize, step: usize) -> Result<usize, ArgumentError> {
    let count = argv.get(at + 1).ok_or(ArgumentError::FieldCount)?;
    let count = parse_integer(count).ok_or(ArgumentError::NotInteger)?;
    let count = usize::try_from(count).ok().filter(|&count| count > 0).and_then(|n| n.checked_mul(step));
    let matches = count.is_some_and(|count| argv.len() - (at + 2) == count);
    if matches { Ok(at + 2) } else { Err(ArgumentError::FieldCount) }
}

/// The fields of `HPERSIST|HGETDEL key FIELDS numfields field [field …]`.
pub fn fields(argv: &[Bytes]) -> Result<Named<'_>, ArgumentError> {
    if !argv.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"FIELDS")) {
        return Err(ArgumentError::Syntax);
    }
    Ok(Named::fields(argv, first_field(argv, 2, 1)?))
}

/// The fields of `HTTL|HPTTL|HEXPIRETIME|HPEXPIRETIME key FIELDS numfields field [field …]`.
pub fn queried_fields(argv: &[Bytes]) -> Result<Named<'_>, ArgumentError> {
    fields(argv).map_err(|error| match error {
        ArgumentError::FieldCount => ArgumentError::Syntax,
        error => error,
    })
}

/// `HEXPIRE|HPEXPIRE|HEXPIREAT|HPEXPIREAT key time [NX|XX|GT|LT …] FIELDS numfields field [field …]`.
#[derive(Clone, Copy, Debug)]
pub struct HExpire<'a> {
    /// The deadline, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// When it is to be set.
    pub conditions: Conditions,
    /// The fields.
    pub fields: Named<'a>,
}

impl<'a> HExpire<'a> {
    /// Reads the arguments of the command that takes its time in this form.
    pub fn parse(argv: &'a [Bytes], form: TimeForm, now_ms: u64) -> Result<Self, ArgumentError> {
        let at = find_fields(argv, 3)?;
        let conditions = Conditions::parse(&argv[3..at])?;
        let first = first_field(argv, at, 1)?;
        let command = match form {
            TimeForm::Seconds => "hexpire",
            TimeForm::Milliseconds => "hpexpire",
            TimeForm::UnixSeconds => "hexpireat",
            TimeForm::UnixMilliseconds => "hpexpireat",
        };
        let deadline_ms = form.field_deadline_ms(&argv[2], now_ms, command)?;
        Ok(HExpire { deadline_ms, conditions, fields: Named::fields(argv, first) })
    }
}

/// What options say about deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeOption<'a> {
    Unsaid,
    /// `KEEPTTL` or `PERSIST`, whichever the command knows.
    Word,
    Time(TimeForm, &'a Bytes),
}

impl<'a> TimeOption<'a> {
    /// Takes `option` and what follows it from `rest`, if it is `word` or names a time; says whether it was
    /// one of them.
    fn read(
        &mut self,
        option: &[u8],
        word: &str,
        rest: &mut std::slice::Iter<'a, Bytes>,
    ) -> Result<bool, ArgumentError> {
        let said = if option.eq_ignore_ascii_case(word.as_bytes()) {
            TimeOption::Word
        } else if let Some(form) = TimeForm::of_option(option) {
            TimeOption::Time(form, rest.next().ok_or(ArgumentError::Syntax)?)
        } else {
            return Ok(false);
        };
        let agrees = match (*self, said) {
            (TimeOption::Unsaid, _) | (TimeOption::Word, TimeOption::Word) => true,
            (TimeOption::Time(old, _), TimeOption::Time(new, _)) => old == new,
            _ => false,
        };
        *self = said;
        if agrees { Ok(true) } else { Err(ArgumentError::Syntax) }
    }
}

/// What an `HGETEX` does to the deadlines of the fields that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineChange {
    /// Nothing.
    None,
    /// They have none any more.
    Persist,
    /// They have this one, in milliseconds since the Unix epoch.
    Set(u64),
}

/// `HGETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] FIELDS numfields field [field …]`.
#[derive(Clone, Copy, Debug)]
pub struct HGetEx<'a> {
    time: TimeOption<'a>,
    /// The fields.
    pub fields: Named<'a>,
}

impl<'a> HGetEx<'a> {
    /// Reads the arguments.
    pub fn parse(argv: &'a [Bytes]) -> Result<Self, ArgumentError> {
        let at = find_fields(argv, 2)?;
        let (mut time, mut rest) = (TimeOption::Unsaid, argv[2..at].iter());
        while let Some(option) = rest.next() {
            if !time.read(option, "PERSIST", &mut rest)? {
                return Err(ArgumentError::Syntax);
            }
        }
        Ok(HGetEx { time, fields: Named::fields(argv, first_field(argv, at, 1)?) })
    }

    /// What it does to deadlines; to be asked when the key has been found to be a hash or absent.
    pub fn change(&self, now_ms: u64) -> Result<DeadlineChange, ArgumentError> {
        Ok(match self.time {
            TimeOption::Unsaid => DeadlineChange::None,
            TimeOption::Word => DeadlineChange::Persist,
            TimeOption::Time(form, time) => {
                DeadlineChange::Set(form.field_deadline_ms(time, now_ms, "hgetex")?)
            }
        })
    }
}

/// The deadline of fields that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewDeadline {
    /// None, whatever they had.
    None,
    /// The one that they have, if they are there.
    Keep,
    /// This one, in milliseconds since the Unix epoch.
    Set(u64),
}

/// Which fields have to be there for an `HSETEX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldCondition {
    /// It does not matter.
    #[default]
    Any,
    /// `FNX`: none of the named ones.
    Absent,
    /// `FXX`: all of the named ones.
    Present,
}

/// `HSETEX key [NX|XX] [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS numfields field value [field value …]`.
#[derive(Clone, Copy, Debug)]
pub struct HSetEx<'a> {
    time: TimeOption<'a>,
    key_exists: Option<bool>,
    /// Which fields have to be there.
    pub condition: FieldCondition,
    /// The fields and their values.
    pub pairs: Named<'a>,
}

impl<'a> HSetEx<'a> {
    /// Reads the arguments.
    pub fn parse(argv: &'a [Bytes]) -> Result<Self, ArgumentError> {
        let at = find_fields(argv, 2)?;
        let (mut time, mut rest) = (TimeOption::Unsaid, argv[2..at].iter());
        let (mut key_exists, mut condition) = (None, FieldCondition::Any);
        while let Some(option) = rest.next() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("NX") || is("XX") {
                key_exists = agreeing(key_exists, is("XX"))?;
            } else if is("FNX") || is("FXX") {
                let wanted = if is("FNX") { FieldCondition::Absent } else { FieldCondition::Present };
                let before = (condition != FieldCondition::Any).then_some(condition);
                condition = agreeing(before, wanted)?.unwrap_or_default();
            } else if !time.read(option, "KEEPTTL", &mut rest)? {
                return Err(ArgumentError::Syntax);
            }
        }
        let pairs = Named::pairs(argv, first_field(argv, at, 2)?);
        Ok(HSetEx { time, key_exists, condition, pairs })
    }

    /// Whether `NX` and `XX` allow it, by whether the key exists.
    pub fn allows(&self, key_exists: bool) -> bool {
        self.key_exists.is_none_or(|wanted| wanted == key_exists)
    }

    /// The deadline of what it stores; to be asked when it is [allowed](Self::allows).
    pub fn deadline(&self, now_ms: u64) -> Result<NewDeadline, ArgumentError> {
        Ok(match self.time {
            TimeOption::Unsaid => NewDeadline::None,
            TimeOption::Word => NewDeadline::Keep,
            TimeOption::Time(form, time) => NewDeadline::Set(form.field_deadline_ms(time, now_ms, "hsetex")?),
        })
    }
}

/// What an option says, unless an earlier one has said otherwise.
fn agreeing<T: PartialEq>(before: Option<T>, said: T) -> Result<Option<T>, ArgumentError> {
    if before.is_some_and(|before| before != said) { Err(ArgumentError::Syntax) } else { Ok(Some(said)) }
}
