//! What class a sample says it is.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// The most classes a set can have: a number of 4,000,000,000 in one file must not become as many names.
pub(crate) const MAX_CLASSES: u32 = 1 << 20;
/// The longest class name in bytes.
pub(crate) const MAX_CLASS_NAME: usize = 1024;

/// The class of a sample, as its shard writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Counted from 0.
    Number(u32),
    /// By name.
    Name(String),
}

impl Class {
    /// A number or a name, as a `.cls` file has it.
    pub(crate) fn from_text(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a class that is not Unicode")?.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number < MAX_CLASSES => Ok(Self::Number(number)),
                _ => Err("a class number of more than a million"),
            };
        }
        Self::from_name(text)
    }

    /// A name, as a folder has it.
    pub(crate) fn from_name(name: &str) -> Result<Self, &'static str> {
        match name {
            "" => Err("an empty class"),
            _ if name.len() > MAX_CLASS_NAME => Err("a class name of more than 1,024 bytes"),
            _ if name.chars().any(char::is_control) => Err("a class name with control characters"),
            _ => Ok(Self::Name(name.into())),
        }
    }

    /// What a `.json` file says under `class_name`, `class`, `label` or `cls`; nothing when it says nothing there. A name
    /// says more than a number.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        #[derive(Deserialize)]
        struct Fields {
            class_name: Option<Value>,
            class: Option<Value>,
            label: Option<Value>,
            cls: Option<Value>,
        }
        // A list (of boxes, say) is no struct without names.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        let fields: Fields = serde_json::from_slice(bytes).map_err(|_| "JSON that cannot be read")?;
        let fields = [&fields.class_name, &fields.class, &fields.label, &fields.cls];
        let values = || fields.into_iter().flatten();
        let text = values().find_map(Value::as_str).map(str::to_owned);
        let number = || values().find_map(Value::as_u64).map(|number| number.to_string());
        text.or_else(number).map(|text| Self::from_text(text.as_bytes())).transpose()
    }

    /// For people, and for a set where other classes have names.
    pub(crate) fn into_name(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => name,
        }
    }
}

/// The classes of one shard, numbered as they come.
#[derive(Debug, Default)]
pub(crate) struct ClassTable {
    numbers: HashMap<Class, u32>,
}

impl ClassTable {
    /// The provisional number of `class`; fails at too many.
    pub(crate) fn number(&mut self, class: Class) -> Result<u32, &'static str> {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(class).or_insert(next);
        if number < MAX_CLASSES { Ok(number) } else { Err("more than a million classes") }
    }

    /// The names, sorted, and for each provisional number the final one. No names where all classes are numbers.
    pub(crate) fn finish(self) -> (Vec<String>, Vec<u32>) {
        let mut renumbered = vec![0; self.numbers.len()];
        if self.numbers.keys().all(|class| matches!(class, Class::Number(_))) {
            for (class, provisional) in self.numbers {
                if let Class::Number(number) = class {
                    renumbered[provisional as usize] = number;
                }
            }
            return (Vec::new(), renumbered);
        }
        let mut named: Vec<_> =
            self.numbers.into_iter().map(|(class, number)| (class.into_name(), number)).collect();
        named.sort_unstable();
        let mut names: Vec<String> = Vec::new();
        for (name, provisional) in named {
            // A number and a name may read the same.
            if names.last() != Some(&name) {
                names.push(name);
            }
            renumbered[provisional as usize] = names.len() as u32 - 1;
        }
        (names, renumbered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Class {
        Class::Name(text.into())
    }

    #[test]
    fn a_cls_file_has_a_number_or_a_name() {
        assert_eq!(Class::from_text(b" 12\n"), Ok(Class::Number(12)));
        assert_eq!(Class::from_text("Bär\n".as_bytes()), Ok(name("Bär")));
        assert_eq!(Class::from_text(b"-1"), Ok(name("-1")));
        for wrong in
            [&b""[..], b"  \n", b"4000000000", b"99999999999999999999", b"\xFF", b"a\x1b[31mb", &[b'x'; 2000]]
        {
            assert!(Class::from_text(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn json_has_the_class_under_four_names_and_a_name_says_more() {
        let class = |text: &str| Class::from_json(text.as_bytes());
        assert_eq!(class(r#"{"label": 3, "other": [1]}"#), Ok(Some(Class::Number(3))));
        assert_eq!(class(r#"{"label": 3, "class_name": "cat"}"#), Ok(Some(name("cat"))));
        assert_eq!(class(r#"{"cls": "7"}"#), Ok(Some(Class::Number(7))));
        assert_eq!(class(r#"{"label": 1.5}"#), Ok(None));
        assert_eq!(class("{}"), Ok(None));
        assert_eq!(class(r#"["cat", "dog", 3, 4]"#), Ok(None));
        assert!(class("{1").is_err());
        assert!(class(&"{\"a\":".repeat(100_000)).is_err());
        assert!(class(&format!("{{\"label\": {}1{}}}", "[".repeat(500), "]".repeat(500))).is_err());
    }

    #[test]
    fn numbers_stay_what_they_are_and_names_are_sorted() {
        let mut table = ClassTable::default();
        assert_eq!([5, 2, 5].map(|n| table.number(Class::Number(n)).unwrap()), [0, 1, 0]);
        assert_eq!(table.finish(), (vec![], vec![5, 2]));
        let mut table = ClassTable::default();
        for class in [name("dog"), Class::Number(7), name("cat"), name("7")] {
            table.number(class).unwrap();
        }
        assert_eq!(table.finish(), (vec!["7".into(), "cat".into(), "dog".into()], vec![2, 0, 1, 0]));
    }
}
