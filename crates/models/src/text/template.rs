//! Chat templates: Jinja as the hub's library runs it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value, context};
use pellucid_core::{Error, Result};

use super::ChatMessage;

/// The name under which the template is known in errors.
const NAME: &str = "chat template";

/// Steps that a template may take, so that a broken one ends: a long conversation takes some ten thousand.
const FUEL: u64 = 10_000_000;

/// A template that was read.
pub(super) struct Template {
    environment: Environment<'static>,
    specials: BTreeMap<String, String>,
}

impl Template {
    /// Reads a template. `specials`: text of `bos_token`, `eos_token`, ….
    pub(super) fn new(source: &str, specials: BTreeMap<String, String>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| strftime(&format, seconds_since_1970()));
        environment.add_template_owned(NAME, without_training_marks(source)).map_err(failed)?;
        Ok(Template { environment, specials })
    }

    /// The conversation in the template's words.
    pub(super) fn render(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String> {
        let message = |m: &ChatMessage| context! { role => m.role.as_str(), content => m.content.as_str() };
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let none = || Value::from(());
        let given = context! { messages, add_generation_prompt, tools => none(), documents => none() };
        let specials = Value::from_pairs(self.specials.clone());
        let template = self.environment.get_template(NAME).map_err(failed)?;
        template.render(context! { ..given, ..specials }).map_err(failed)
    }
}

fn failed(error: minijinja::Error) -> Error {
    let place = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    Error::Unsupported(format!("the model's chat template refuses this conversation, or cannot be read: {detail}{place}"))
}

/// `{% generation %}` marks what is trained on. It changes no text, so it becomes a condition that holds, blanks treated alike.
fn without_training_marks(source: &str) -> String {
    let mut parts = source.split("{%");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("{%");
        let (tag, rest) = part.split_once("%}").map_or((part, None), |(tag, rest)| (tag, Some(rest)));
        text.push_str(&match tag.trim_matches(['-', '+', ' ']) {
            "generation" => tag.replace("generation", " if true "),
            "endgeneration" => tag.replace("endgeneration", " endif "),
            _ => tag.to_owned(),
        });
        if let Some(rest) = rest {
            text.push_str("%}");
            text.push_str(rest);
        }
    }
    text
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Date and time in UTC, in the codes that templates use; another code stays as it is written.
fn strftime(format: &str, seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (weekday, name) = (DAYS[(days as usize + 4) % 7], MONTHS[month - 1]); // 1 January 1970 was a Thursday
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text.push_str(&match letters.next() {
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('B') => name.into(),
            Some('b' | 'h') => name[..3].into(),
            Some('A') => weekday.into(),
            Some('a') => weekday[..3].into(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{:02}", second % 60),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{:02}", second % 60),
            Some('Z') => "UTC".into(),
            Some('z') => "+0000".into(),
            Some('%') => "%".into(),
            Some(other) => format!("%{other}"),
            None => "%".into(),
        });
    }
    text
}

/// Year, month from 1 and day from 1 of a number of days since 1 January 1970, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // date -u -d @SECONDS +'%d %b %Y %A %H:%M:%S %I%p %e %y'
        let format = "%d %b %Y %A %H:%M:%S %I%p %e %y %% %Q";
        assert_eq!(strftime(format, 0), "01 Jan 1970 Thursday 00:00:00 12AM  1 70 % %Q");
        assert_eq!(strftime(format, 951_782_399), "28 Feb 2000 Monday 23:59:59 11PM 28 00 % %Q");
        assert_eq!(strftime(format, 951_782_400), "29 Feb 2000 Tuesday 00:00:00 12AM 29 00 % %Q");
        assert_eq!(strftime(format, 1_735_689_599), "31 Dec 2024 Tuesday 23:59:59 11PM 31 24 % %Q");
        assert_eq!(strftime("%d %B", 4_107_542_400), "01 March"); // 2100 is no leap year
    }

    #[test]
    fn marks_for_training_change_no_text() {
        let text = "a {%- generation -%} b {% endgeneration %} {% if x %}generation{% endif %}";
        assert_eq!(without_training_marks(text), "a {%-  if true  -%} b {%  endif  %} {% if x %}generation{% endif %}");
    }
}
